// Choosing a draft from observations that are made up: a case done by hand, and random ones against
// every plan, told position by position. Exits: test_calibrate.c.
#include "infer/calibrate.h"
#include "support/observed.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

// What a plan makes of the texts, told position by position: who drafts each token, what every
// check reads. Sums of seconds, drafted and accepted tokens.
typedef struct {
    double seconds, made, good;
} Told;

// The end of the text that position p belongs to.
static size_t end_of(const Observations *o, size_t p)
{
    for (p++; p < o->count && !o->begins[p];) p++;
    return p;
}

static Told tell(const Observations *o, const StepCosts *costs, uint32_t e, double stop,
                 uint32_t first_window)
{
    Told told = {0};
    uint32_t window = 0;
    for (size_t p = 0; p < o->count;) {
        size_t end = end_of(o, p), q = p; // q: the first position that is not drafted
        if (p == 0 || o->begins[p]) window = first_window;
        bool unsure = false;
        while (q < end && q - p < window && !unsure) {
            unsure = o->confidences[q * o->exits + e] < stop;
            q += !unsure;
        }
        // Each drafted token, and the one before the first, pass the draft's blocks; of the last
        // one nothing is asked, but it passes them all the same.
        told.seconds += (double)(q - p + 1) * costs->token[e] + costs->checks[e][q - p + 1];
        size_t wrong = p;
        while (wrong < q && o->same[wrong * o->exits + e]) wrong++;
        told.made += (double)(q - p);
        told.good += (double)(wrong - p);
        if (q > p && wrong == q) window = window + 2 > DRAFT_WINDOW ? DRAFT_WINDOW : window + 2;
        if (wrong < q && window > 1) window--;
        p = wrong + 1 < end ? wrong + 1 : end;
    }
    return told;
}

static double plan_speed(const Observations *o, const StepCosts *costs, uint32_t e, double stop,
                         uint32_t window)
{
    return (double)o->count * costs->token[o->exits] / tell(o, costs, e, stop, window).seconds;
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
    Told told = tell(o, costs, e, c.stop, c.window);
    check_close(c.acceptance, told.made > 0 ? told.good / told.made : 0, "acceptance");
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
        for (uint32_t i = 0; i < o.exits; i++)
            for (uint32_t rows = 1; rows <= DRAFT_WINDOW + 1; rows++)
                costs.checks[i][rows] = (8 - o.depths[i] + head) * (1 + row * (rows - 1));
        for (size_t p = 0; p < o.count; p++) o.begins[p] = random_below(&r, 9) == 0;
        check_draft(&o, &costs, &found);
        observations_free(&o);
    }
    assert_true(found > ROUNDS / 5 && found < ROUNDS - ROUNDS / 5);
}

// Sure and right everywhere at a quarter of the depth, checks of any width cost 6: two rounds of 16
// drafts make 17 tokens each.
static void drafts_by_hand(void **state)
{
    (void)state;
    Observations o = observed_nothing((const uint32_t[]){2, 8}, 1, 34);
    StepCosts costs = observed_costs(&o);
    for (uint32_t rows = 1; rows <= DRAFT_WINDOW + 1; rows++) costs.checks[0][rows] = 6;
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
