// Byte-level BPE, pre-tokenizers and normalizers: exact ids on small vocabularies, what is refused,
// and what is saved and loaded again. The vocabularies are seeds of the fuzz targets.
#include "support/files.h"
#include "support/tokens.h"
#include "text/pattern.h"
#include "text/tokenizer.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SEEDS TEST_ROOT "/tests/fuzz/seeds/tokenizer_json/"

// Of byte_level.json: a byte is its own id, then these.
enum { HE = 256, LL, HELL, SPACE_A_PIECE, BOS, EOS, WORD };

static Tokenizer *load_seed(const char *name)
{
    char path[1024];
    Error err;
    snprintf(path, sizeof path, "%s%s", SEEDS, name);
    Tokenizer *t = tokenizer_load(path, &err);
    if (!t) fail_msg("%s", err.text);
    return t;
}

// byte_level.json with one change; NULL and a message.
static Tokenizer *load_seed_changed(const char *from, const char *to, Error *err)
{
    size_t size;
    char *text = test_read(SEEDS "byte_level.json", &size), *changed = replaced(text, from, to);
    TestPath path = test_write_text(&own_folder, "tokenizer.json", changed);
    Tokenizer *t = tokenizer_load(path.text, err);
    free(text);
    free(changed);
    return t;
}

static void test_words(void **state)
{
    (void)state;
    Tokenizer *t = load_seed("byte_level.json");
    assert_int_equal(tokenizer_vocab_size(t), 263);
    assert_int_equal(tokenizer_bos(t), BOS);
    assert_int_equal(tokenizer_eos(t), EOS);
    assert_true(tokenizer_adds_bos(t) && !tokenizer_adds_eos(t));
    check_ids(t, "", NULL, 0);
    check_ids(t, "hell", IDS(HELL));
    check_ids(t, "hello", IDS(HELL, 'o'));
    check_ids(t, "hehell a", IDS(HE, HELL, SPACE_A_PIECE));
    check_ids(t, "he ll", IDS(HE, ' ', LL)); // "he" and " ll" are words
    check_ids(t, "he1ll", IDS(HE, '1', LL));
    check_ids(t, "\xC3\xA9\n\xF0\x9F\x98\x80", IDS(0xC3, 0xA9, '\n', 0xF0, 0x9F, 0x98, 0x80));
    check_ids(t, "e\xCC\x81", IDS(0xC3, 0xA9)); // composed by NFC
    tokenizer_free(t);
}

// Ids as Hugging Face's tokenizers give them.
static void test_added_tokens(void **state)
{
    (void)state;
    Tokenizer *t = load_seed("byte_level.json");
    check_ids(t, "he<s>he", IDS(HE, BOS, HE));
    check_ids(t, "he \t</s>\n he", IDS(HE, EOS, HE)); // takes white space on both sides
    check_ids(t, "word", IDS(WORD));
    check_ids(t, "a word.", IDS('a', ' ', WORD, '.'));
    check_ids(t, "words", IDS('w', 'o', 'r', 'd', 's'));
    check_ids(t, "_word", IDS('_', 'w', 'o', 'r', 'd'));
    check_ids(t, "\xC3\xA9word", IDS(0xC3, 0xA9, 'w', 'o', 'r', 'd'));
    check_ids(t, "wordword", IDS('w', 'o', 'r', 'd', 'w', 'o', 'r', 'd'));
    check_text(t, IDS(BOS, HE, WORD, LL, EOS), "hewordll");
    tokenizer_free(t);
}

// Bytes that are no UTF-8 become one U+FFFD for each longest beginning of a sequence.
static void test_decoding_of_bytes(void **state)
{
    (void)state;
    Tokenizer *t = load_seed("byte_level.json");
    check_text(t, IDS(0xE2, 0x82, 0xAC), "\xE2\x82\xAC");
    check_text(t, IDS(0xE2, 0x82, 'a'),
               "\xEF\xBF\xBD"
               "a");
    check_text(t, IDS(0xE2, 0x82), "\xEF\xBF\xBD");
    check_text(t, IDS(0xF0, 0x9F, 0xC3, 0xA9), "\xEF\xBF\xBD\xC3\xA9");
    check_text(t, IDS(0xFF, 0x80, 'a'),
               "\xEF\xBF\xBD\xEF\xBF\xBD"
               "a");
    check_text(t, IDS(0xE2, HE), "\xEF\xBF\xBDhe");
    size_t size;
    char *text = tokenizer_decode_bytes(t, &size, IDS('a', 0, 'b'));
    assert_int_equal(size, 3);
    assert_memory_equal(text, "a\0b", 3);
    free(text);
    text = tokenizer_decode(t, IDS('a', 0, 'b'));
    assert_string_equal(text, "ab");
    free(text);
    tokenizer_free(t);
}

static void test_ignore_merges(void **state)
{
    (void)state;
    Error err;
    Tokenizer *t = load_seed_changed("\"he ll\", ", "", &err);
    assert_non_null(t);
    check_ids(t, "hell", IDS(HELL)); // the whole word is a piece
    check_ids(t, "hello", IDS(HE, LL, 'o'));
    tokenizer_free(t);
    t = load_seed_changed("\"ignore_merges\": true", "\"ignore_merges\": false", &err);
    assert_non_null(t);
    check_ids(t, "hell", IDS(HELL));
    tokenizer_free(t);
}

static void test_prefix_space_and_missing_bytes(void **state)
{
    (void)state;
    Tokenizer *t = load_seed("gpt2.json"); // ByteLevel's own pattern; only a and b are pieces
    assert_int_equal(tokenizer_eos(t), TOKEN_NONE);
    assert_false(tokenizer_adds_bos(t));
    check_ids(t, "ab", IDS(3)); // the space in front is no piece and is dropped
    check_ids(t, "ab a!b", IDS(3, 1, 2));
    check_ids(t, "<s>ab", IDS(0, 3));
    tokenizer_free(t);
}

static void test_metaspace_words(void **state)
{
    (void)state;
    Tokenizer *t = load_seed("metaspace.json");
    check_ids(t, "ab a", IDS(3, 6, 3, 4));   // U+2581 and a do not merge here
    check_ids(t, "\xEF\xBD\x81", IDS(3, 4)); // full-width a, by NFKC
    check_ids(t, "<s>a", IDS(1, 4));
    check_text(t, IDS(3, 6, 3, 4), "ab a");
    check_text(t, IDS(3, 3), " ");
    tokenizer_free(t);
}

static void test_saved(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"byte_level.json", "gpt2.json", "llama.json",
                                        "metaspace.json"};
    static const char *const TEXTS[] = {"he 12 ab<s>word </s> e\xCC\x81", "ab a  b", "\n\n a"};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        Tokenizer *t = load_seed(NAMES[i]), *again = save_and_load(t);
        assert_int_equal(tokenizer_vocab_size(t), tokenizer_vocab_size(again));
        assert_int_equal(tokenizer_bos(t), tokenizer_bos(again));
        assert_int_equal(tokenizer_adds_bos(t), tokenizer_adds_bos(again));
        for (size_t k = 0; k < sizeof TEXTS / sizeof *TEXTS; k++) {
            check_same(t, again, TEXTS[k]);
            TokenList list = encode(t, TEXTS[k]);
            char *text = tokenizer_decode(t, list.ids, list.count);
            check_text(again, list.ids, list.count, text);
            free(text);
            token_list_free(&list);
        }
        tokenizer_free(t);
        tokenizer_free(again);
    }
}

#define DIGITS "{\"type\": \"Digits\", \"individual_digits\": true}"
#define BYTES                                                                                      \
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false, "                \
    "\"trim_offsets\": true}"

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *message;
    } CASES[] = {
        {DIGITS, "{\"type\":\"Punctuation\"}", "key 'pre_tokenizer': Punctuation is not supported"},
        {DIGITS, BYTES, "key 'pre_tokenizer': Split behind ByteLevel is not supported"},
        {DIGITS, "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"}",
         "key 'pre_tokenizer': the pattern cannot be compiled: missing closing parenthesis"},
        {DIGITS, "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\"},\"behavior\":\"Isolated\"}",
         "key 'pre_tokenizer': a pattern of 0 bytes, expected 1 to 16384"},
        {DIGITS, "{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Merged\"}",
         "key 'behavior'"},
        {DIGITS, "{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"}}",
         "key 'behavior' is missing"},
        {DIGITS, "{\"type\":\"Metaspace\",\"replacement\":\"_\"}",
         "key 'replacement' must be U+2581"},
        {"{\"type\": \"NFC\"}",
         "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"\"}",
         "key 'normalizer': Replace needs a String as its pattern"},
        {"{\"type\": \"NFC\"}",
         "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"\"}",
         "key 'normalizer': Replace of an empty String"},
        {"\"decoder\": {\"type\": \"ByteLevel\"", "\"decoder\":{\"type\":\"BPEDecoder\"",
         "key 'decoder': BPEDecoder is not supported"},
        {"\"TemplateProcessing\"", "\"RobertaProcessing\"",
         "key 'post_processor': RobertaProcessing is not supported"},
        {"\"single\": [{\"SpecialToken\": {\"id\": \"<s>\"",
         "\"single\": [{\"SpecialToken\": {\"id\": \"<x>\"",
         "key 'post_processor' names '<x>', which is not in the vocabulary"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        Error err = {0};
        Tokenizer *t = load_seed_changed(CASES[i].from, CASES[i].to, &err);
        if (t) fail_msg("loaded in spite of %s", CASES[i].to);
        assert_error(err, CASES[i].message);
    }
}

// What PCRE2 would take for something else than Oniguruma does.
static void test_foreign_patterns(void **state)
{
    (void)state;
    static const char *const PATTERNS[] = {
        "\\h",    "\\b",  "[a&&b]", "[a[b]]", "\\p{N}{1,3}+", "(*UTF)a",
        "(?m:a)", "(?R)", "(?#x)a", "[\\W]",  "(?P<n>a)",     "\\R",
        "(?x) a", "(?1)", "(?C1)a", "\\Ga",   "a(*ACCEPT)",   "(?(?=a)a|b)"};
    for (size_t i = 0; i < sizeof PATTERNS / sizeof *PATTERNS; i++) {
        Error err = {0};
        Pattern *p = pattern_new(PATTERNS[i], true, "file", &err);
        if (p) fail_msg("compiled %s", PATTERNS[i]);
        assert_error(err, "is not supported");
    }
}

// The matches of a pattern in text, joined by '|'.
static void check_matches(const char *pattern, const char *text, const char *expected)
{
    Error err;
    char out[400];
    size_t begin, end, from = 0, used = 0, size = strlen(text);
    Pattern *p = pattern_new(pattern, true, "file", &err);
    if (!p) fail_msg("%s", err.text);
    PatternSearch *s = pattern_search_new(p);
    while (pattern_search_next(s, &begin, &end, text, size, from, &err) == PATTERN_FOUND) {
        used += (size_t)sprintf(out + used, "%.*s|", (int)(end - begin), text + begin);
        from = end;
    }
    out[used] = 0;
    assert_string_equal(out, expected);
    pattern_search_free(s);
    pattern_free(p);
}

static void test_patterns(void **state)
{
    (void)state;
    check_matches(PATTERN_GPT2, "I'm 12  days\n\n old", "I|'m| 12| | days|\n\n| old|");
    check_matches("\\s+",
                  "a\xE1\xA0\x8E"
                  "b\xC2\x85\xE3\x80\x80",
                  "\xC2\x85\xE3\x80\x80|"); // no U+180E
    check_matches("\\S+", "a \xE1\xA0\x8E", "a|\xE1\xA0\x8E|");
    check_matches("\\w+", "a\xCC\x81_1-b", "a\xCC\x81_1|b|"); // a mark belongs to the word
    check_matches("[^\\s\\w]+", "a-- b!", "--|!|");
    check_matches("(?i:'S)", "'s 'S '\xC5\xBF", "'s|'S|'\xC5\xBF|");
    check_matches("[[:alpha:]]+]", "ab]c", "ab]|");
    check_matches("^.", "ab\ncd", "a|c|"); // Oniguruma's ^ begins any line
}

// A pattern whose matching explodes ends in one line, not in a hang.
static void test_hostile_pattern(void **state)
{
    (void)state;
    Error err;
    Tokenizer *t = load_seed_changed(
        DIGITS,
        "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?:x+x+)+[yz]\"},\"behavior\":\"Isolated\"}",
        &err);
    assert_non_null(t);
    char text[4001];
    memset(text, 'x', sizeof text - 1);
    text[4000] = 0;
    TokenList list = {0};
    assert_false(tokenizer_encode(t, text, 4000, &list, &err));
    assert_error(err, "text: the tokenizer's pattern fails at byte 0: match limit exceeded");
    assert_int_equal(list.count, 0);
    token_list_free(&list);
    tokenizer_free(t);
}

// The words that a Split of this behavior makes of "--a-b": one id each, 'x' for what no piece is.
static void check_split(const char *behavior, bool invert, const uint32_t *ids, size_t count)
{
    char part[300];
    Error err;
    snprintf(
        part, sizeof part,
        "{\"type\":\"Split\",\"pattern\":{\"String\":\"-\"},\"behavior\":\"%s\",\"invert\":%s}",
        behavior, invert ? "true" : "false");
    size_t size;
    char *text = test_read(SEEDS "byte_level.json", &size);
    // Pieces that merge across any boundary that is not cut.
    char *pieces = replaced(text, "\"he\": 256", "\"--\": 256");
    char *more = replaced(pieces, "\"ll\": 257", "\"-a\": 257");
    char *most = replaced(more, "\"hell\": 258", "\"a-\": 258");
    char *merges = replaced(most, "\"h e\", \"l l\", \"he ll\"", "\"- -\", \"- a\", \"a -\"");
    char *whole = replaced(merges, DIGITS, part);
    // The second Split would cut again: it goes.
    char *at = strstr(whole, "{\"type\": \"Split\", \"pattern\": {\"Regex\"");
    char *end = strstr(at, "{\"type\": \"ByteLevel\"");
    memmove(at, end, strlen(end) + 1);
    Tokenizer *t = tokenizer_load(test_write_text(&own_folder, "t.json", whole).text, &err);
    if (!t) fail_msg("%s", err.text);
    check_ids(t, "--a-b", ids, count);
    tokenizer_free(t);
    free(text);
    free(pieces);
    free(more);
    free(most);
    free(merges);
    free(whole);
}

static void test_split_behaviors(void **state)
{
    (void)state;
    check_split("Isolated", false, IDS('-', '-', 'a', '-', 'b'));
    check_split("Removed", false, IDS('a', 'b'));
    check_split("Removed", true, IDS('-', '-', '-'));
    check_split("Contiguous", false, IDS(256, 'a', '-', 'b'));
    check_split("MergedWithPrevious", false, IDS('-', '-', 258, 'b'));
    check_split("MergedWithNext", false, IDS('-', 257, '-', 'b'));
}

// The configuration that is saved beside tells BOS and EOS, which tokenizer.json does not.
static void test_saved_config(void **state)
{
    (void)state;
    Error err;
    Tokenizer *t = load_seed_changed("\"<s>\", \"single_word\"", "\"<b>\", \"single_word\"", &err);
    assert_null(t); // the template names <s>
    size_t size;
    char *text = test_read(SEEDS "gpt2.json", &size);
    char *named = replaced(text, "\"content\": \"<s>\"", "\"content\": \"ab\"");
    char *moved = replaced(named, "\"added_tokens\": [{\"id\": 0", "\"added_tokens\": [{\"id\": 3");
    TestPath path = test_write_text(&own_folder, "tokenizer.json", moved);
    test_write_text(
        &own_folder, "tokenizer_config.json",
        "{\"bos_token\":\"ab\",\"eos_token\":{\"content\":\"b\"},\"add_bos_token\":true}");
    t = tokenizer_load(path.text, &err);
    if (!t) fail_msg("%s", err.text);
    assert_false(tokenizer_is_llama(t));
    TestPath config = test_path(own_folder.text, "tokenizer_config.json");
    assert_true(tokenizer_save(t, path.text, &err));
    assert_true(tokenizer_save_config(t, config.text, 77, &err));
    tokenizer_free(t);
    t = tokenizer_load_folder(own_folder.text, &err);
    if (!t) fail_msg("%s", err.text);
    assert_int_equal(tokenizer_bos(t), 3);
    assert_int_equal(tokenizer_eos(t), 2);
    assert_true(tokenizer_adds_bos(t) && !tokenizer_adds_eos(t));
    tokenizer_free(t);
    free(text);
    free(named);
    free(moved);
}

static double encode_run(const Tokenizer *t, size_t size, const char *fill)
{
    TokenList list = {0};
    Error err;
    size_t unit = strlen(fill);
    char *text = malloc(size);
    size -= size % unit;
    for (size_t i = 0; i < size; i++) text[i] = fill[i % unit];
    clock_t begin = clock();
    if (!tokenizer_encode(t, text, size, &list, &err)) fail_msg("%s", err.text);
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    token_list_free(&list);
    free(text);
    return seconds;
}

// A text eight times as long may take eight times as long and some more, not 64 times: one word or
// many, white space that patterns go back and forth over, marks that NFC must sort.
static void test_long_texts(void **state)
{
    (void)state;
    static const char *const FILLS[] = {"h",
                                        "hell",
                                        " ",
                                        "\n",
                                        " \n",
                                        "a ",
                                        "1",
                                        "'",
                                        "<",
                                        "\xCC\x81\xCC\xA3",
                                        "\xE3\x80\x80",
                                        "a\xCC\x81"};
    Tokenizer *t = load_seed("byte_level.json");
    for (size_t i = 0; i < sizeof FILLS / sizeof *FILLS; i++) {
        double small = encode_run(t, 1 << 17, FILLS[i]), large = encode_run(t, 1 << 20, FILLS[i]);
        if (large > 24 * small + 0.3)
            fail_msg("'%s': 128 KiB took %.3f s, 1 MiB %.3f s", FILLS[i], small, large);
    }
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_added_tokens),
        cmocka_unit_test(test_decoding_of_bytes),
        TEST(test_ignore_merges),
        cmocka_unit_test(test_prefix_space_and_missing_bytes),
        cmocka_unit_test(test_metaspace_words),
        cmocka_unit_test(test_saved),
        TEST(test_refused),
        cmocka_unit_test(test_foreign_patterns),
        cmocka_unit_test(test_patterns),
        TEST(test_hostile_pattern),
        TEST(test_split_behaviors),
        TEST(test_saved_config),
        cmocka_unit_test(test_long_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
