// Matrix products: y = x w^T and its two gradients.
#include "ops/launch.h"

#include <assert.h>

// Groups that cover `count` things, `tile` each.
static uint32_t cover(uint32_t count, uint32_t tile)
{
    return (count + tile - 1) / tile;
}

void op_matmul(Tape *tape, Tensor y, Tensor x, Tensor w, Rows rows)
{
    static const Kernel kernels[] = {K_matmul, K_matmul_vec4, K_matmul_shuffle};
    assert(x.cols == w.cols && y.cols == w.rows);
    MatmulShape shape = launch_matmul(tape, rows.max, w.cols % 4 == 0 && w.rows % 4 == 0);
    const MatmulArgs args = {launch_rows(rows), w.rows, w.cols, 0};
    tape_dispatch(tape, &(Dispatch){
                            .kernel = kernels[shape.variant],
                            .tensors = {counts_tensor(rows.counts), x, w, y},
                            .args = &args,
                            .args_bytes = sizeof args,
                            .grid = {.x = cover(w.rows, 8 * shape.tile_cols),
                                     .rows = rows,
                                     .tile = shape.group / 8 * shape.tile_rows,
                                     .axis = 1},
                            .constants = {shape.group, 1, shape.tile_rows, shape.tile_cols},
                        });
}

void op_matmul_back_x(Tape *tape, Tensor dx, Tensor dy, Tensor w, bool accumulate, Rows rows)
{
    static const Kernel kernels[] = {K_matmul_dx, K_matmul_dx_vec4, K_matmul_dx_shuffle};
    assert(dx.cols == w.cols && dy.cols == w.rows);
    MatmulShape shape = launch_matmul(tape, rows.max, w.cols % 4 == 0 && w.rows % 4 == 0);
    const MatmulArgs args = {launch_rows(rows), w.rows, w.cols, accumulate};
    tape_dispatch(tape, &(Dispatch){
                            .kernel = kernels[shape.variant],
                            .tensors = {counts_tensor(rows.counts), dy, w, dx},
                            .args = &args,
                            .args_bytes = sizeof args,
                            .grid = {.x = cover(w.cols, 32),
                                     .rows = rows,
                                     .tile = shape.group / 8 * shape.tile_rows,
                                     .axis = 1},
                            .constants = {shape.group, 1, shape.tile_rows, 1},
                        });
}

void op_matmul_back_w(Tape *tape, Tensor dw, Tensor dy, Tensor x, Rows rows)
{
    static const Kernel kernels[] = {K_matmul_dw, K_matmul_dw_vec4, K_matmul_dw_shuffle};
    assert(x.cols == dw.cols && dy.cols == dw.rows);
    MatmulShape shape = launch_matmul(tape, dw.rows, dw.cols % 4 == 0 && dw.rows % 4 == 0);
    const uint32_t tile_rows = 32; // what 8 invocations with a vector each can hand round
    const MatmulArgs args = {launch_rows(rows), dw.rows, dw.cols, 1};
    tape_dispatch(tape, &(Dispatch){
                            .kernel = kernels[shape.variant],
                            .tensors = {counts_tensor(rows.counts), dy, x, dw},
                            .args = &args,
                            .args_bytes = sizeof args,
                            .grid = {.x = cover(dw.cols, 32),
                                     .y = cover(dw.rows, shape.group / 8 * tile_rows)},
                            .constants = {shape.group, 1, tile_rows, 1},
                        });
}
