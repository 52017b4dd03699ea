// Observations made up for tests: see observed.h.
#include "support/observed.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

Observations observed_nothing(const uint32_t *depths, uint32_t exits, size_t count)
{
    Observations o;
    observations_begin(&o, depths, exits + 1, CONFIDENCE_PROBABILITY);
    o.count = o.room = count;
    o.confidences = calloc(count * exits + 1, sizeof *o.confidences);
    o.right = calloc(count * (exits + 1) + 1, 1);
    o.same = calloc(count * exits + 1, 1);
    o.begins = calloc(count + 1, 1);
    assert_true(o.confidences && o.right && o.same && o.begins);
    for (size_t p = 0; p < count; p++) o.right[p * (exits + 1) + exits] = 1;
    return o;
}

void observed_set(Observations *o, size_t p, uint32_t e, double confidence, bool right, bool same)
{
    o->confidences[p * o->exits + e] = confidence;
    o->right[p * (o->exits + 1) + e] = right;
    o->same[p * o->exits + e] = same;
}

StepCosts observed_costs(const Observations *o)
{
    StepCosts costs = {.check = .25};
    for (uint32_t e = 0; e <= o->exits; e++) costs.token[e] = o->depths[e];
    for (uint32_t e = 0; e < o->exits; e++)
        for (uint32_t rows = 1; rows <= DRAFT_WINDOW + 1; rows++)
            costs.checks[e][rows] = (o->depths[o->exits] - o->depths[e]) * (1 + .1 * (rows - 1));
    return costs;
}

Observations observed_randomly(Random *r, const uint32_t *depths, uint32_t exits, size_t count,
                               uint32_t steps)
{
    Observations o = observed_nothing(depths, exits, count);
    for (size_t p = 0; p < count; p++) {
        uint8_t full = random_uniform(r) < .8;
        o.right[p * (exits + 1) + exits] = full;
        for (uint32_t e = 0; e < exits; e++) {
            double sure = random_uniform(r);
            bool same = random_uniform(r) < .3 + .7 * sure;
            if (steps) sure = floor(sure * steps) / steps;
            observed_set(&o, p, e, sure, same ? full : random_uniform(r) < .2, same);
        }
    }
    return o;
}

void check_close(double value, double expected, const char *what)
{
    if (!(fabs(value - expected) <= 1e-9 * fmax(1, fabs(expected))))
        fail_msg("%s: %.12g, expected %.12g", what, value, expected);
}
