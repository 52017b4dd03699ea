// What `strata train` is told: a JSON file and --set key=value. Every key is documented in the
// README; unknown keys are refused.
#ifndef STRATA_TRAIN_TRAIN_CONFIG_H
#define STRATA_TRAIN_TRAIN_CONFIG_H

#include "model/config.h"

#include <stddef.h>

typedef enum { METHOD_SOFT, METHOD_SFT } Method;
typedef enum { SCHEDULE_COSINE, SCHEDULE_CONSTANT } Schedule;

// Strings are malloc'ed and owned; train_config_free frees them.
typedef struct {
    char *model;     // folder of the model to fine-tune; NULL with init
    char *tokenizer; // folder of tokenizer.json; NULL: model
    bool has_init;   // train from random weights of this shape
    LlamaConfig init;
    char *data, *valid; // Alpaca files; valid may be NULL
    char *out;
    Method method;
    uint32_t exits[CONFIG_MAX_EXITS]; // (exit_count) with soft
    uint32_t exit_count;
    uint64_t steps;      // 0: two epochs (the paper's)
    uint32_t batch_size; // records of a micro-batch
    uint32_t grad_accum; // micro-batches of a step
    uint32_t context;    // tokens of a record at most; 0: the smaller of the model's and 2048
    double learning_rate, weight_decay, beta1, beta2, epsilon, clip;
    Schedule schedule;
    int64_t warmup; // steps; -1: 3% of them (Alpaca's)
    uint64_t seed;
    uint64_t save_every, validate_every; // steps; 0: at the end only
} TrainConfig;

// Reads the file, then applies `sets`: set_count texts "key=value", value as JSON or, where that
// fails, as a plain string. Checks types, ranges and what belongs together.
bool train_config_load(TrainConfig *config, const char *path, const char *const *sets,
                       size_t set_count, Error *err);
void train_config_free(TrainConfig *config);

// Fills what follows from the model (exits of sft, context) and checks exits against its depth.
bool train_config_complete(TrainConfig *config, const LlamaConfig *model, Error *err);

// The learning rate of update `step` (1 ..): linear over warmup steps, then the schedule down to 0.
double train_config_rate(const TrainConfig *config, uint64_t step);

#endif
