// One LLaMA block as recorded work: see block.h.
#include "model/block.h"

#include <math.h>
#include <stdlib.h>

// A tensor to be made: where, and its width; 0: none.
typedef struct {
    Tensor *tensor;
    uint32_t cols;
} Wanted;

static bool make_all(Gpu *gpu, const Wanted *wanted, size_t count, Dtype dtype, uint32_t rows,
                     Error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!wanted[i].cols) continue;
        *wanted[i].tensor = tensor_make_as(gpu, MEMORY_DEVICE, dtype, rows, wanted[i].cols, err);
        if (!wanted[i].tensor->span) return false;
    }
    return true;
}

enum { ACTIVATIONS = 14, HALVES = 12, GRADIENTS = 9 };

// The first HALVES are those that may be kept in 16 bits.
static void list_activations(Wanted *list, BlockActivations *a, const LlamaConfig *c)
{
    uint32_t heads = c->heads * c->head_size, kv = c->kv_heads * c->head_size;
    bool norm = c->qk_norm;
    const Wanted all[ACTIVATIONS] = {{&a->normed, c->width},
                                     {&a->q, heads},
                                     {&a->k, kv},
                                     {&a->v, kv},
                                     {&a->q_raw, norm ? heads : 0},
                                     {&a->k_raw, norm ? kv : 0},
                                     {&a->attended, heads},
                                     {&a->middle, c->width},
                                     {&a->mlp_normed, c->width},
                                     {&a->gate, c->hidden},
                                     {&a->up, c->hidden},
                                     {&a->h, c->hidden},
                                     {&a->stats, 2 * c->heads},
                                     {&a->branch, c->width}};
    for (int i = 0; i < ACTIVATIONS; i++) list[i] = all[i];
}

static void list_gradients(Wanted *list, BlockGradients *g, const LlamaConfig *c)
{
    uint32_t heads = c->heads * c->head_size, kv = c->kv_heads * c->head_size;
    const Wanted all[GRADIENTS] = {{&g->h, c->hidden},
                                   {&g->gate, c->hidden},
                                   {&g->up, c->hidden},
                                   {&g->normed, c->width},
                                   {&g->attended, heads},
                                   {&g->q, heads},
                                   {&g->k, kv},
                                   {&g->v, kv},
                                   {&g->inverse, c->qk_norm ? c->heads : 1}};
    for (int i = 0; i < GRADIENTS; i++) list[i] = all[i];
}

bool block_activations_make(BlockActivations *a, Gpu *gpu, const LlamaConfig *config, uint32_t rows,
                            Error *err)
{
    Wanted list[ACTIVATIONS];
    *a = (BlockActivations){0};
    list_activations(list, a, config);
    if (make_all(gpu, list, ACTIVATIONS, DTYPE_F32, rows, err)) return true;
    block_activations_free(a, gpu);
    return false;
}

bool block_kept_make(BlockActivations *kept, Gpu *gpu, const LlamaConfig *config, Dtype dtype,
                     uint32_t rows, Error *err)
{
    Wanted list[ACTIVATIONS];
    *kept = (BlockActivations){0};
    list_activations(list, kept, config);
    if (make_all(gpu, list, HALVES, dtype, rows, err) &&
        make_all(gpu, list + HALVES, 1, DTYPE_F32, rows, err)) // stats
        return true;
    block_activations_free(kept, gpu);
    return false;
}

void block_activations_free(BlockActivations *a, Gpu *gpu)
{
    Wanted list[ACTIVATIONS];
    list_activations(list, a, &(LlamaConfig){0});
    for (int i = 0; i < ACTIVATIONS; i++) tensor_free(gpu, list[i].tensor);
}

bool block_gradients_make(BlockGradients *g, Gpu *gpu, const LlamaConfig *config, uint32_t rows,
                          Error *err)
{
    Wanted list[GRADIENTS];
    *g = (BlockGradients){0};
    list_gradients(list, g, config);
    if (make_all(gpu, list, GRADIENTS, DTYPE_F32, rows, err)) return true;
    block_gradients_free(g, gpu);
    return false;
}

void block_gradients_free(BlockGradients *g, Gpu *gpu)
{
    Wanted list[GRADIENTS];
    list_gradients(list, g, &(LlamaConfig){0});
    for (int i = 0; i < GRADIENTS; i++) tensor_free(gpu, list[i].tensor);
}

Tensor rope_turns_make(Gpu *gpu, const LlamaConfig *config, uint32_t context, Error *err)
{
    uint32_t size = config->head_size, half = size / 2;
    Tensor turns = tensor_make(gpu, MEMORY_DEVICE, context, size, err);
    float *values = malloc(tensor_bytes(turns));
    double frequencies[CONFIG_MAX_HEAD_SIZE / 2];
    for (uint32_t j = 0; j < half; j++) frequencies[j] = config_rope_frequency(config, j);
    if (!turns.span || !values) {
        if (turns.span) error_set(err, "out of memory");
        tensor_free(gpu, &turns);
    }
    for (uint32_t t = 0; turns.span && t < context; t++)
        for (uint32_t j = 0; j < half; j++) {
            double angle = t * frequencies[j];
            values[(size_t)t * size + j] = (float)cos(angle);
            values[(size_t)t * size + half + j] = (float)sin(angle);
        }
    if (turns.span && !tensor_upload(gpu, turns, values, err)) tensor_free(gpu, &turns);
    free(values);
    return turns;
}

static Heads block_heads(const LlamaConfig *c)
{
    return (Heads){c->heads, c->kv_heads, c->head_size};
}

static const BlockStorage IN_F32 = {.dtype = DTYPE_F32};

// Rounds an activation that was just made, and keeps it where it is to be kept.
static void keep(Tape *tape, const BlockStorage *storage, Tensor kept, Tensor x, Rows r)
{
    if (storage->dtype != DTYPE_F32) op_keep(tape, kept, x, storage->dtype, r);
}

void block_widen(Tape *tape, const BlockActivations *a, const BlockStorage *storage, Rows rows)
{
    BlockActivations to = *a, from = storage->kept;
    Wanted made[ACTIVATIONS], kept[ACTIVATIONS];
    list_activations(made, &to, &(LlamaConfig){0});
    list_activations(kept, &from, &(LlamaConfig){0});
    for (int i = 0; i < HALVES; i++)
        if (kept[i].tensor->span) op_widen(tape, *made[i].tensor, *kept[i].tensor, rows);
}

// Behind all matrix products that a barrier parts from their biases at once.
static void add_bias(Tape *tape, Tensor y, Tensor bias, Rows r)
{
    if (bias.span) op_bias(tape, y, bias, r);
}

// Each head of q and k by itself, before its turn.
static void norm_heads(Tape *tape, const LlamaConfig *config, const BlockWeights *w,
                       const BlockActivations *a, Rows r, const BlockStorage *storage)
{
    keep(tape, storage, storage->kept.q_raw, a->q_raw, r);
    keep(tape, storage, storage->kept.k_raw, a->k_raw, r);
    op_rmsnorm(tape, a->q, a->q_raw, w->q_norm, (float)config->norm_epsilon, r);
    op_rmsnorm(tape, a->k, a->k_raw, w->k_norm, (float)config->norm_epsilon, r);
}

static void project_qkv(Tape *tape, const LlamaConfig *config, const BlockWeights *w,
                        const BlockActivations *a, Rows r, const BlockStorage *storage)
{
    Tensor q = config->qk_norm ? a->q_raw : a->q, k = config->qk_norm ? a->k_raw : a->k;
    op_matmul(tape, q, a->normed, w->q, r);
    op_matmul(tape, k, a->normed, w->k, r);
    op_matmul(tape, a->v, a->normed, w->v, r);
    add_bias(tape, q, w->q_bias, r);
    add_bias(tape, k, w->k_bias, r);
    add_bias(tape, a->v, w->v_bias, r);
    if (config->qk_norm) norm_heads(tape, config, w, a, r, storage);
}

static void project_gate_up(Tape *tape, const BlockWeights *w, const BlockActivations *a, Rows r)
{
    op_matmul(tape, a->gate, a->mlp_normed, w->gate, r);
    op_matmul(tape, a->up, a->mlp_normed, w->up, r);
    add_bias(tape, a->gate, w->gate_bias, r);
    add_bias(tape, a->up, w->up_bias, r);
}

// The gradients of w and bias: dw += dy^T x, dbias += the sum of dy.
static void project_back(Tape *tape, Tensor dw, Tensor dbias, Tensor dy, Tensor x, Rows r)
{
    op_matmul_back_w(tape, dw, dy, x, r);
    if (dbias.span) op_bias_back(tape, dbias, dy, r);
}

// The residual stream between attention and MLP. What is rounded is q and k behind their turn.
static void attention_forward(Tape *tape, const LlamaConfig *config, const BlockWeights *w,
                              const BlockActivations *a, Tensor x, const BlockRows *rows,
                              const BlockStorage *storage)
{
    Rows r = rows->rows;
    op_rmsnorm(tape, a->normed, x, w->attn_norm, (float)config->norm_epsilon, r);
    keep(tape, storage, storage->kept.normed, a->normed, r);
    project_qkv(tape, config, w, a, r, storage);
    op_rope(tape, a->q, rows->row_table, rows->turns, r);
    op_rope(tape, a->k, rows->row_table, rows->turns, r);
    keep(tape, storage, storage->kept.q, a->q, r);
    keep(tape, storage, storage->kept.k, a->k, r);
    keep(tape, storage, storage->kept.v, a->v, r);
    Tensor stats = storage->kept.stats.span ? storage->kept.stats : a->stats;
    op_attention(tape, a->attended, stats, a->q, a->k, a->v, rows->row_table, block_heads(config),
                 r);
    keep(tape, storage, storage->kept.attended, a->attended, r);
    op_matmul(tape, a->branch, a->attended, w->o, r);
    add_bias(tape, a->branch, w->o_bias, r);
    op_add(tape, a->middle, x, a->branch, r);
    keep(tape, storage, storage->kept.middle, a->middle, r);
}

void block_forward(Tape *tape, const LlamaConfig *config, const BlockWeights *w,
                   const BlockActivations *a, Tensor out, Tensor x, const BlockRows *rows,
                   const BlockStorage *storage)
{
    Rows r = rows->rows;
    if (!storage) storage = &IN_F32;
    attention_forward(tape, config, w, a, x, rows, storage);
    op_rmsnorm(tape, a->mlp_normed, a->middle, w->mlp_norm, (float)config->norm_epsilon, r);
    keep(tape, storage, storage->kept.mlp_normed, a->mlp_normed, r);
    project_gate_up(tape, w, a, r);
    keep(tape, storage, storage->kept.gate, a->gate, r);
    keep(tape, storage, storage->kept.up, a->up, r);
    op_swiglu(tape, a->h, a->gate, a->up, r);
    keep(tape, storage, storage->kept.h, a->h, r);
    op_matmul(tape, a->branch, a->h, w->down, r);
    add_bias(tape, a->branch, w->down_bias, r);
    op_add(tape, out, a->middle, a->branch, r);
}

// stream += x w^T + bias.
static void add_branch(Tape *tape, Tensor stream, Tensor x, Tensor w, Tensor bias, Rows r)
{
    op_matmul_add(tape, stream, x, w, r);
    add_bias(tape, stream, bias, r);
}

void block_cached(Tape *tape, const LlamaConfig *config, const BlockWeights *w,
                  const BlockActivations *a, Tensor stream, const BlockRows *rows,
                  const BlockCache *cache)
{
    Rows r = rows->rows;
    Heads heads = block_heads(config);
    op_rmsnorm(tape, a->normed, stream, w->attn_norm, (float)config->norm_epsilon, r);
    project_qkv(tape, config, w, a, r, &IN_F32);
    op_rope_cache(tape, a->q, cache->k, cache->v, a->k, a->v, cache->slots, rows->row_table,
                  rows->turns, heads, r);
    op_attention_paged(tape, a->attended, a->q, cache->k, cache->v, rows->row_table, cache->pages,
                       heads, r);
    add_branch(tape, stream, a->attended, w->o, w->o_bias, r);
    op_rmsnorm(tape, a->mlp_normed, stream, w->mlp_norm, (float)config->norm_epsilon, r);
    project_gate_up(tape, w, a, r);
    op_swiglu(tape, a->h, a->gate, a->up, r);
    add_branch(tape, stream, a->h, w->down, w->down_bias, r);
}

static void mlp_back(Tape *tape, const LlamaConfig *config, const BlockWeights *w, BlockWeights *dw,
                     const BlockActivations *a, const BlockGradients *g, Tensor dx, Rows r)
{
    op_matmul_back_x(tape, g->h, dx, w->down, false, r);
    project_back(tape, dw->down, dw->down_bias, dx, a->h, r);
    op_swiglu_back(tape, g->gate, g->up, g->h, a->gate, a->up, r);
    project_back(tape, dw->gate, dw->gate_bias, g->gate, a->mlp_normed, r);
    project_back(tape, dw->up, dw->up_bias, g->up, a->mlp_normed, r);
    op_matmul_back_x(tape, g->normed, g->gate, w->gate, false, r);
    op_matmul_back_x(tape, g->normed, g->up, w->up, true, r);
    op_rmsnorm_back(tape, dx, dw->mlp_norm, g->inverse, g->normed, a->middle, w->mlp_norm,
                    (float)config->norm_epsilon, true, r);
}

// The gradient of q (or k) before its norm from that behind it; itself where there is no norm. It
// lies where attention's was, which has been used.
static Tensor norm_back(Tape *tape, const LlamaConfig *config, const BlockGradients *g, Tensor dy,
                        Tensor x, Tensor gain, Tensor dgain, Rows r)
{
    if (!gain.span) return dy;
    Tensor dx = g->attended;
    dx.cols = dy.cols; // no more than attention's
    op_rmsnorm_back(tape, dx, dgain, g->inverse, dy, x, gain, (float)config->norm_epsilon, false,
                    r);
    return dx;
}

void block_back(Tape *tape, const LlamaConfig *config, const BlockWeights *w, BlockWeights *dw,
                const BlockActivations *a, const BlockGradients *g, Tensor dx, Tensor x,
                const BlockRows *rows)
{
    Rows r = rows->rows;
    mlp_back(tape, config, w, dw, a, g, dx, r);
    op_matmul_back_x(tape, g->attended, dx, w->o, false, r);
    project_back(tape, dw->o, dw->o_bias, dx, a->attended, r);
    op_attention_back(tape, g->q, g->k, g->v, g->attended, a->attended, a->stats, a->q, a->k, a->v,
                      rows->row_table, block_heads(config), r);
    op_rope_back(tape, g->q, rows->row_table, rows->turns, r);
    op_rope_back(tape, g->k, rows->row_table, rows->turns, r);
    Tensor dq = norm_back(tape, config, g, g->q, a->q_raw, w->q_norm, dw->q_norm, r);
    project_back(tape, dw->q, dw->q_bias, dq, a->normed, r);
    op_matmul_back_x(tape, g->normed, dq, w->q, false, r);
    Tensor dk = norm_back(tape, config, g, g->k, a->k_raw, w->k_norm, dw->k_norm, r);
    project_back(tape, dw->k, dw->k_bias, dk, a->normed, r);
    project_back(tape, dw->v, dw->v_bias, g->v, a->normed, r);
    op_matmul_back_x(tape, g->normed, dk, w->k, true, r);
    op_matmul_back_x(tape, g->normed, g->v, w->v, true, r);
    op_rmsnorm_back(tape, dx, dw->attn_norm, g->inverse, g->normed, x, w->attn_norm,
                    (float)config->norm_epsilon, true, r);
}
