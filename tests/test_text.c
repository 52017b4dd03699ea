// Tokenizers and prompts: exact ids on a vocabulary small enough to follow by hand, streams, built
// vocabularies and long texts. Files are test_tokenizer_files.c's.
#include "support/files.h"
#include "support/tokens.h"
#include "text/alpaca.h"
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

#define WRONG "\xEF\xBF\xBD" // U+FFFD

static void test_encode_small(void **state)
{
    (void)state;
    Tokenizer *t = load_small(NULL, NULL);
    assert_int_equal(tokenizer_vocab_size(t), SMALL_SIZE);
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 2);
    check_ids(t, "", NULL, 0);
    check_ids(t, "a", IDS(SPACE_A));
    check_ids(t, "ab", IDS(SPACE, AB)); // "a b" is the better merge
    check_ids(t, "aab", IDS(SPACE_A, AB));
    check_ids(t, "b a", IDS(SPACE, B, SPACE_A));
    check_ids(t, " ", IDS(SPACE, SPACE));
    check_ids(t,
              "\xC3\xA9"
              "a",
              IDS(SPACE, byte_id(0xC3), byte_id(0xA9), A));
    check_ids(t, "<0x41>",
              IDS(SPACE, byte_id('<'), byte_id('0'), byte_id('x'), byte_id('4'), byte_id('1'),
                  byte_id('>')));
    tokenizer_free(t);
}

// Expected ids are those of Hugging Face's tokenizers: <s> is looked for in the raw text, </s> in
// the normalized text, where it begins with U+2581.
static void test_written_special_tokens(void **state)
{
    (void)state;
    Tokenizer *t = load_small(NULL, NULL);
    check_ids(t, "a<s>a", IDS(SPACE_A, 1, SPACE_A));
    check_ids(t, "a <s>", IDS(SPACE_A, SPACE, 1));
    check_ids(t, "<s><s>", IDS(1, 1));
    check_ids(t, "a </s>a", IDS(SPACE_A, 2, A));
    check_ids(t, "</s>", IDS(2));
    check_ids(t, "<s></s>", IDS(1, 2));
    check_ids(t, "a</s>", IDS(SPACE_A, byte_id('<'), byte_id('/'), byte_id('s'), byte_id('>')));
    check_ids(t, "<s", IDS(SPACE, byte_id('<'), byte_id('s')));
    tokenizer_free(t);
}

static void test_added_tokens_strip(void **state)
{
    (void)state;
    Tokenizer *t = load_small("\"added_tokens\":[",
                              "\"added_tokens\":["
                              "{\"id\":264,\"content\":\"<x>\",\"rstrip\":true,\"lstrip\":true,"
                              "\"normalized\":false,\"special\":false},"
                              "{\"id\":270,\"content\":\"<xx>\",\"normalized\":false},");
    assert_int_equal(tokenizer_vocab_size(t), 271);
    check_ids(t, "a \xE3\x80\x80<x>\n a", IDS(SPACE_A, 264, SPACE_A));
    check_ids(t, "<x> <x>", IDS(264, 264));
    check_ids(t, "a <xx> a", IDS(SPACE_A, SPACE, 270, SPACE, SPACE_A));
    check_text(t, IDS(SPACE_A, 264, 265, 9999, 1, B), "a<x>b"); // 265 is a hole, 9999 beyond
    tokenizer_free(t);
}

static void test_unknown_characters(void **state)
{
    (void)state;
    // Without the byte C3, characters that begin with it are <unk>, fused with their neighbours.
    Tokenizer *t = load_small("\"<0xC3>\":198", "\"zz\":198");
    check_ids(t,
              "\xC3\xA9\xC3\xA8"
              "a",
              IDS(SPACE, 0, A));
    check_ids(t, "\xC3\xA9!a\xC3\xA8", IDS(SPACE, byte_id('!'), 0, A, 0));
    tokenizer_free(t);
    char *text = small_json(), *once = replaced(text, "\"<0xC3>\":198", "\"zz\":198");
    char *twice = replaced(once, "\"fuse_unk\":true", "\"fuse_unk\":false");
    TestPath folder = test_folder_make();
    Error err;
    t = tokenizer_load(test_write_text(&folder, "t.json", twice).text, &err);
    assert_non_null(t);
    check_ids(t,
              "\xC3\xA9\xC3\xA8"
              "a",
              IDS(SPACE, 0, 0, A));
    tokenizer_free(t);
    test_folder_remove(&folder);
    free(text);
    free(once);
    free(twice);
}

static void test_metaspace(void **state)
{
    (void)state;
    Tokenizer *always = load_metaspace("always"), *first = load_metaspace("first");
    Tokenizer *never = load_metaspace("never");
    check_ids(always, "a", IDS(SPACE_A));
    check_ids(always, " a", IDS(SPACE_A));
    check_ids(always, "a<s>a", IDS(SPACE_A, 1, SPACE_A));
    check_ids(always, "a</s>a", IDS(SPACE_A, 2, SPACE_A));
    check_ids(first, "a<s>a", IDS(SPACE_A, 1, A));
    check_ids(first, "<s>a", IDS(1, A));
    check_ids(never, "a a", IDS(A, SPACE_A));
    tokenizer_free(always);
    tokenizer_free(first);
    tokenizer_free(never);
}

static void test_decode_and_stream(void **state)
{
    (void)state;
    Tokenizer *t = load_small(NULL, NULL);
    check_text(t, NULL, 0, "");
    check_text(t, IDS(1, SPACE_A, B, SPACE, SPACE_A, 2), "ab  a");
    check_text(t, IDS(SPACE, SPACE, A), " a");
    check_text(t, IDS(byte_id(' '), A), "a");
    check_text(t, IDS(A, byte_id(0xE2), byte_id(0x82), byte_id(0xAC)), "a\xE2\x82\xAC");
    check_text(t, IDS(A, byte_id(0xE2), 1, byte_id(0x82), byte_id(0xAC)), "a\xE2\x82\xAC");
    check_text(t, IDS(byte_id(0xE2), byte_id(0x82), A), WRONG WRONG "a");
    check_text(t, IDS(byte_id(0xE2), byte_id(0x82)), WRONG WRONG);
    check_text(t, IDS(byte_id(0xE2), byte_id('x')), WRONG "x");
    check_text(t, IDS(byte_id(0xF0), byte_id(0x9F), byte_id(0xC3), byte_id(0xA9)),
               WRONG WRONG "\xC3\xA9");
    check_text(t, IDS(byte_id(0xED), byte_id(0xA0), byte_id(0x80)), WRONG WRONG WRONG);
    check_text(t, IDS(byte_id(0xC0), byte_id(0xFF)), WRONG WRONG);
    tokenizer_free(t);
}

static void test_stream_waits_for_whole_characters(void **state)
{
    (void)state;
    Tokenizer *t = load_small(NULL, NULL);
    TokenStream stream;
    token_stream_begin(&stream, t);
    assert_string_equal(token_stream_push(&stream, SPACE), "");
    assert_string_equal(token_stream_push(&stream, A), "a");
    assert_string_equal(token_stream_push(&stream, SPACE_A), " a");
    assert_string_equal(token_stream_push(&stream, byte_id(0xF0)), "");
    assert_string_equal(token_stream_push(&stream, byte_id(0x9F)), "");
    assert_string_equal(token_stream_push(&stream, byte_id(0x98)), "");
    assert_string_equal(token_stream_push(&stream, byte_id(0x80)), "\xF0\x9F\x98\x80");
    assert_string_equal(token_stream_push(&stream, byte_id(0xE2)), "");
    assert_string_equal(token_stream_end(&stream), WRONG);
    assert_string_equal(token_stream_end(&stream), "");
    tokenizer_free(t);
}

static void test_stream_equals_decode(void **state)
{
    (void)state;
    Tokenizer *t = load_small(NULL, NULL);
    uint32_t seed = 7, ids[40];
    for (int round = 0; round < 2000; round++) {
        size_t count = (size_t)(round % 40);
        for (size_t i = 0; i < count; i++) {
            seed = seed * 1664525 + 1013904223;
            uint32_t draw = seed >> 8;
            ids[i] = draw % 3 ? byte_id(0x80 + draw % 128) : draw % SMALL_SIZE;
            if (ids[i] == byte_id(0)) ids[i] = A;
        }
        char *whole = tokenizer_decode(t, ids, count), *streamed = stream_text(t, ids, count);
        assert_string_equal(whole, streamed);
        free(whole);
        free(streamed);
    }
    tokenizer_free(t);
}

static void test_invalid_text(void **state)
{
    (void)state;
    Tokenizer *t = load_small(NULL, NULL);
    TokenList list = {0};
    Error err;
    assert_true(token_list_push(&list, 77));
    assert_false(tokenizer_encode(t, "ab\xC3(", 4, &list, &err));
    assert_string_equal(err.text, "text: invalid UTF-8 at byte 2");
    assert_false(tokenizer_encode(t, "a\xF0\x9F\x98", 4, &list, &err));
    assert_string_equal(err.text, "text: invalid UTF-8 at byte 1");
    assert_int_equal(list.count, 1);
    assert_true(tokenizer_encode(t, "a\0a", 3, &list, &err));
    assert_int_equal(list.count, 4);
    assert_int_equal(list.ids[2], byte_id(0));
    token_list_free(&list);
    tokenizer_free(t);
}

// a, aa, aaaa ... up to 16, behind control tokens and bytes.
static Tokenizer *build_doubling(Error *err, uint32_t last_right)
{
    static const char RUN[] = "aaaaaaaaaaaaaaaa";
    const char *pieces[265] = {"<unk>", "<s>", "</s>"};
    char bytes[256][8];
    uint32_t merges[4][2];
    for (uint32_t i = 0; i < 256; i++) sprintf(bytes[i], "<0x%02X>", (unsigned)i);
    for (uint32_t i = 0; i < 256; i++) pieces[3 + i] = bytes[i];
    pieces[259] = MARK;
    for (uint32_t i = 0; i < 5; i++) pieces[260 + i] = RUN + 16 - (1 << i);
    for (uint32_t i = 0; i < 4; i++) merges[i][0] = merges[i][1] = 260 + i;
    merges[3][1] = last_right;
    return tokenizer_build(pieces, 265, (const uint32_t(*)[2])merges, 4, err);
}

static void test_build(void **state)
{
    (void)state;
    Error err;
    Tokenizer *t = build_doubling(&err, 263);
    assert_non_null(t);
    check_ids(t, "aaaaaaaaaaaaaaaaaaaaaaa", IDS(259, 264, 262, 261, 260));
    tokenizer_free(t);
    assert_null(build_doubling(&err, 999));
    assert_error(err, "merge 3 names id 999, expected less than 265");
    assert_null(build_doubling(&err, 261));
    assert_error(err, "merge 3 makes 'aaaaaaaaaa', which is not in the vocabulary");
    assert_null(tokenizer_build(NULL, 0, NULL, 0, &err));
    assert_error(err, "0 pieces, expected 1 to 4000000");
    const char *twice[] = {"<unk>", "<s>", "</s>", "x", "x"};
    assert_null(tokenizer_build(twice, 5, NULL, 0, &err));
    assert_error(err, "piece 'x' stands twice, as id 3 and 4");
    char *wide = malloc(1002);
    memset(wide, 'x', 1001);
    wide[1001] = 0;
    twice[4] = wide;
    assert_null(tokenizer_build(twice, 5, NULL, 0, &err));
    assert_error(err, "piece 4 is 1001 bytes long, expected at most 1000");
    twice[4] = "\xFF";
    assert_null(tokenizer_build(twice, 5, NULL, 0, &err));
    assert_error(err, "piece 4 is not valid UTF-8");
    free(wide);
}

static double encode_run(const Tokenizer *t, size_t size, const char *fill)
{
    TokenList list = {0};
    Error err;
    char *text = malloc(size);
    for (size_t i = 0; i < size; i++) text[i] = fill[i % strlen(fill)];
    clock_t begin = clock();
    assert_true(tokenizer_encode(t, text, size, &list, &err));
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    if (!strcmp(fill, "a")) {
        assert_int_equal(list.count, 1 + size / 16);
        assert_int_equal(list.ids[1], 264);
        assert_int_equal(list.ids[list.count - 1], 264);
    }
    token_list_free(&list);
    free(text);
    return seconds;
}

// A text eight times as long may take eight times as long and some more, not 64 times.
static void test_long_words(void **state)
{
    (void)state;
    Error err;
    Tokenizer *t = build_doubling(&err, 263);
    const char *const fills[] = {"a", "<", "</s", "aab"};
    for (size_t i = 0; i < 4; i++) {
        double small = encode_run(t, 1 << 17, fills[i]), large = encode_run(t, 1 << 20, fills[i]);
        if (large > 24 * small + 0.2)
            fail_msg("'%s': 128 KiB took %.3f s, 1 MiB %.3f s", fills[i], small, large);
    }
    tokenizer_free(t);
}

static void test_alpaca(void **state)
{
    (void)state;
    char *with = alpaca_prompt("Add 5%.", "1 2"), *without = alpaca_prompt("Add.", NULL);
    char *empty = alpaca_prompt("Add.", "");
    assert_string_equal(with,
                        "Below is an instruction that describes a task, paired with an input that "
                        "provides further context. Write a response that appropriately completes "
                        "the request.\n\n### Instruction:\nAdd 5%.\n\n### Input:\n1 2\n\n"
                        "### Response:");
    assert_string_equal(without, "Below is an instruction that describes a task. Write a response "
                                 "that appropriately completes the request.\n\n### Instruction:\n"
                                 "Add.\n\n### Response:");
    assert_string_equal(empty, without);
    free(with);
    free(without);
    free(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode_small),
        cmocka_unit_test(test_written_special_tokens),
        cmocka_unit_test(test_added_tokens_strip),
        cmocka_unit_test(test_unknown_characters),
        cmocka_unit_test(test_metaspace),
        cmocka_unit_test(test_decode_and_stream),
        cmocka_unit_test(test_stream_waits_for_whole_characters),
        cmocka_unit_test(test_stream_equals_decode),
        cmocka_unit_test(test_invalid_text),
        cmocka_unit_test(test_build),
        cmocka_unit_test(test_long_words),
        cmocka_unit_test(test_alpaca),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
