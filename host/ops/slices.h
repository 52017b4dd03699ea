// A parameter with more bytes than a binding sees comes to kernels in slices of whole rows.
// Internal to host/ops.
#ifndef STRATA_OPS_SLICES_H
#define STRATA_OPS_SLICES_H

#include "gpu/gpu.h"

typedef struct {
    Tensor tensor;  // the rows of this slice; rows is 0 behind the last one
    uint32_t first; // of whole's rows
    uint32_t most;  // rows of a slice
    Tensor whole;
} Slice;

// The slices of a matrix, in their order; one where it fits. Each but the last holds a multiple of
// SUM_SQUARES_CHUNK values, so that sums over chunks do not depend on the slices. The environment's
// STRATA_SLICE_BYTES makes a binding see less than it does, for tests.
Slice slice_first(Tape *tape, Tensor whole);
Slice slice_next(Slice slice);
#define FOR_SLICES(slice, tape, whole)                                                             \
    for (Slice slice = slice_first(tape, whole); slice.tensor.rows; slice = slice_next(slice))

#endif
