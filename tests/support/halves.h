// What tests of 16-bit parameters and 8-bit moments share: tensors of a dtype under guard, values
// that halves and floats hold alike, runs of a tape.
#ifndef STRATA_TESTS_SUPPORT_HALVES_H
#define STRATA_TESTS_SUPPORT_HALVES_H

#include "support/guards.h"

enum { HALF_TYPES = 2, HALF_SLOT = 0 };
extern const Dtype HALVES[HALF_TYPES]; // f16, bf16

// As base/half.h does it.
uint16_t half_narrow(Dtype dtype, float value);
float half_widen(Dtype dtype, uint16_t pattern);

// Memory for (rows, cols) values of a dtype, under guard; *tensor is how the op sees it.
Guard *half_guard(Guards *guards, Tensor *tensor, Dtype dtype, uint32_t rows, uint32_t cols);
// Where the values lie: before a run or after it.
void *half_bytes(const Guard *guard, bool after);
// Fills both with the same random values, factor times (-1, 1), as halves hold them.
void half_twins(Guard *halves, Guard *floats, Dtype dtype, uint64_t seed, double factor);
// Random f32 values in (-1, 1).
void half_random(Guard *guard, uint64_t seed);
// The values of an optimizer step at Adam's t = time.
Guard *half_step(Guards *guards, float time, float unscale);

Tape *half_begin(void);
// Ends the tape, runs it twice, checks canaries, frees it.
void half_finish(Guards *guards, Tape *tape, const char *what);
Counts *half_counts(uint32_t rows); // of HALF_SLOT

#endif
