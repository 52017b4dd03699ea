// Ops that work value by value or move rows: embedding, RoPE, SwiGLU, add, bias, gather, scatter.
#include "ops/launch.h"
#include "ops/slices.h"

#include <assert.h>

// Records an elementwise kernel; binding 0 is the counts' tensor.
static void record(Tape *tape, Widths kernels, uint32_t cols, Rows rows, uint32_t constant,
                   const Tensor *tensors, size_t count)
{
    const ElementArgs args = {launch_rows(rows), cols};
    Dispatch dispatch = launch_elements(tape, launch_width(kernels, cols), cols, rows);
    dispatch.constants[2] = constant;
    launch_record(tape, dispatch, &args, sizeof args, tensors, count);
}

// The rows of a slice of the table; binding 0 is the counts' tensor.
static void record_lookup(Tape *tape, Kernel kernel, Slice slice, Rows rows, const Tensor *tensors,
                          size_t count)
{
    const EmbedArgs args = {launch_rows(rows), slice.whole.cols, slice.first, slice.tensor.rows};
    Dispatch dispatch = launch_elements(tape, kernel, slice.whole.cols, rows);
    dispatch.constants[CONSTANT_STORAGE] = launch_storage(slice.whole);
    launch_record(tape, dispatch, &args, sizeof args, tensors, count);
}

void op_embed(Tape *tape, Tensor y, Tensor tokens, Tensor table, Rows rows)
{
    assert(y.cols == table.cols);
    Kernel kernel = launch_width(WIDTHS(embed), y.cols);
    if (launch_half(table)) kernel = K_embed_half;
    if (dtype_blocked(table.dtype)) kernel = K_embed_blocks;
    FOR_SLICES(slice, tape, table)
    record_lookup(tape, kernel, slice, rows,
                  (Tensor[]){counts_tensor(rows.counts), tokens, slice.tensor, y}, 4);
}

void op_embed_back(Tape *tape, Tensor dtable, Tensor dy, Tensor uses, Tensor order, Rows distinct)
{
    assert(dy.cols == dtable.cols);
    Kernel kernel = launch_width(WIDTHS(embed_back), dy.cols);
    if (launch_half(dtable)) kernel = K_embed_back_half;
    FOR_SLICES(slice, tape, dtable)
    record_lookup(tape, kernel, slice, distinct,
                  (Tensor[]){counts_tensor(distinct.counts), uses, order, dy, slice.tensor}, 5);
}

void op_swiglu(Tape *tape, Tensor h, Tensor gate, Tensor up, Rows rows)
{
    record(tape, WIDTHS(swiglu), h.cols, rows, 0,
           (Tensor[]){counts_tensor(rows.counts), gate, up, h}, 4);
}

void op_swiglu_back(Tape *tape, Tensor dgate, Tensor dup, Tensor dh, Tensor gate, Tensor up,
                    Rows rows)
{
    record(tape, WIDTHS(swiglu_back), dh.cols, rows, 0,
           (Tensor[]){counts_tensor(rows.counts), gate, up, dh, dgate, dup}, 6);
}

void op_add(Tape *tape, Tensor z, Tensor x, Tensor y, Rows rows)
{
    record(tape, WIDTHS(add), z.cols, rows, 0, (Tensor[]){counts_tensor(rows.counts), x, y, z}, 4);
}

void op_bias(Tape *tape, Tensor y, Tensor bias, Rows rows)
{
    assert(bias.cols == y.cols);
    record(tape, WIDTHS(bias), y.cols, rows, 0, (Tensor[]){counts_tensor(rows.counts), bias, y}, 3);
}

void op_bias_back(Tape *tape, Tensor dbias, Tensor dy, Rows rows)
{
    assert(dbias.cols == dy.cols);
    const ElementArgs args = {launch_rows(rows), dy.cols};
    launch_record(tape, launch_columns(tape, K_bias_back, dy.cols), &args, sizeof args,
                  (Tensor[]){counts_tensor(rows.counts), dy, dbias}, 3);
}

void op_gather(Tape *tape, Tensor y, Tensor x, Tensor index, Rows rows)
{
    assert(x.cols == y.cols);
    record(tape, WIDTHS(gather), y.cols, rows, 0,
           (Tensor[]){counts_tensor(rows.counts), index, x, y}, 4);
}

void op_scatter(Tape *tape, Tensor y, Tensor x, Tensor index, bool accumulate, Rows rows)
{
    assert(x.cols == y.cols);
    record(tape, WIDTHS(scatter), y.cols, rows, accumulate,
           (Tensor[]){counts_tensor(rows.counts), index, x, y}, 4);
}

// Between values and what is kept of them in 16 bits; binding 0 is the counts' tensor.
static void record_halves(Tape *tape, Kernel kernel, Dtype dtype, uint32_t cols, Rows rows,
                          const Tensor *tensors, size_t count)
{
    const ElementArgs args = {launch_rows(rows), cols};
    Dispatch dispatch = launch_elements(tape, kernel, cols, rows);
    assert(cols % 4 == 0);
    dispatch.constants[CONSTANT_STORAGE] = dtype == DTYPE_BF16;
    launch_record(tape, dispatch, &args, sizeof args, tensors, count);
}

void op_keep(Tape *tape, Tensor kept, Tensor x, Dtype dtype, Rows rows)
{
    assert(!kept.span || (kept.dtype == dtype && kept.cols == x.cols));
    record_halves(tape, kept.span ? K_keep : K_keep_round, dtype, x.cols, rows,
                  (Tensor[]){counts_tensor(rows.counts), x, kept}, 3);
}

void op_widen(Tape *tape, Tensor x, Tensor kept, Rows rows)
{
    record_halves(tape, K_widen, kept.dtype, x.cols, rows,
                  (Tensor[]){counts_tensor(rows.counts), kept, x}, 3);
}

static void turn(Tape *tape, Tensor x, Tensor row_table, Tensor turns, float sign, Rows rows)
{
    const RopeArgs args = {launch_rows(rows), x.cols, sign};
    assert(turns.cols % 2 == 0 && x.cols % turns.cols == 0);
    Kernel kernel = launch_width(WIDTHS(rope), turns.cols / 2);
    Dispatch dispatch = launch_elements(tape, kernel, x.cols / 2, rows);
    dispatch.constants[2] = turns.cols;
    launch_record(tape, dispatch, &args, sizeof args,
                  (Tensor[]){counts_tensor(rows.counts), row_table, turns, x}, 4);
}

void op_rope(Tape *tape, Tensor x, Tensor row_table, Tensor turns, Rows rows)
{
    turn(tape, x, row_table, turns, 1.0f, rows);
}

void op_rope_cache(Tape *tape, Tensor q, Tensor cache_k, Tensor cache_v, Tensor k, Tensor v,
                   Tensor slots, Tensor row_table, Tensor turns, Heads heads, Rows rows)
{
    const RopeCacheArgs args = {launch_rows(rows), heads.heads, heads.kv_heads};
    Kernel kernel = launch_width(WIDTHS(rope_cache), heads.size / 2);
    uint32_t pairs = (heads.heads + 2 * heads.kv_heads) * (heads.size / 2);
    Dispatch dispatch = launch_elements(tape, kernel, pairs, rows);
    assert(turns.cols == heads.size && q.cols == heads.heads * heads.size);
    dispatch.constants[2] = heads.size;
    launch_record(
        tape, dispatch, &args, sizeof args,
        (Tensor[]){counts_tensor(rows.counts), row_table, turns, slots, q, k, v, cache_k, cache_v},
        9);
}

void op_rope_back(Tape *tape, Tensor dx, Tensor row_table, Tensor turns, Rows rows)
{
    turn(tape, dx, row_table, turns, -1.0f, rows);
}
