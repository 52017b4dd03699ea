// Slices of parameters: see slices.h.
#include "ops/slices.h"
#include "ops/ops.h"

#include "../../shaders/args.h"

#include <stdlib.h>

static uint64_t binding_bytes(Tape *tape)
{
    const char *text = getenv("STRATA_SLICE_BYTES");
    uint64_t most = gpu_info(tape_gpu(tape))->binding_bytes;
    uint64_t wanted = text ? strtoull(text, NULL, 10) : 0;
    return wanted && wanted < most ? wanted : most;
}

uint32_t op_slice_rows(uint32_t cols)
{
    uint32_t rows = SUM_SQUARES_CHUNK;
    for (; rows > 1 && cols % 2 == 0; cols /= 2) rows /= 2;
    return rows;
}

static Slice from(Slice slice, uint32_t first)
{
    uint32_t left = slice.whole.rows - first;
    slice.first = first;
    slice.tensor = (Tensor){0};
    if (left) slice.tensor = tensor_rows(slice.whole, first, left < slice.most ? left : slice.most);
    return slice;
}

Slice slice_first(Tape *tape, Tensor whole)
{
    Slice slice = {.whole = whole, .most = whole.rows};
    uint64_t most = binding_bytes(tape);
    if (tensor_bytes(whole) > most) {
        // A row of blocks is a multiple of 16 bytes, an offset one of 256.
        uint32_t least = dtype_blocked(whole.dtype) ? 16 : op_slice_rows(whole.cols);
        uint64_t units = most / (tensor_bytes(whole) / whole.rows) / least;
        // A row too large for a binding is refused where it is bound.
        slice.most = units ? (uint32_t)units * least : least;
    }
    return from(slice, 0);
}

Slice slice_next(Slice slice)
{
    return from(slice, slice.first + slice.tensor.rows);
}
