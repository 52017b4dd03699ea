// Tokenizer files: damaged ones, what is saved and loaded again, llama2.c's form, and real
// vocabularies where the test data is there.
#include "support/files.h"
#include "support/tokens.h"
#include "text/tokenizer.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_damaged_json(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *message;
    } DAMAGE[] = {
        {"\"a\":260", "\"a\":259", "id 259 is given to both '" MARK "' and 'a'"},
        {"\"a\":260", "\"a\":4000000", "the id of 'a' is out of range"},
        {"\"a\":260", "\"a\":-1", "the id of 'a' is out of range"},
        {"\"a\":260", "\"a\":1.5", "the id of 'a' is out of range"},
        {"\"a\":260", "\"a\":1e300", "the id of 'a' is out of range"},
        {"\"a\":260", "\"a\":\"260\"", "the id of 'a' is out of range"},
        {"\"a\":260", "\"a\":260,\"a\":261", "key 'a' stands twice"},
        {"\"a b\"", "\"a c\"", "merge 0 names 'c', which is not in the vocabulary"},
        {"\"a b\"", "\"cc b\"", "merge 0 names 'cc', which is not in the vocabulary"},
        {"\"a b\"", "\"b a\"", "merge 0 makes 'ba', which is not in the vocabulary"},
        {"\"a b\"", "\"a b \"", "merge 0 must be \"a b\" or [\"a\", \"b\"]"},
        {"\"a b\"", "\"ab\"", "merge 0 must be \"a b\" or [\"a\", \"b\"]"},
        {"\"a b\"", "[\"a\"]", "merge 0 must be \"a b\" or [\"a\", \"b\"]"},
        {"\"a b\"", "[\"a\",1]", "merge 0 must be \"a b\" or [\"a\", \"b\"]"},
        {"\"a b\"", "7", "merge 0 must be \"a b\" or [\"a\", \"b\"]"},
        {"\"merges\"", "\"merge\"", "key 'merges' must be an array"},
        {"\"vocab\"", "\"vocabulary\"", "key 'vocab' must be an object"},
        {"\"model\"", "\"modem\"", "key 'model' must be an object"},
        {"\"type\":\"BPE\"", "\"type\":\"Unigram\"", "key 'model': type Unigram is not supported"},
        {"\"byte_fallback\":true", "\"byte_fallback\":1", "key 'byte_fallback' must be true or"},
        {"\"dropout\":null", "\"dropout\":0.1", "key 'dropout' is 0.1, expected 0 to 0"},
        {"\"fuse_unk\":true", "\"ignore_merges\":1", "key 'ignore_merges' must be true or"},
        {"\"fuse_unk\":true", "\"end_of_word_suffix\":\"_\"",
         "key 'end_of_word_suffix' must be empty"},
        {"\"unk_token\":\"<unk>\"", "\"unk_token\":\"?\"",
         "the vocabulary has no piece '?' (the unknown token)"},
        {"\"id\":1,", "\"id\":7,", "added token '<s>' has id 7, but the vocabulary says 1"},
        {"\"id\":1,", "\"id\":4e6,", "the id of '<s>' is out of range"},
        {"\"content\":\"</s>\"", "\"content\":\"\"", "id 2 is given to both '</s>' and ''"},
        {NORMALIZER, "{\"type\":\"Lowercase\"}", "key 'normalizer': Lowercase is not supported"},
        {"\"pre_tokenizer\":null", "\"pre_tokenizer\":{\"type\":\"Whitespace\"}",
         "key 'pre_tokenizer': Whitespace is not supported"},
        {"{\"type\":\"Fuse\"}" STRIP, "{\"type\":\"WordPiece\"}",
         "key 'decoder': WordPiece is not supported"},
        {",{\"type\":\"Fuse\"}" STRIP, "", "key 'decoder': a shorter list is not supported"},
        {"\"decoder\"", "\"decoded\"", "key 'decoder' is missing"},
        {"{\"added_tokens\"", "[\"added_tokens\"", "not JSON"},
    };
    for (size_t i = 0; i < sizeof DAMAGE / sizeof *DAMAGE; i++) {
        Error err = {0};
        Tokenizer *t = load_changed(DAMAGE[i].from, DAMAGE[i].to, &err);
        if (t) fail_msg("loaded in spite of %s", DAMAGE[i].to);
        assert_error(err, DAMAGE[i].message);
        assert_error(err, "tokenizer.json: ");
    }
}

// The vocabulary without one of the special pieces, which are not added tokens either.
static void test_missing_special_pieces(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"<unk>", "<s>", "</s>"};
    static const char RUN[] = "abcde"; // each of its ends is a piece
    const char *pieces[SMALL_SIZE];
    char bytes[256][8];
    Error err;
    for (int i = 0; i < 256; i++) sprintf(bytes[i], "<0x%02X>", (unsigned)i);
    for (uint32_t missing = 0; missing < 3; missing++) {
        for (uint32_t i = 0; i < SMALL_SIZE; i++)
            pieces[i] = i < 3 ? NAMES[i] : i < SPACE ? bytes[i - 3] : &RUN[i - SPACE];
        pieces[missing] = "<other>";
        char message[64];
        sprintf(message, "the vocabulary has no piece '%s'", NAMES[missing]);
        assert_null(tokenizer_build(pieces, SMALL_SIZE, NULL, 0, &err));
        assert_error(err, message);
    }
}

static void test_config_names_bos_and_eos(void **state)
{
    (void)state;
    TestPath folder = test_folder_make();
    Error err;
    char *text = small_json();
    TestPath path = test_write_text(&folder, "tokenizer.json", text);
    test_write_text(&folder, "tokenizer_config.json",
                    "{\"bos_token\":{\"content\":\"ab\"},\"eos_token\":\"b\"}");
    Tokenizer *t = tokenizer_load(path.text, &err);
    assert_non_null(t);
    assert_int_equal(tokenizer_bos(t), AB);
    assert_int_equal(tokenizer_eos(t), B);
    tokenizer_free(t);
    test_write_text(&folder, "tokenizer_config.json", "{\"bos_token\":null,\"eos_token\":\"zz\"}");
    assert_null(tokenizer_load(path.text, &err));
    assert_error(err, "the vocabulary has no piece 'zz' (the end of a text)");
    test_write_text(&folder, "tokenizer_config.json", "{\"eos_token\":7}");
    assert_null(tokenizer_load(path.text, &err));
    assert_error(err, "tokenizer_config.json: key 'eos_token' must name a token");
    free(text);
    test_folder_remove(&folder);
}

static const char *const TEXTS[] = {
    "a",
    "ab aab",
    "  a b ",
    "a<s>a </s> a</s>",
    "<unk>",
    "\n\ta",
    MARK "a",
    ("\xC3\xA9"
     "a"),
    "\xF0\x9F\x98\x80 Hello, World 123!",
    "</s></s> </s>",
    "Once upon a time, there was a little girl named Lily.",
    "\xD0\xBD\xD0\xB5\xD1\x89\xD0\xBE \xE6\x88\x91\xE6\x83\xB3\xE5\x9C\xA8 apple"};

static void test_save_small(void **state)
{
    (void)state;
    Tokenizer *variants[] = {load_small(NULL, NULL), load_metaspace("first"),
                             load_small("\"a\":260", "\"a\":300,\"x y\":260"),
                             load_small(STRIP, ""), load_small(NORMALIZER, REPLACE_STEP)};
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        Tokenizer *again = save_and_load(variants[v]);
        assert_int_equal(tokenizer_vocab_size(again), tokenizer_vocab_size(variants[v]));
        for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
            check_same(variants[v], again, TEXTS[i]);
            TokenList list = encode(variants[v], TEXTS[i]);
            char *text = tokenizer_decode(variants[v], list.ids, list.count);
            check_text(again, list.ids, list.count, text);
            token_list_free(&list);
            free(text);
        }
        tokenizer_free(variants[v]);
        tokenizer_free(again);
    }
}

// A file of the small vocabulary in llama2.c's form; scores fall with the id.
static size_t small_llama2c(char *out)
{
    char *at = out;
    int32_t longest = 6;
    memcpy(at, &longest, 4);
    at += 4;
    for (uint32_t id = 0; id < SMALL_SIZE; id++) {
        static const char *const CONTROL[] = {"<unk>", "\n<s>\n", "\n</s>\n"};
        static const char *const NORMAL[] = {" ", "a", "b", "ab", " a"};
        char text[8];
        float score = id < SPACE ? 0 : -(float)id;
        if (id < 3 || id >= SPACE)
            sprintf(text, "%s", id < 3 ? CONTROL[id] : NORMAL[id - SPACE]);
        else
            sprintf(text, "<0x%02X>", (unsigned)(id - 3));
        int32_t length = (int32_t)strlen(text);
        memcpy(at, &score, 4);
        memcpy(at + 4, &length, 4);
        memcpy(at + 8, text, (size_t)length);
        at += 8 + length;
    }
    return (size_t)(at - out);
}

static void check_llama2c_refused(const void *bytes, size_t size, uint32_t vocab_size,
                                  const char *message)
{
    TestPath folder = test_folder_make();
    Error err = {0};
    TestPath path = test_write(&folder, "tok.bin", bytes, size);
    assert_null(tokenizer_load_llama2c(path.text, vocab_size, &err));
    assert_error(err, message);
    assert_error(err, "tok.bin: ");
    test_folder_remove(&folder);
}

static void test_llama2c_small(void **state)
{
    (void)state;
    char bytes[8192];
    size_t size = small_llama2c(bytes);
    TestPath folder = test_folder_make();
    Error err;
    TestPath path = test_write(&folder, "tok.bin", bytes, size);
    Tokenizer *t = tokenizer_load_llama2c(path.text, SMALL_SIZE, &err);
    assert_non_null(t);
    check_ids(t, "ab a<s>", IDS(SPACE, AB, SPACE_A, 1));
    check_text(t, IDS(1, SPACE, AB, SPACE_A), "ab a");
    tokenizer_free(t);
    test_folder_remove(&folder);
}

static void test_llama2c_damaged(void **state)
{
    (void)state;
    char bytes[8192], copy[8192];
    size_t size = small_llama2c(bytes);
    int32_t length;
    float score;
    check_llama2c_refused(bytes, 0, SMALL_SIZE, "ends at byte 0, within token 0");
    check_llama2c_refused(bytes, size - 1, SMALL_SIZE, "within token 263");
    check_llama2c_refused(bytes, size, SMALL_SIZE + 1, "within token 264");
    check_llama2c_refused(bytes, size, SMALL_SIZE - 1, "10 bytes follow the 263 tokens");
    check_llama2c_refused(bytes, size, 3, "a vocabulary of 3 tokens, expected 259 to 4000000");
    memcpy(copy, bytes, size);
    length = -1;
    memcpy(copy + 8, &length, 4);
    check_llama2c_refused(copy, size, SMALL_SIZE, "token 0 has a length of -1, expected 0 to 256");
    length = INT32_MAX;
    memcpy(copy + 8, &length, 4);
    check_llama2c_refused(copy, size, SMALL_SIZE, "token 0 has a length of 2147483647");
    memcpy(copy, bytes, size);
    memset(&score, 0xFF, sizeof score);
    memcpy(copy + 4, &score, 4);
    check_llama2c_refused(copy, size, SMALL_SIZE, "the score of token 0 is not a finite number");
    memcpy(copy, bytes, size);
    copy[size - 1] = 'b'; // " b" would be fine, but here "a" becomes a second "b"
    copy[size - 2] = 'a';
    check_llama2c_refused(copy, size, SMALL_SIZE, "piece 'ab' stands twice, as id 262 and 263");
}

static Tokenizer *load_real(const char *name)
{
    Error err;
    Tokenizer *t = tokenizer_load(test_data(name).text, &err);
    if (!t) fail_msg("%s", err.text);
    return t;
}

static void check_numbers(const Tokenizer *t, const char *text, const char *line)
{
    uint32_t ids[512];
    size_t count = 0;
    for (char *end; count < 512; line = end, count++) {
        unsigned long id = strtoul(line, &end, 10);
        if (end == line || memchr(line, '\n', (size_t)(end - line))) break;
        ids[count] = (uint32_t)id;
    }
    check_ids(t, text, ids, count);
}

// The texts of NAME.gguf.inp have the ids of NAME.gguf.out; t is freed.
static void check_vectors(Tokenizer *t, const char *name)
{
    static const char BREAK[] = "\n__ggml_vocab_test__\n";
    char path[100];
    snprintf(path, sizeof path, "tokenizers/vectors/ggml-vocab-%s.gguf.inp", name);
    TestPath in = test_data(path);
    snprintf(path, sizeof path, "tokenizers/vectors/ggml-vocab-%s.gguf.out", name);
    TestPath out = test_data(path);
    size_t size, count = 0;
    char *texts = test_read(in.text, &size), *lines = test_read(out.text, &size);
    char *text = texts, *line = lines;
    for (char *end; (end = strstr(text, BREAK)) != NULL; count++) {
        *end = 0;
        check_numbers(t, text, line);
        check_round_trip(t, text);
        text = end + strlen(BREAK);
        line = strchr(line, '\n') + 1;
    }
    assert_int_equal(count, 46);
    free(texts);
    free(lines);
    tokenizer_free(t);
}

static void test_llama2_vectors(void **state)
{
    (void)state;
    check_vectors(load_real("tokenizers/llama2/tokenizer.json"), "llama-spm");
}

// The vocabularies of LLaMA 3 and Qwen are not among the test data: STRATA_TEST_TOKENIZERS names a
// folder with llama3/tokenizer.json and qwen2/tokenizer.json. tests/reference/README.md says
// whence.
static void check_other_vectors(const char *folder, const char *name)
{
    const char *root = getenv("STRATA_TEST_TOKENIZERS");
    Error err;
    if (!root || !*root) {
        print_message("skipped: STRATA_TEST_TOKENIZERS is not set\n");
        skip();
    }
    Tokenizer *t = tokenizer_load_folder(test_path(root, folder).text, &err);
    if (!t) fail_msg("%s", err.text);
    check_vectors(t, name);
}

static void test_llama3_vectors(void **state)
{
    (void)state;
    check_other_vectors("llama3", "llama-bpe");
}

static void test_qwen2_vectors(void **state)
{
    (void)state;
    check_other_vectors("qwen2", "qwen2");
}

// Ids from Hugging Face's tokenizers.
static void test_llama2_special_tokens(void **state)
{
    (void)state;
    Tokenizer *t = load_real("tokenizers/llama2/tokenizer.json");
    check_ids(t, "hello</s>", IDS(22172, 829, 29879, 29958));
    check_ids(t, "hello </s>", IDS(22172, 2));
    check_ids(t, "</s>hi", IDS(2, 2918));
    check_ids(t, "  <s> x", IDS(259, 1, 921));
    check_ids(t, "a <s><s> b", IDS(263, 1, 29966, 29879, 29958, 289));
    check_ids(t, MARK "x", IDS(29871, 921));
    tokenizer_free(t);
    t = load_real("tokenizers/mistral-v0.2/tokenizer.json");
    check_ids(t, "hello</s>", IDS(6312, 28709, 2));
    check_ids(t, "</s>hi", IDS(2, 12014));
    check_ids(t, " </s></s> </s>", IDS(259, 2, 2, 259, 2));
    tokenizer_free(t);
}

// Calls check(a, b, text) on pieces of a real text.
static void each_part(const char *name, const Tokenizer *a, const Tokenizer *b,
                      void (*check)(const Tokenizer *, const Tokenizer *, const char *))
{
    size_t size;
    char *text = test_read(test_data(name).text, &size);
    if (size > 200000) text[size = 200000] = 0;
    for (size_t at = 0, length = 1; at + length < size; at += length, length = length % 700 + 13) {
        char kept = text[at + length];
        text[at + length] = 0;
        check(a, b, text + at);
        text[at + length] = kept;
    }
    free(text);
}

static void check_both(const Tokenizer *a, const Tokenizer *b, const char *text)
{
    check_same(a, b, text);
    check_round_trip(a, text);
}

static void test_stories_both_ways(void **state)
{
    (void)state;
    Error err;
    Tokenizer *json = load_real("stories260K/tokenizer.json");
    Tokenizer *bin = tokenizer_load_llama2c(test_data("stories260K/tok512.bin").text, 512, &err);
    if (!bin) fail_msg("%s", err.text);
    assert_int_equal(tokenizer_vocab_size(json), 512);
    Tokenizer *again = save_and_load(bin);
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        check_same(json, bin, TEXTS[i]);
        check_same(json, again, TEXTS[i]);
    }
    each_part("text/tinyshakespeare.txt", json, bin, check_both);
    tokenizer_free(json);
    tokenizer_free(bin);
    tokenizer_free(again);
}

static void test_llama2_saved(void **state)
{
    (void)state;
    Tokenizer *t = load_real("tokenizers/llama2/tokenizer.json"), *again = save_and_load(t);
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) check_same(t, again, TEXTS[i]);
    each_part("text/tinyshakespeare.txt", t, again, check_both);
    tokenizer_free(t);
    tokenizer_free(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damaged_json),
        cmocka_unit_test(test_missing_special_pieces),
        cmocka_unit_test(test_config_names_bos_and_eos),
        cmocka_unit_test(test_save_small),
        cmocka_unit_test(test_llama2c_small),
        cmocka_unit_test(test_llama2c_damaged),
        cmocka_unit_test(test_llama2_vectors),
        cmocka_unit_test(test_llama3_vectors),
        cmocka_unit_test(test_qwen2_vectors),
        cmocka_unit_test(test_llama2_special_tokens),
        cmocka_unit_test(test_stories_both_ways),
        cmocka_unit_test(test_llama2_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
