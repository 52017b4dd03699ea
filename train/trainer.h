// The training run: data in its order, steps, validation, saving. Reports to callbacks; prints
// nothing. The metrics file is metrics.h's.
#ifndef STRATA_TRAIN_TRAINER_H
#define STRATA_TRAIN_TRAINER_H

#include "text/tokenizer.h"
#include "train/evaluate.h"
#include "train/train_config.h"

#include <signal.h>

// One step that is done.
typedef struct {
    uint64_t step, steps;
    uint32_t exit_count;
    const uint32_t *exits;           // (exit_count) depths
    double losses[CONFIG_MAX_EXITS]; // (exit_count) nats per supervised token; NAN: the exit rested
    double divergences[CONFIG_MAX_EXITS]; // (exit_count) the distillation terms, likewise
    double loss;                          // what is minimised
    double norm, rate;                    // gradient norm before clipping, learning rate
    bool skipped;                         // loss or norm was not finite, or a spike: no update
    uint64_t skipped_in_all;
    double scale;                // of the loss in this step; 0: it is not scaled
    uint64_t tokens, supervised; // of this step
    double seconds;              // of this step
    double elapsed;              // since the first step of this process began
    uint64_t done_here;          // steps of this process
    double operations;           // of this step: step_cost.h
    uint64_t memory_bytes;       // device memory held at the peak so far
} StepReport;

// What the run tells; all may be NULL.
typedef struct {
    void *user;
    // Everything is open and checked, `step` steps are done (0: a new run), the next one comes now;
    // false ends the run.
    bool (*begin)(void *user, uint64_t step, Error *err);
    void (*note)(void *user, const char *line); // what was found, what was cut, ...
    void (*stepped)(void *user, const StepReport *report);
    void (*validated)(void *user, uint64_t step, const DepthScore *scores, uint32_t count);
    void (*saved)(void *user, uint64_t step);
} TrainEvents;

// Trains as config says and saves into config->out. *stop, set from a signal handler, ends the run
// after the step at hand, which is saved. config is completed (steps, context, exits) in place.
bool train(TrainConfig *config, Gpu *gpu, const TrainEvents *events,
           const volatile sig_atomic_t *stop, Error *err);

#endif
