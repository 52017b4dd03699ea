// Tokenizers on the 12,000 texts of support/texts.h. tests/reference/compare_tokenizers.mjs finds
// the ids equal to those of Hugging Face's tokenizers; here their hash tells that they still are.
// With
// --print this prints the texts, for that script; with --hash FOLDER... the hashes of tokenizers.
#include "base/hash.h"
#include "base/json_text.h"
#include "support/files.h"
#include "support/texts.h"
#include "text/tokenizer.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Whether ids hold a token that decoding leaves out; twice, since one space in front is dropped.
static bool holds_special(const Tokenizer *t, const TokenList *ids)
{
    for (size_t i = 0; i < ids->count; i++) {
        size_t size;
        char *text = tokenizer_decode_bytes(t, &size, (uint32_t[]){ids->ids[i], ids->ids[i]}, 2);
        free(text);
        if (!size) return true;
    }
    return false;
}

typedef struct {
    Hasher hasher;   // of the ids of each text, and TOKEN_NONE
    size_t restored; // texts that decode(encode(text)) gives back
    size_t special;  // texts that are not, for they hold special tokens or U+2581, a space to LLaMA
} Sums;

static bool put_text(Sums *sums, const Tokenizer *t, size_t index, Error *err)
{
    char line[TEXT_LINE];
    TokenList ids = {0};
    size_t size, back_size = 0;
    char *text = json_text_string(&size, line, test_text_line(line, index), "text", err);
    bool ok = text && tokenizer_encode(t, text, size, &ids, err);
    char *back = ok ? tokenizer_decode_bytes(t, &back_size, ids.ids, ids.count) : NULL;
    bool restored = back && back_size == size && !memcmp(back, text, size);
    sums->restored += restored;
    bool marked = strstr(line, "\\u2581") != NULL;
    sums->special += ok && !restored && (marked || holds_special(t, &ids));
    ok = ok && token_list_push(&ids, TOKEN_NONE);
    if (ok) hash_put(&sums->hasher, ids.ids, ids.count * sizeof *ids.ids);
    free(text);
    free(back);
    token_list_free(&ids);
    return ok;
}

static bool sum_texts(Sums *sums, const Tokenizer *t, Error *err)
{
    *sums = (Sums){0};
    for (size_t i = 0; i < TEXT_COUNT; i++)
        if (!put_text(sums, t, i, err)) return false;
    return true;
}

// The ids are those of Hugging Face's tokenizers, and what is no special token comes back.
static void check(const char *name, uint64_t expected)
{
    char path[200];
    Error err;
    Sums sums;
    snprintf(path, sizeof path, "tokenizers/%s", name);
    Tokenizer *t = tokenizer_load_folder(test_data(path).text, &err);
    if (!t || !sum_texts(&sums, t, &err)) fail_msg("%s", err.text);
    tokenizer_free(t);
    assert_int_equal(sums.restored + sums.special, TEXT_COUNT);
    uint64_t hash = hash_end(&sums.hasher).words[0];
    if (hash != expected) fail_msg("%s: the hash is %016" PRIx64, name, hash);
}

static void test_llama2(void **state)
{
    (void)state;
    check("llama2", 0x49bde19c01d2070f);
}

static void test_mistral(void **state)
{
    (void)state;
    check("mistral-v0.2", 0xec97238bb5236449);
}

static void test_minimind(void **state)
{
    (void)state;
    check("minimind", 0x804ed397e250bbd9);
}

static void test_codegen(void **state)
{
    (void)state;
    check("codegen", 0x4e5d3f6c1f30a0dc);
}

// tokenizer.model and tokenizer.json of one model agree, but where the latter takes special tokens
// for text ("normalized").
static void test_sentencepiece(void **state)
{
    (void)state;
    Error err;
    Tokenizer *json = tokenizer_load(test_data("tokenizers/llama2/tokenizer.json").text, &err);
    if (!json) fail_msg("%s", err.text);
    Tokenizer *model =
        tokenizer_load_sentencepiece(test_data("tokenizers/llama2/tokenizer.model").text, &err);
    if (!model) fail_msg("%s", err.text);
    size_t compared = 0;
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        char line[TEXT_LINE];
        TokenList a = {0}, b = {0};
        size_t size, length = test_text_line(line, i);
        if (strstr(line, "<s>") || strstr(line, "</s>") || strstr(line, "<unk>")) continue;
        char *text = json_text_string(&size, line, length, "text", &err);
        assert_true(text && tokenizer_encode(json, text, size, &a, &err));
        assert_true(tokenizer_encode(model, text, size, &b, &err));
        if (a.count != b.count || (a.count && memcmp(a.ids, b.ids, a.count * sizeof *a.ids)))
            fail_msg("%s", line);
        compared++;
        free(text);
        token_list_free(&a);
        token_list_free(&b);
    }
    assert_true(compared > 11000);
    tokenizer_free(json);
    tokenizer_free(model);
}

static int print_hashes(int count, char **paths)
{
    for (int i = 0; i < count; i++) {
        Error err;
        Sums sums;
        Tokenizer *t = tokenizer_load_folder(paths[i], &err);
        if (!t || !sum_texts(&sums, t, &err)) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        printf("%s: hash %016" PRIx64 ", of %d texts %zu restored, %zu with special tokens\n",
               paths[i], hash_end(&sums.hasher).words[0], TEXT_COUNT, sums.restored, sums.special);
        tokenizer_free(t);
    }
    return 0;
}

int main(int argc, char **argv)
{
    char line[TEXT_LINE];
    if (argc == 2 && !strcmp(argv[1], "--print")) {
        for (size_t i = 0; i < TEXT_COUNT; i++) {
            test_text_line(line, i);
            puts(line);
        }
        return 0;
    }
    if (argc > 2 && !strcmp(argv[1], "--hash")) return print_hashes(argc - 2, argv + 2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llama2),        cmocka_unit_test(test_mistral),
        cmocka_unit_test(test_minimind),      cmocka_unit_test(test_codegen),
        cmocka_unit_test(test_sentencepiece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
