// How drafts are chosen: the paper's rule, and the automatic choice against a search through every
// plan, with its gain added up over every course that a round may take.
#include "base/random.h"
#include "infer/drafting.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
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

// Of a draft the check judges what it accepts and the first that it does not: those behind are
// lost.
static void counts_what_was_judged(void **state)
{
    (void)state;
    World w = even_world(8);
    w.count = 2, w.depths[0] = 2, w.depths[1] = 4;
    Drafting d = begin_auto(&w, false);
    const DraftCandidate *c = d.candidates;
    drafting_learn(&d, (DraftPlan){2, 5}, 5, 4, 4);
    assert_true(c[0].asked == 5 && c[0].made == 4 && c[0].judged == 4 && c[0].accepted == 4);
    drafting_learn(&d, (DraftPlan){4, 5}, 5, 5, 2);
    assert_true(c[1].asked == 5 && c[1].made == 5 && c[1].judged == 3 && c[1].accepted == 2);
    assert_true(c[0].judged > 3 && c[0].judged < 4); // faded
    drafting_learn(&d, (DraftPlan){0, 0}, 0, 0, 0);
    assert_true(c[1].judged < 3 && c[1].accepted < 2);
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
    const uint32_t count = w.count;
    w.count = 0;
    d = begin_auto(&w, false);
    assert_int_equal(d.count, 5);
    for (uint32_t i = 0; i < 5; i++) assert_int_equal(d.candidates[i].depth, i + 1);
    LlamaConfig config = config_of(6);
    config.exit_count = count;
    memcpy(config.exits, w.depths, sizeof w.depths);
    DepthPolicy policy = policy_fixed(2); // no exit lies below
    policy.draft_auto = true;
    drafting_begin(&d, &policy, &config, false);
    assert_true(d.count == 1 && d.candidates[0].depth == 1);
    assert_true(drafting_plan(&d).depth <= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_of_the_paper),
        cmocka_unit_test(chooses_the_best_plan),
        cmocka_unit_test(chooses_by_bytes_without_a_clock),
        cmocka_unit_test(leaves_drafts_that_cannot_pay),
        cmocka_unit_test(vain_drafts_cost_little),
        cmocka_unit_test(counts_what_was_judged),
        cmocka_unit_test(fades),
        cmocka_unit_test(candidates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
