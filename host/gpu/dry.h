// Recording without a device's work: what ops would dispatch is told to whoever asks, nothing is
// allocated, recorded or submitted. So that the pipelines ops use can be listed by the very code
// that uses them. Not a way to run anything.
#ifndef STRATA_GPU_DRY_H
#define STRATA_GPU_DRY_H

#include "gpu/gpu.h"

// From here on dispatches on the tape go to `seen` and nowhere else; their tensors may be imagined.
// The dispatch and what it points to are the caller's, for the time of the call.
typedef void DrySeen(void *user, const Dispatch *dispatch);
void tape_divert(Tape *tape, DrySeen *seen, void *user);

// A tensor that ops may record on a diverted tape, without memory: never freed, uploaded or run.
// cols as in tensor_make_as.
Tensor tensor_imagine(Dtype dtype, uint32_t rows, uint32_t cols);
// Counts of that kind: never closed or set.
Counts *counts_imagine(void);

#endif
