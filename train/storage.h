// How a training run stores what it holds on the device: each role its own type. Sums are f32
// everywhere, and so are the weights that the optimizer moves.
#ifndef STRATA_TRAIN_STORAGE_H
#define STRATA_TRAIN_STORAGE_H

#include "base/dtype.h"
#include "model/config.h"

struct cJSON;

typedef struct {
    Dtype weights;   // F16, BF16: copies of the matrices to compute with, beside the f32 originals
    Dtype gradients; // F16, BF16: of matrices; F16 wants the loss to be scaled (train_config.h)
    Dtype moments;   // U8: AdamW's of matrices, block-quantised (shaders/adamw_q8.comp)
    Dtype activations; // F16, BF16: what blocks keep for backward, rounded as soon as it is made
} StorageTypes;

// Reads weight_dtype, gradient_dtype, moment_dtype and activation_dtype ("f32", "f16", "bf16"; "q8"
// of moments) from the config `file`; f32 where they are absent.
bool storage_read(StorageTypes *types, const struct cJSON *config, const char *file, Error *err);
// Whether a model's activations can be stored so: rows of 16-bit values are multiples of 4.
bool storage_check(const StorageTypes *types, const LlamaConfig *model, Error *err);

#endif
