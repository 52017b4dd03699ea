// AdamW's moments of all parameters that are trained, f32 or block-quantised.
#ifndef STRATA_TRAIN_MOMENTS_H
#define STRATA_TRAIN_MOMENTS_H

#include "model/llama.h"
#include "ops/ops.h"

typedef struct {
    Llama means, squares;                // of the parameters from `first` on
    Tensor *mean_scales, *square_scales; // (parameters) empty where the moments are f32
} MomentSet;

// Zeroed; dtype DTYPE_F32 or DTYPE_U8 (llama_dtype).
bool moments_make(MomentSet *set, Gpu *gpu, const LlamaConfig *config, size_t first, Dtype dtype,
                  Error *err);
void moments_free(MomentSet *set); // set may be zero
// Those of the i-th parameter; it must be one that is trained.
Moments moments_of(MomentSet *set, size_t i);

#endif
