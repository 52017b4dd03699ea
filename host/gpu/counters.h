// Hardware counters of a device (VK_KHR_performance_query): which there are, and their values
// around dispatches that run alone. Nothing is turned on unless a device is opened for it. Not
// timestamps, which are gpu/profile.h's, and not statistics of compilers.
//
// Written to the specification and held to it by the validation layer on a driver that offers
// counters and executes nothing (RADV, RDNA 2); values have not been seen from a device that
// counts.
#ifndef STRATA_GPU_COUNTERS_H
#define STRATA_GPU_COUNTERS_H

#include "gpu/gpu.h"

// gpu_open, with the extension on where the device has it. Some drivers then run everything at a
// fixed clock while counters are read, or slower: not for timing.
Gpu *gpu_open_counting(const char *device, Error *err);

typedef struct {
    char name[256], category[256], description[256]; // as the driver says them
    const char *unit;  // "", "%", "ns", "bytes", "bytes/s", "K", "W", "V", "A", "Hz" or "cycles"
    const char *scope; // "command buffer", "render pass" or "command": what it can be read around
} Counter;

// What the device counts, in the order of the driver; the caller frees *list. 0 counters where it
// has no such thing. False: out of memory, or the driver failed.
bool counters_list(Counter **list, uint32_t *count, const Gpu *gpu, Error *err);

// Some of the counters of a device, ready to be read.
typedef struct Counting Counting;

// The counters of these names (as Counter.name says them, each once). NULL: one is not there, or
// the device has none. The Gpu is one of gpu_open_counting.
Counting *counting_open(Gpu *gpu, const char *const *names, uint32_t count, Error *err);
void counting_close(Counting *counting);
// How often dispatches run for all of them: a device counts only so many things at a time.
uint32_t counting_passes(const Counting *counting);
// Runs the dispatches in order, a barrier between any two, counting_passes times, and waits; values
// (count of counting_open) is what each counter says of them together, NAN where a driver divides
// by what did not happen. Not while a tape is recorded. Other programs' profiling is kept out
// meanwhile. False: also where another program profiles.
bool counting_run(Counting *counting, const Dispatch *dispatches, uint32_t count, double *values,
                  Error *err);

#endif
