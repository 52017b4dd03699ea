// Ops that run once under the profiler, for tests of what it says of them: tensors, a count of
// rows, a tape. Fails the running cmocka test itself.
#ifndef STRATA_TESTS_SUPPORT_PROFILED_H
#define STRATA_TESTS_SUPPORT_PROFILED_H

#include "gpu/profile.h"
#include "support/device.h"

// Setup and teardown of the group: the shared device, profiled without a rule of costs, and the
// count.
int profiled_open(void **state);
int profiled_close(void **state);

// Zeroed. Nobody frees these: the device does when it closes.
Tensor tensor_of(Dtype dtype, uint32_t rows, uint32_t cols);
Tensor f32_of(uint32_t rows, uint32_t cols);
// What the host sees: words (rows, cols).
Tensor table_of(uint32_t rows, uint32_t cols, const uint32_t *words);

// At most 5 rows of the count, from `first` on.
Rows five_rows(uint32_t first);
void set_rows(uint32_t rows);

// A tape that will run with so many rows. Tensors are made before.
Tape *run_begin(uint32_t rows);
// Runs it, and frees it; its commands stay to be looked at until the next one begins.
void run_end(Tape *tape);
// By the order of recording.
Dispatch run_dispatch(uint32_t which);
size_t run_count(void);

#endif
