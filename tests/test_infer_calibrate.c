// What calibration observes on a device: every exit's confidence and tokens are those of a run at
// that depth, costs are sensible and leave the engine as it was, and a chosen policy, run as it
// decodes, does what was expected of it. The choice itself: test_calibrate.c.
#include "infer/calibrate.h"
#include "support/decoding.h"
#include "support/models.h"
#include "support/observed.h"
#include "support/tokens.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

enum { CONTEXT = 160 };

static TestPath folder, small; // of all tests, which only read

static int make_all(void **state)
{
    folder = test_folder_make();
    small = small_model(&folder, "small", 81);
    return device_open(state);
}

static int remove_all(void **state)
{
    test_folder_remove(&folder);
    return device_close(state);
}

// A model with what every test needs; by pointer, as the engine points to the model. The session is
// another engine, for what is expected.
typedef struct {
    Llama model;
    Engine *engine;
    Sequence sequence;
    Session *session;
    uint32_t vocab;
} Bench;

static void bench_open(Bench *b, const char *path)
{
    Error err;
    b->model = load_model(path);
    b->engine = open_engine(&b->model, 0, 0);
    b->sequence = open_sequence(b->engine);
    b->session = session_open(&b->model, 0, &err);
    if (!b->session) fail_msg("%s", err.text);
    b->vocab = b->model.config.vocab_size;
}

static void bench_close(Bench *b)
{
    session_close(b->session);
    sequence_free(&b->sequence);
    engine_close(b->engine);
    llama_free(&b->model);
}

// ---- texts -------------------------------------------------------------------------------------

typedef struct {
    uint32_t tokens[CONTEXT], count;
    uint8_t marks[CONTEXT];
} Text;

static uint32_t best_of(const float *logits, uint32_t vocab)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

static void feed(Bench *b, const uint32_t *tokens, uint32_t count, uint32_t depth, uint32_t wanted,
                 float *logits)
{
    Error err;
    if (!session_feed(b->session, tokens, count, depth, wanted, logits, &err))
        fail_msg("%s", err.text);
}

// What follows a text at that depth, from its beginning on; and how sure it is.
static uint32_t next_token(Bench *b, const Text *text, uint32_t depth, double *confidence)
{
    float *logits = malloc(b->vocab * sizeof *logits);
    session_reset(b->session);
    feed(b, text->tokens, text->count, depth, 1, logits);
    *confidence = confidence_of(logits, b->vocab, CONFIDENCE_PROBABILITY);
    uint32_t best = best_of(logits, b->vocab);
    free(logits);
    return best;
}

// What follows each token of a text at full depth.
static void full_tokens(uint32_t *next, Bench *b, const Text *text)
{
    float *logits = malloc((size_t)text->count * b->vocab * sizeof *logits);
    session_reset(b->session);
    feed(b, text->tokens, text->count, b->model.config.blocks, text->count, logits);
    for (uint32_t i = 0; i < text->count; i++)
        next[i] = best_of(logits + (size_t)i * b->vocab, b->vocab);
    free(logits);
}

// A text in which the first block is right where it is sure, all blocks where it is not, and
// neither now and then. Of every four tokens three are marked.
static Text grow_text(Bench *b, uint32_t count, uint64_t seed)
{
    Random r = random_seed(seed);
    Text text = {.tokens = {1}, .count = 1};
    while (text.count < count) {
        double sure, other;
        uint32_t shallow = next_token(b, &text, 1, &sure);
        uint32_t token = next_token(b, &text, b->model.config.blocks, &other);
        if (sure > .4) token = shallow;
        if (random_below(&r, 4) == 0) token = (uint32_t)random_below(&r, b->vocab);
        text.marks[text.count] = random_below(&r, 4) ? 7 : 0; // any bit counts
        text.tokens[text.count++] = token;
    }
    return text;
}

static void add(Bench *b, Observations *o, const Text *text)
{
    Error err;
    if (!observations_add(o, b->engine, &b->sequence, text->tokens, text->marks, text->count, &err))
        fail_msg("%s", err.text);
}

// ---- observations ------------------------------------------------------------------------------

// Depth e of the observations from position `at` on is what the session says at that depth.
static void check_depth(Bench *b, const Observations *o, const Text *text, size_t at, uint32_t e)
{
    uint32_t rows = text->count - 1, full = o->exits, vocab = b->vocab;
    float *logits = malloc(2 * (size_t)rows * vocab * sizeof *logits);
    float *last = logits + (size_t)rows * vocab;
    session_reset(b->session);
    feed(b, text->tokens, rows, o->depths[e], rows, logits);
    session_reset(b->session);
    feed(b, text->tokens, rows, o->depths[full], rows, last);
    for (uint32_t i = 0; i < rows; i++) {
        if (!text->marks[i + 1]) continue;
        const float *row = logits + (size_t)i * vocab;
        uint32_t best = best_of(row, vocab);
        assert_int_equal(o->right[at * (full + 1) + e], best == text->tokens[i + 1]);
        if (e < full) {
            bool same = best == best_of(last + (size_t)i * vocab, vocab);
            assert_int_equal(o->same[at * full + e], same);
            assert_true(o->confidences[at * full + e] == confidence_of(row, vocab, o->confidence));
        }
        at++;
    }
    free(logits);
}

// How many positions of the text count.
static size_t marked(const Text *text)
{
    size_t count = 0;
    for (uint32_t i = 1; i < text->count; i++) count += text->marks[i] != 0;
    return count;
}

static void check_texts(Bench *b, const Text *texts, size_t count, const uint32_t *depths,
                        uint32_t depth_count, Confidence confidence)
{
    Observations o;
    size_t at = 0;
    observations_begin(&o, depths, depth_count, confidence);
    for (size_t t = 0; t < count; t++) add(b, &o, &texts[t]);
    for (size_t t = 0; t < count; t++) {
        if (texts[t].count > 1)
            for (uint32_t e = 0; e < depth_count; e++) check_depth(b, &o, &texts[t], at, e);
        at += marked(&texts[t]);
    }
    assert_int_equal(o.count, at);
    observations_free(&o);
    assert_true(!o.count && !o.confidences && !o.right && !o.same);
}

// Texts of one piece of 64 positions, of exactly that, of several, of the whole context; of
// nothing.
static void exits_say_what_their_depth_says(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {5, 65, 1, 66, 130, 0, 2, CONTEXT};
    enum { TEXTS = sizeof lengths / sizeof *lengths };
    Bench b;
    Text *texts = malloc(TEXTS * sizeof *texts);
    bench_open(&b, small.text);
    Text all = grow_text(&b, CONTEXT, 1);
    for (size_t t = 0; t < TEXTS; t++) {
        texts[t] = all;
        texts[t].count = lengths[t];
        if (t % 2) texts[t].tokens[0] = 2 + (uint32_t)t; // another text from its beginning on
    }
    texts[0].marks[0] = 1; // nothing comes before the first token: it never counts
    check_texts(&b, texts, TEXTS, (const uint32_t[]){1, 3, 4}, 3, CONFIDENCE_PROBABILITY);
    check_texts(&b, texts, 4, (const uint32_t[]){2, 3}, 2, CONFIDENCE_MARGIN); // of 3 blocks alone
    check_texts(&b, texts, 4, (const uint32_t[]){1, 2, 3, 4}, 4, CONFIDENCE_ENTROPY);
    check_texts(&b, texts, 2, (const uint32_t[]){4}, 1, CONFIDENCE_PROBABILITY); // no exit
    memset(texts[0].marks, 0, sizeof texts[0].marks);                            // nothing counts
    check_texts(&b, texts, 1, (const uint32_t[]){1, 4}, 2, CONFIDENCE_PROBABILITY);
    bench_close(&b);
    free(texts);
}

// The model that comes with the program, which has learned something.
static void exits_of_a_trained_model(void **state)
{
    (void)state;
    static const char PROMPT[] = "Copy the text: coat sleep coat sleep";
    Error err;
    Bench b;
    Text text = {0};
    TestPath base = test_path(TEST_ROOT, "assets/base");
    bench_open(&b, base.text);
    Tokenizer *t = tokenizer_load(test_path(base.text, "tokenizer.json").text, &err);
    if (!t) fail_msg("%s", err.text);
    TokenList list = encode(t, PROMPT);
    assert_in_range(list.count, 8, CONTEXT);
    text.count = (uint32_t)list.count;
    memcpy(text.tokens, list.ids, list.count * sizeof *list.ids);
    memset(text.marks, 1, sizeof text.marks);
    check_texts(&b, &text, 1, (const uint32_t[]){2, 5, 8}, 3, CONFIDENCE_PROBABILITY);
    token_list_free(&list);
    tokenizer_free(t);
    bench_close(&b);
}

// What cannot be run is refused, and what was observed before stays.
static void refused(void **state)
{
    (void)state;
    Error err;
    Bench b;
    Observations o;
    uint32_t tokens[CONTEXT + 2];
    uint8_t marks[CONTEXT + 2];
    bench_open(&b, small.text);
    memset(marks, 1, sizeof marks);
    some_tokens(tokens, CONTEXT + 2, b.vocab, 5);
    observations_begin(&o, (const uint32_t[]){1, 4}, 2, CONFIDENCE_PROBABILITY);
    assert_true(observations_add(&o, b.engine, &b.sequence, tokens, marks, CONTEXT + 1, &err));
    assert_int_equal(o.count, CONTEXT); // what follows the last one need not be run
    tokens[3] = b.vocab;
    assert_false(observations_add(&o, b.engine, &b.sequence, tokens, marks, 8, &err));
    assert_error(err, "token");
    assert_int_equal(o.count, CONTEXT);
    tokens[3] = 3;
    assert_false(observations_add(&o, b.engine, &b.sequence, tokens, marks, CONTEXT + 2, &err));
    assert_error(err, "context");
    size_t before = o.count;
    assert_true(observations_add(&o, b.engine, &b.sequence, tokens, marks, 8, &err));
    assert_int_equal(o.count, before + 7);
    observations_free(&o);
    bench_close(&b);
}

// ---- costs -------------------------------------------------------------------------------------

static void check_costs(const StepCosts *c, const Observations *o)
{
    double full = c->token[o->exits];
    for (uint32_t e = 0; e <= o->exits; e++) {
        assert_true(c->token[e] > 0 && c->token[e] < 60);
        assert_true(!e || c->token[e] >= c->token[e - 1]);
    }
    assert_true(c->check >= 0 && c->check < 60 && full > 0);
    for (uint32_t rows = 1; rows <= DRAFT_WINDOW + 1; rows++) {
        for (uint32_t e = 0; e < o->exits; e++)
            assert_true(c->checks[e][rows] > 0 && c->checks[e][rows] < 60);
        for (uint32_t e = 0; e < o->exits && rows > 1; e++)
            assert_true(c->checks[e][rows] >= c->checks[e][rows - 1]);
    }
}

// Behind any context, also one that is longer than there is room for; the engine generates what it
// did before.
static void costs(void **state)
{
    (void)state;
    static const uint32_t contexts[] = {0, 64, 1u << 30};
    Error err;
    Bench b;
    Observations o;
    StepCosts measured;
    uint32_t prompt[9];
    bench_open(&b, small.text);
    some_tokens(prompt, 9, b.vocab, 6);
    observations_begin(&o, (const uint32_t[]){1, 3, 4}, 3, CONFIDENCE_PROBABILITY);
    GenerateOptions options = plain_options(policy_fixed(4));
    options.max_tokens = 20;
    Generation before = run_options(b.engine, &b.sequence, prompt, 9, &options);
    for (size_t i = 0; i < sizeof contexts / sizeof *contexts; i++) {
        if (!step_costs_measure(&measured, &o, b.engine, &b.sequence, contexts[i], &err))
            fail_msg("%s", err.text);
        check_costs(&measured, &o);
        Generation after = run_options(b.engine, &b.sequence, prompt, 9, &options);
        check_same_text(&before, &after, "behind a context of", contexts[i]);
        generation_free(&after);
    }
    generation_free(&before);
    observations_begin(&o, (const uint32_t[]){4}, 1, CONFIDENCE_PROBABILITY); // no exits
    assert_true(step_costs_measure(&measured, &o, b.engine, &b.sequence, 8, &err));
    check_costs(&measured, &o);
    assert_true(measured.check <= 0);
    bench_close(&b);
}

static void costs_need_a_context(void **state)
{
    (void)state;
    Error err;
    StepCosts measured;
    Observations o;
    Llama model = load_model(small.text);
    observations_begin(&o, (const uint32_t[]){1, 4}, 2, CONFIDENCE_PROBABILITY);
    for (uint32_t context = DRAFT_WINDOW + 1; context <= DRAFT_WINDOW + 2; context++) {
        Engine *engine = open_engine(&model, context, 0);
        Sequence sequence = open_sequence(engine);
        bool ok = step_costs_measure(&measured, &o, engine, &sequence, 64, &err);
        assert_int_equal(ok, context > DRAFT_WINDOW + 1);
        if (!ok) assert_error(err, "a context of 17 tokens is too short to measure");
        sequence_free(&sequence);
        engine_close(engine);
    }
    llama_free(&model);
}

// ---- what was expected comes true --------------------------------------------------------------

typedef struct {
    double right, same, blocks, count;
} Outcome;

// The text's next token again and again, as it decodes, behind the true tokens: what was cached for
// those stands at the depths at which they left. Every other marked position counts, as in the
// judging half; *position counts them all.
static void force(Outcome *out, Bench *b, const Text *text, const DepthPolicy *policy,
                  size_t *position)
{
    uint32_t full[CONTEXT];
    GenerateOptions options = plain_options(*policy);
    options.max_tokens = 1;
    full_tokens(full, b, text);
    sequence_truncate(&b->sequence, 0);
    for (uint32_t i = 0; i + 1 < text->count; i++) {
        Error err;
        Generation g;
        if (!generate(&g, b->engine, &b->sequence, text->tokens + i, 1, &options, &err))
            fail_msg("%s", err.text);
        assert_int_equal(b->sequence.count, i + 1);
        if (text->marks[i + 1] && ++*position % 2 == 0) {
            out->count++;
            out->right += g.tokens[0] == text->tokens[i + 1];
            out->same += g.tokens[0] == full[i];
            for (uint32_t d = 1; d <= policy->depth; d++) out->blocks += d * g.report.tokens_at[d];
        }
        generation_free(&g);
    }
}

static void policies_do_what_was_expected(void **state)
{
    (void)state;
    enum { TEXTS = 4 };
    Bench b;
    Text texts[TEXTS];
    Observations o;
    ExitChoice curve[EXIT_CURVE];
    uint32_t with_exits = 0, with_two = 0;
    bench_open(&b, small.text);
    observations_begin(&o, (const uint32_t[]){1, 3, 4}, 3, CONFIDENCE_PROBABILITY);
    for (uint32_t t = 0; t < TEXTS; t++) {
        texts[t] = grow_text(&b, 75, 10 + t);
        add(&b, &o, &texts[t]);
    }
    StepCosts made_up = observed_costs(&o);
    made_up.check = .01;
    assert_int_equal(calibrate_exits(curve, &o, &made_up), EXIT_CURVE);
    for (uint32_t i = 0; i < EXIT_CURVE; i++) {
        const ExitChoice *c = &curve[i];
        const ExitChoice *last = i ? &curve[i - 1] : NULL;
        if (last && !memcmp(&last->policy, &c->policy, sizeof c->policy)) continue;
        Outcome out = {0};
        size_t position = 0;
        for (uint32_t t = 0; t < TEXTS; t++) force(&out, &b, &texts[t], &c->policy, &position);
        assert_int_equal(position, o.count);
        check_close(out.right / out.count, c->accuracy, "accuracy");
        check_close(out.same / out.count, c->agreement, "agreement");
        check_close(out.blocks / out.count, c->blocks, "blocks");
        with_exits += c->policy.exit_count > 0;
        with_two += c->policy.exit_count > 1;
    }
    assert_true(with_exits >= 4 && with_two >= 1);
    observations_free(&o);
    bench_close(&b);
}

// The very token whose confidence became the threshold leaves.
static void thresholds_are_reached(void **state)
{
    (void)state;
    Bench b;
    Observations o;
    bench_open(&b, small.text);
    Text text = grow_text(&b, 40, 3);
    memset(text.marks, 1, sizeof text.marks);
    observations_begin(&o, (const uint32_t[]){1, 4}, 2, CONFIDENCE_PROBABILITY);
    add(&b, &o, &text);
    for (uint32_t i = 0; i + 1 < text.count; i++) {
        GenerateOptions options =
            plain_options(exits_policy(4, (const uint32_t[]){1}, 1, o.confidences[i]));
        options.max_tokens = 1;
        Generation g = run_options(b.engine, &b.sequence, text.tokens, i + 1, &options);
        assert_int_equal(g.report.tokens_at[1], 1);
        generation_free(&g);
    }
    observations_free(&o);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exits_say_what_their_depth_says),
        cmocka_unit_test(exits_of_a_trained_model),
        cmocka_unit_test(refused),
        cmocka_unit_test(costs),
        cmocka_unit_test(costs_need_a_context),
        cmocka_unit_test(policies_do_what_was_expected),
        cmocka_unit_test(thresholds_are_reached),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, make_all, remove_all);
}
