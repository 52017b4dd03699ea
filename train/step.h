// The SoFT step (arXiv 2309.08968, section 3; Eq. 1 divides by the number of exits): one forward
// through the blocks that keeps the residual stream at each boundary, one backward sweep in which
// every exit joins at its own boundary, one optimizer update. With a single exit at the last block
// it is plain fine-tuning. Without backward it evaluates every exit.
#ifndef STRATA_TRAIN_STEP_H
#define STRATA_TRAIN_STEP_H

#include "model/block.h"
#include "train/batch.h"
#include "train/moments.h"
#include "train/storage.h"

// What a step takes from the schedule and the config.
typedef struct {
    double rate, beta1, beta2, epsilon, weight_decay;
    double clip;   // the largest gradient norm; 0: no clipping
    double limit;  // a larger norm, and always one that is not finite, leaves the weights and
                   // moments alone; 0: no limit, below 0: no update at all
    uint64_t time; // updates so far, this one included (Adam's t)
    double scale;  // what the step's losses were scaled with (StepTerms.scale); 0: 1
} UpdateValues;

typedef struct Step Step;

typedef struct {
    const uint32_t *exits; // (exit_count) ascending depths within 1..L
    uint32_t exit_count;
    uint32_t capacity; // rows of a batch at most
    bool backward;     // gradients and optimizer moments are kept too
    bool recompute; // a block's forward runs again before its backward, so that activations of one
                    // block are kept and not of all; the same to the bit
    bool exits_alone; // only the exits' own norms and heads are trained; the blocks are frozen and
                      // nothing flows back through them
    bool distill;     // StepTerms.distill is used
    StorageTypes storage;
} StepOptions;

// model must outlive the step.
Step *step_open_with(Llama *model, const StepOptions *options, Error *err);
// The same with these options alone.
Step *step_open(Llama *model, const uint32_t *exits, uint32_t exit_count, uint32_t capacity,
                bool backward, Error *err);
void step_close(Step *step);
// Rows of the chunks in which exits work.
uint32_t step_chunk_rows(uint32_t capacity, uint32_t vocab);
Batch *step_batch(Step *step); // filled by the caller before step_run

// Training: sets every gradient to zero, then step_run for each micro-batch, then step_update.
bool step_zero_gradients(Step *step, Error *err);
// Runs the batch. With backward the gradients of weights[e] * (sum over supervised rows of exit e's
// cross-entropy) are added; weights (exit_count).
bool step_run(Step *step, const double *weights, Error *err);

// What else a run can be told. To the loss of each exit but the deepest comes, with distill > 0,
// weights[e] * distill * T^2 KL(softmax(teacher / T) || softmax(logits / T)) summed over supervised
// rows, where the teacher is the deepest exit, through which no such gradient flows.
typedef struct {
    const double *weights; // (exit_count) 0: the exit rests, its losses are those of an older run
    const bool *skip;      // (deepest exit) blocks that are left out, forward and backward; or NULL
    double distill;        // the share of the distillation term; needs StepOptions.distill
    double temperature;    // T, > 0 with distill
    double scale;          // of all gradients, so that 16 bits hold small ones; 0: 1
} StepTerms;
bool step_run_with(Step *step, const StepTerms *terms, Error *err);
// Clips and updates every parameter; *norm is the gradient norm before clipping.
bool step_update(Step *step, const UpdateValues *values, double *norm, Error *err);

// After step_run: (supervised, 2) pairs (loss in nats, 1 where the target was the largest logit).
const float *step_losses(const Step *step, uint32_t exit);
// The same for distillation: (supervised) values of T^2 KL; NULL for the deepest exit and without.
const float *step_divergences(const Step *step, uint32_t exit);
Llama *step_gradients(Step *step);   // for tests
MomentSet *step_moments(Step *step); // for checkpoints
// What the kernels compute with is made anew from the model's weights; to be called where these
// were changed by anything but step_update.
bool step_refresh(Step *step, Error *err);

#endif
