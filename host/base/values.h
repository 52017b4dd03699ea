// Values of any floating type that files hold, as f32. The types themselves are in half.h, quant.h.
#ifndef STRATA_BASE_VALUES_H
#define STRATA_BASE_VALUES_H

#include "base/dtype.h"

// out (count) = values first .. first + count - 1 of data, each exactly (Q4_K: rounded once); data
// may lie at any address. Of a type in blocks, first and count are multiples of dtype_block. Not
// for DTYPE_U8.
void values_widen(Dtype dtype, const uint8_t *data, uint64_t first, uint64_t count, float *out);

// out (count) = values rounded to F16 or BF16, to nearest, ties to even. Returns the first value
// that is finite and would become infinite, where it stops, or NULL.
const float *values_narrow(Dtype dtype, const float *values, uint64_t count, uint16_t *out);

#endif
