// Sessions and greedy decoding: depth d is the model cut to d blocks, to the bit; the pieces in
// which a prompt is fed change nothing; what the context and the vocabulary do not hold is refused.
#include "infer/generate.h"
#include "support/device.h"
#include "support/models.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONTEXT = 160 };  // of small_config
#define NEVER UINT32_MAX // no EOS

// ---- feeding -----------------------------------------------------------------------------------

static Session *open_session(Llama *model, uint32_t context)
{
    Error err;
    Session *session = session_open(model, context, &err);
    if (!session) fail_msg("%s", err.text);
    return session;
}

// Some fixed text of count ids.
static void fill_tokens(uint32_t *tokens, uint32_t count, uint32_t vocab)
{
    uint32_t state = 12345;
    for (uint32_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        tokens[i] = i ? (state >> 8) % vocab : 1;
    }
}

// Feeds tokens in pieces of that size to a session that was reset; every position's logits,
// malloc'ed.
static float *feed_in_pieces(Session *session, const uint32_t *tokens, uint32_t count,
                             uint32_t depth, uint32_t piece)
{
    size_t vocab = session_vocab(session);
    float *logits = malloc(count * vocab * sizeof *logits);
    assert_non_null(logits);
    Error err;
    session_reset(session);
    for (uint32_t at = 0; at < count; at += piece) {
        uint32_t size = count - at < piece ? count - at : piece;
        if (!session_feed(session, tokens + at, size, depth, size, logits + at * vocab, &err))
            fail_msg("%s", err.text);
        assert_int_equal(session_position(session), at + size);
    }
    return logits;
}

// Bit-equal, or fails naming the first position that differs.
static void check_logits(const float *a, const float *b, uint32_t count, uint32_t vocab,
                         const char *what, uint32_t which)
{
    for (uint32_t i = 0; i < count; i++)
        if (memcmp(a + (size_t)i * vocab, b + (size_t)i * vocab, vocab * sizeof *a))
            fail_msg("%s %u: the logits at position %u differ", what, which, i);
}

// ---- depth -------------------------------------------------------------------------------------

// At every depth: a prompt of `count` tokens, then token by token, as the cut model does it.
static void check_depths(const char *folder, uint32_t count, uint32_t singles)
{
    Llama whole = load_model(folder);
    uint32_t vocab = whole.config.vocab_size, all = count + singles;
    Session *session = open_session(&whole, 0);
    uint32_t *tokens = malloc(all * sizeof *tokens);
    float *logits[2];
    fill_tokens(tokens, all, vocab);
    for (uint32_t depth = 1; depth <= whole.config.blocks; depth++) {
        const char name[] = {'c', 'u', 't', (char)('0' + depth), 0};
        TestPath cut_folder = test_path(own_folder.text, name);
        model_cut(cut_folder.text, folder, depth);
        Llama cut = load_model(cut_folder.text);
        assert_int_equal(cut.config.blocks, depth);
        Session *sessions[] = {session, open_session(&cut, 0)};
        for (int i = 0; i < 2; i++) {
            Error err;
            logits[i] = malloc((size_t)all * vocab * sizeof *logits[i]);
            session_reset(sessions[i]);
            assert_true(session_feed(sessions[i], tokens, count, depth, count, logits[i], &err));
            for (uint32_t t = count; t < all; t++)
                assert_true(session_feed(sessions[i], tokens + t, 1, depth, 1,
                                         logits[i] + (size_t)t * vocab, &err));
        }
        check_logits(logits[0], logits[1], all, vocab, "depth", depth);
        session_close(sessions[1]);
        llama_free(&cut);
        free(logits[0]);
        free(logits[1]);
    }
    session_close(session);
    free(tokens);
    llama_free(&whole);
}

static void depth_is_the_cut_model(void **state)
{
    (void)state;
    TestPath folder = small_model(&own_folder, "tied", 1);
    check_depths(folder.text, 70, 5);
}

static void depth_is_the_cut_model_untied(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    config.tied = false;
    config.kv_heads = 1;
    config.head_size = 14; // heads wider in sum than the model
    TestPath folder = test_path(own_folder.text, "untied");
    model_write(folder.text, &config, 2);
    check_depths(folder.text, 33, 3);
}

static void depth_is_the_cut_model_stories(void **state)
{
    (void)state;
    check_depths(test_data("stories260K").text, 70, 3);
}

// Shallower is not the same as deeper, or the tests above would prove nothing.
static void depths_differ(void **state)
{
    (void)state;
    Llama model = load_model(small_model(&own_folder, "m", 1).text);
    Session *session = open_session(&model, 0);
    uint32_t tokens[9], vocab = model.config.vocab_size;
    fill_tokens(tokens, 9, vocab);
    float *last = feed_in_pieces(session, tokens, 9, 1, 9);
    for (uint32_t depth = 2; depth <= 4; depth++) {
        float *now = feed_in_pieces(session, tokens, 9, depth, 9);
        assert_memory_not_equal(last, now, vocab * sizeof *now);
        free(last);
        last = now;
    }
    free(last);
    session_close(session);
    llama_free(&model);
}

// ---- pieces ------------------------------------------------------------------------------------

static void check_pieces(const char *folder, uint32_t depth, uint32_t count, uint32_t context)
{
    Llama model = load_model(folder);
    Session *session = open_session(&model, context);
    uint32_t *tokens = malloc(count * sizeof *tokens), vocab = model.config.vocab_size;
    fill_tokens(tokens, count, vocab);
    float *whole = feed_in_pieces(session, tokens, count, depth, count);
    const uint32_t pieces[] = {1, 2, 7, 63, 64, 65, 100};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        float *logits = feed_in_pieces(session, tokens, count, depth, pieces[i]);
        check_logits(whole, logits, count, vocab, "pieces of", pieces[i]);
        free(logits);
    }
    free(whole);
    free(tokens);
    session_close(session);
    llama_free(&model);
}

static void pieces_change_nothing(void **state)
{
    (void)state;
    TestPath folder = small_model(&own_folder, "m", 3);
    check_pieces(folder.text, 4, CONTEXT, 0); // up to the context
    check_pieces(folder.text, 3, 130, 130);
}

static void pieces_change_nothing_stories(void **state)
{
    (void)state;
    check_pieces(test_data("stories260K").text, 5, 140, 0);
}

// Only the last `wanted` positions, wherever chunks begin and end.
static void wanted_logits(void **state)
{
    (void)state;
    Llama model = load_model(small_model(&own_folder, "m", 4).text);
    Session *session = open_session(&model, 0);
    enum { COUNT = 131 };
    uint32_t tokens[COUNT], vocab = model.config.vocab_size;
    fill_tokens(tokens, COUNT, vocab);
    float *all = feed_in_pieces(session, tokens, COUNT, 4, COUNT);
    float *logits = malloc((size_t)COUNT * vocab * sizeof *logits);
    const uint32_t wanted[] = {0, 1, 2, 3, 4, 67, 68, 130, 131};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        Error err;
        session_reset(session);
        if (wanted[i] < COUNT) logits[wanted[i] * (size_t)vocab] = 42;
        assert_true(session_feed(session, tokens, COUNT, 4, wanted[i], logits, &err));
        check_logits(all + (size_t)(COUNT - wanted[i]) * vocab, logits, wanted[i], vocab, "wanted",
                     wanted[i]);
        if (wanted[i] < COUNT) assert_true(logits[wanted[i] * (size_t)vocab] == 42);
    }
    free(logits);
    free(all);
    session_close(session);
    llama_free(&model);
}

// After a reset nothing of the old text, and not its depth, is left.
static void reset_forgets(void **state)
{
    (void)state;
    Llama model = load_model(small_model(&own_folder, "m", 5).text);
    Session *used = open_session(&model, 0), *fresh = open_session(&model, 0);
    uint32_t tokens[90], vocab = model.config.vocab_size;
    fill_tokens(tokens, 90, vocab);
    free(feed_in_pieces(used, tokens, 90, 4, 13));
    for (uint32_t depth = 1; depth <= 4; depth++) {
        float *a = feed_in_pieces(used, tokens + 40, 20, depth, 20);
        float *b = feed_in_pieces(fresh, tokens + 40, 20, depth, 20);
        check_logits(a, b, 20, vocab, "depth", depth);
        assert_int_equal(session_position(used), 20);
        free(a);
        free(b);
    }
    session_reset(used);
    assert_int_equal(session_position(used), 0);
    session_close(used);
    session_close(fresh);
    llama_free(&model);
}

// ---- what is refused ---------------------------------------------------------------------------

static void refuses_to_pass_the_context(void **state)
{
    (void)state;
    Llama model = load_model(small_model(&own_folder, "m", 6).text);
    Session *session = open_session(&model, 0), *narrow = open_session(&model, 10);
    uint32_t tokens[CONTEXT + 1], vocab = model.config.vocab_size;
    float *logits = malloc(vocab * sizeof *logits);
    Error err = {""};
    fill_tokens(tokens, CONTEXT + 1, vocab);
    assert_int_equal(session_context(session), CONTEXT);
    assert_int_equal(session_context(narrow), 10);
    assert_false(session_feed(session, tokens, CONTEXT + 1, 4, 1, logits, &err));
    assert_error(err, "161 tokens behind 0: the context is 160 tokens");
    assert_int_equal(session_position(session), 0);
    assert_true(session_feed(session, tokens, CONTEXT, 4, 1, logits, &err));
    assert_false(session_feed(session, tokens, 1, 4, 1, logits, &err));
    assert_error(err, "1 tokens behind 160: the context is 160 tokens");
    assert_int_equal(session_position(session), CONTEXT);
    assert_false(session_feed(narrow, tokens, 11, 4, 1, logits, &err));
    assert_error(err, "11 tokens behind 0: the context is 10 tokens");
    free(logits);
    session_close(narrow);
    session_close(session);
    llama_free(&model);
}

static void refuses_unknown_tokens(void **state)
{
    (void)state;
    Llama model = load_model(small_model(&own_folder, "m", 6).text);
    Session *session = open_session(&model, 0);
    uint32_t vocab = model.config.vocab_size, tokens[] = {1, vocab - 1, vocab};
    char expected[80];
    Error err = {""};
    snprintf(expected, sizeof expected, "token id %u: the model's vocabulary has %u", vocab, vocab);
    assert_false(session_feed(session, tokens, 3, 4, 0, NULL, &err));
    assert_error(err, expected);
    assert_true(session_feed(session, tokens, 2, 4, 0, NULL, &err));
    session_close(session);
    llama_free(&model);
}

// ---- greedy decoding ---------------------------------------------------------------------------

static Generation run_greedy(Session *session, const uint32_t *prompt, uint32_t count,
                             uint32_t depth, uint32_t most, uint32_t eos)
{
    Generation out;
    Error err;
    if (!generate_greedy(&out, session, prompt, count, depth, most, &eos, eos != NEVER, &err))
        fail_msg("%s", err.text);
    return out;
}

// Each token is the largest logit behind all before it; the listener hears each once.
static void greedy_takes_the_largest(void **state)
{
    (void)state;
    Llama model = load_model(small_model(&own_folder, "m", 7).text);
    Session *session = open_session(&model, 0);
    enum { PROMPT = 5, NEW = 20 };
    uint32_t text[PROMPT + NEW], vocab = model.config.vocab_size;
    fill_tokens(text, PROMPT, vocab);
    for (uint32_t depth = 1; depth <= 4; depth++) {
        Generation out = run_greedy(session, text, PROMPT, depth, NEW, NEVER);
        assert_int_equal(out.count, NEW);
        assert_int_equal(out.end, END_LENGTH);
        assert_true(out.prompt_seconds > 0 && out.seconds > 0);
        assert_true(generation_ms_per_token(&out) == 1e3 * out.seconds / (NEW - 1));
        memcpy(text + PROMPT, out.tokens, NEW * sizeof *text);
        float *logits = feed_in_pieces(session, text, PROMPT + NEW, depth, PROMPT + NEW);
        for (uint32_t i = 0; i < NEW; i++)
            assert_int_equal(argmax(logits + (size_t)(PROMPT + i - 1) * vocab, vocab),
                             out.tokens[i]);
        free(logits);
        generation_free(&out);
    }
    session_close(session);
    llama_free(&model);
}

// EOS ends the text and is not part of it, also as its first token.
static void greedy_ends_at_eos(void **state)
{
    (void)state;
    Llama model = load_model(small_model(&own_folder, "m", 7).text);
    Session *session = open_session(&model, 0);
    const uint32_t prompt[] = {1, 300, 301, 302, 50};
    Generation all = run_greedy(session, prompt, 5, 4, 30, NEVER);
    assert_int_equal(all.count, 30);
    for (size_t at = 0; at < all.count; at++) {
        uint32_t eos = all.tokens[at];
        size_t first = 0; // where that token comes for the first time
        while (all.tokens[first] != eos) first++;
        if (first < at) continue;
        Generation out = run_greedy(session, prompt, 5, 4, 30, eos);
        assert_int_equal(out.end, END_EOS);
        assert_int_equal(out.count, at);
        assert_memory_equal(out.tokens, all.tokens, at * sizeof *out.tokens);
        generation_free(&out);
    }
    generation_free(&all);
    session_close(session);
    llama_free(&model);
}

static void greedy_ends_at_the_context(void **state)
{
    (void)state;
    Llama model = load_model(small_model(&own_folder, "m", 7).text);
    Session *session = open_session(&model, 12);
    uint32_t prompt[13];
    fill_tokens(prompt, 13, model.config.vocab_size);
    // The context holds 12 tokens; the one that follows them is known, too.
    Generation out = run_greedy(session, prompt, 5, 2, 1000000000, NEVER);
    assert_int_equal(out.count, 8);
    assert_int_equal(out.end, END_LENGTH);
    generation_free(&out);
    out = run_greedy(session, prompt, 12, 2, 5, NEVER);
    assert_int_equal(out.count, 1);
    assert_true(generation_ms_per_token(&out) == 1e3 * out.prompt_seconds);
    generation_free(&out);
    Error err = {""};
    assert_false(generate_greedy(&out, session, prompt, 13, 2, 5, NULL, 0, &err));
    assert_error(err, "prompt: 13 tokens, but the context is 12 tokens");
    assert_null(out.tokens);
    out = run_greedy(session, prompt, 5, 2, 3, NEVER);
    assert_int_equal(out.count, 3);
    generation_free(&out);
    session_close(session);
    llama_free(&model);
}

static void tells_the_story(void **state)
{
    (void)state;
    TestPath folder = test_data("stories260K");
    Error err;
    Tokenizer *words = tokenizer_load(test_path(folder.text, "tokenizer.json").text, &err);
    assert_non_null(words);
    Llama model = load_model(folder.text);
    Session *session = open_session(&model, 0);
    TokenList prompt = {0};
    const char text[] = "Once upon a time";
    assert_true(token_list_push(&prompt, tokenizer_bos(words)));
    assert_true(tokenizer_encode(words, text, strlen(text), &prompt, &err));
    Generation out = run_greedy(session, prompt.ids, (uint32_t)prompt.count, 5, 60, 2);
    char *story = tokenizer_decode(words, out.tokens, out.count);
    const char expected[] =
        ", there was a little girl named Lily. She loved to play outside in the park.";
    if (strncmp(story, expected, strlen(expected))) fail_msg("the story goes on '%s'", story);
    free(story);
    generation_free(&out);
    token_list_free(&prompt);
    session_close(session);
    llama_free(&model);
    tokenizer_free(words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(depth_is_the_cut_model),
        TEST(depth_is_the_cut_model_untied),
        TEST(depth_is_the_cut_model_stories),
        TEST(depths_differ),
        TEST(pieces_change_nothing),
        TEST(pieces_change_nothing_stories),
        TEST(wanted_logits),
        TEST(reset_forgets),
        TEST(refuses_to_pass_the_context),
        TEST(refuses_unknown_tokens),
        TEST(greedy_takes_the_largest),
        TEST(greedy_ends_at_eos),
        TEST(greedy_ends_at_the_context),
        TEST(tells_the_story),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, device_open, device_close);
}
