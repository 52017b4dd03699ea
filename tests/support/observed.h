// Observations of exits that are made up, for tests of what calibrate.h chooses from them: no GPU.
// Fails the running cmocka test itself.
#ifndef STRATA_TESTS_SUPPORT_OBSERVED_H
#define STRATA_TESTS_SUPPORT_OBSERVED_H

#include "base/random.h"
#include "infer/observations.h"

// count positions at which every exit is unsure and wrong, the full depth right. depths
// (exits + 1); the caller frees with observations_free.
Observations observed_nothing(const uint32_t *depths, uint32_t exits, size_t count);
// What exit e says at position p.
void observed_set(Observations *o, size_t p, uint32_t e, double confidence, bool right, bool same);
// The full depth is right at 4 of 5; an exit the more often, the surer it is. Confidences are one
// of 0, 1 / steps, ...; 0 steps: all differ.
Observations observed_randomly(Random *r, const uint32_t *depths, uint32_t exits, size_t count,
                               uint32_t steps);
// A token at depth d takes d, an exit that is not taken .25, each row more of a check a tenth.
StepCosts observed_costs(const Observations *o);

// Equal but for rounding; what names the figure.
void check_close(double value, double expected, const char *what);

#endif
