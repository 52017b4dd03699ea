// The device memory that a training run needs, computed from shapes alone: no GPU is touched. The
// counterpart of what trainer.c, step.c, batch.c and model/ make; a test holds both together.
#ifndef STRATA_TRAIN_PLAN_H
#define STRATA_TRAIN_PLAN_H

#include "gpu/gpu.h"
#include "train/train_config.h"

#include <stddef.h>
#include <stdint.h>

typedef enum {
    PLAN_WEIGHTS,
    PLAN_GRADIENTS,   // of the weights
    PLAN_MOMENTS,     // AdamW's two
    PLAN_ACTIVATIONS, // what forward keeps for backward, and the gradients that pass through blocks
    PLAN_KV,          // of the activations the keys and values; training keeps no other cache
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
    uint64_t largest; // tensor: one allocation must hold it
    PlanRole largest_role;
    uint64_t bound; // the most that a kernel binds at once. Parameters come in slices of rows, so
                    // that of them the smallest slice counts; anything else is bound as a whole
    PlanRole bound_role;
    uint64_t loop; // the most iterations that an invocation makes over rows (GpuInfo.loop_steps)
} Plan;

// False: out of memory.
bool plan_make(Plan *plan, const PlanShape *shape, Error *err);
const char *plan_role_name(PlanRole role); // "weights", ...

// Whether a device has what the run needs: the memory, an allocation and a binding for its largest
// tensors. False: everything that does not fit, found and allowed, and what to lower; the message
// does not name the device.
bool plan_check(const Plan *plan, const GpuInfo *info, Error *err);

// A row of the table, "weights  1.5 MiB" in columns; PLAN_ROLES stands for the peak. Returns text.
const char *plan_line(char *text, size_t size, const Plan *plan, int role);

#endif
