// How ops cut their work into workgroups on a device, until it is measured (a tuner) rather than
// chosen by kind of device. Internal to host/ops.
#ifndef STRATA_OPS_LAUNCH_H
#define STRATA_OPS_LAUNCH_H

#include "ops/ops.h"

#include "../../shaders/args.h"

RowArgs launch_rows(Rows rows);

// A kernel for any shape, and its variant for rows of a multiple of 4 values.
typedef struct {
    Kernel any, vec4;
} Widths;
#define WIDTHS(name)                                                                               \
    (Widths)                                                                                       \
    {                                                                                              \
        K_##name, K_##name##_vec4                                                                  \
    }
// The variant for rows of `cols` values.
Kernel launch_width(Widths kernels, uint32_t cols);

// ELEMENTS_PER_LANE values per invocation: groups along cols, one row of groups per row.
Dispatch launch_elements(Tape *tape, Kernel kernel, uint32_t cols, Rows rows);

// A few invocations per row (LANES of shaders/common.glsl), `heads` rows of groups.
Dispatch launch_row_groups(Tape *tape, Kernel kernel, uint32_t heads, Rows rows);
// The same for `count` items that are not rows of a step.
Dispatch launch_item_groups(Tape *tape, Kernel kernel, uint32_t count);
// One invocation for each of `cols` columns (ITEM_INVOCATION of common.glsl).
Dispatch launch_columns(Tape *tape, Kernel kernel, uint32_t cols);
// dispatch with `groups` (at least 1) workgroups over two axes (ITEM_INVOCATION of common.glsl).
Dispatch launch_whole(Dispatch dispatch, uint32_t groups);

// The dispatch with as many invocations to a row (or item) as keep each within the device's
// loop_steps, where one alone would take `steps` iterations; what it was where one may.
Dispatch launch_shared(Tape *tape, Dispatch dispatch, uint64_t steps);

// What is recorded from now on takes that variant, as STRATA_VARIANT would have it and instead of it;
// NULL: no more.
void launch_force_variant(const char *variant);

// Records the dispatch with its tensors (by binding) and push constants.
void launch_record(Tape *tape, Dispatch dispatch, const void *args, uint32_t args_bytes,
                   const Tensor *tensors, size_t count);

// Whether the variants for subgroups that shuffle run here, and whether they are the choice for ops
// that also have a variant with several invocations per row.
bool launch_shuffles(Tape *tape);
bool launch_prefers_shuffles(Tape *tape);

// What kernels for values of 16 bits and for quantised ones know of them: 1 for bf16
// (shaders/half.glsl), FORMAT_Q8_0 ... (shaders/blocks.glsl); 0 for f32.
enum { CONSTANT_STORAGE = 5 };
uint32_t launch_storage(Tensor tensor);
bool launch_half(Tensor tensor); // f16 or bf16

// Matrix kernels: the variant and the tile for a product of `rows` rows. `vectors` says that all
// row lengths are multiples of 4; left and right are what is multiplied, `length` what is summed
// over; `parameter` is w or dw, whose storage type chooses among kernels.
typedef enum { VARIANT_ANY, VARIANT_VEC4, VARIANT_SHUFFLE, VARIANT_TEXEL, VARIANTS } Variant;
typedef struct {
    Variant variant;
    uint32_t group; // invocations of a workgroup
    uint32_t tile_rows, tile_cols;
    uint32_t run; // vectors of a row that are loaded together
} MatmulShape;
MatmulShape launch_matmul(Tape *tape, uint32_t rows, bool vectors, Tensor parameter, Tensor left,
                          Tensor right, uint32_t length);

#endif
