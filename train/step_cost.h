// The operations of a training step, for TFLOP/s: what the mathematics needs, so that figures can
// be compared between programs and devices. Not what kernels compute again (attention's backward
// forms its weights anew), and not norms, activations or the optimizer, which are small beside
// products.
//
// A product of a (rows, k) with a (n, k) matrix is 2 * rows * n * k operations forward, and twice
// that backward (one product for the gradient of each factor). A step is 3 times the sum of
//   blocks     2 * (A*S*D + 2*G*S*D + D*A*S + 3*H*D) * rows, for each block up to the deepest exit
//   attention  2 products of 2 * A*S operations a pair of query and key, for each of these blocks
//   heads      2 * V*D * supervised, for each exit
// with the letters of model/config.h.
#ifndef STRATA_TRAIN_STEP_COST_H
#define STRATA_TRAIN_STEP_COST_H

#include "model/config.h"

#include <stdint.h>

// The rows of a step. Doubles: the largest steps go beyond 64 bits.
typedef struct {
    double rows;
    double supervised;
    double pairs; // of a query and a key that it attends to: n (n + 1) / 2 for a record of n rows,
                  // less where the model's window is shorter than n
} StepRows;

// Adds a record of `rows` rows, of which `supervised` carry loss.
void step_rows_add(StepRows *sum, const LlamaConfig *config, uint32_t rows, uint32_t supervised);

// Operations of a step (forward and backward) with ascending exits (exit_count, at least 1).
double step_operations(const LlamaConfig *config, const uint32_t *exits, uint32_t exit_count,
                       const StepRows *rows);

#endif
