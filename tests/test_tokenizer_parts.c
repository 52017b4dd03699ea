// Tokenizers from parts, as GGUF files carry them, and SentencePiece models: the same ids as the
// tokenizer.json of the same model, and what is refused.
#include "base/json.h"
#include "support/files.h"
#include "support/tokens.h"
#include "text/tokenizer.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED TEST_ROOT "/tests/fuzz/seeds/sentencepiece/small.model"

// A vocabulary of the LLaMA kind: pieces, scores and types side by side.
static const char *const PIECES[] = {"<unk>", "<s>", "</s>",   "<0x21>", MARK, "a",
                                     "b",     "ab",  MARK "a", "<user>", "un"};
static const size_t SIZES[] = {5, 3, 4, 6, 3, 1, 1, 2, 4, 6, 2};
static const float SCORES[] = {0, 0, 0, 0, -9, -8, -7, -1, -2, 0, 0};
static const int32_t TYPES[] = {2, 3, 3, 6, 1, 1, 1, 1, 1, 4, 5};
enum { COUNT = sizeof PIECES / sizeof *PIECES };

static TokenizerParts small_parts(void)
{
    return (TokenizerParts){.kind = TOKENIZER_LLAMA,
                            .vocab_size = COUNT,
                            .pieces = PIECES,
                            .piece_sizes = SIZES,
                            .scores = SCORES,
                            .types = TYPES,
                            .bos = 1,
                            .eos = 2,
                            .unknown = 0,
                            .add_bos = true,
                            .add_space_prefix = true};
}

static Tokenizer *make(const TokenizerParts *parts)
{
    Error err;
    Tokenizer *t = tokenizer_from_parts(parts, "parts", &err);
    if (!t) fail_msg("%s", err.text);
    return t;
}

static void test_llama_parts(void **state)
{
    (void)state;
    TokenizerParts parts = small_parts();
    Tokenizer *t = make(&parts), *again = save_and_load(t);
    for (int i = 0; i < 2; i++) {
        check_ids(t, "ab", IDS(4, 7)); // "ab" scores better than U+2581 "a"
        check_ids(t, "a!", IDS(8, 3));
        check_ids(t, "<s>a</s>", IDS(1, 8, 2));
        check_ids(t, "a<user>b", IDS(8, 9, 4, 6));
        check_ids(t, "?", IDS(4, 0));
        check_text(t, IDS(1, 4, 7, 9, 3), "ab<user>!");
        assert_true(tokenizer_adds_bos(t) && !tokenizer_adds_eos(t));
        tokenizer_free(i ? again : t);
        t = again;
    }
    parts.add_space_prefix = false;
    t = make(&parts);
    check_ids(t, "ab a", IDS(7, 8));
    check_text(t, IDS(8), " a");
    tokenizer_free(t);
    parts.bos = parts.eos = parts.unknown = TOKEN_NONE;
    t = make(&parts);
    assert_int_equal(tokenizer_bos(t), TOKEN_NONE);
    assert_false(tokenizer_adds_bos(t));
    check_ids(t, "?a", IDS(5)); // what is no piece is dropped
    tokenizer_free(t);
}

static void check_refused(const TokenizerParts *parts, const char *message)
{
    Error err = {0};
    Tokenizer *t = tokenizer_from_parts(parts, "model.gguf", &err);
    if (t) fail_msg("made in spite of: %s", message);
    assert_error(err, message);
    assert_error(err, "model.gguf: ");
}

static void test_refused_parts(void **state)
{
    (void)state;
    float scores[COUNT];
    int32_t types[COUNT];
    size_t sizes[COUNT];
    TokenizerParts parts = small_parts();
    parts.vocab_size = 0;
    check_refused(&parts, "a vocabulary of 0 tokens, expected 1 to 4000000");
    parts.vocab_size = 4000001;
    check_refused(&parts, "a vocabulary of 4000001 tokens");
    parts = small_parts();
    parts.scores = NULL;
    check_refused(&parts, "the tokenizer has no scores");
    parts.scores = memcpy(scores, SCORES, sizeof scores);
    scores[5] = NAN;
    check_refused(&parts, "the score of token 5 is not a finite number");
    parts = small_parts();
    parts.types = memcpy(types, TYPES, sizeof types);
    types[4] = 7;
    check_refused(&parts, "the type of token 4 is 7, expected 1 to 6");
    parts = small_parts();
    parts.piece_sizes = memcpy(sizes, SIZES, sizeof sizes);
    sizes[7] = 1;
    check_refused(&parts, "piece 'a' stands twice, as id 5 and 7");
    parts = small_parts();
    parts.bos = COUNT;
    check_refused(&parts, "the beginning of a text is token 11, expected less than 11");
    parts = small_parts();
    parts.kind = TOKENIZER_GPT2;
    parts.pre = "no-such";
    check_refused(&parts, "the pre-tokenizer 'no-such' is not supported");
    static const char *const MERGES[] = {"a b", "b a"};
    static const size_t MERGE_SIZES[] = {3, 3};
    parts.pre = NULL;
    parts.merges = MERGES;
    parts.merge_sizes = MERGE_SIZES;
    parts.merge_count = 2;
    check_refused(&parts, "merge 1 makes 'ba', which is not in the vocabulary");
}

// The parts of a tokenizer.json of the byte-level kind, as a GGUF file would carry them.
typedef struct {
    const char **pieces; // (count)
    size_t *sizes;       // (count)
    int32_t *types;      // (count)
    const char **merges; // (merge_count)
    size_t *merge_sizes; // (merge_count)
    uint32_t count;
    size_t merge_count;
} Carried;

static void set_piece(Carried *c, uint32_t id, const char *text, int32_t type)
{
    if (id >= c->count) fail_msg("id %u", id);
    c->pieces[id] = text;
    c->sizes[id] = strlen(text);
    c->types[id] = type;
}

// Points into root. Merges must be written "a b".
static Carried carry(const cJSON *root, uint32_t count)
{
    const cJSON *model = cJSON_GetObjectItem(root, "model"), *item;
    const cJSON *merges = cJSON_GetObjectItem(model, "merges");
    size_t merge_count = (size_t)cJSON_GetArraySize(merges);
    Carried c = {calloc(count, sizeof *c.pieces),
                 calloc(count, sizeof *c.sizes),
                 calloc(count, sizeof *c.types),
                 calloc(merge_count, sizeof *c.merges),
                 calloc(merge_count, sizeof *c.merge_sizes),
                 count,
                 0};
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(model, "vocab"))
        set_piece(&c, (uint32_t)item->valueint, item->string, TOKEN_NORMAL);
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(root, "added_tokens"))
    {
        bool special = cJSON_IsTrue(cJSON_GetObjectItem(item, "special"));
        set_piece(&c, (uint32_t)cJSON_GetObjectItem(item, "id")->valueint,
                  cJSON_GetObjectItem(item, "content")->valuestring,
                  special ? TOKEN_CONTROL : TOKEN_USER);
    }
    cJSON_ArrayForEach(item, merges)
    {
        if (!cJSON_IsString(item)) fail_msg("a merge is not one string");
        c.merges[c.merge_count] = item->valuestring;
        c.merge_sizes[c.merge_count++] = strlen(item->valuestring);
    }
    return c;
}

static void check_same_as_json(const char *name, const char *pre)
{
    Error err;
    TestPath path = test_data(name);
    Tokenizer *json = tokenizer_load(path.text, &err);
    cJSON *root = json_read(path.text, &err);
    if (!json || !root) fail_msg("%s", err.text);
    Carried c = carry(root, tokenizer_vocab_size(json));
    Tokenizer *t = make(&(TokenizerParts){.kind = TOKENIZER_GPT2,
                                          .pre = pre,
                                          .vocab_size = c.count,
                                          .pieces = c.pieces,
                                          .piece_sizes = c.sizes,
                                          .types = c.types,
                                          .merges = c.merges,
                                          .merge_sizes = c.merge_sizes,
                                          .merge_count = c.merge_count,
                                          .bos = TOKEN_NONE,
                                          .eos = TOKEN_NONE,
                                          .unknown = TOKEN_NONE});
    free(c.pieces);
    free(c.sizes);
    free(c.types);
    free(c.merges);
    free(c.merge_sizes);
    cJSON_Delete(root);
    size_t size;
    char *text = test_read(test_data("text/tinyshakespeare.txt").text, &size);
    text[size < 300000 ? size : 300000] = 0;
    check_same(json, t, text);
    check_same(json, t, "a<|endoftext|>   \t\t b\xC3\xA9 12345 it's \xF0\x9F\x98\x80");
    free(text);
    tokenizer_free(json);
    tokenizer_free(t);
}

static void test_gpt2_parts(void **state)
{
    (void)state;
    check_same_as_json("tokenizers/codegen/tokenizer.json", "gpt-2");
}

static void test_sentencepiece(void **state)
{
    (void)state;
    Error err;
    Tokenizer *t = tokenizer_load_sentencepiece(SEED, &err);
    if (!t) fail_msg("%s", err.text);
    assert_int_equal(tokenizer_vocab_size(t), 28);
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 2);
    // Behind 3 control tokens and 16 bytes: U+2581 "a", "ab", "aa", U+2581, "a", "b", "H", "e".
    check_ids(t, "a", IDS(19));
    check_ids(t, "ab", IDS(19, 24)); // U+2581 "a" scores best
    check_ids(t, "baab", IDS(22, 24, 23, 20));
    check_ids(t, "3", IDS(22, 6)); // <0x33>
    check_ids(t, "He<user>", IDS(22, 25, 26, 27));
    check_text(t, IDS(1, 19, 24, 2), "ab");
    tokenizer_free(t);
}

// Every beginning of the file, and every one of its bytes changed: refused in one line, or loaded.
static void test_damaged_sentencepiece(void **state)
{
    (void)state;
    size_t size;
    char *bytes = test_read(SEED, &size);
    for (size_t i = 0; i < 2 * size; i++) {
        Error err = {0};
        char kept = bytes[i / 2];
        bytes[i / 2] = (char)(kept ^ (i % 2 ? 0xFF : 0x01));
        TestPath path = test_write(&own_folder, "t.model", bytes, size);
        Tokenizer *t = tokenizer_load_sentencepiece(path.text, &err);
        if (!t) assert_error(err, "t.model: ");
        tokenizer_free(t);
        bytes[i / 2] = kept;
        t = i % 2 ? tokenizer_load_sentencepiece(
                        test_write(&own_folder, "t.model", bytes, i / 2).text, &err)
                  : NULL;
        if (!t && i % 2) assert_error(err, "t.model: ");
        tokenizer_free(t);
    }
    free(bytes);
}

static void test_refused_sentencepiece(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *message;
    } CASES[] = {
        {"", 0, "not a SentencePiece model: has no pieces"},
        {"{\"a\"", 4, "not a SentencePiece model: a field is damaged or cut off"},
        {"\x0A\x03\x0A\x01"
         "a",
         5, "model_type unigram is not supported, expected BPE"},
        {"\x0A\x03\x0A\x01"
         "a\x12\x02\x18\x02",
         9, "remove_extra_whitespaces must be false"},
        {"\x0A\x03\x0A\x01"
         "a\x12\x02\x18\x02\x1A\x05\x20\x00\x12\x01x",
         16, "precompiled_charsmap is not supported, expected none"},
        {"\x0A\x03\x0A\x01"
         "a\x12\x02\x18\x02\x1A\x04\x20\x00\x28\x00",
         15, "escape_whitespaces must be true"},
        {"\x0A\x03\x0A\x01"
         "a\x12\x05\x18\x02\xC0\x01\x01\x1A\x02\x20\x00",
         16, "treat_whitespace_as_suffix must be false"},
        {"\x0A\x02\x18\x09\x12\x02\x18\x02\x1A\x02\x20\x00", 12,
         "the type of token 0 is -1, expected 1 to 6"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        Error err = {0};
        TestPath path = test_write(&own_folder, "t.model", CASES[i].bytes, CASES[i].size);
        Tokenizer *t = tokenizer_load_sentencepiece(path.text, &err);
        if (t) fail_msg("loaded in spite of: %s", CASES[i].message);
        assert_error(err, CASES[i].message);
    }
}

// tokenizer.json before tokenizer.model; neither: the first is what is missing.
static void test_folder(void **state)
{
    (void)state;
    Error err;
    size_t size;
    assert_null(tokenizer_load_folder(own_folder.text, &err));
    assert_error(err, "tokenizer.json: cannot open");
    char *bytes = test_read(SEED, &size);
    test_write(&own_folder, "tokenizer.model", bytes, size);
    Tokenizer *t = tokenizer_load_folder(own_folder.text, &err);
    assert_non_null(t);
    assert_int_equal(tokenizer_vocab_size(t), 28);
    tokenizer_free(t);
    free(bytes);
    char *json = small_json();
    test_write_text(&own_folder, "tokenizer.json", json);
    t = tokenizer_load_folder(own_folder.text, &err);
    assert_non_null(t);
    assert_int_equal(tokenizer_vocab_size(t), SMALL_SIZE);
    tokenizer_free(t);
    free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llama_parts),
        cmocka_unit_test(test_refused_parts),
        cmocka_unit_test(test_gpt2_parts),
        cmocka_unit_test(test_sentencepiece),
        TEST(test_damaged_sentencepiece),
        TEST(test_refused_sentencepiece),
        TEST(test_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
