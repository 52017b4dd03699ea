// Matrix products: y = x w^T and its two gradients.
#include "ops/launch.h"
#include "ops/slices.h"

#include <assert.h>

// By how the parameter is stored, f32 or 16 bits a value, and by Variant.
#define KERNELS(name)                                                                              \
    {K_##name, K_##name##_vec4, K_##name##_shuffle, K_##name##_texel},                             \
    {                                                                                              \
        KERNEL_COUNT, K_##name##_vec4_half, K_##name##_shuffle_half, K_##name##_texel_half         \
    }
static const Kernel MATMUL[3][VARIANTS] = {
    KERNELS(matmul),
    {K_matmul_blocks, K_matmul_blocks, K_matmul_blocks_shuffle, K_matmul_blocks_texel}};
static const Kernel MATMUL_DX[2][VARIANTS] = {KERNELS(matmul_dx)};
static const Kernel MATMUL_DW[2][VARIANTS] = {KERNELS(matmul_dw)};

// The row of MATMUL: f32, 16 bits, or blocks of quantised values.
static int storage(Tensor w)
{
    return dtype_blocked(w.dtype) ? 2 : launch_half(w);
}

// Groups that cover `count` things, `tile` each.
static uint32_t cover(uint32_t count, uint32_t tile)
{
    return (count + tile - 1) / tile;
}

// Whether every row length of a product with a slice w is a multiple of 4; y is the wide side.
static bool four(Tensor y, Tensor w)
{
    return y.cols % 4 == 0 && w.rows % 4 == 0 && w.cols % 4 == 0;
}

// y (rows, N) (+)= x w^T, w a slice of a matrix of N rows from `first` on.
static void record_matmul(Tape *tape, Tensor y, Tensor x, Tensor w, uint32_t first, bool accumulate,
                          Rows rows)
{
    MatmulShape shape = launch_matmul(tape, rows.max, four(y, w), w, x, w, w.cols);
    const MatmulArgs args = {launch_rows(rows), w.rows, w.cols, accumulate, y.cols, first};
    tape_dispatch(tape, &(Dispatch){
                            .kernel = MATMUL[storage(w)][shape.variant],
                            .tensors = {counts_tensor(rows.counts), x, w, y},
                            .args = &args,
                            .args_bytes = sizeof args,
                            .grid = {.x = cover(w.rows, 8 * shape.tile_cols),
                                     .rows = rows,
                                     .tile = shape.group / 8 * shape.tile_rows,
                                     .axis = 1},
                            .constants = {shape.group, 1, shape.tile_rows, shape.tile_cols,
                                          shape.run, launch_storage(w)},
                        });
}

void op_matmul(Tape *tape, Tensor y, Tensor x, Tensor w, Rows rows)
{
    assert(x.cols == w.cols && y.cols == w.rows);
    FOR_SLICES(slice, tape, w) record_matmul(tape, y, x, slice.tensor, slice.first, false, rows);
}

void op_matmul_add(Tape *tape, Tensor y, Tensor x, Tensor w, Rows rows)
{
    assert(x.cols == w.cols && y.cols == w.rows);
    FOR_SLICES(slice, tape, w) record_matmul(tape, y, x, slice.tensor, slice.first, true, rows);
}

static void record_back_x(Tape *tape, Tensor dx, Tensor dy, Tensor w, uint32_t first,
                          bool accumulate, Rows rows)
{
    MatmulShape shape = launch_matmul(tape, rows.max, four(dy, w), w, dy, w, w.rows);
    const MatmulArgs args = {launch_rows(rows), w.rows, w.cols, accumulate, dy.cols, first};
    tape_dispatch(tape, &(Dispatch){
                            .kernel = MATMUL_DX[launch_half(w)][shape.variant],
                            .tensors = {counts_tensor(rows.counts), dy, w, dx},
                            .args = &args,
                            .args_bytes = sizeof args,
                            .grid = {.x = cover(w.cols, 32),
                                     .rows = rows,
                                     .tile = shape.group / 8 * shape.tile_rows,
                                     .axis = 1},
                            .constants = {shape.group, 1, shape.tile_rows, 1, 0, launch_storage(w)},
                        });
}

void op_matmul_back_x(Tape *tape, Tensor dx, Tensor dy, Tensor w, bool accumulate, Rows rows)
{
    assert(dx.cols == w.cols && dy.cols == w.rows);
    FOR_SLICES(slice, tape, w)
    record_back_x(tape, dx, dy, slice.tensor, slice.first, accumulate || slice.first, rows);
}

static void record_back_w(Tape *tape, Tensor dw, Tensor dy, Tensor x, uint32_t first, Rows rows)
{
    MatmulShape shape = launch_matmul(tape, dw.rows, four(dy, dw), dw, dy, x, rows.max);
    const uint32_t tile_rows = 32; // what 8 invocations with a vector each can hand round
    // A tile is too large for a CPU's registers: the more rows a pass adds, the less of it moves.
    // On lavapipe 4 rows take 0.75 of the time of 1.
    const uint32_t run = shape.variant == VARIANT_TEXEL ? 4 : 1;
    const MatmulArgs args = {launch_rows(rows), dw.rows, dw.cols, 1, dy.cols, first};
    tape_dispatch(tape, &(Dispatch){
                            .kernel = MATMUL_DW[launch_half(dw)][shape.variant],
                            .tensors = {counts_tensor(rows.counts), dy, x, dw},
                            .args = &args,
                            .args_bytes = sizeof args,
                            .grid = {.x = cover(dw.cols, 32),
                                     .y = cover(dw.rows, shape.group / 8 * tile_rows)},
                            .constants = {shape.group, 1, tile_rows, 1, run, launch_storage(dw)},
                        });
}

void op_matmul_back_w(Tape *tape, Tensor dw, Tensor dy, Tensor x, Rows rows)
{
    assert(x.cols == dw.cols && dy.cols == dw.rows);
    FOR_SLICES(slice, tape, dw) record_back_w(tape, slice.tensor, dy, x, slice.first, rows);
}
