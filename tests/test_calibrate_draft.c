// Choosing a draft from observations that are made up: a case done by hand, and random ones against
// every plan with its expected gain worked out by chance. Exits: test_calibrate.c.
#include "infer/calibrate.h"
#include "support/observed.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

// Expected tokens over time of one plan, over every course that a round may take: so many tokens
// are made, the next one is asked for in vain or the window is full (and the last one passes the
// draft's blocks, too), so many of them stand.
static double plan_speed(const Observations *o, const StepCosts *costs, uint32_t e, double stop,
                         uint32_t window)
{
    double made = 0, good = 0, tokens = 0, seconds = 0;
    for (size_t p = 0; p < o->count; p++) {
        bool makes = !(o->confidences[p * o->exits + e] < stop);
        made += makes;
        good += makes && o->same[p * o->exits + e];
    }
    double accepted = made > 0 ? good / made : 0;
    made /= (double)o->count;
    double check = costs->rows[window + 1] * (o->depths[o->exits] - o->depths[e]);
    check /= o->depths[o->exits];
    for (uint32_t n = 0; n <= window; n++) {
        double chance = pow(made, n) * (n == window ? 1 : 1 - made);
        seconds += chance * ((n + 1) * costs->token[e] + check);
        for (uint32_t right = 0; right <= n; right++)
            tokens += chance * pow(accepted, right) * (right < n ? 1 - accepted : 1) * (right + 1);
    }
    return tokens / seconds * costs->token[o->exits];
}

static void check_draft(const Observations *o, const StepCosts *costs, uint32_t *found)
{
    DraftChoice c = calibrate_draft(o, costs);
    double best = 1;
    for (uint32_t e = 0; e < o->exits; e++)
        for (int stop = 0; stop < 10; stop++)
            for (uint32_t window = 1; window <= DRAFT_WINDOW; window++)
                best = fmax(best, plan_speed(o, costs, e, stop / 10., window));
    check_close(c.speed, best, "speed of the draft");
    assert_int_equal(c.depth == 0, best <= 1);
    assert_int_equal(c.depth == 0, c.window == 0);
    if (!c.depth) return;
    uint32_t e = 0;
    while (o->depths[e] != c.depth) assert_true(++e < o->exits);
    check_close(plan_speed(o, costs, e, c.stop, c.window), best, "speed of the chosen plan");
    double made = 0, good = 0;
    for (size_t p = 0; p < o->count; p++) {
        if (o->confidences[p * o->exits + e] < c.stop) continue;
        made++;
        good += o->same[p * o->exits + e];
    }
    check_close(c.acceptance, made > 0 ? good / made : 0, "acceptance");
    ++*found;
}

static void best_draft(void **state)
{
    (void)state;
    uint32_t found = 0;
    enum { ROUNDS = 40 };
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        Random r = random_seed(200 + seed);
        Observations o =
            observed_randomly(&r, (const uint32_t[]){1, 2, 5, 8}, 3, 120, seed % 2 * 10);
        StepCosts costs = observed_costs(&o);
        double row = random_uniform(&r), head = 3 * random_uniform(&r);
        for (uint32_t e = 0; e <= o.exits; e++) costs.token[e] += head;
        for (uint32_t rows = 1; rows <= DRAFT_WINDOW + 1; rows++)
            costs.rows[rows] = (8 + head) * (1 + row * (rows - 1));
        check_draft(&o, &costs, &found);
        observations_free(&o);
    }
    assert_true(found > ROUNDS / 5 && found < ROUNDS - ROUNDS / 5);
}

// Sure and right everywhere at a quarter of the depth, checks of any width cost one token: a round
// of 16 makes 17 tokens for 17 quarters and three more.
static void drafts_by_hand(void **state)
{
    (void)state;
    Observations o = observed_nothing((const uint32_t[]){2, 8}, 1, 20);
    StepCosts costs = observed_costs(&o);
    for (uint32_t rows = 1; rows <= DRAFT_WINDOW + 1; rows++) costs.rows[rows] = 8;
    for (size_t p = 0; p < o.count; p++) observed_set(&o, p, 0, 1, true, true);
    DraftChoice c = calibrate_draft(&o, &costs);
    assert_true(c.depth == 2 && c.window == DRAFT_WINDOW && c.stop == 0);
    check_close(c.acceptance, 1, "acceptance");
    check_close(c.speed, 17 * 8 / (17 * 2. + 6), "speed");
    // Half of the drafts are unsure, and wrong: they are not made.
    for (size_t p = 0; p < o.count; p += 2) observed_set(&o, p, 0, .05, false, false);
    c = calibrate_draft(&o, &costs);
    assert_true(c.depth == 2 && c.stop > .05 && c.stop < .15);
    check_close(c.acceptance, 1, "acceptance");
    // Never right, or as dear as the whole: none. Stops are probabilities: other measures tell
    // none.
    o.confidence = CONFIDENCE_MARGIN;
    assert_int_equal(calibrate_draft(&o, &costs).depth, 0);
    o.confidence = CONFIDENCE_PROBABILITY;
    costs.token[0] = 8;
    assert_int_equal(calibrate_draft(&o, &costs).depth, 0);
    costs.token[0] = 2;
    for (size_t p = 0; p < o.count; p++) observed_set(&o, p, 0, 1, false, false);
    assert_int_equal(calibrate_draft(&o, &costs).depth, 0);
    observations_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(best_draft),
        cmocka_unit_test(drafts_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
