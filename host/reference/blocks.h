// What tests of quantised values share: random blocks, and a reference that finds a value by its
// index, in double.
#ifndef STRATA_REFERENCE_BLOCKS_H
#define STRATA_REFERENCE_BLOCKS_H

#include "base/dtype.h"

enum { BLOCK_TYPES = 4 };
extern const Dtype BLOCKS[BLOCK_TYPES]; // Q8_0, Q4_0, Q4_K, Q6_K

// Value i of the blocks, from the definition of the type (base/quant.h).
double blocks_value(Dtype dtype, const uint8_t *blocks, uint64_t i);
// Whether a block's scales of 16 bits are finite.
bool blocks_finite(Dtype dtype, const uint8_t *block);
// Blocks for count values: any codes, scales of either sign; among these 0, subnormals, the
// largest.
void blocks_random(Dtype dtype, uint8_t *blocks, uint64_t count, uint64_t seed);
// The same, but with scales that leave values below about 1.
void blocks_random_small(Dtype dtype, uint8_t *blocks, uint64_t count, uint64_t seed);
// values (count) in (-size, size), with some zeros.
void blocks_random_floats(float *values, uint64_t count, uint64_t seed, float size);

#endif
