// Ops that reduce over a row: RMSNorm, attention, cross-entropy.
#include "ops/launch.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void op_rmsnorm(Tape *tape, Tensor y, Tensor x, Tensor gain, float epsilon, Rows rows)
{
    const RmsnormArgs args = {launch_rows(rows), gain.cols, x.cols / gain.cols, epsilon, 0};
    assert(x.cols % gain.cols == 0 && y.cols == x.cols);
    const Tensor tensors[] = {counts_tensor(rows.counts), x, gain, y};
    launch_record(
        tape, launch_row_groups(tape, launch_width(WIDTHS(rmsnorm), gain.cols), args.parts, rows),
        &args, sizeof args, tensors, 4);
}

void op_rmsnorm_back(Tape *tape, Tensor dx, Tensor dgain, Tensor inverse, Tensor dy, Tensor x,
                     Tensor gain, float epsilon, bool accumulate, Rows rows)
{
    const RmsnormArgs args = {launch_rows(rows), gain.cols, x.cols / gain.cols, epsilon,
                              accumulate};
    assert(x.cols % gain.cols == 0 && inverse.cols >= args.parts);
    Tensor counts = counts_tensor(rows.counts);
    const Tensor tensors[] = {counts, x, gain, dy, dx, inverse};
    launch_record(
        tape,
        launch_row_groups(tape, launch_width(WIDTHS(rmsnorm_back), gain.cols), args.parts, rows),
        &args, sizeof args, tensors, 6);
    if (!dgain.span) return;
    const Tensor sums[] = {counts, x, dy, inverse, dgain};
    launch_record(tape, launch_columns(tape, K_rmsnorm_gain_back, gain.cols), &args, sizeof args,
                  sums, 5);
}

static AttentionArgs attention_args(Heads heads, Rows rows)
{
    assert(heads.heads % heads.kv_heads == 0 && heads.size % 2 == 0 && heads.size <= 256);
    return (AttentionArgs){launch_rows(rows), heads.heads, heads.kv_heads,
                           (float)(1.0 / sqrt(heads.size))};
}

// The variant in which a subgroup walks over the keys together, or the one in which invocations
// share a row. q and k are the largest of what the former reads through texel views.
static Dispatch attention_groups(Tape *tape, Kernel together, Kernel apart, uint32_t heads,
                                 uint32_t size, Tensor q, Tensor k, Rows rows)
{
    Dispatch dispatch = launch_row_groups(tape, apart, heads, rows);
    uint64_t most = gpu_info(tape_gpu(tape))->texel_bytes;
    bool fits = size % 4 == 0 && tensor_bytes(q) <= most && tensor_bytes(k) <= most;
    if (fits && launch_prefers_shuffles(tape)) {
        uint32_t subgroup = gpu_info(tape_gpu(tape))->subgroup_size;
        dispatch.kernel = together;
        dispatch.grid.tile = dispatch.constants[0] = subgroup;
    }
    dispatch.constants[2] = size;
    return dispatch;
}

void op_attention(Tape *tape, Tensor y, Tensor stats, Tensor q, Tensor k, Tensor v,
                  Tensor row_table, Heads heads, Rows rows)
{
    const AttentionArgs args = attention_args(heads, rows);
    const Tensor tensors[] = {counts_tensor(rows.counts), row_table, q, k, v, y, stats};
    launch_record(tape,
                  attention_groups(tape, K_attention_shuffle, K_attention, heads.heads, heads.size,
                                   q, k, rows),
                  &args, sizeof args, tensors, 7);
}

void op_attention_paged(Tape *tape, Tensor y, Tensor q, Tensor k, Tensor v, Tensor row_table,
                        Tensor pages, Heads heads, Rows rows)
{
    const AttentionArgs args = attention_args(heads, rows);
    const Tensor tensors[] = {counts_tensor(rows.counts), row_table, pages, q, k, v, y};
    Dispatch dispatch = attention_groups(tape, K_attention_paged_shuffle, K_attention_paged,
                                         heads.heads, heads.size, q, k, rows);
    if (dispatch.kernel == K_attention_paged_shuffle) dispatch.grid.tile /= 8; // share a row
    launch_record(tape, dispatch, &args, sizeof args, tensors, 7);
}

void op_attention_back(Tape *tape, Tensor dq, Tensor dk, Tensor dv, Tensor dy, Tensor y,
                       Tensor stats, Tensor q, Tensor k, Tensor v, Tensor row_table, Heads heads,
                       Rows rows)
{
    const AttentionArgs args = attention_args(heads, rows);
    Tensor counts = counts_tensor(rows.counts);
    const Tensor left[] = {counts, row_table, q, k, v, y, dy, stats, dq};
    launch_record(tape,
                  attention_groups(tape, K_attention_back_q_shuffle, K_attention_back_q,
                                   heads.heads, heads.size, q, k, rows),
                  &args, sizeof args, left, 9);
    const Tensor right[] = {counts, row_table, q, k, v, dy, stats, dk, dv};
    launch_record(tape,
                  attention_groups(tape, K_attention_back_kv_shuffle, K_attention_back_kv,
                                   heads.kv_heads, heads.size, q, k, rows),
                  &args, sizeof args, right, 9);
}

void op_cross_entropy(Tape *tape, Tensor losses, Tensor logits, Tensor targets, Tensor step,
                      uint32_t weight, bool backward, Rows rows)
{
    assert(weight < STEP_VALUES - STEP_WEIGHTS);
    const CrossEntropyArgs args = {launch_rows(rows), logits.cols, backward, weight};
    const Tensor tensors[] = {counts_tensor(rows.counts), targets, step, logits, losses};
    Dispatch groups = launch_row_groups(tape, K_cross_entropy, 1, rows);
    launch_record(tape, launch_shared(tape, groups, UINT64_C(3) * logits.cols), &args, sizeof args,
                  tensors, 5);
}

void op_distill(Tape *tape, Tensor losses, Tensor teacher, Tensor logits, Tensor step,
                uint32_t weight, Rows rows)
{
    assert(weight < STEP_VALUES - STEP_WEIGHTS && teacher.cols == logits.cols);
    const DistillArgs args = {launch_rows(rows), logits.cols, weight};
    const Tensor tensors[] = {counts_tensor(rows.counts), step, logits, teacher, losses};
    Dispatch groups = launch_row_groups(tape, K_distill, 1, rows);
    launch_record(tape, launch_shared(tape, groups, UINT64_C(3) * logits.cols), &args, sizeof args,
                  tensors, 5);
}
