// One LLaMA block as recorded work, forward and backward, and what it keeps in between. Knows
// nothing of exits or losses (train/) and nothing of depth policies (infer/).
#ifndef STRATA_MODEL_BLOCK_H
#define STRATA_MODEL_BLOCK_H

#include "model/llama.h"
#include "ops/ops.h"

// The rows of a step: several sequences end to end, or the newest tokens of one. Letters as in
// config.h; R is rows.max.
typedef struct {
    Rows rows;
    Tensor row_table; // (R, 4) u32: position, first key, last key + 1, last attending row + 1
    Tensor turns;     // (T, S): rope_turns_make
} BlockRows;

// What forward leaves for backward; without backward one set serves every block in turn.
typedef struct {
    Tensor normed;      // (R, D) attention's input
    Tensor q;           // (R, A * S) turned
    Tensor k, v;        // (R, G * S) k turned
    Tensor q_raw;       // (R, A * S) before its norm; NULL spans where q and k are not normed
    Tensor k_raw;       // (R, G * S)
    Tensor attended;    // (R, A * S)
    Tensor stats;       // (R, 2 * A)
    Tensor middle;      // (R, D) the residual stream between attention and MLP
    Tensor mlp_normed;  // (R, D)
    Tensor gate, up, h; // (R, H)
    Tensor branch;      // (R, D) what a branch adds
} BlockActivations;

// How activations are stored. With 16 bits each is rounded as soon as it is made, so that forward
// reads what backward will; `kept` is where the rounded values stay for backward (rows of R, in 16
// bits, but stats in f32), or empty where they are made again. attention's branch is not kept.
typedef struct {
    Dtype dtype; // DTYPE_F32: nothing is rounded, kept is not used
    BlockActivations kept;
} BlockStorage;

// The gradients that backward needs for a while; one set serves every block.
typedef struct {
    Tensor h, gate, up; // (R, H)
    Tensor normed;      // (R, D)
    Tensor attended, q; // (R, A * S)
    Tensor k, v;        // (R, G * S)
    Tensor inverse;     // (R, 1); (R, A) where q and k are normed
} BlockGradients;

// Keys and values of all positions of all sequences at one block, in pages: op_attention_paged. The
// row table has ROW_PAGES then.
typedef struct {
    Tensor k, v;  // (slots, G * S)
    Tensor slots; // (R) u32: where each row's key and value go
    Tensor pages; // (any, 1) u32
} BlockCache;

bool block_activations_make(BlockActivations *a, Gpu *gpu, const LlamaConfig *config, uint32_t rows,
                            Error *err);
void block_activations_free(BlockActivations *a, Gpu *gpu);
// What BlockStorage.kept needs, in `dtype` of 16 bits; freed by block_activations_free.
bool block_kept_make(BlockActivations *kept, Gpu *gpu, const LlamaConfig *config, Dtype dtype,
                     uint32_t rows, Error *err);
// Brings back what forward kept.
void block_widen(Tape *tape, const BlockActivations *a, const BlockStorage *storage, Rows rows);
bool block_gradients_make(BlockGradients *g, Gpu *gpu, const LlamaConfig *config, uint32_t rows,
                          Error *err);
void block_gradients_free(BlockGradients *g, Gpu *gpu);

// Cosines and sines of every position: row t holds cos(t f_j), then sin(t f_j), j < S / 2, with
// f_j = config_rope_frequency; computed in double. (context, S)
Tensor rope_turns_make(Gpu *gpu, const LlamaConfig *config, uint32_t context, Error *err);

// out (R, D) = block(x (R, D)); rows attend to rows. storage NULL: activations are f32.
void block_forward(Tape *tape, const LlamaConfig *config, const BlockWeights *w,
                   const BlockActivations *a, Tensor out, Tensor x, const BlockRows *rows,
                   const BlockStorage *storage);

// The same for inference, in place: stream (R, D) = block(stream). Keys and values go into the
// cache, and attention reads there. Nothing is kept for backward.
void block_cached(Tape *tape, const LlamaConfig *config, const BlockWeights *w,
                  const BlockActivations *a, Tensor stream, const BlockRows *rows,
                  const BlockCache *cache);

// dx (R, D) comes as the gradient of out and leaves as the gradient of x, in place: the residual
// stream's gradient passes a block and each branch adds to it. dw gets += .
void block_back(Tape *tape, const LlamaConfig *config, const BlockWeights *w, BlockWeights *dw,
                const BlockActivations *a, const BlockGradients *g, Tensor dx, Tensor x,
                const BlockRows *rows);

#endif
