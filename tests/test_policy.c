// Depth policies as text, confidence by hand, and the choice of drafts: the paper's rule, and the
// automatic one against a search through every plan with the expected gain worked out by chance.
#include "base/random.h"
#include "infer/drafting.h"
#include "support/files.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static LlamaConfig config_of(uint32_t blocks)
{
    return (LlamaConfig){.vocab_size = 512,
                         .width = 64,
                         .hidden = 176,
                         .blocks = blocks,
                         .heads = 8,
                         .kv_heads = 4,
                         .head_size = 8,
                         .context = 512};
}

static LlamaConfig trained_config(uint32_t blocks, const uint32_t *exits, uint32_t count)
{
    LlamaConfig config = config_of(blocks);
    config.exit_count = count;
    memcpy(config.exits, exits, count * sizeof *exits);
    return config;
}

// ---- as text -----------------------------------------------------------------------------------

static void fixed(void **state)
{
    (void)state;
    char text[64];
    DepthPolicy policy = policy_fixed(7);
    assert_true(policy.depth == 7 && !policy.exit_count && !policy.draft && !policy.draft_auto);
    assert_true(policy.draft_stop == DRAFT_STOP_DEFAULT);
    assert_string_equal(policy_describe(&policy, text, sizeof text), "depth 7");
}

static void check_exits(const char *text, const char *described)
{
    Error err = {""};
    char out[128];
    DepthPolicy policy = policy_fixed(8);
    if (!policy_parse_exits(&policy, text, &err)) fail_msg("%s", err.text);
    assert_string_equal(policy_describe(&policy, out, sizeof out), described);
}

static void exits(void **state)
{
    (void)state;
    check_exits("2:.95,4:.9", "exits 2:0.95,4:0.9 of 8");
    check_exits("1:0", "exits 1:0 of 8");
    check_exits("7:1.5", "exits 7:1.5 of 8");
    check_exits("1:1,2:0.5,3:1e-3,6:2", "exits 1:1,2:0.5,3:0.001,6:2 of 8");
    Error err;
    DepthPolicy policy = policy_fixed(8);
    assert_true(policy_parse_exits(&policy, "2:.95,4:.9", &err));
    assert_true(policy.exit_count == 2 && policy.exits[0] == 2 && policy.exits[1] == 4);
    assert_true(policy.thresholds[0] == .95 && policy.thresholds[1] == .9);
}

static void exits_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "exits '': a list such as 2:.95,4:.9 is expected"},
        {"2", "exits '2': a list"},
        {"2:", "exits '2:': a list"},
        {":.5", "exits ':.5': a list"},
        {"2:.5,", "exits '2:.5,': a list"},
        {",2:.5", "exits ',2:.5': a list"},
        {"2:.5,,3:.5", "exits '2:.5,,3:.5': a list"},
        {"2:.5 3:.5", "exits '2:.5 3:.5': a list"},
        {"2:.5;3:.5", "exits '2:.5;3:.5': a list"},
        {" 2:.5", "exits ' 2:.5': a list"},
        {"2: .5", "exits '2: .5': a list"},
        {"x:.5", "exits 'x:.5': a list"},
        {"-2:.5", "exits '-2:.5': a list"},
        {"2.5:.5", "exits '2.5:.5': a list"},
        {"2:-.5", "exits '2:-.5': a list"},
        {"2:nan", "exits '2:nan': a list"},
        {"2:inf", "exits '2:inf': a list"},
        {"2:1e400", "exits '2:1e400': a list"},
        {"2:.", "exits '2:.': a list"},
        {"0:.5", "exits '0:.5': a list"},
        {"8:.5", "exit 8: exits lie below the depth, 8"},
        {"9:.5", "exit 9: exits lie below the depth, 8"},
        {"4294967298:.5", "exit 4294967298: exits lie below the depth, 8"},
        {"99999999999999999999999:.5", ": exits lie below the depth, 8"},
        {"4:.5,4:.5", "exit 4 stands behind 4: exits must ascend"},
        {"4:.5,2:.5", "exit 2 stands behind 4: exits must ascend"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Error err = {""};
        DepthPolicy policy = policy_fixed(8);
        if (policy_parse_exits(&policy, bad[i].text, &err)) fail_msg("took '%s'", bad[i].text);
        assert_error(err, bad[i].message);
    }
}

// As many as there may be, and one more; long texts do not fill a message.
static void many_exits(void **state)
{
    (void)state;
    char text[4096] = "", out[128], whole[4096];
    for (uint32_t i = 1; i <= CONFIG_MAX_EXITS; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%u:.5", i > 1 ? "," : "", i);
    Error err = {""};
    DepthPolicy policy = policy_fixed(300);
    assert_true(policy_parse_exits(&policy, text, &err));
    assert_int_equal(policy.exit_count, CONFIG_MAX_EXITS);
    policy_describe(&policy, out, sizeof out); // is cut, and within its size
    assert_int_equal(strlen(out), sizeof out - 1);
    policy_describe(&policy, whole, sizeof whole);
    assert_non_null(strstr(whole, ",128:0.5 of 300"));
    strcat(text, ",200:.5");
    policy = policy_fixed(300);
    assert_false(policy_parse_exits(&policy, text, &err));
    assert_error(err, "more than 128 exits");
    memset(text, '7', sizeof text - 1);
    policy = policy_fixed(300);
    assert_false(policy_parse_exits(&policy, text, &err));
    assert_error(err, "a list such as");
}

static void one_threshold(void **state)
{
    (void)state;
    static const uint32_t trained[] = {2, 4, 6, 8};
    static const struct {
        uint32_t depth, exits;
        const char *described;
    } cases[] = {{8, 4, "exits 2:0.9,4:0.9,6:0.9 of 8"}, {6, 4, "exits 2:0.9,4:0.9 of 6"},
                 {5, 4, "exits 2:0.9,4:0.9 of 5"},       {2, 4, "depth 2"},
                 {4, 0, "exits 1:0.9,2:0.9,3:0.9 of 4"}, {1, 0, "depth 1"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error err = {""};
        char text[128];
        LlamaConfig config = trained_config(8, trained, cases[i].exits);
        DepthPolicy policy = policy_fixed(cases[i].depth);
        if (!policy_parse_exit(&policy, ".9", &config, &err)) fail_msg("%s", err.text);
        assert_string_equal(policy_describe(&policy, text, sizeof text), cases[i].described);
    }
    static const char *const bad[] = {"", "x", "-1", ".9x", "nan", "1e400", "2:.5", " .9", ".9 "};
    LlamaConfig config = config_of(8);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Error err = {""};
        char message[80];
        DepthPolicy policy = policy_fixed(8);
        snprintf(message, sizeof message, "exit '%s': a threshold such as .9 is expected", bad[i]);
        if (policy_parse_exit(&policy, bad[i], &config, &err)) fail_msg("took '%s'", bad[i]);
        assert_error(err, message);
    }
    Error err; // more blocks than exits are possible: the first of them
    LlamaConfig deep = config_of(200);
    DepthPolicy policy = policy_fixed(200);
    assert_true(policy_parse_exit(&policy, "0.5", &deep, &err));
    assert_int_equal(policy.exit_count, CONFIG_MAX_EXITS);
}

static void drafts(void **state)
{
    (void)state;
    char text[64];
    Error err = {""};
    DepthPolicy policy = policy_fixed(8);
    assert_true(policy_parse_draft(&policy, "3", &err));
    assert_true(policy.draft == 3 && !policy.draft_auto);
    assert_string_equal(policy_describe(&policy, text, sizeof text), "draft 3 of 8");
    policy = policy_fixed(8);
    assert_true(policy_parse_draft(&policy, "auto", &err));
    assert_true(policy.draft == 0 && policy.draft_auto);
    assert_string_equal(policy_describe(&policy, text, sizeof text), "draft auto of 8");
    static const char *const bad[] = {"",      "0",    "8",          "9",
                                      "-1",    "x",    "1.5",        "3 ",
                                      "autos", "AUTO", "4294967297", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char message[80];
        policy = policy_fixed(8);
        snprintf(message, sizeof message, "draft '%s': 1 to 7 blocks, or 'auto', are expected",
                 bad[i]);
        if (policy_parse_draft(&policy, bad[i], &err)) fail_msg("took '%s'", bad[i]);
        assert_error(err, message);
    }
    policy = policy_fixed(1);
    assert_false(policy_parse_draft(&policy, "auto", &err));
    assert_error(err, "draft: a depth of one block has none");
    assert_false(policy_parse_draft(&policy, "1", &err));
    assert_error(err, "draft: a depth of one block has none");
}

// ---- confidence --------------------------------------------------------------------------------

static void check_confidence(const float *logits, uint32_t vocab, double probability, double margin,
                             double entropy)
{
    const double want[] = {probability, margin, entropy};
    for (int i = 0; i < 3; i++) {
        double got = confidence_of(logits, vocab, (Confidence)i);
        if (!(fabs(got - want[i]) <= 1e-6))
            fail_msg("%s: %.9g, expected %.9g", CONFIDENCE_NAMES[i], got, want[i]);
    }
}

static void confidence_by_hand(void **state)
{
    (void)state;
    float z[4];
    const double p[4] = {.1, .6, .05, .25};
    double h = 0;
    for (int i = 0; i < 4; i++) {
        z[i] = (float)log(p[i]) - 50;
        h -= p[i] * log(p[i]);
    }
    assert_string_equal(CONFIDENCE_NAMES[CONFIDENCE_PROBABILITY], "probability");
    assert_string_equal(CONFIDENCE_NAMES[CONFIDENCE_MARGIN], "margin");
    assert_string_equal(CONFIDENCE_NAMES[CONFIDENCE_ENTROPY], "entropy");
    assert_null(CONFIDENCE_NAMES[3]);
    check_confidence(z, 4, .6, .35, 1 - h / log(4));
    check_confidence((const float[]){0, 0, 0, 0}, 4, .25, 0, 0);
    check_confidence((const float[]){5, 5}, 2, .5, 0, 0);
    check_confidence((const float[]){-90, 200, 3}, 3, 1, 1, 1);
    check_confidence((const float[]){7, 7, -1000, -1000}, 4, .5, 0, .5); // ln 2 of ln 4
    check_confidence((const float[]){3}, 1, 1, 1, 1);
    check_confidence((const float[]){3e38f, -3e38f, -3e38f}, 3, 1, 1, 1);
}

static void confidence_of_infinities(void **state)
{
    (void)state;
    const float most = INFINITY, least = -INFINITY;
    check_confidence((const float[]){least, 2, least, 2}, 4, .5, 0, .5);
    check_confidence((const float[]){most, 2, least, 3}, 4, 1, 1, 1);
    check_confidence((const float[]){most, 2, most, 3}, 4, .5, 0, .5);
    check_confidence((const float[]){least, least, least, least}, 4, .25, 0, 0);
    check_confidence((const float[]){1, NAN, 2}, 3, 0, 0, 0); // of nothing that is no number
    check_confidence((const float[]){NAN, NAN}, 2, 0, 0, 0);
}

static void confidence_within_bounds(void **state)
{
    (void)state;
    Random r = random_seed(3);
    for (int round = 0; round < 20000; round++) {
        float z[50];
        uint32_t vocab = 1 + (uint32_t)random_below(&r, 50);
        double scale = exp(4 * random_normal(&r));
        for (uint32_t i = 0; i < vocab; i++) z[i] = (float)(scale * random_normal(&r));
        double value[3];
        for (int i = 0; i < 3; i++) {
            value[i] = confidence_of(z, vocab, (Confidence)i);
            if (!(value[i] >= 0 && value[i] <= 1))
                fail_msg("%s of %u: %.17g", CONFIDENCE_NAMES[i], vocab, value[i]);
        }
        assert_true(value[CONFIDENCE_MARGIN] <= value[CONFIDENCE_PROBABILITY]);
        assert_true(value[CONFIDENCE_PROBABILITY] >= 1. / vocab - 1e-12);
    }
}

// ---- the paper's rule --------------------------------------------------------------------------

static Drafting begin_fixed(uint32_t draft, uint32_t window)
{
    Drafting d;
    LlamaConfig config = config_of(8);
    DepthPolicy policy = policy_fixed(8);
    policy.draft = draft;
    policy.window = window;
    drafting_begin(&d, &policy, &config, true);
    return d;
}

static void check_plan(const Drafting *d, uint32_t depth, uint32_t window)
{
    DraftPlan plan = drafting_plan(d);
    if (plan.depth != depth || plan.window != window)
        fail_msg("depth %u, window %u; expected %u and %u", plan.depth, plan.window, depth, window);
}

// 4 at first, 2 more where all were accepted, else one less; 1 to DRAFT_WINDOW.
static void windows_of_the_paper(void **state)
{
    (void)state;
    Drafting d = begin_fixed(3, 0);
    uint32_t window = DRAFT_START;
    Random r = random_seed(4);
    check_plan(&d, 3, 4);
    for (int round = 0; round < 300; round++) {
        bool all = random_below(&r, 100) < (round < 100 ? 20 : round < 200 ? 80 : 33);
        drafting_learn(&d, (DraftPlan){3, window}, window, window, all ? window : window - 1);
        window = all ? window + 2 : window - 1;
        window = window < 1 ? 1 : window > DRAFT_WINDOW ? DRAFT_WINDOW : window;
        check_plan(&d, 3, window);
    }
    d = begin_fixed(5, 1);
    check_plan(&d, 5, 1);
    drafting_learn(&d, (DraftPlan){5, 1}, 1, 1, 0);
    check_plan(&d, 5, 1);
    drafting_learn(&d, (DraftPlan){5, 1}, 1, 1, 1);
    check_plan(&d, 5, 3);
    drafting_learn(&d, (DraftPlan){5, 3}, 1, 0, 0); // nothing was drafted, so nothing is learned
    check_plan(&d, 5, 3);
    d = begin_fixed(5, DRAFT_WINDOW);
    drafting_learn(&d, (DraftPlan){5, 16}, 16, 16, 16);
    check_plan(&d, 5, DRAFT_WINDOW);
    // A draft that was not sure enough of more: what was made was accepted.
    d = begin_fixed(5, 4);
    drafting_learn(&d, (DraftPlan){5, 4}, 3, 2, 2);
    check_plan(&d, 5, 6);
}

// ---- the automatic choice ----------------------------------------------------------------------

// What a draft of each depth is like, and what passes take: the bytes of the weights that they read
// times a factor.
typedef struct {
    LlamaConfig config;
    uint32_t count, depths[8];
    double made[8], accepted[8]; // chances of a token, where all before it were
    double slow[8];              // factor of a drafted token
    double check[3];             // of a check of one row, of up to 8, of more
} World;

// q, o, k, v, gate, up and down of each block, and the head.
static double bytes(const World *w, uint32_t blocks)
{
    const LlamaConfig *c = &w->config;
    double block = 2. * c->width * c->heads * c->head_size +
                   2. * c->width * c->kv_heads * c->head_size + 3. * c->width * c->hidden;
    return blocks * block + (double)c->width * c->vocab_size;
}

static double check_cost(const World *w, uint32_t from, uint32_t rows)
{
    return w->check[rows > 8 ? 2 : rows > 1] * bytes(w, w->config.blocks - from);
}

static World even_world(uint32_t blocks)
{
    World w = {.config = config_of(blocks), .check = {1, 1, 1}};
    for (int i = 0; i < 8; i++) w.slow[i] = w.made[i] = 1;
    return w;
}

static Drafting begin_auto(const World *w, bool clock)
{
    Drafting d;
    LlamaConfig config = w->config;
    DepthPolicy policy = policy_fixed(config.blocks);
    config.exit_count = w->count;
    memcpy(config.exits, w->depths, w->count * sizeof *w->depths);
    policy.draft_auto = true;
    drafting_begin(&d, &policy, &config, clock);
    return d;
}

// As if after so many rounds that the beginning does not matter.
static void teach(Drafting *d, const World *w)
{
    const double many = 1e12, second = 1e-9;
    for (uint32_t i = 0; i < w->count; i++) {
        const DraftPlan plan = {w->depths[i], DRAFT_WINDOW};
        DraftCandidate *c = &d->candidates[i];
        c->asked = c->judged = many;
        c->made = many * w->made[i];
        c->accepted = many * w->accepted[i];
        drafting_timed_draft(d, plan, second * w->slow[i] * bytes(w, w->depths[i]));
        drafting_timed_check(d, plan, 5, false, second * check_cost(w, w->depths[i], 5));
        drafting_timed_check(d, plan, 9, false, second * check_cost(w, w->depths[i], 9));
    }
    drafting_timed_check(d, (DraftPlan){0, 0}, 1, false, second * check_cost(w, 0, 1));
}

// Expected tokens per cost, over every course that a round may take: so many tokens are made, the
// next one is asked for in vain (or the last passes its blocks with the check), so many of them
// stand. The check is priced for the whole window.
static double expected_gain(const World *w, uint32_t i, uint32_t window)
{
    double tokens = 0, cost = 0, draft = w->slow[i] * bytes(w, w->depths[i]);
    for (uint32_t made = 0; made <= window; made++) {
        bool full = made == window;
        double chance = pow(w->made[i], made) * (full ? 1 : 1 - w->made[i]);
        cost += chance * ((made + 1) * draft + check_cost(w, w->depths[i], window + 1));
        for (uint32_t right = 0; right <= made; right++) {
            double stands = pow(w->accepted[i], right) * (right < made ? 1 - w->accepted[i] : 1);
            tokens += chance * stands * (right + 1);
        }
    }
    return tokens / cost;
}

// The best of all plans; *lead is how much better than the next one.
static DraftPlan best_plan(const World *w, double *lead)
{
    DraftPlan best = {0, 0};
    double most = 1 / check_cost(w, 0, 1), second = 0;
    for (uint32_t i = 0; i < w->count; i++)
        for (uint32_t window = 1; window <= DRAFT_WINDOW; window++) {
            double value = expected_gain(w, i, window);
            second = fmax(second, fmin(value, most));
            if (value <= most) continue;
            most = value;
            best = (DraftPlan){w->depths[i], window};
        }
    *lead = most / second;
    return best;
}

static World random_world(Random *r, bool clock)
{
    World w = even_world(2 + (uint32_t)random_below(r, 12));
    w.config.vocab_size = 16 + (uint32_t)random_below(r, 4000);
    for (uint32_t depth = 1; depth < w.config.blocks && w.count < 8; depth++) {
        if (random_below(r, 2) && depth + 1 < w.config.blocks) continue;
        uint32_t i = w.count++;
        w.depths[i] = depth;
        if (random_below(r, 2)) w.made[i] = .2 + .8 * random_uniform(r);
        w.accepted[i] = 1 - random_uniform(r);
        if (clock) w.slow[i] = .7 + random_uniform(r);
    }
    for (int i = 0; clock && i < 3; i++) w.check[i] = 1 + (i + 1) * .4 * random_uniform(r);
    return w;
}

static void check_choices(bool clock)
{
    Random r = random_seed(5 + clock);
    uint32_t plain = 0, compared = 0;
    for (int round = 0; round < 300; round++) {
        double lead;
        World w = random_world(&r, clock);
        DraftPlan want = best_plan(&w, &lead);
        if (lead < 1 + 1e-9) continue;
        Drafting d = begin_auto(&w, clock);
        teach(&d, &w);
        check_plan(&d, want.depth, want.window);
        plain += want.depth == 0;
        compared++;
    }
    assert_true(compared > 270 && plain > 30 && plain < compared - 30);
}

static void chooses_the_best_plan(void **state)
{
    (void)state;
    check_choices(true);
}

// Without a clock what was measured counts for nothing: one text gives one choice.
static void chooses_by_bytes_without_a_clock(void **state)
{
    (void)state;
    check_choices(false);
    World w = even_world(8);
    w.count = 1, w.depths[0] = 2, w.accepted[0] = .8;
    Drafting a = begin_auto(&w, false), b = begin_auto(&w, false);
    teach(&a, &w);
    teach(&b, &w);
    drafting_timed_draft(&b, (DraftPlan){2, 4}, 1000);
    drafting_timed_check(&b, (DraftPlan){2, 4}, 5, false, 1e-9);
    assert_memory_equal(&(DraftPlan[]){drafting_plan(&a)}, &(DraftPlan[]){drafting_plan(&b)},
                        sizeof(DraftPlan));
}

// A draft that is always wrong, or costs as much as the whole, cannot pay.
static void leaves_drafts_that_cannot_pay(void **state)
{
    (void)state;
    for (int clock = 0; clock < 2; clock++) {
        World wrong = even_world(8), dear = even_world(2);
        wrong.count = 3, wrong.depths[0] = 2, wrong.depths[1] = 4, wrong.depths[2] = 6;
        Drafting d = begin_auto(&wrong, clock);
        assert_int_not_equal(drafting_plan(&d).depth, 0); // at first all are tried
        teach(&d, &wrong);
        check_plan(&d, 0, 0);
        dear.count = 1, dear.depths[0] = 1, dear.accepted[0] = .6;
        dear.config.vocab_size = 100000; // the head is everything
        d = begin_auto(&dear, clock);
        teach(&d, &dear);
        check_plan(&d, 0, 0);
    }
}

// Round by round a draft that is never accepted, nor pays, costs next to nothing: it is tried again
// seldom. The smaller the head, the less a vain draft of one token costs.
static void vain_drafts_cost_little(void **state)
{
    (void)state;
    static const uint32_t vocabs[] = {16, 150, 512, 5000};
    for (int v = 0; v < 4; v++) {
        enum { ROUNDS = 2000 };
        World w = even_world(8);
        double cost = 0;
        w.count = 1, w.depths[0] = 2, w.config.vocab_size = vocabs[v];
        Drafting d = begin_auto(&w, false);
        for (int round = 0; round < ROUNDS; round++) {
            DraftPlan plan = drafting_plan(&d);
            cost += plan.window * bytes(&w, 2) + bytes(&w, 8 - plan.depth);
            if (!plan.depth) assert_int_equal(plan.window, 0);
            drafting_learn(&d, plan, plan.window, plan.window, 0);
        }
        double share = cost / (ROUNDS * bytes(&w, 8));
        if (!(share < 1.015)) fail_msg("vocabulary of %u: %.4f of plain", vocabs[v], share);
    }
}

// What was learned fades: after plain steps alone a draft that failed is tried again.
static void fades(void **state)
{
    (void)state;
    World w = even_world(8);
    w.count = 1, w.depths[0] = 2;
    Drafting d = begin_auto(&w, false);
    const DraftPlan draft = {2, 4}, none = {0, 0};
    for (int round = 0; round < 500; round++) drafting_learn(&d, draft, 4, 4, 0);
    check_plan(&d, 0, 0);
    uint32_t steps = 0;
    for (; !drafting_plan(&d).depth && steps < 1000; steps++) drafting_learn(&d, none, 0, 0, 0);
    if (steps < 10 || steps > 300) fail_msg("tried again after %u plain steps", steps);
    // And one that was good until the text changed is left soon.
    for (int round = 0; round < 500; round++) drafting_learn(&d, draft, 4, 4, 4);
    assert_int_equal(drafting_plan(&d).depth, 2);
    for (steps = 0; drafting_plan(&d).depth && steps < 1000; steps++)
        drafting_learn(&d, drafting_plan(&d), 4, 4, 0);
    if (steps < 2 || steps > 150) fail_msg("left after %u vain drafts", steps);
}

// Which depths may draft: the exits below the depth, or every block.
static void candidates(void **state)
{
    (void)state;
    World w = even_world(6);
    w.count = 3, w.depths[0] = 2, w.depths[1] = 4, w.depths[2] = 6;
    Drafting d = begin_auto(&w, false);
    assert_true(d.count == 2 && d.candidates[0].depth == 2 && d.candidates[1].depth == 4);
    w.count = 0;
    d = begin_auto(&w, false);
    assert_int_equal(d.count, 5);
    for (uint32_t i = 0; i < 5; i++) assert_int_equal(d.candidates[i].depth, i + 1);
    LlamaConfig config = trained_config(6, (const uint32_t[]){2, 4, 6}, 3);
    DepthPolicy policy = policy_fixed(2); // no exit lies below
    policy.draft_auto = true;
    drafting_begin(&d, &policy, &config, false);
    assert_true(d.count == 1 && d.candidates[0].depth == 1);
    assert_true(drafting_plan(&d).depth <= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed),
        cmocka_unit_test(exits),
        cmocka_unit_test(exits_refused),
        cmocka_unit_test(many_exits),
        cmocka_unit_test(one_threshold),
        cmocka_unit_test(drafts),
        cmocka_unit_test(confidence_by_hand),
        cmocka_unit_test(confidence_of_infinities),
        cmocka_unit_test(confidence_within_bounds),
        cmocka_unit_test(windows_of_the_paper),
        cmocka_unit_test(chooses_the_best_plan),
        cmocka_unit_test(chooses_by_bytes_without_a_clock),
        cmocka_unit_test(leaves_drafts_that_cannot_pay),
        cmocka_unit_test(vain_drafts_cost_little),
        cmocka_unit_test(fades),
        cmocka_unit_test(candidates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
