// How recording and running tell the profiler what they do. Without gpu_profile every call here
// does nothing, but for a look at a pointer. Private to host/gpu.
#ifndef STRATA_GPU_PROFILE_INTERNAL_H
#define STRATA_GPU_PROFILE_INTERNAL_H

#include "gpu/profile.h"
#include "gpu/submit_internal.h"

#include <volk.h>

typedef struct Profiler Profiler;

// The commands of one part of a tape and the queries for their times: query 0 at the part's
// beginning, i + 1 behind command i.
struct Probe {
    VkQueryPool queries; // VK_NULL_HANDLE: the device has no timestamps
    Command **commands;  // (count), owned by the profiler
    uint32_t count;
    bool flying; // submitted and not received: its queries may not be written again
};

// Recording. profile_begin_part gives the part a probe and records its first timestamp.
VkResult profile_begin_part(Gpu *gpu, Part *part);
// Whether the part should end before its next command.
bool profile_part_full(const Gpu *gpu, const Part *part);
// Behind each command. kernel, args and grid of a fill or a copy are not read.
VkResult profile_command(Gpu *gpu, Part *part, CommandKind kind, const char *label,
                         const Dispatch *dispatch);
void profile_free_part(Gpu *gpu, Part *part);

// Running. How many of the next `count` parts may go into one submission: none twice.
size_t profile_group(const Gpu *gpu, Part *const *parts, size_t count);
// Whether a submission of these parts must wait for those in flight.
bool profile_must_wait(const Gpu *gpu, Part *const *parts, size_t count);
void profile_sent(Gpu *gpu, const Submission *submission);
void profile_received(Gpu *gpu, const Submission *submission, double done);
// What is in flight will not be received.
void profile_abandoned(Gpu *gpu, Part *const *parts, size_t count);
void profile_run_began(Gpu *gpu);
void profile_run_ended(Gpu *gpu);
void profile_transfer(Gpu *gpu, bool upload, uint64_t bytes, double began);

void profile_close(Gpu *gpu);

// device_clock.c: the device's timestamps on the host's clock.
typedef struct {
    double period; // seconds of a tick
    uint64_t mask; // of the bits that count
    uint64_t tick; // at `host`
    double host;   // clock_seconds()
    double error;  // seconds
    bool calibrated;
} DeviceClock;
// False: the compute queue has no timestamps.
bool device_clock_open(DeviceClock *clock, Gpu *gpu);
VkResult device_clock_align(DeviceClock *clock, Gpu *gpu);
double device_clock_seconds(const DeviceClock *clock, uint64_t tick);

#endif
