// Choosing exits from observations that are made up: cases done by hand, and random ones against a
// search through all thresholds and subsets that shares no code with calibrate.c. What a GPU
// observes is the business of test_infer_calibrate.c, drafts that of test_calibrate_draft.c.
#include "infer/calibrate.h"
#include "support/observed.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- a policy's figures, worked out here -------------------------------------------------------

typedef struct {
    double right, full, same, blocks, seconds, count;
} Tally;

// thresholds (E); HUGE_VAL: an exit that is not used. Positions first, first + 2, ...
static Tally tally(const Observations *o, const StepCosts *costs, const double *thresholds,
                   size_t first)
{
    Tally t = {0};
    for (size_t p = first; p < o->count; p += 2) {
        uint32_t e = 0;
        double seconds = 0;
        for (; e < o->exits; e++) {
            if (thresholds[e] == HUGE_VAL) continue;
            if (o->confidences[p * o->exits + e] >= thresholds[e]) break;
            seconds += costs->check;
        }
        t.seconds += seconds + costs->token[e];
        t.right += o->right[p * (o->exits + 1) + e];
        t.full += o->right[p * (o->exits + 1) + o->exits];
        t.same += e == o->exits || o->same[p * o->exits + e];
        t.blocks += o->depths[e];
        t.count++;
    }
    return t;
}

static double speed_of(const Tally *t, const Observations *o, const StepCosts *costs)
{
    return t->count * costs->token[o->exits] / t->seconds;
}

// The thresholds of a policy by exit.
static void spread(double *thresholds, const Observations *o, const DepthPolicy *policy)
{
    uint32_t found = 0;
    for (uint32_t e = 0; e < o->exits; e++) {
        thresholds[e] = HUGE_VAL;
        for (uint32_t i = 0; i < policy->exit_count; i++)
            if (policy->exits[i] == o->depths[e]) {
                thresholds[e] = policy->thresholds[i];
                found++;
            }
    }
    assert_int_equal(found, policy->exit_count);
}

// What the choice says of itself is what its policy does at the other half.
static void check_judged(const ExitChoice *c, const Observations *o, const StepCosts *costs)
{
    double thresholds[CONFIG_MAX_EXITS];
    spread(thresholds, o, &c->policy);
    Tally t = tally(o, costs, thresholds, 1);
    check_close(c->accuracy, t.right / t.count, "accuracy");
    check_close(c->full_accuracy, t.full / t.count, "accuracy of the full depth");
    check_close(c->agreement, t.same / t.count, "agreement");
    check_close(c->blocks, t.blocks / t.count, "blocks");
    check_close(c->speed, speed_of(&t, o, costs), "speed");
    assert_int_equal(c->policy.depth, o->depths[o->exits]);
    assert_int_equal(c->policy.confidence, o->confidence);
    assert_true(!c->policy.draft && !c->policy.draft_auto);
}

// ---- by hand -----------------------------------------------------------------------------------

// Of each half's 16 tokens: 8 sure and right, 4 at a half of which 2 are wrong, 4 unsure and wrong.
static void by_hand(void **state)
{
    (void)state;
    ExitChoice curve[EXIT_CURVE];
    Observations o = observed_nothing((const uint32_t[]){2, 4}, 1, 32);
    StepCosts costs = observed_costs(&o);
    for (size_t p = 0; p < 32; p++) {
        size_t i = p / 2;
        bool right = i < 10;
        observed_set(&o, p, 0, i < 8 ? .9 : i < 12 ? .5 : .1, right, right);
    }
    assert_int_equal(calibrate_exits(curve, &o, &costs), EXIT_CURVE);
    // Two lost and their root are 3.41 tokens, which a harm of .3 allows (4.8), one of .2 (3.2)
    // not; all six lost and their root are 8.4.
    for (uint32_t i = 0; i < EXIT_CURVE; i++) {
        const ExitChoice *c = &curve[i];
        bool bold = i + 1 == EXIT_CURVE;
        assert_true(c->policy.exit_count == 1 && c->policy.exits[0] == 2);
        assert_true(c->policy.thresholds[0] == (bold ? .5 : .9));
        check_close(c->full_accuracy, 1, "accuracy of the full depth");
        check_close(c->accuracy, bold ? 14 / 16. : 1, "accuracy");
        check_close(c->agreement, bold ? 14 / 16. : 1, "agreement");
        check_close(c->blocks, bold ? 2.5 : 3, "blocks");
        check_close(c->speed, bold ? 64 / (12 * 2 + 4 * 4.25) : 64 / (8 * 2 + 8 * 4.25), "speed");
        check_judged(c, &o, &costs);
    }
    check_close(curve[0].harm, .002, "harm");
    check_close(curve[EXIT_CURVE - 1].harm, .3, "harm");
    assert_true(calibrate_choose(curve, EXIT_CURVE, 0)->policy.thresholds[0] == .9);
    assert_true(calibrate_choose(curve, EXIT_CURVE, .1249)->policy.thresholds[0] == .9);
    assert_true(calibrate_choose(curve, EXIT_CURVE, .125)->policy.thresholds[0] == .5);
    assert_null(calibrate_choose(curve, 0, 1));
    observations_free(&o);
}

// An exit that is right where the full depth is wrong makes up for what it loses elsewhere.
static void gains_count(void **state)
{
    (void)state;
    ExitChoice curve[EXIT_CURVE];
    Observations o = observed_nothing((const uint32_t[]){1, 4}, 1, 400);
    StepCosts costs = observed_costs(&o);
    for (size_t p = 0; p < 400; p++) { // of 200: 40 gained, 20 lost, and 20 + sqrt(60) < 40
        size_t i = p / 2;
        observed_set(&o, p, 0, .8, i >= 20, i >= 60);
        o.right[2 * p + 1] = i < 20 || i >= 60;
    }
    assert_int_equal(calibrate_exits(curve, &o, &costs), EXIT_CURVE);
    const ExitChoice *c = calibrate_choose(curve, EXIT_CURVE, 0);
    assert_true(c && c->policy.thresholds[0] == .8);
    check_close(c->full_accuracy - c->accuracy, -.1, "loss");
    check_close(c->speed, 4, "speed");
    observations_free(&o);
}

// Thresholds come from the even positions, figures from the odd ones.
static void halves(void **state)
{
    (void)state;
    ExitChoice curve[EXIT_CURVE], other[EXIT_CURVE];
    Random r = random_seed(11);
    Observations o = observed_randomly(&r, (const uint32_t[]){2, 4, 8}, 2, 501, 0);
    StepCosts costs = observed_costs(&o);
    assert_int_equal(calibrate_exits(curve, &o, &costs), EXIT_CURVE);
    for (size_t p = 1; p < o.count; p += 2) // sure, and always wrong
        for (uint32_t e = 0; e < 2; e++) observed_set(&o, p, e, 1, false, false);
    assert_int_equal(calibrate_exits(other, &o, &costs), EXIT_CURVE);
    uint32_t exits = 0;
    for (uint32_t i = 0; i < EXIT_CURVE; i++) {
        const DepthPolicy *a = &curve[i].policy, *b = &other[i].policy;
        assert_int_equal(a->exit_count, b->exit_count);
        assert_memory_equal(a->exits, b->exits, sizeof a->exits);
        assert_memory_equal(a->thresholds, b->thresholds, sizeof a->thresholds);
        check_judged(&other[i], &o, &costs);
        if (!a->exit_count) continue;
        exits++;
        check_close(other[i].accuracy, 0, "accuracy");
        check_close(other[i].agreement, 0, "agreement");
        assert_true(curve[i].accuracy > .5);
    }
    assert_true(exits >= 4);
    // What is judged so badly is not chosen; no exits at all may be.
    const ExitChoice *c = calibrate_choose(other, EXIT_CURVE, .5);
    assert_true(!c || !c->policy.exit_count);
    observations_free(&o);
}

// ---- against a search --------------------------------------------------------------------------

// The best of all thresholds that keep the rule, of one subset of exits.
typedef struct {
    const Observations *o;
    const StepCosts *costs;
    double harm; // tokens that each exit may lose
    double thresholds[CONFIG_MAX_EXITS];
    uint32_t subset;
    double best;      // over every combination of thresholds
    double greedy;    // over those where each exit in turn has its lowest threshold
    double policy[3]; // of the latter
} Brute;

// Those that leave at exit e with that threshold, of the even positions that no exit before takes.
static bool keeps_rule(const Brute *b, uint32_t e, double threshold)
{
    const Observations *o = b->o;
    double lost = 0, changed = 0, count = 0;
    for (size_t p = 0; p < o->count; p += 2) {
        bool gone = false;
        for (uint32_t i = 0; i < e; i++)
            gone = gone || o->confidences[p * o->exits + i] >= b->thresholds[i];
        if (gone || o->confidences[p * o->exits + e] < threshold) continue;
        int full = o->right[p * (o->exits + 1) + o->exits];
        int here = o->right[p * (o->exits + 1) + e];
        lost += full - here;
        changed += full != here;
        count++;
    }
    return count && lost + sqrt(changed) <= b->harm; // a threshold that takes none is none
}

static void search(Brute *b, uint32_t e, bool greedy)
{
    const Observations *o = b->o;
    if (e == o->exits) {
        Tally t = tally(o, b->costs, b->thresholds, 0);
        double speed = speed_of(&t, o, b->costs);
        b->best = fmax(b->best, speed);
        if (!greedy || speed <= b->greedy) return;
        b->greedy = speed;
        memcpy(b->policy, b->thresholds, sizeof b->policy);
        return;
    }
    double lowest = HUGE_VAL;
    for (size_t p = 0; b->subset >> e & 1 && p < o->count; p += 2) {
        double threshold = o->confidences[p * o->exits + e];
        if (keeps_rule(b, e, threshold)) lowest = fmin(lowest, threshold);
    }
    for (size_t p = 0; b->subset >> e & 1 && p < o->count; p += 2) {
        b->thresholds[e] = o->confidences[p * o->exits + e];
        if (b->thresholds[e] > lowest && keeps_rule(b, e, b->thresholds[e]))
            search(b, e + 1, false);
    }
    if (lowest < HUGE_VAL) { // an exit that none may take does not stand in the way
        b->thresholds[e] = HUGE_VAL;
        search(b, e + 1, false);
    }
    b->thresholds[e] = lowest;
    search(b, e + 1, greedy);
}

static Brute brute_force(const Observations *o, const StepCosts *costs, double harm)
{
    Brute b = {.o = o, .costs = costs};
    for (b.subset = 0; b.subset < 1u << o->exits; b.subset++) {
        uint32_t count = 0;
        for (uint32_t e = 0; e < o->exits; e++) count += b.subset >> e & 1;
        b.harm = harm * (double)((o->count + 1) / 2) / (count ? count : 1);
        for (uint32_t e = 0; e < o->exits; e++) b.thresholds[e] = HUGE_VAL;
        search(&b, 0, true);
    }
    return b;
}

static double loosest; // the best of all combinations over what was chosen, in the worst case
static uint32_t compared, equal;

static void compare(const ExitChoice *c, const Observations *o, const StepCosts *costs)
{
    double thresholds[CONFIG_MAX_EXITS];
    Brute b = brute_force(o, costs, c->harm);
    spread(thresholds, o, &c->policy);
    Tally t = tally(o, costs, thresholds, 0);
    double speed = speed_of(&t, o, costs);
    check_close(speed, b.greedy, "speed of the best subset");
    loosest = fmax(loosest, b.best / speed);
    compared++;
    equal += b.best <= speed * (1 + 1e-9);
    check_judged(c, o, costs);
}

static void compare_all(uint32_t exits, size_t count, uint32_t steps, uint64_t seed, uint32_t step)
{
    static const uint32_t depths[] = {2, 3, 5, 8};
    ExitChoice curve[EXIT_CURVE];
    Random r = random_seed(seed);
    Observations o = observed_randomly(&r, depths + 3 - exits, exits, count, steps);
    StepCosts costs = observed_costs(&o);
    costs.check = .3 * random_uniform(&r);
    assert_int_equal(calibrate_exits(curve, &o, &costs), EXIT_CURVE);
    for (uint32_t i = EXIT_CURVE - 1; i < EXIT_CURVE; i -= step) compare(&curve[i], &o, &costs);
    observations_free(&o);
}

// With one exit nothing is better; with more, where the exits are gone through one by one and each
// takes what it may, hardly anything.
static void best_of_all_thresholds(void **state)
{
    (void)state;
    loosest = 0, compared = equal = 0;
    for (uint32_t seed = 0; seed < 40; seed++) compare_all(1, 16 + 7 * seed, seed % 3 * 6, seed, 1);
    assert_true(loosest <= 1 + 1e-9 && equal == compared);
    for (uint32_t seed = 0; seed < 12; seed++) compare_all(2, 40 + 3 * seed, seed % 3 * 5, seed, 1);
    for (uint32_t seed = 0; seed < 6; seed++) compare_all(3, 22 + 3 * seed, 6, seed, 3);
    print_message("%u of %u chosen are the best of all; at most %.2f %% are missed\n", equal,
                  compared, 100 * (loosest - 1));
    assert_true(equal >= compared * .9 && loosest < 1.1);
}

// ---- what any curve must be --------------------------------------------------------------------

// Bolder is faster at the half that chose; one exit's threshold only falls.
static void bolder_is_faster(void **state)
{
    (void)state;
    for (uint32_t exits = 1; exits <= 3; exits++) {
        ExitChoice curve[EXIT_CURVE];
        Random r = random_seed(20 + exits);
        Observations o =
            observed_randomly(&r, (const uint32_t[]){2, 4, 6, 8} + 3 - exits, exits, 3000, 0);
        StepCosts costs = observed_costs(&o);
        double before = 1, threshold = HUGE_VAL, thresholds[CONFIG_MAX_EXITS];
        assert_int_equal(calibrate_exits(curve, &o, &costs), EXIT_CURVE);
        for (uint32_t i = 0; i < EXIT_CURVE; i++) {
            spread(thresholds, &o, &curve[i].policy);
            Tally t = tally(&o, &costs, thresholds, 0);
            double speed = speed_of(&t, &o, &costs);
            assert_true(!i || curve[i].harm > curve[i - 1].harm);
            assert_true(speed >= before * (exits == 1 ? 1 : .98));
            assert_true(exits > 1 || thresholds[0] <= threshold);
            // Judged apart, the loss stays near what was allowed: 1500 tokens, 3 deviations.
            double slack = 3 * sqrt(curve[i].harm / 1500) + .002;
            assert_true(curve[i].full_accuracy - curve[i].accuracy < curve[i].harm + slack);
            before = speed, threshold = thresholds[0];
        }
        assert_true(before > 1.2);
        observations_free(&o);
    }
}

static bool has_exit(const DepthPolicy *policy, uint32_t depth)
{
    for (uint32_t i = 0; i < policy->exit_count; i++)
        if (policy->exits[i] == depth) return true;
    return false;
}

// Exits at 2, 4 and 6: that at 4 is always sure, but wrong, or takes as long as all blocks.
static void leaves_out_what_never_pays(void **state)
{
    (void)state;
    for (int dear = 0; dear < 2; dear++) {
        ExitChoice curve[EXIT_CURVE];
        Random r = random_seed(31);
        Observations o = observed_randomly(&r, (const uint32_t[]){2, 4, 6, 8}, 3, 1000, 0);
        StepCosts costs = observed_costs(&o);
        if (dear) costs.token[1] = 8;
        for (size_t p = 0; p < o.count; p++) {
            if (!dear) observed_set(&o, p, 1, 1, false, false);
            o.right[4 * p + 3] = 1;
        }
        assert_int_equal(calibrate_exits(curve, &o, &costs), EXIT_CURVE);
        for (uint32_t i = 0; i < EXIT_CURVE; i++) assert_false(has_exit(&curve[i].policy, 4));
        assert_true(curve[EXIT_CURVE - 1].policy.exit_count > 0);
        // A check that costs more than any exit saves leaves none.
        costs.check = 100;
        assert_int_equal(calibrate_exits(curve, &o, &costs), EXIT_CURVE);
        assert_int_equal(curve[0].policy.exit_count, 0);
        check_close(curve[0].speed, 1, "speed");
        observations_free(&o);
    }
}

// Whatever the data, what is chosen for no loss is not worse than the full depth, nor slower; and a
// larger tolerance is never slower.
static void no_loss_is_no_loss(void **state)
{
    (void)state;
    uint32_t found = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        ExitChoice curve[EXIT_CURVE];
        Random r = random_seed(100 + seed);
        Observations o =
            observed_randomly(&r, (const uint32_t[]){1, 3, 8}, 2, 16 + 9 * seed, seed % 2 * 10);
        StepCosts costs = observed_costs(&o);
        uint32_t n = calibrate_exits(curve, &o, &costs);
        double before = 0;
        for (double loss = 0; loss < .4; loss += .05) {
            const ExitChoice *c = calibrate_choose(curve, n, loss);
            if (c) assert_true(c->full_accuracy - c->accuracy <= loss + 1e-9);
            if (c) assert_true(c->speed >= before);
            before = c ? c->speed : before;
            found += loss <= 0 && c && c->policy.exit_count;
        }
        for (uint32_t i = 0; i < n; i++) check_judged(&curve[i], &o, &costs);
        observations_free(&o);
    }
    assert_true(found >= 5);
}

static void ties_leave_together(void **state)
{
    (void)state;
    ExitChoice curve[EXIT_CURVE];
    Observations o = observed_nothing((const uint32_t[]){2, 4}, 1, 200);
    StepCosts costs = observed_costs(&o);
    for (size_t p = 0; p < 200; p++)
        observed_set(&o, p, 0, .7, p % 20 > 1, p % 20 > 1); // a tenth wrong
    assert_int_equal(calibrate_exits(curve, &o, &costs), EXIT_CURVE);
    for (uint32_t i = 0; i < EXIT_CURVE; i++) { // 10 and sqrt(10) of 100 lost
        bool may = curve[i].harm >= .1 + sqrt(10) / 100;
        assert_int_equal(curve[i].policy.exit_count, may);
        check_close(curve[i].accuracy, may ? .9 : 1, "accuracy");
        check_close(curve[i].speed, may ? 2 : 1, "speed");
    }
    observations_free(&o);
}

// What is no number is sure of nothing; thresholds are numbers of [0, 1] whatever was observed.
static void odd_confidences(void **state)
{
    (void)state;
    static const double odd[] = {NAN, INFINITY, -INFINITY, -1, 7, 0, 1};
    ExitChoice curve[EXIT_CURVE], plain[EXIT_CURVE];
    Random r = random_seed(41);
    Observations o = observed_randomly(&r, (const uint32_t[]){2, 4, 8}, 2, 600, 0);
    StepCosts costs = observed_costs(&o);
    for (size_t p = 0; p < o.count; p++)
        if (p / 2 % 3 == 0) o.confidences[2 * p + p / 6 % 2] = odd[p / 12 % 7];
    assert_int_equal(calibrate_exits(curve, &o, &costs), EXIT_CURVE);
    DraftChoice draft = calibrate_draft(&o, &costs), again;
    for (size_t i = 0; i < 2 * o.count; i++) {
        double c = o.confidences[i];
        o.confidences[i] = isnan(c) || c < 0 ? 0 : c > 1 ? 1 : c;
    }
    assert_int_equal(calibrate_exits(plain, &o, &costs), EXIT_CURVE);
    again = calibrate_draft(&o, &costs);
    assert_true(again.depth == draft.depth && again.speed == draft.speed);
    uint32_t exits = 0;
    for (uint32_t i = 0; i < EXIT_CURVE; i++) {
        const DepthPolicy *a = &curve[i].policy, *b = &plain[i].policy;
        assert_true(a->exit_count == b->exit_count && curve[i].speed == plain[i].speed);
        for (uint32_t e = 0; e < a->exit_count; e++, exits++) {
            assert_true(a->thresholds[e] >= 0 && a->thresholds[e] <= 1);
            assert_true(a->thresholds[e] == b->thresholds[e]);
        }
        check_judged(&plain[i], &o, &costs);
    }
    assert_true(exits > EXIT_CURVE / 2);
    observations_free(&o);
}

static void too_little(void **state)
{
    (void)state;
    ExitChoice curve[EXIT_CURVE];
    Random r = random_seed(51);
    Observations o = observed_randomly(&r, (const uint32_t[]){2, 8}, 1, 16, 0);
    StepCosts costs = observed_costs(&o);
    assert_int_equal(calibrate_exits(curve, &o, &costs), EXIT_CURVE);
    o.count = 15;
    assert_int_equal(calibrate_exits(curve, &o, &costs), 0);
    DraftChoice draft = calibrate_draft(&o, &costs);
    assert_true(draft.depth == 0 && draft.window == 0 && draft.speed == 1);
    o.count = 0;
    assert_int_equal(calibrate_exits(curve, &o, &costs), 0);
    assert_int_equal(calibrate_draft(&o, &costs).depth, 0);
    observations_free(&o);
    o = observed_randomly(&r, (const uint32_t[]){8}, 0, 100, 0); // no exits
    assert_int_equal(calibrate_exits(curve, &o, &costs), 0);
    assert_int_equal(calibrate_draft(&o, &costs).depth, 0);
    observations_free(&o);
}

// As many as there may be: subsets go by groups of exits side by side.
static void many_exits(void **state)
{
    (void)state;
    static const uint32_t counts[] = {7, 8, 9, 13, CONFIG_MAX_EXITS};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        uint32_t depths[CONFIG_MAX_EXITS + 1], exits = counts[i];
        ExitChoice curve[EXIT_CURVE];
        Random r = random_seed(61);
        for (uint32_t e = 0; e <= exits; e++) depths[e] = e + 1;
        Observations o = observed_randomly(&r, depths, exits, 300, 0);
        StepCosts costs = observed_costs(&o);
        costs.check = .01;
        assert_int_equal(calibrate_exits(curve, &o, &costs), EXIT_CURVE);
        for (uint32_t n = 0; n < EXIT_CURVE; n++) check_judged(&curve[n], &o, &costs);
        const DepthPolicy *policy = &curve[EXIT_CURVE - 1].policy;
        assert_true(policy->exit_count >= 1 && policy->exit_count <= exits);
        for (uint32_t e = 1; e < policy->exit_count; e++)
            assert_true(policy->exits[e] > policy->exits[e - 1]);
        assert_true(curve[EXIT_CURVE - 1].speed > 1.1);
        observations_free(&o);
    }
}

// Of 16 exits that are all sure one is right, the 13th: its group is found, and the wrong ones of
// the group take no token.
static void one_of_many(void **state)
{
    (void)state;
    uint32_t depths[17];
    ExitChoice curve[EXIT_CURVE];
    for (uint32_t e = 0; e < 17; e++) depths[e] = e + 1;
    Observations o = observed_nothing(depths, 16, 200);
    StepCosts costs = observed_costs(&o);
    for (size_t p = 0; p < o.count; p++)
        for (uint32_t e = 0; e < 16; e++) observed_set(&o, p, e, .9, e == 12, e == 12);
    assert_int_equal(calibrate_exits(curve, &o, &costs), EXIT_CURVE);
    for (uint32_t i = 0; i < EXIT_CURVE; i++) {
        assert_true(curve[i].policy.exit_count == 1 && curve[i].policy.exits[0] == 13);
        check_close(curve[i].accuracy, 1, "accuracy");
        check_close(curve[i].speed, 17. / 13, "speed");
    }
    observations_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),
        cmocka_unit_test(gains_count),
        cmocka_unit_test(halves),
        cmocka_unit_test(best_of_all_thresholds),
        cmocka_unit_test(bolder_is_faster),
        cmocka_unit_test(leaves_out_what_never_pays),
        cmocka_unit_test(no_loss_is_no_loss),
        cmocka_unit_test(ties_leave_together),
        cmocka_unit_test(odd_confidences),
        cmocka_unit_test(too_little),
        cmocka_unit_test(many_exits),
        cmocka_unit_test(one_of_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
