// One kernel of those that an op records, alone on a tape: which variant a device takes for a
// shape, how it is made to take another one, and
// what a run takes. Judges nothing: see shader_trial.h.
#ifndef STRATA_PROFILE_KERNEL_ALONE_H
#define STRATA_PROFILE_KERNEL_ALONE_H

#include "base/statistics.h"
#include "gpu/profile.h"
#include "reference/kernel_bed.h"

// What somebody means by a kernel's name.
typedef struct {
    const KernelCase *kase;
    Kernel kernel; // KERNEL_COUNT: whichever of the file the op records
} KernelName;

// "rmsnorm" is what ops take of shaders/rmsnorm.comp, "rmsnorm_vec4" that variant. False: there is
// no such kernel, or nothing to hold it against.
bool kernel_name_read(KernelName *name, const char *text, Error *err);

// How an op is made to record a kernel.
typedef struct {
    Kernel kernel;
    const char *variant; // of the environment's STRATA_VARIANT, for a while; NULL: as it is
    uint32_t constants[GPU_CONSTANTS]; // of its first dispatch
} KernelWay;

// False: with that shape, type and device no setting of STRATA_VARIANT gives that kernel; *instead
// is what the op records then (KERNEL_COUNT: nothing of that file).
bool kernel_way_find(KernelWay *way, const KernelBed *bed, const KernelName *name, Kernel *instead);
// A tape of the kernel alone, so many times. NULL and a message on failure.
Tape *kernel_tape(const KernelBed *bed, const KernelWay *way, uint32_t times, Error *err);
// A tape of what the op records before it, from which the kernel takes what it needs.
Tape *kernel_tape_before(const KernelBed *bed, const KernelWay *way, Error *err);

// What a run of the kernel takes and costs.
typedef struct {
    double
        seconds; // the median of a tape's runs by the device's clock, else their mean by the host's
    bool timestamps; // by the device's
    Cost cost;       // 0 where the device is not profiled with a rule for costs (gpu_profile)
} KernelTime;

// Runs a tape of kernel_tape's with so many runs, KERNEL_TIMES at most.
enum { KERNEL_TIMES = STATISTICS_MOST };
bool kernel_time(KernelTime *time, Gpu *gpu, Tape *tape, uint32_t times, Error *err);

#endif
