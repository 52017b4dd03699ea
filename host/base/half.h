// The 16-bit floats of weight files, f16 (IEEE binary16) and bf16, to f32 and back, as bit
// patterns: a float in a register may lose what makes a NaN signalling. Not arithmetic.
#ifndef STRATA_BASE_HALF_H
#define STRATA_BASE_HALF_H

#include <stdint.h>

// Exact: f32 holds every value of both. A NaN keeps its payload.
uint32_t f16_widen(uint16_t pattern);
uint32_t bf16_widen(uint16_t pattern);

// To the nearest value, ties to the one with an even last bit; too large becomes infinite, too
// small subnormal or zero. A NaN stays one and keeps its payload's high bits, so that widening and
// narrowing gives every pattern back.
uint16_t f16_narrow(uint32_t pattern);
uint16_t bf16_narrow(uint32_t pattern);

#endif
