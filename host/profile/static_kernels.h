// Which pipelines a device would be asked for: every kernel, in every variant, with the
// specialization constants that ops give it at shapes of real models. Found by recording the ops
// without running them (gpu/dry.h), so that nothing here can disagree with host/ops. What a driver
// makes of them is gpu/statistics.h's.
#ifndef STRATA_PROFILE_STATIC_KERNELS_H
#define STRATA_PROFILE_STATIC_KERNELS_H

#include "gpu/gpu.h"

enum { STATIC_ROWS = 6 };

typedef struct {
    Kernel kernel;
    uint32_t constants[GPU_CONSTANTS];
    bool chosen;                // ops take it on this device; else STRATA_VARIANT must ask for it
    char what[48];              // the first shape that needs it: "w 4096 x 4096 q8_0"; may be empty
    uint32_t rows[STATIC_ROWS]; // (row_count) rows of the steps that need it; none: not by rows
    uint32_t row_count;
} StaticPipeline;

typedef struct {
    StaticPipeline *list; // (count) by kernel, then in the order of the recordings
    size_t count;
    const char *missing[KERNEL_COUNT]; // what a kernel that is not in the list needs; NULL: it is
} StaticPipelines;

// The shapes are those of LLaMA 2 7B (heads of 128) and of TinyLlama 1.1B (heads of 64), with 1, 4
// and 8 rows (decoding, a check of drafts) and 64 and 512 (prompts, training). STRATA_VARIANT and
// STRATA_LANES count as ever. Submits nothing. False: out of memory, or no tape could be begun.
bool static_pipelines_list(StaticPipelines *out, Gpu *gpu, Error *err);
void static_pipelines_free(StaticPipelines *pipelines);

#endif
