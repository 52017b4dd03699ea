// Tokenizers in GGUF files: llama.cpp's own vocabulary file gives llama.cpp's ids; what is written
// from a tokenizer.json encodes as that does; chat templates and tokens by id; what is refused by
// which message.
#include "base/file.h"
#include "model/gguf_convert.h"
#include "model/gguf_tokenizer.h"
#include "support/models.h"
#include "support/tokens.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Tokenizer *load(const char *path)
{
    Error err;
    Tokenizer *tokenizer = gguf_tokenizer_load(path, &err);
    if (!tokenizer) fail_msg("%s", err.text);
    return tokenizer;
}

// ---- against llama.cpp -------------------------------------------------------------------------

// One line of expected ids against those of a text.
static void check_line(const Tokenizer *t, const char *text, size_t size, const char *line)
{
    Error err;
    TokenList ids = {0};
    if (!tokenizer_encode(t, text, size, &ids, &err)) fail_msg("%s", err.text);
    char *end;
    size_t i = 0;
    for (unsigned long id; id = strtoul(line, &end, 10), end != line; line = end, i++)
        if (i >= ids.count || ids.ids[i] != id) fail_msg("'%.*s': id %zu", (int)size, text, i);
    assert_int_equal(i, ids.count);
    token_list_free(&ids);
}

static void gives_ids_of_llama_cpp(void **state)
{
    (void)state;
    static const char mark[] = "\n__ggml_vocab_test__\n";
    Tokenizer *t = load(test_data("tokenizers/vectors/ggml-vocab-llama-spm.gguf").text);
    size_t size, count = 0;
    char *texts =
        test_read(test_data("tokenizers/vectors/ggml-vocab-llama-spm.gguf.inp").text, &size);
    char *lines =
        test_read(test_data("tokenizers/vectors/ggml-vocab-llama-spm.gguf.out").text, &size);
    char *line = lines;
    for (char *text = texts, *next; text; text = next, count++) {
        next = strstr(text, mark);
        size_t length = next ? (size_t)(next - text) : strlen(text);
        if (next) next += strlen(mark);
        char *end = strchr(line, '\n');
        if (end) *end = 0;
        check_line(t, text, length, line);
        line = end ? end + 1 : line + strlen(line);
    }
    assert_true(count > 40);
    assert_int_equal(tokenizer_bos(t), 1);
    assert_true(tokenizer_adds_bos(t) && !tokenizer_adds_eos(t));
    tokenizer_free(t);
    free(texts);
    free(lines);
}

// ---- against the tokenizer.json ----------------------------------------------------------------

// FOLDER's tokenizer as a file of a tokenizer alone.
static TestPath write_tokenizer(const char *folder, uint32_t vocab_size, const Tokenizer *t)
{
    Error err;
    HfTokenizer parts;
    TestPath path = test_path(own_folder.text, "t.gguf");
    if (!hf_tokenizer_open(&parts, folder, vocab_size, &err)) fail_msg("%s", err.text);
    parts.parts.bos = tokenizer_bos(t);
    parts.parts.eos = tokenizer_eos(t);
    GgufWriter *writer = gguf_create(path.text, &err);
    assert_non_null(writer);
    gguf_put_tokenizer(writer, &parts.parts);
    assert_true(gguf_begin_data(writer, &err));
    if (!gguf_commit(writer, &err)) fail_msg("%s", err.text);
    hf_tokenizer_close(&parts);
    return path;
}

static void check_same_texts(const Tokenizer *a, const Tokenizer *b)
{
    static const char *const texts[] = {
        "",
        " ",
        "   two  three   ",
        "Once upon a time, there was a little girl named Lily.",
        "\n\n\t\r\n x",
        "l'été où 3.14159 coûte 2000€",
        "\xF0\x9F\x98\x80\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7",
        "\xE4\xBD\xA0\xE5\xA5\xBD \xD0\xBF\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82",
        "<0x41>[PAD7] 's 'LL I'm don't",
        "Below is an instruction that describes a task. ### Response:",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check_same(a, b, texts[i]);
    char *long_text;
    size_t size;
    Error err;
    if (!file_read(&long_text, &size, test_data("text/tinyshakespeare.txt").text, 1 << 24, &err))
        fail_msg("%s", err.text);
    long_text[200000] = 0;
    check_same(a, b, long_text);
    free(long_text);
}

// Special tokens written out in the text: in a GGUF file they stand for themselves wherever they
// are, as in a tokenizer.json that says "normalized": false.
static const char SPECIAL[] = "<s> </s> <unk> <|im_start|>user<|im_end|> <|endoftext|>";

static void check_tokenizer(const char *name, bool special)
{
    Error err;
    TestPath folder = test_data(name);
    Tokenizer *t = tokenizer_load_folder(folder.text, &err);
    if (!t) fail_msg("%s", err.text);
    TestPath path = write_tokenizer(folder.text, tokenizer_vocab_size(t) + 3, t);
    Tokenizer *read = load(path.text);
    check_same_texts(t, read);
    if (special) check_same(t, read, SPECIAL);
    assert_int_equal(tokenizer_vocab_size(read), tokenizer_vocab_size(t) + 3);
    tokenizer_free(t);
    tokenizer_free(read);
}

static void encodes_as_llama2(void **state)
{
    (void)state;
    check_tokenizer("tokenizers/llama2", false); // "normalized": true
}

static void encodes_as_mistral(void **state)
{
    (void)state;
    check_tokenizer("tokenizers/mistral-v0.2", true);
}

static void encodes_as_minimind(void **state)
{
    (void)state;
    check_tokenizer("tokenizers/minimind", true);
}

static void encodes_as_codegen(void **state)
{
    (void)state;
    check_tokenizer("tokenizers/codegen", true);
}

static void encodes_as_stories(void **state)
{
    (void)state;
    check_tokenizer("stories260K", true);
}

// Whose merges are not what its scores give.
static void encodes_as_asset(void **state)
{
    (void)state;
    Error err;
    Tokenizer *t = tokenizer_load_folder(TEST_ROOT "/assets/base", &err);
    assert_non_null(t);
    TestPath path = write_tokenizer(TEST_ROOT "/assets/base", tokenizer_vocab_size(t), t);
    Tokenizer *read = load(path.text);
    check_same_texts(t, read);
    tokenizer_free(t);
    tokenizer_free(read);
}

// A folder that has a SentencePiece model alone.
static void converts_sentencepiece(void **state)
{
    (void)state;
    Error err;
    TestPath folder = test_path(own_folder.text, "model"), file = test_path(own_folder.text, "m");
    LlamaConfig config = small_config();
    config.vocab_size = 32000;
    model_write(folder.text, &config, 3);
    size_t size;
    char *bytes = test_read(test_data("tokenizers/llama2/tokenizer.model").text, &size);
    test_write(&folder, "tokenizer.model", bytes, size);
    free(bytes);
    remove(test_path(folder.text, "tokenizer.json").text);
    if (!gguf_from_folder(file.text, folder.text, DTYPE_COUNT, &err)) fail_msg("%s", err.text);
    assert_int_equal(test_folder_count(own_folder.text), 2);
    Tokenizer *a = tokenizer_load_folder(folder.text, &err), *b = load(file.text);
    assert_non_null(a);
    check_same_texts(a, b);
    tokenizer_free(a);
    tokenizer_free(b);
}

// ---- templates and tokens ----------------------------------------------------------------------

static void keeps_templates_and_tokens(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "{\"bos_token\":\"<s>\",\"chat_template\":\"{{ a }}\"}",
        "{\"chat_template\":[{\"name\":\"tool\",\"template\":\"x\"},"
        "{\"name\":\"default\",\"template\":\"{{ a }}\"}]}",
        "{}"};
    TestPath folder = small_model(&own_folder, "model", 3), path = test_path(own_folder.text, "m");
    test_write_text(&folder, "chat_template.jinja", "{{ a }}");
    for (int i = 0; i < 3; i++) {
        Error err;
        Gguf file;
        GgufText text;
        test_write_text(&folder, "tokenizer_config.json", forms[i]);
        if (!gguf_from_folder(path.text, folder.text, DTYPE_COUNT, &err)) fail_msg("%s", err.text);
        assert_true(gguf_open(&file, path.text, &err));
        assert_true(gguf_chat_template(&text, &file, &err) && gguf_text_is(text, "{{ a }}"));
        assert_true(gguf_token_text(&text, &file, 2, &err) && gguf_text_is(text, "</s>"));
        assert_true(gguf_token_text(&text, &file, 3, &err) && gguf_text_is(text, "<0x00>"));
        assert_true(gguf_token_text(&text, &file, 1 << 20, &err) && !text.text);
        gguf_close(&file);
    }
}

// ---- refused -----------------------------------------------------------------------------------

typedef struct {
    const char *model, *pre;
    uint32_t tokens, scores, types; // elements; 0: no such key
    int32_t type;
    uint32_t bos;
} Sample;

static void check_refused(const Sample *s, const char *part)
{
    Error err = {""};
    TestPath path = test_path(own_folder.text, "x.gguf");
    GgufWriter *w = gguf_create(path.text, &err);
    assert_non_null(w);
    if (s->model) gguf_put_text(w, "tokenizer.ggml.model", s->model, strlen(s->model));
    if (s->pre) gguf_put_text(w, "tokenizer.ggml.pre", s->pre, strlen(s->pre));
    if (s->tokens) gguf_put_array(w, "tokenizer.ggml.tokens", GGUF_STRING, s->tokens);
    for (uint32_t i = 0; i < s->tokens; i++) gguf_put_element(w, (char[]){(char)('a' + i)}, 1);
    if (s->scores) gguf_put_array(w, "tokenizer.ggml.scores", GGUF_F32, s->scores);
    for (uint32_t i = 0; i < s->scores; i++) gguf_put_elements(w, &(float){0}, 4);
    if (s->types) gguf_put_array(w, "tokenizer.ggml.token_type", GGUF_I32, s->types);
    for (uint32_t i = 0; i < s->types; i++) gguf_put_elements(w, &s->type, 4);
    if (s->bos) gguf_put_u32(w, "tokenizer.ggml.bos_token_id", s->bos);
    assert_true(gguf_begin_data(w, &err));
    assert_true(gguf_commit(w, &err));
    err.text[0] = 0;
    assert_null(gguf_tokenizer_load(path.text, &err));
    assert_error(err, part);
    assert_error(err, "x.gguf");
}

static void refuses(void **state)
{
    (void)state;
    check_refused(&(Sample){NULL, NULL, 5}, "'tokenizer.ggml.model' is missing");
    check_refused(&(Sample){"bert", NULL, 5}, "is 'bert', expected 'llama' or 'gpt2'");
    check_refused(&(Sample){"llama", NULL}, "'tokenizer.ggml.tokens' has 0 tokens");
    check_refused(&(Sample){"llama", NULL, 5}, "no scores");
    check_refused(&(Sample){"llama", NULL, 5, 4}, "'tokenizer.ggml.scores' has 4 elements");
    check_refused(&(Sample){"llama", NULL, 5, 5, 6}, "'tokenizer.ggml.token_type' has 6 elements");
    check_refused(&(Sample){"llama", NULL, 5, 5, 5, 7}, "type");
    check_refused(&(Sample){"llama", NULL, 5, 5, 5, 1, 5},
                  "'tokenizer.ggml.bos_token_id' is 5, expected 0 to 4");
    check_refused(&(Sample){"gpt2", "magic", 5}, "magic");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gives_ids_of_llama_cpp),     TEST(encodes_as_llama2),
        TEST(encodes_as_mistral),         TEST(encodes_as_minimind),
        TEST(encodes_as_codegen),         TEST(encodes_as_stories),
        TEST(encodes_as_asset),           TEST(converts_sentencepiece),
        TEST(keeps_templates_and_tokens), TEST(refuses),
    };
    return cmocka_run_group_tests_name("gguf_tokenizer", tests, NULL, NULL);
}
