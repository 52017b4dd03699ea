// The SoFT step (arXiv 2309.08968, section 3; Eq. 1 divides by the number of exits): one forward
// through the blocks that keeps the residual stream at each boundary, one backward sweep in which
// every exit joins at its own boundary, one optimizer update. With a single exit at the last block
// it is plain fine-tuning. Without backward it evaluates every exit.
#ifndef STRATA_TRAIN_STEP_H
#define STRATA_TRAIN_STEP_H

#include "model/block.h"
#include "train/batch.h"

// What a step takes from the schedule and the config.
typedef struct {
    double rate, beta1, beta2, epsilon, weight_decay;
    double clip;   // the largest gradient norm; 0: no clipping
    uint64_t time; // updates so far, this one included (Adam's t)
} UpdateValues;

typedef struct Step Step;

// exits: ascending depths within 1..L. capacity: rows of a batch at most. backward: gradients and
// optimizer moments are kept too. model must outlive the step.
Step *step_open(Llama *model, const uint32_t *exits, uint32_t exit_count, uint32_t capacity,
                bool backward, Error *err);
void step_close(Step *step);
Batch *step_batch(Step *step); // filled by the caller before step_run

// Training: sets every gradient to zero, then step_run for each micro-batch, then step_update.
bool step_zero_gradients(Step *step, Error *err);
// Runs the batch. With backward the gradients of weights[e] * (sum over supervised rows of exit e's
// cross-entropy) are added; weights (exit_count).
bool step_run(Step *step, const double *weights, Error *err);
// Clips and updates every parameter; *norm is the gradient norm before clipping.
bool step_update(Step *step, const UpdateValues *values, double *norm, Error *err);

// After step_run: (supervised, 2) pairs (loss in nats, 1 where the target was the largest logit).
const float *step_losses(const Step *step, uint32_t exit);
Llama *step_gradients(Step *step); // for tests and checkpoints

#endif
