// Recording without a device's work: a filter sees what ops would dispatch, nothing is allocated,
// recorded or submitted. So that the pipelines ops use can be listed by the very code
// that uses them. Not a way to run anything.
#ifndef STRATA_GPU_DRY_H
#define STRATA_GPU_DRY_H

#include "gpu/gpu.h"

// A tensor that ops may record where a filter (gpu_filter) leaves every dispatch out: without
// memory, never freed, uploaded or run. cols as in tensor_make_as.
Tensor tensor_imagine(Dtype dtype, uint32_t rows, uint32_t cols);
// Counts of that kind: never closed or set.
Counts *counts_imagine(void);

#endif
