// How ops cut their work into workgroups on a device, until it is measured (a tuner) rather than
// chosen by kind of device. Internal to host/ops.
#ifndef STRATA_OPS_LAUNCH_H
#define STRATA_OPS_LAUNCH_H

#include "ops/ops.h"

#include "../../shaders/args.h"

RowArgs launch_rows(Rows rows);

// ELEMENTS_PER_LANE values per invocation: groups along cols, one row of groups per row.
Dispatch launch_elements(Tape *tape, Kernel kernel, uint32_t cols, Rows rows);

// A few invocations per row (LANES of shaders/common.glsl), `heads` rows of groups.
Dispatch launch_row_groups(Tape *tape, Kernel kernel, uint32_t heads, Rows rows);
// The same for `count` items that are not rows of a step.
Dispatch launch_item_groups(Tape *tape, Kernel kernel, uint32_t count);

// Whether the variants for subgroups that shuffle run here, and whether they are the choice for ops
// that also have a variant with several invocations per row.
bool launch_shuffles(Tape *tape);
bool launch_prefers_shuffles(Tape *tape);

// Matrix kernels: the variant and the tile for a left operand of `rows` rows. cols4 says that all
// row lengths are multiples of 4.
typedef struct {
    uint32_t variant; // 0 any shape, 1 vectors, 2 vectors and shuffles
    uint32_t group;   // invocations of a workgroup
    uint32_t tile_rows, tile_cols;
} MatmulShape;
MatmulShape launch_matmul(Tape *tape, uint32_t rows, bool vectors);

#endif
