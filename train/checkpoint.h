// Checkpoints: all that a run needs to go on as if it had never stopped. Each is a folder
// OUT/checkpoints/step-NNNNNNNNNN, written beside and renamed, so that there is no half one:
//   state.safetensors  weights under their Hugging Face names; AdamW's moments as mean.NAME and
//                      square.NAME, of 8 bits with their scales as mean.NAME.scale ...
//   state.json         step, order of the data, random states, counters; hash of the former
// Not the model for others to load, which is llama_save's.
#ifndef STRATA_TRAIN_CHECKPOINT_H
#define STRATA_TRAIN_CHECKPOINT_H

#include "base/random.h"
#include "train/data_order.h"
#include "train/step.h"

// What a run carries from step to step beside the weights and their moments.
typedef struct {
    uint64_t step;    // done so far
    uint64_t updates; // of the weights: steps that were not skipped (Adam's t)
    uint64_t skipped; // steps in all, and in a row up to now, whose update was left out
    uint64_t skipped_in_row;
    double usual_norm;  // a running mean of gradient norms; 0: none yet
    double scale;       // of the loss, a power of two; 1 where it is not scaled
    uint64_t scale_age; // updates since it last changed
    Random drops;
    DataOrderState data;
    bool has_loss; // a validation at this very step, and its loss
    double loss;   // mean over exits, nats per token
} TrainState;

// Writes OUT/checkpoints/step-N of state->step; one that is already there stays.
bool checkpoint_save(const char *out, Llama *model, Step *step, const TrainState *state,
                     Error *err);

// The newest checkpoint under OUT/checkpoints that is intact: its step; 0 where there is none.
// `damaged` (may be NULL) is called with one line for each newer one that was passed over.
uint64_t checkpoint_newest(const char *out, void (*damaged)(void *user, const char *line),
                           void *user);
// Loads that of `step` into model, moments and state. Fails where its tensors are not those of
// this model and method.
bool checkpoint_load(const char *out, uint64_t step, Llama *model, Step *moments, TrainState *state,
                     Error *err);

// Removes all but the newest `keep_last` and the `keep_best` of lowest validation loss; also what
// earlier runs left half written.
void checkpoint_prune(const char *out, uint64_t keep_last, uint64_t keep_best);

#endif
