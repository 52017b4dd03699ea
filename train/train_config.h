// What `strata train` is told: a JSON file and --set key=value. Every key is documented in the
// README; unknown keys are refused.
#ifndef STRATA_TRAIN_TRAIN_CONFIG_H
#define STRATA_TRAIN_TRAIN_CONFIG_H

#include "train/data_files.h"
#include "train/soft.h"
#include "train/storage.h"

#include <stddef.h>

// soft: all exits, shared norm and head unless told otherwise. sft: the last block alone. ict:
// blocks frozen, one head of its own for each exit (early exit by intermediate classifiers).
// extracted: the first `depth` blocks cut out as a model of their own and fine-tuned alone. arXiv
// 2309.08968, 4.1.
typedef enum { METHOD_SOFT, METHOD_SFT, METHOD_ICT, METHOD_EXTRACTED } Method;
#define LARGEST_LOSS_SCALE 16777216.0

typedef enum { SCHEDULE_COSINE, SCHEDULE_CONSTANT } Schedule;

// Strings are malloc'ed and owned; train_config_free frees them.
typedef struct {
    char *model;     // folder of the model to fine-tune; NULL with init
    char *tokenizer; // folder of tokenizer.json; NULL: model
    bool has_init;   // train from random weights of this shape
    LlamaConfig init;
    DataFiles data;  // of any format, as in data_source.h
    char *valid;     // the same; may be NULL
    char *separator; // line between documents; NULL: the default
    char *out;
    Method method;
    uint32_t exits[CONFIG_MAX_EXITS]; // (exit_count) with soft and ict
    uint32_t exit_count;
    uint32_t depth;      // blocks that extracted keeps
    SoftChoices choices; // of soft
    bool recompute;      // a block's forward runs again before its backward: less memory, more time
    StorageTypes storage;
    double loss_scale;          // with gradients in f16: what the loss is multiplied with at first,
    uint64_t loss_scale_window; // halved where they overflow, doubled after so many good updates
    uint64_t steps;             // 0: two epochs (the paper's)
    uint32_t batch_size;        // records of a micro-batch
    uint32_t grad_accum;        // micro-batches of a step
    uint32_t context; // tokens of a record at most; 0: the smaller of the model's and 2048
    double learning_rate, weight_decay, beta1, beta2, epsilon, clip;
    Schedule schedule;
    int64_t warmup; // steps; -1: 3% of them (Alpaca's)
    uint64_t seed;
    uint64_t save_every, validate_every; // steps; 0: at the end only
    uint64_t keep_last, keep_best;       // checkpoints that stay: the newest, those of lowest loss
    uint64_t max_skipped;                // steps in a row without an update that end the run
    double spike_factor; // a gradient norm so many times the usual one is skipped; 0: none is
    double submit_ms;    // of a submission to the device, at most; 0: as gpu_set_submit_limit says
    bool resume;         // go on from the newest intact checkpoint in out; no key, an option
    bool leaves_nothing; // nothing of `out` is read or written, and nothing is validated: the run
                         // is only looked at; no key either
} TrainConfig;

// Reads the file, then applies `sets`: set_count texts "key=value", value as JSON or, where that
// fails, as a plain string. Checks types, ranges and what belongs together.
bool train_config_load(TrainConfig *config, const char *path, const char *const *sets,
                       size_t set_count, Error *err);
void train_config_free(TrainConfig *config);

// What the model's config.json says after such a training: its exits and what they have of their
// own, and the blocks that extracted keeps.
void train_config_shape(LlamaConfig *shape, const TrainConfig *config);

// Fills what follows from the model (exits of sft, context) and checks exits against its depth.
bool train_config_complete(TrainConfig *config, const LlamaConfig *model, Error *err);

// Whether gradients are stored so that the loss must be scaled.
bool train_config_scales(const TrainConfig *config);

// The shape of what is trained, as init or the model's config.json states it (weights are not
// read), cut and with exits as above; completes the config.
bool train_config_model(LlamaConfig *shape, TrainConfig *config, Error *err);

// The learning rate of update `step` (1 ..): linear over warmup steps, then the schedule down to 0.
double train_config_rate(const TrainConfig *config, uint64_t step);

#endif
