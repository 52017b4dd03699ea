// The ops of a LLaMA and of its training, forward and backward side by side. Each records one or a
// few dispatches on a tape. They know shapes, not models. Failures stay with the tape.
//
// Every op over rows takes a Rows: it works on as many rows as the count says when the tape runs,
// tensors hold Rows.max rows or more. A row's result never depends on the rows beside it.
// Parameters that are matrices, and their gradients, may have 16 bits a value where rows and cols
// are multiples of 4; the w of op_matmul and the table of op_embed may also be quantised
// (base/quant.h), any number of rows. Kernels read either in the very bits of the f32 kernel with
// the same values. Everything else is f32, and so are sums. Gradients of weights are accumulated
// with +=; gradients of activations are written, or accumulated where `accumulate` says so.
#ifndef STRATA_OPS_OPS_H
#define STRATA_OPS_OPS_H

#include "gpu/gpu.h"

// A parameter of more bytes than a binding sees is bound in slices of whole rows, each but the last
// a multiple of so many (they hold a multiple of SUM_SQUARES_CHUNK values, a power of two).
uint32_t op_slice_rows(uint32_t cols);

// y[r] = table[tokens[r]]. y (rows, D), tokens (rows) u32, table (V, D).
void op_embed(Tape *tape, Tensor y, Tensor tokens, Tensor table, Rows rows);
// dtable[t] += sum of dy over the rows with token t. uses (distinct + 1, 2) u32: each distinct
// token and where its rows begin in order (rows) u32; the last entry closes the list.
void op_embed_back(Tape *tape, Tensor dtable, Tensor dy, Tensor uses, Tensor order, Rows distinct);

// y = x / sqrt(mean(x^2) + epsilon) * gain. x, y (rows, D), gain (1, D); or (rows, n * D), each
// part of D values by itself.
void op_rmsnorm(Tape *tape, Tensor y, Tensor x, Tensor gain, float epsilon, Rows rows);
// Needs x and gain of forward. inverse (rows, n) is scratch; dx is not dy. dgain may be empty (a
// NULL span).
void op_rmsnorm_back(Tape *tape, Tensor dx, Tensor dgain, Tensor inverse, Tensor dy, Tensor x,
                     Tensor gain, float epsilon, bool accumulate, Rows rows);

// y (rows, N) = x (rows, K) w^T, w (N, K) as Hugging Face stores it.
void op_matmul(Tape *tape, Tensor y, Tensor x, Tensor w, Rows rows);
// y += x w^T.
void op_matmul_add(Tape *tape, Tensor y, Tensor x, Tensor w, Rows rows);
// dx (+)= dy w; needs w.
void op_matmul_back_x(Tape *tape, Tensor dx, Tensor dy, Tensor w, bool accumulate, Rows rows);
// dw += dy^T x; needs x.
void op_matmul_back_w(Tape *tape, Tensor dw, Tensor dy, Tensor x, Rows rows);

// y[r] += bias, in place. y (rows, N), bias (1, N). y's gradient passes through.
void op_bias(Tape *tape, Tensor y, Tensor bias, Rows rows);
// dbias += the sum of dy over rows, in their order.
void op_bias_back(Tape *tape, Tensor dbias, Tensor dy, Rows rows);

// Turns x (rows, heads * size) in place by each row's position, rotate-half layout. row_table
// (rows, 4) u32 as shaders/args.h says; turns (context, size): cosines, then sines.
void op_rope(Tape *tape, Tensor x, Tensor row_table, Tensor turns, Rows rows);
void op_rope_back(Tape *tape, Tensor dx, Tensor row_table, Tensor turns, Rows rows);

// Heads of an attention; size is the head size, even, at most 256; heads % kv_heads == 0.
typedef struct {
    uint32_t heads, kv_heads, size;
} Heads;

// What is between the projections and attention over a cache: q turns in place as op_rope says, k
// goes turned, v as it is, into row slots[r] of cache_k and cache_v (any, kv_heads * size). slots
// (rows) u32, none twice.
void op_rope_cache(Tape *tape, Tensor q, Tensor cache_k, Tensor cache_v, Tensor k, Tensor v,
                   Tensor slots, Tensor row_table, Tensor turns, Heads heads, Rows rows);

// y = softmax(q k^T / sqrt(size)) v over the keys that row_table gives each row. q, y
// (rows, heads * size), k, v (keys, kv_heads * size), stats (rows, 2 * heads) for backward.
void op_attention(Tape *tape, Tensor y, Tensor stats, Tensor q, Tensor k, Tensor v,
                  Tensor row_table, Heads heads, Rows rows);
// Writes dq, dk, dv; needs y, stats, q, k, v of forward; keys and rows are the same rows.
void op_attention_back(Tape *tape, Tensor dq, Tensor dk, Tensor dv, Tensor dy, Tensor y,
                       Tensor stats, Tensor q, Tensor k, Tensor v, Tensor row_table, Heads heads,
                       Rows rows);

// The same over keys and values that lie in pages of PAGE_POSITIONS: key j of a row is slot
// pages[p + j / PAGE_POSITIONS] * PAGE_POSITIONS + j % PAGE_POSITIONS, where p is the row table's
// ROW_PAGES. k, v (slots, kv_heads * size), pages (any, 1) u32. For inference: nothing is kept.
void op_attention_paged(Tape *tape, Tensor y, Tensor q, Tensor k, Tensor v, Tensor row_table,
                        Tensor pages, Heads heads, Rows rows);

// h = silu(gate) * up, all (rows, H).
void op_swiglu(Tape *tape, Tensor h, Tensor gate, Tensor up, Rows rows);
void op_swiglu_back(Tape *tape, Tensor dgate, Tensor dup, Tensor dh, Tensor gate, Tensor up,
                    Rows rows);

// z = x + y, all (rows, D). Its gradient is the identity: dx += dz where it is needed.
void op_add(Tape *tape, Tensor z, Tensor x, Tensor y, Rows rows);

// y[r] = x[index[rows.first + r]].
void op_gather(Tape *tape, Tensor y, Tensor x, Tensor index, Rows rows);
// y[index[rows.first + r]] (+)= x[r]; no index stands twice. With accumulate: gather's backward.
void op_scatter(Tape *tape, Tensor y, Tensor x, Tensor index, bool accumulate, Rows rows);

// losses[rows.first + r] = (cross-entropy of logits[r] against targets[rows.first + r] in nats, 1
// where the target is the largest logit else 0). With backward the logits (rows, V) become their
// gradient, times step[STEP_WEIGHTS + weight].
void op_cross_entropy(Tape *tape, Tensor losses, Tensor logits, Tensor targets, Tensor step,
                      uint32_t weight, bool backward, Rows rows);

// losses[rows.first + r] = T^2 KL(softmax(teacher[r] / T) || softmax(logits[r] / T)) in nats, with
// T = step[STEP_TEMPERATURE]; teacher (rows, V) becomes the gradient of logits (rows, V), times
// step[STEP_WEIGHTS + weight] and step[STEP_DISTILL]. losses (all rows, 1).
void op_distill(Tape *tape, Tensor losses, Tensor teacher, Tensor logits, Tensor step,
                uint32_t weight, Rows rows);

// Partial sums of x^2 from partials[first] on; returns how many it writes.
uint32_t op_sum_squares(Tape *tape, Tensor partials, uint32_t first, Tensor x);
uint32_t op_sum_squares_count(Tensor x);
// clip (1, 2) = (gradient norm, factor that brings it to step[STEP_CLIP] at most), of gradients
// that are to be multiplied with step[STEP_UNSCALE].
void op_clip(Tape *tape, Tensor clip, Tensor partials, uint32_t count, Tensor step);
// AdamW's running means of a parameter's gradient and of its square: f32, or codes of 8 bits
// (DTYPE_U8) with a scale for each block of values; empty scales otherwise.
typedef struct {
    Tensor mean, square;               // (rows, cols) of the parameter
    Tensor mean_scales, square_scales; // (1, op_moment_scales)
} Moments;
uint32_t op_moment_scales(uint32_t rows, uint32_t cols);

// One AdamW update with step's rate, betas, epsilon, corrections and, where decay is set, weight
// decay; the gradient is scaled by clip. A gradient norm that is not finite, or above
// step[STEP_LIMIT] where that is not 0, leaves everything as it is. weight is f32, gradient f32 or
// of 16 bits. salt: another number for each parameter, for the rounding of moments of 8 bits.
void op_adamw(Tape *tape, Tensor weight, const Moments *moments, Tensor gradient, Tensor step,
              Tensor clip, bool decay, uint32_t salt);

// y = x in y's 16 bits, to the nearest value, ties to even; a whole parameter.
void op_narrow(Tape *tape, Tensor y, Tensor x);
// kept = x in 16 bits, and x = what is kept. kept may be empty: x is rounded to dtype alone.
void op_keep(Tape *tape, Tensor kept, Tensor x, Dtype dtype, Rows rows);
// x = what op_keep kept.
void op_widen(Tape *tape, Tensor x, Tensor kept, Rows rows);

#endif
