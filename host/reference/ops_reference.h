// What the ops compute, in double and in the plainest way: the measure for the kernels, in tests
// and for those who write one. Knows no GPU. Forward writes y; backward adds to the gradients of
// the inputs.
#ifndef STRATA_REFERENCE_OPS_REFERENCE_H
#define STRATA_REFERENCE_OPS_REFERENCE_H

#include <stdint.h>

enum { OP_INPUTS = 3 };

// The letters of an op; those that it does not have are 0.
typedef struct {
    uint32_t rows;
    uint32_t cols;   // of a row; of x in a matrix product
    uint32_t others; // rows of w; of an embedding; of what gather and scatter reach into
    uint32_t heads, kv_heads, size;
    uint32_t sequence; // rows of a sequence; 0: a few of different lengths
} OpShape;

// An op's arguments.
typedef struct {
    OpShape shape;
    double *in[OP_INPUTS]; // what can have a gradient, row-major
    uint32_t *table;       // (rows) tokens, indices or targets; (rows, 4) the row table
    double epsilon;        // of rmsnorm
    double theta;          // of rope
    double *scratch;       // (rows) of attention, as no row attends to more keys
} OpProblem;

typedef void OpForward(double *y, const OpProblem *problem);
// d[i] has the shape of in[i]; dy that of y.
typedef void OpBackward(double *const *d, const double *dy, const OpProblem *problem);

OpForward reference_embed; // in: table (others, cols)
OpBackward reference_embed_back;
OpForward reference_rmsnorm; // in: x (rows, cols), gain (cols / parts); heads: parts, if not 0
OpBackward reference_rmsnorm_back;
OpForward reference_matmul; // in: x (rows, cols), w (others, cols)
OpBackward reference_matmul_back;
OpForward reference_rope; // in: x (rows, heads * size)
OpBackward reference_rope_back;
OpForward reference_attention; // in: q (rows, heads * size), k, v (any, kv_heads * size)
OpBackward reference_attention_back;
OpForward reference_swiglu; // in: gate, up (rows, cols)
OpBackward reference_swiglu_back;
OpForward reference_add; // in: x, y (rows, cols)
OpBackward reference_add_back;
OpForward reference_bias; // in: y (rows, cols), bias (cols)
OpBackward reference_bias_back;
OpForward reference_gather; // in: x (others, cols)
OpBackward reference_gather_back;
OpForward reference_cross_entropy; // in: logits (rows, cols); y (rows, 2): loss, 1 for a hit
OpBackward reference_cross_entropy_back;

// Self-distillation: loss[r] = T^2 KL(softmax(teacher / T) || softmax(logits / T)); gradient (rows,
// cols), factor times that of the loss in the logits / T, written.
void reference_distill(double *losses, double *gradient, const double *teacher,
                       const double *logits, uint32_t rows, uint32_t cols, double temperature,
                       double factor);

// One AdamW update as PyTorch's: decay of the weight, then the step; step counts from 1.
typedef struct {
    double rate, beta1, beta2, epsilon, decay;
} AdamwRates;
void reference_adamw(double *weight, double *mean, double *square, const double *gradient,
                     uint32_t count, unsigned step, AdamwRates rates);

#endif
