// Hardware counters of a kernel alone.
#ifndef STRATA_PROFILE_KERNEL_COUNT_H
#define STRATA_PROFILE_KERNEL_COUNT_H

#include "gpu/counters.h"
#include "profile/kernel_alone.h"

// What each counter says of one run of the kernel, on tensors as the op before it leaves them, with
// the source that the device has for it now; values as in counting_run. The device is profiled
// (gpu_profile) and counting.
bool kernel_count(double *values, Counting *counting, KernelBed *bed, const KernelWay *way,
                  Error *err);

#endif
