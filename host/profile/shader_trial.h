// One kernel by itself, and another version of its source beside it: how far both are from what
// they must compute (in double), and which is faster by how much. The loop in which somebody writes
// a better shader. Not a benchmark of ops: tools/bench_kernels.c.
#ifndef STRATA_PROFILE_SHADER_TRIAL_H
#define STRATA_PROFILE_SHADER_TRIAL_H

#include "base/statistics.h"
#include "gpu/profile.h"
#include "gpu/statistics.h"
#include "profile/kernel_count.h"

enum { TRIAL_VERSIONS = 2, TRIAL_PAIRS = 20, TRIAL_SHAPE_TEXT = 64, TRIAL_COUNTERS = 32 };

typedef struct {
    KernelName name;
    const char *with;   // a GLSL file that takes the kernel's place; NULL: the kernel alone
    OpShape shape;      // that is timed
    Dtype dtype;        // of the kernel's parameter
    Counting *counting; // at most TRIAL_COUNTERS counters to read of both versions; NULL: none
    double seconds;     // to measure for; TRIAL_PAIRS pairs are measured whatever they take
} TrialOptions;

// A version of the source.
typedef struct {
    BedError error;                     // the worst of all shapes, by its tolerance
    char error_shape[TRIAL_SHAPE_TEXT]; // where it was
    bool right;                         // no result was beyond its tolerance
    bool repeats;                       // a second run gave the same bits, at every shape
    Summary seconds;                    // of one run of the kernel
    double fields[FIELD_COUNT];         // what the driver says of it; NAN: not known
    double counters[TRIAL_COUNTERS];    // of one run, in the order of counting_open
} TrialVersion;

typedef struct {
    KernelWay way;                         // the kernel that was recorded
    TrialVersion versions[TRIAL_VERSIONS]; // strata's own; the other one where there is one
    uint32_t version_count;
    uint32_t shapes;      // at which results were compared
    uint32_t passed_over; // of the table's: they record another variant, or take long to compile
    bool timed_compared;  // the timed shape is one of them; else its reference takes too long
    bool same_bits;       // both versions gave the same bits at every shape
    uint32_t times;       // runs in a sample
    uint32_t pairs;       // of samples, in random order
    SeriesRatio ratio;    // the other version's time over strata's
    Cost cost;            // of one run; 0 where the device is not profiled with a rule for costs
    bool timestamps;      // times are the device's, not the host's
} ShaderTrial;

// On a device that is profiled (gpu_profile, with cost_of) times are its own, and costs are known;
// else times are the host's around each sample. False: the shape or the device does not take the
// kernel, the file does not compile ("FILE:LINE: error: ..."), or the device failed. A wrong result
// is no failure: see TrialVersion.right.
bool shader_trial(ShaderTrial *trial, Gpu *gpu, const TrialOptions *options, Error *err);

#endif
