// Many texts together: each comes out as it does alone, whatever runs beside it, with however few
// places and pages; pages are given back; a device that fails leaves nothing behind.
#define _POSIX_C_SOURCE 200809L // setenv
#include "infer/batch.h"
#include "support/decoding.h"
#include "support/models.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS = 24, LONGEST = 70 };

// ---- texts -------------------------------------------------------------------------------------

// What a listener saw, and when it wants to stop.
typedef struct {
    uint32_t heard, most; // most: 0: never
    size_t *clock;        // counts what all of them hear
    size_t first_at;      // on that clock
} Ear;

static bool hear(void *user, uint32_t id)
{
    (void)id;
    Ear *ear = user;
    if (!ear->heard++) ear->first_at = *ear->clock;
    ++*ear->clock;
    return ear->heard != ear->most;
}

typedef struct {
    Llama model;
    uint32_t prompts[ITEMS][LONGEST];
    BatchItem items[ITEMS];
    Ear ears[ITEMS];
    uint32_t eos[ITEMS];
    size_t clock;
    Generation alone[ITEMS];
    size_t done[ITEMS], done_count; // in the order in which they ended
} Bench;

// Fixed depths, exits, drafts of every kind, in turn.
static DepthPolicy policy_of(uint32_t i)
{
    static const uint32_t exits[] = {1, 2, 3};
    static const double thresholds[] = {.01, .05, .2, 2};
    if (i % 3 == 0) return policy_fixed(1 + i / 3 % 4);
    if (i % 3 == 1) {
        DepthPolicy policy = exits_policy(4 - i / 3 % 2, exits, 2, thresholds[i / 3 % 4]);
        policy.confidence = (Confidence)(i / 3 % 3);
        return policy;
    }
    DepthPolicy policy = policy_fixed(4 - i / 9 % 2);
    policy.draft = i / 3 % 3;
    policy.draft_auto = policy.draft == 0;
    policy.draft_stop = i / 3 % 2 ? 0 : .02;
    policy.window = i / 3 % 5;
    return policy;
}

static void make_items(Bench *b)
{
    uint32_t vocab = b->model.config.vocab_size;
    for (uint32_t i = 0; i < ITEMS; i++) {
        uint32_t count = 1 + i * 29 % LONGEST;
        some_tokens(b->prompts[i], count, vocab, i);
        b->ears[i] = (Ear){.most = i % 5 == 4 ? 3 + i % 7 : 0, .clock = &b->clock};
        b->items[i] = (BatchItem){b->prompts[i], count, plain_options(policy_of(i))};
        GenerateOptions *options = &b->items[i].options;
        options->max_tokens = i == 7 ? 0 : i == 8 ? 1 : 5 + i * 17 % 21;
        options->token = hear;
        options->user = &b->ears[i];
        if (i % 4 < 2) continue;
        options->sampler.temperature = 1;
        options->sampler.seed = 100 + i;
        if (i % 8 < 4)
            options->sampler.top_k = 20;
        else
            options->sampler.repetition_penalty = 1.2;
    }
}

static Generation run_alone(Engine *engine, const BatchItem *item)
{
    Sequence sequence = open_sequence(engine);
    Generation out = run_options(engine, &sequence, item->prompt, item->count, &item->options);
    sequence_free(&sequence);
    return out;
}

// What each becomes alone. Every third one's EOS is a token that comes.
static void run_each_alone(Bench *b)
{
    Engine *engine = open_engine(&b->model, 0, 0);
    for (uint32_t i = 0; i < ITEMS; i++) {
        b->alone[i] = run_alone(engine, &b->items[i]);
        if (i % 3 != 1 || b->alone[i].count < 4) continue;
        b->eos[i] = b->alone[i].tokens[b->alone[i].count * 2 / 3];
        b->items[i].options.eos = &b->eos[i];
        b->items[i].options.eos_count = 1;
        generation_free(&b->alone[i]);
        b->ears[i].heard = 0;
        b->alone[i] = run_alone(engine, &b->items[i]);
    }
    engine_close(engine);
}

static Bench *bench_open(void)
{
    Bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    b->model = load_model(small_model(&own_folder, "m", 61).text);
    make_items(b);
    return b;
}

static void bench_close(Bench *b)
{
    for (uint32_t i = 0; i < ITEMS; i++) generation_free(&b->alone[i]);
    llama_free(&b->model);
    free(b);
}

// ---- comparison --------------------------------------------------------------------------------

static void is_done(void *user, size_t index)
{
    Bench *b = user;
    assert_true(b->done_count < ITEMS);
    b->done[b->done_count++] = index;
}

// Every page is free, once.
static void check_pool(const PagePool *pool)
{
    bool *seen = calloc(pool->pages, sizeof *seen);
    assert_non_null(seen);
    assert_int_equal(pool->free_count, pool->pages);
    for (uint32_t i = 0; i < pool->pages; i++) {
        assert_true(pool->free[i] < pool->pages && !seen[pool->free[i]]);
        seen[pool->free[i]] = true;
    }
    free(seen);
}

static void check_report(const GenerationReport *a, const GenerationReport *b, uint32_t blocks,
                         uint32_t which)
{
    bool same = a->drafted == b->drafted && a->accepted == b->accepted && a->rounds == b->rounds &&
                a->blocks_run == b->blocks_run;
    for (uint32_t d = 0; d <= blocks; d++) same = same && a->tokens_at[d] == b->tokens_at[d];
    if (!same) fail_msg("prompt %u: the report is another one than alone", which);
}

static void start_over(Bench *b)
{
    b->clock = b->done_count = 0;
    for (uint32_t i = 0; i < ITEMS; i++) b->ears[i].heard = 0;
}

static void check_batch(Bench *b, Engine *engine, size_t count, uint32_t places)
{
    Generation out[ITEMS];
    Error err;
    start_over(b);
    if (!batch_generate(out, engine, b->items, count, places, is_done, b, &err))
        fail_msg("%s", err.text);
    assert_int_equal(b->done_count, count);
    for (uint32_t i = 0; i < count; i++) {
        check_same_text(&b->alone[i], &out[i], "prompt", i);
        check_report(&b->alone[i].report, &out[i].report, b->model.config.blocks, i);
        assert_int_equal(b->ears[i].heard, out[i].count);
        generation_free(&out[i]);
    }
    check_pool(engine_pool(engine));
}

// Something of everything came, or the comparison shows little.
static void check_variety(const Bench *b)
{
    uint32_t ends[4] = {0}, depths[5] = {0};
    uint64_t drafted = 0, accepted = 0;
    for (uint32_t i = 0; i < ITEMS; i++) {
        const Generation *g = &b->alone[i];
        ends[g->end]++;
        drafted += g->report.drafted;
        accepted += g->report.accepted;
        for (uint32_t d = 1; d <= 4 && i % 3 == 1; d++) depths[d] += g->report.tokens_at[d];
    }
    assert_true(ends[END_EOS] > 1 && ends[END_LENGTH] > 1 && ends[END_STOP] > 1);
    assert_true(accepted > 0 && accepted < drafted);
    assert_true(depths[1] > 0 && depths[2] > 0 && depths[4] > 0);
}

static uint32_t pages_of(const BatchItem *item)
{
    return pages_for(item->count + item->options.max_tokens);
}

static uint32_t most_pages(const Bench *b)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < ITEMS; i++)
        if (pages_of(&b->items[i]) > most) most = pages_of(&b->items[i]);
    return most;
}

// ---- alike -------------------------------------------------------------------------------------

static void each_is_as_alone(void **state)
{
    (void)state;
    Bench *b = bench_open();
    run_each_alone(b);
    check_variety(b);
    Engine *engine = open_engine(&b->model, 0, 5 * most_pages(b));
    for (uint32_t places = 1; places <= 5; places += 1 + places / 3)
        check_batch(b, engine, ITEMS, places);
    check_batch(b, engine, ITEMS, 3 * ITEMS);
    check_batch(b, engine, 1, 4);
    check_batch(b, engine, 0, 4);
    engine_close(engine);
    bench_close(b);
}

static void each_is_as_alone_with_few_pages(void **state)
{
    (void)state;
    Bench *b = bench_open();
    run_each_alone(b);
    for (uint32_t more = 0; more < 3; more += 2) {
        Engine *engine = open_engine(&b->model, 0, most_pages(b) + 2 * more);
        check_batch(b, engine, ITEMS, 4);
        engine_close(engine);
    }
    bench_close(b);
}

// Up to a context that is shorter than the model's and ends some of them.
static void each_is_as_alone_up_to_the_context(void **state)
{
    (void)state;
    enum { CONTEXT = 72, SOME = 9 };
    Bench *b = bench_open();
    Engine *engine = open_engine(&b->model, CONTEXT, 4 * pages_for(CONTEXT));
    uint32_t ended = 0;
    for (uint32_t i = 0; i < SOME; i++) {
        b->items[i].options.max_tokens = 1000000000;
        b->items[i].options.token = NULL; // nobody hears, nobody stops
        if (i == 5) b->items[i].count = LONGEST;
        some_tokens(b->prompts[i], b->items[i].count, b->model.config.vocab_size, i);
        b->alone[i] = run_alone(engine, &b->items[i]);
        ended += b->alone[i].count == CONTEXT + 1 - b->items[i].count;
    }
    assert_int_equal(ended, SOME);
    Generation out[SOME];
    Error err;
    if (!batch_generate(out, engine, b->items, SOME, 4, NULL, NULL, &err)) fail_msg("%s", err.text);
    for (uint32_t i = 0; i < SOME; i++) {
        check_same_text(&b->alone[i], &out[i], "prompt", i);
        generation_free(&out[i]);
    }
    check_pool(engine_pool(engine));
    engine_close(engine);
    bench_close(b);
}

// ---- order -------------------------------------------------------------------------------------

static void they_begin_in_their_order(void **state)
{
    (void)state;
    Bench *b = bench_open();
    Generation out[ITEMS];
    Error err;
    for (uint32_t i = 0; i < ITEMS; i++) {
        b->items[i].count = i == 6 ? 60 : 5;
        b->items[i].options = plain_options(policy_fixed(2));
        b->items[i].options.max_tokens = i == 6 ? 60 : 4 + i % 3;
        b->items[i].options.token = hear;
        b->items[i].options.user = &b->ears[i];
        b->ears[i].most = 0;
        some_tokens(b->prompts[i], b->items[i].count, b->model.config.vocab_size, i);
    }
    for (uint32_t places = 1; places <= 4; places += 3) { // the seventh needs all pages
        Engine *engine = open_engine(&b->model, 0, pages_for(120));
        start_over(b);
        assert_true(batch_generate(out, engine, b->items, ITEMS, places, is_done, b, &err));
        for (uint32_t i = 0; i < ITEMS; i++) {
            if (places == 1) assert_int_equal(b->done[i], i);
            if (i > 6) assert_true(b->ears[i].first_at >= b->ears[6].first_at + 60);
            if (i < 6) assert_true(b->ears[i].first_at < b->ears[6].first_at);
            generation_free(&out[i]);
        }
        assert_int_equal(b->done[6], 6);
        engine_close(engine);
    }
    bench_close(b);
}

// ---- what is refused ---------------------------------------------------------------------------

// Fails before anything runs, whichever prompt it is.
static void check_refused(Bench *b, Engine *engine, const char *message)
{
    Generation out[ITEMS];
    Error err = {""};
    start_over(b);
    memset(out, 0xff, sizeof out);
    assert_false(batch_generate(out, engine, b->items, ITEMS, 3, is_done, b, &err));
    assert_error(err, message);
    assert_true(b->clock == 0 && b->done_count == 0);
    for (uint32_t i = 0; i < ITEMS; i++) assert_true(!out[i].tokens && !out[i].report.tokens_at);
    check_pool(engine_pool(engine));
}

static void refuses_by_number(void **state)
{
    (void)state;
    Bench *b = bench_open();
    char message[80];
    const BatchItem kept = b->items[ITEMS - 1];
    BatchItem *last = &b->items[ITEMS - 1];
    uint32_t *token = &b->prompts[ITEMS - 1][0], vocab = b->model.config.vocab_size;
    static uint32_t many[200];
    Engine *engine = open_engine(&b->model, 0, 4);
    last->count = 0;
    check_refused(b, engine, "prompt 24: 0 tokens, but the context is 160 tokens");
    *last = kept;
    last->prompt = many, last->count = 161;
    check_refused(b, engine, "prompt 24: 161 tokens, but the context is 160 tokens");
    last->count = 1, last->options.max_tokens = 128;
    check_refused(
        b, engine,
        "prompt 24: 1 tokens and up to 128 more need 5 pages of KV cache, but its budget is "
        "4");
    last->options.max_tokens = UINT32_MAX;
    check_refused(b, engine, "prompt 24: 1 tokens and up to 4294967295 more need 5 pages");
    *last = kept;
    *token = vocab;
    snprintf(message, sizeof message, "prompt 24: token id %u: the model's vocabulary has %u",
             vocab, vocab);
    check_refused(b, engine, message);
    *token = 1;
    run_each_alone(b);
    check_batch(b, engine, ITEMS, 3); // and nothing of this lasts
    engine_close(engine);
    bench_close(b);
}

// ---- a device that fails -----------------------------------------------------------------------

// In the place of the device that the tests share comes one whose driver does `fail` once the file
// is there; NULL: the usual one. Never both: the functions of an instance are those of all.
static void open_again(const char *fail, const char *file)
{
    Error err;
    gpu_close(device);
    if (fail) {
        setenv("VK_ADD_LAYER_PATH", TEST_LAYERS, 1);
        setenv("VK_INSTANCE_LAYERS", "VK_LAYER_STRATA_fail_device", 1);
        setenv("STRATA_TEST_FAIL", fail, 1);
        setenv("STRATA_TEST_FAIL_AFTER", file, 1);
    }
    device = gpu_open(NULL, &err);
    unsetenv("VK_ADD_LAYER_PATH");
    unsetenv("VK_INSTANCE_LAYERS");
    if (!device) fail_msg("%s", err.text);
}

// The failure comes at that call after two texts have ended. Those are whole; there is one message,
// and every page is free. A device that is not lost goes on.
static void check_failing(const char *fail, const char *reason, bool lost)
{
    const char *name = strchr(fail, ' ') + 1;
    TestPath file = test_path(own_folder.text, name);
    open_again(fail, file.text);
    Bench *b = bench_open();
    Generation out[ITEMS];
    Error err = {""};
    run_each_alone(b);
    Engine *engine = open_engine(&b->model, 0, 3 * most_pages(b));
    check_batch(b, engine, 3, 3);
    start_over(b);
    test_write_text(&own_folder, name, "now");
    assert_false(batch_generate(out, engine, b->items, ITEMS, 3, is_done, b, &err));
    assert_error(err, reason);
    assert_int_equal(strncmp(err.text, "device ", 7), 0);
    assert_true(b->done_count < ITEMS);
    check_pool(engine_pool(engine));
    for (size_t i = 0; i < b->done_count; i++)
        check_same_text(&b->alone[b->done[i]], &out[b->done[i]], "prompt", (uint32_t)b->done[i]);
    for (uint32_t i = 0; i < ITEMS; i++) generation_free(&out[i]);
    if (!lost) check_batch(b, engine, ITEMS, 3);
    engine_close(engine);
    bench_close(b);
    open_again(NULL, NULL);
}

static void a_failing_device_leaves_nothing(void **state)
{
    (void)state;
    check_failing("submit 1 -4", "the device was lost (", true);
    check_failing("wait 40 -4", "the device was lost (", true);
    check_failing("submit 25 -2", "(Vulkan error -2)", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_is_as_alone),
        TEST(each_is_as_alone_with_few_pages),
        TEST(each_is_as_alone_up_to_the_context),
        TEST(they_begin_in_their_order),
        TEST(refuses_by_number),
        TEST(a_failing_device_leaves_nothing),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, device_open, device_close);
}
