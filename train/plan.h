// The device memory that a training run needs, computed from shapes alone: no GPU is touched. The
// counterpart of what trainer.c, step.c, batch.c and model/ make; a test holds both together.
#ifndef STRATA_TRAIN_PLAN_H
#define STRATA_TRAIN_PLAN_H

#include "train/train_config.h"

#include <stdint.h>

typedef enum {
    PLAN_WEIGHTS,
    PLAN_GRADIENTS,   // of the weights
    PLAN_MOMENTS,     // AdamW's two
    PLAN_ACTIVATIONS, // what forward keeps for backward, and the gradients that pass through blocks
    PLAN_LOGITS,      // an exit's chunk: logits, normed rows, their gradients; losses
    PLAN_VALIDATION,  // what scoring needs beside all that
    PLAN_OTHER,       // tables of the batch, turns, partial sums, staging
    PLAN_ROLES
} PlanRole;

// What is to be planned for.
typedef struct {
    const LlamaConfig *model; // with its exits' own norms and heads
    const uint32_t *exits;    // (exit_count) ascending, at least 1
    uint32_t exit_count;
    uint32_t rows;          // of a micro-batch, at most
    uint32_t valid_longest; // tokens of the longest record that is scored; 0: no validation
    bool recompute, exits_alone, distill; // as in StepOptions
    StorageTypes storage;
} PlanShape;

// What a run of that config trains (its exits and depth complete, model's config as
// train_config_shape makes it), for `rows` rows and records of `valid_longest` tokens.
PlanShape plan_shape(const TrainConfig *config, const LlamaConfig *model, uint32_t rows,
                     uint32_t valid_longest);

typedef struct {
    uint64_t bytes[PLAN_ROLES];
    uint64_t peak;    // of all roles: what gpu_memory_peak comes to
    uint64_t largest; // tensor: what a device must be able to bind
} Plan;

// False: out of memory.
bool plan_make(Plan *plan, const PlanShape *shape, Error *err);
const char *plan_role_name(PlanRole role); // "weights", ...

#endif
