// Depth at run time: what left early is filled in exactly when something deeper needs it, whatever
// the order of depths; thresholds of 0 and above 1 are fixed depths, to the bit; reports add up.
#include "support/decoding.h"
#include "support/models.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

enum { CONTEXT = 160, NEW = 40 };

// A model, an engine and a sequence.
typedef struct {
    Llama model;
    Engine *engine;
    Sequence sequence;
    uint32_t vocab;
} Bench;

static Bench bench_open(const char *folder)
{
    Bench b = {.model = load_model(folder)};
    return b;
}

// The engine knows where the model lies: only once that is final.
static void bench_start(Bench *b)
{
    b->engine = open_engine(&b->model, 0, 0);
    b->sequence = open_sequence(b->engine);
    b->vocab = b->model.config.vocab_size;
}

static void bench_close(Bench *b)
{
    sequence_free(&b->sequence);
    engine_close(b->engine);
    llama_free(&b->model);
}

static void append(Sequence *sequence, const uint32_t *tokens, uint32_t count)
{
    Error err;
    if (!sequence_append(sequence, tokens, count, &err)) fail_msg("%s", err.text);
}

static void advance(Engine *engine, Sequence *sequence, uint32_t end, uint32_t depth,
                    uint32_t wanted, float *logits)
{
    Error err;
    const Advance all = {sequence, end, wanted, logits};
    if (!engine_advance(engine, &all, 1, depth, &err)) fail_msg("%s", err.text);
}

// ---- the cache ---------------------------------------------------------------------------------

// Tokens fed at depths that go up and down leave, block by block, the keys and values of a full
// forward, as far as each has come; and all of them once they are taken to the end.
static void check_cache(const char *folder, uint32_t count)
{
    Bench mixed = bench_open(folder), full = bench_open(folder);
    bench_start(&mixed);
    bench_start(&full);
    uint32_t blocks = full.model.config.blocks, state = 99;
    uint32_t *tokens = malloc(count * sizeof *tokens);
    float *logits = malloc(2 * (size_t)full.vocab * sizeof *logits);
    some_tokens(tokens, count, full.vocab, 3);
    append(&full.sequence, tokens, count);
    advance(full.engine, &full.sequence, count, blocks, 0, NULL);
    for (uint32_t at = 0; at < count;) {
        state = state * 1664525u + 1013904223u;
        uint32_t size = 1 + (state >> 9) % 11, depth = 1 + (state >> 20) % blocks;
        if (size > count - at) size = count - at;
        append(&mixed.sequence, tokens + at, size);
        at += size;
        advance(mixed.engine, &mixed.sequence, at, depth, 1, logits);
        for (uint32_t p = 1; p < at; p++)
            assert_true(mixed.sequence.depths[p] <= mixed.sequence.depths[p - 1]);
    }
    for (uint32_t d = 1, end = 0; d <= blocks; d++) {
        for (end = 0; end < count && mixed.sequence.depths[end] >= d;) end++;
        check_same_cache(mixed.engine, &mixed.sequence, full.engine, &full.sequence, end, d);
    }
    assert_true(mixed.sequence.depths[count - 1] < blocks); // or nothing is left to fill
    advance(mixed.engine, &mixed.sequence, count, blocks, 1, logits);
    check_same_cache(mixed.engine, &mixed.sequence, full.engine, &full.sequence, count, blocks);
    sequence_truncate(&full.sequence, 0);
    append(&full.sequence, tokens, count);
    advance(full.engine, &full.sequence, count, blocks, 1, logits + full.vocab);
    assert_memory_equal(logits, logits + full.vocab, full.vocab * sizeof *logits);
    free(tokens);
    free(logits);
    bench_close(&mixed);
    bench_close(&full);
}

static void late_keys_are_exact(void **state)
{
    (void)state;
    check_cache(small_model(&own_folder, "m", 11).text, CONTEXT);
}

static void late_keys_are_exact_base(void **state)
{
    (void)state;
    check_cache(TEST_ROOT "/assets/base", 128);
}

static void late_keys_are_exact_stories(void **state)
{
    (void)state;
    check_cache(test_data("stories260K").text, 200);
}

// ---- thresholds --------------------------------------------------------------------------------

static const uint32_t EXITS[] = {1, 2, 3};

// Above 1 no token leaves early, at 0 every one at the first exit; tokens and caches are those of
// the fixed depth.
static void thresholds_at_the_ends(void **state)
{
    (void)state;
    Bench exits = bench_open(small_model(&own_folder, "m", 12).text);
    Bench fixed = bench_open(small_model(&own_folder, "n", 12).text);
    bench_start(&exits);
    bench_start(&fixed);
    const struct {
        double threshold;
        uint32_t first, depth; // of the exits, of the fixed depth
    } cases[] = {{1.5, 0, 4}, {0, 0, 1}, {0, 1, 2}, {0, 2, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int c = 0; CONFIDENCE_NAMES[c]; c++) {
            uint32_t prompt[30], depth = cases[i].depth;
            some_tokens(prompt, 30, fixed.vocab, (uint32_t)i);
            GenerateOptions options = plain_options(policy_fixed(depth));
            options.max_tokens = NEW;
            Generation a = run_options(fixed.engine, &fixed.sequence, prompt, 30, &options);
            options.policy =
                exits_policy(4, EXITS + cases[i].first, 3 - cases[i].first, cases[i].threshold);
            options.policy.confidence = (Confidence)c;
            Generation b = run_options(exits.engine, &exits.sequence, prompt, 30, &options);
            check_same_text(&a, &b, "case", (uint32_t)i);
            assert_int_equal(b.report.tokens_at[depth], NEW);
            assert_int_equal(b.report.blocks_run, (NEW - 1) * depth);
            check_same_cache(exits.engine, &exits.sequence, fixed.engine, &fixed.sequence,
                             exits.sequence.count, depth);
            generation_free(&a);
            generation_free(&b);
        }
    }
    bench_close(&exits);
    bench_close(&fixed);
}

// The threshold by which about half of the tokens leave at the first exit.
static double middle_confidence(Bench *b, const uint32_t *tokens, uint32_t count, uint32_t depth)
{
    float *logits = malloc((size_t)count * b->vocab * sizeof *logits);
    double values[64];
    sequence_truncate(&b->sequence, 0);
    append(&b->sequence, tokens, count);
    advance(b->engine, &b->sequence, count, depth, count, logits);
    for (uint32_t i = 0; i < count; i++) {
        double value = confidence_of(logits + (size_t)i * b->vocab, b->vocab, 0);
        uint32_t at = i;
        for (; at && values[at - 1] > value; at--) values[at] = values[at - 1];
        values[at] = value;
    }
    free(logits);
    return values[count / 2];
}

// In between: each token is what the exit that it left at says behind the tokens before it, and it
// left at the first that was sure enough. The logits come from sessions of fixed depth.
static void tokens_leave_where_they_are_sure(void **state)
{
    (void)state;
    Bench b = bench_open(small_model(&own_folder, "m", 13).text);
    bench_start(&b);
    enum { PROMPT = 20 };
    uint32_t text[PROMPT + NEW], seen = 0, sum = 0;
    some_tokens(text, PROMPT, b.vocab, 5);
    double threshold = middle_confidence(&b, text, PROMPT, 1);
    GenerateOptions options = plain_options(exits_policy(4, EXITS, 3, threshold));
    options.max_tokens = NEW;
    Generation out = run_options(b.engine, &b.sequence, text, PROMPT, &options);
    memcpy(text + PROMPT, out.tokens, NEW * sizeof *text);
    float *logits[5];
    for (uint32_t d = 1; d <= 4; d++) {
        logits[d] = malloc((PROMPT + NEW) * (size_t)b.vocab * sizeof *logits[d]);
        sequence_truncate(&b.sequence, 0);
        append(&b.sequence, text, PROMPT + NEW);
        advance(b.engine, &b.sequence, PROMPT + NEW, d, PROMPT + NEW, logits[d]);
    }
    uint32_t counted[5] = {0};
    for (uint32_t i = 0; i < NEW; i++) {
        size_t row = (size_t)(PROMPT + i - 1) * b.vocab;
        uint32_t d = 1;
        while (d < 4 && confidence_of(logits[d] + row, b.vocab, 0) < threshold) d++;
        assert_int_equal(argmax(logits[d] + row, b.vocab), out.tokens[i]);
        counted[d]++;
    }
    for (uint32_t d = 1; d <= 4; d++) {
        assert_int_equal(out.report.tokens_at[d], counted[d]);
        seen += counted[d] > 0;
        sum += counted[d];
        free(logits[d]);
    }
    assert_int_equal(sum, NEW);
    if (seen < 2) fail_msg("all tokens left at one depth: nothing was tested");
    generation_free(&out);
    bench_close(&b);
}

// A session's depth may change with every call.
static void sessions_change_depth(void **state)
{
    (void)state;
    Llama model = load_model(small_model(&own_folder, "m", 14).text);
    Error err;
    Session *s = session_open(&model, 0, &err), *t = session_open(&model, 0, &err);
    uint32_t tokens[60], vocab = model.config.vocab_size;
    float *a = malloc(vocab * sizeof *a), *b = malloc(vocab * sizeof *b);
    some_tokens(tokens, 60, vocab, 1);
    const uint32_t depths[] = {2, 4, 1, 3, 1, 4};
    for (uint32_t i = 0; i < 6; i++) {
        assert_true(session_feed(s, tokens + 10 * i, 10, depths[i], 1, a, &err));
        session_reset(t);
        assert_true(session_feed(t, tokens, 10 * i + 10, depths[i], 1, b, &err));
        assert_memory_equal(a, b, vocab * sizeof *a);
    }
    session_close(s);
    session_close(t);
    free(a);
    free(b);
    llama_free(&model);
}

// ---- pages -------------------------------------------------------------------------------------

static void pages_are_given_back(void **state)
{
    (void)state;
    Bench b = bench_open(small_model(&own_folder, "m", 15).text);
    b.engine = open_engine(&b.model, 100, 3); // 3 pages of 32
    b.sequence = open_sequence(b.engine);
    Sequence other = open_sequence(b.engine);
    uint32_t tokens[96];
    Error err = {""};
    some_tokens(tokens, 96, b.model.config.vocab_size, 1);
    append(&b.sequence, tokens, 33);
    assert_int_equal(engine_pool(b.engine)->free_count, 1);
    assert_false(sequence_append(&other, tokens, 33, &err));
    assert_error(err, "KV cache: 33 tokens more need 2 pages of 32 positions, 1 of 3 are free");
    assert_int_equal(other.count, 0);
    append(&other, tokens, 32);
    sequence_truncate(&b.sequence, 32);
    assert_int_equal(engine_pool(b.engine)->free_count, 1);
    sequence_truncate(&b.sequence, 0);
    append(&other, tokens + 32, 64);
    assert_int_equal(engine_pool(b.engine)->free_count, 0);
    sequence_free(&other);
    assert_int_equal(engine_pool(b.engine)->free_count, 3);
    bench_close(&b);
}

static void a_cache_too_large_is_refused(void **state)
{
    (void)state;
    Llama model = load_model(small_model(&own_folder, "m", 15).text);
    Error err = {""};
    assert_null(engine_open(&model, 0, UINT32_MAX / 64, &err));
    assert_error(err, "KV cache of 2147483616 positions: ");
    llama_free(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(late_keys_are_exact),
        TEST(late_keys_are_exact_base),
        TEST(late_keys_are_exact_stories),
        TEST(thresholds_at_the_ends),
        TEST(tokens_leave_where_they_are_sure),
        TEST(sessions_change_depth),
        TEST(pages_are_given_back),
        TEST(a_cache_too_large_is_refused),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, device_open, device_close);
}
