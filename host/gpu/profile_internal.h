// How recording and running tell the profiler what they do. Without gpu_profile every call here
// does nothing, but for a look at a pointer. Private to host/gpu.
#ifndef STRATA_GPU_PROFILE_INTERNAL_H
#define STRATA_GPU_PROFILE_INTERNAL_H

#include "gpu/profile.h"
#include "gpu/submit_internal.h"

#include <volk.h>

typedef struct Profiler Profiler;

enum { PART_BUFFERS = 2 };

// The commands of one part of a tape and the queries for their times: query 0 at the part's
// beginning, i + 1 behind command i. Where only some runs are timed command by command, the part
// is recorded a second time for the others, with queries at its beginning and its end alone.
struct Probe {
    VkQueryPool queries;   // VK_NULL_HANDLE: the device has no timestamps
    VkCommandBuffer timed; // with a timestamp behind each command
    VkCommandBuffer plain; // VK_NULL_HANDLE: every run is timed
    Command **commands;    // (count), owned by the profiler
    double *seconds;       // (count) of each command when it was timed last
    uint32_t count;
    uint32_t runs, every; // which of the runs are timed
    bool split;           // the run at hand is not: its time is shared out as the last one was
    bool flying;          // submitted and not received: its queries may not be written again
};

// Recording. How many command buffers each part is recorded into.
uint32_t profile_buffers(const Gpu *gpu);
// Gives the part a probe and records its first timestamp; `buffers` as many as profile_buffers.
VkResult profile_begin_part(Gpu *gpu, Part *part, const VkCommandBuffer *buffers);
// Whether the part should end before its next command.
bool profile_part_full(const Gpu *gpu, const Part *part);
// Behind each command. kernel, args and grid of a fill or a copy are not read.
VkResult profile_command(Gpu *gpu, Part *part, CommandKind kind, const char *label,
                         const Dispatch *dispatch);
// Behind the last command.
void profile_end_part(Part *part);
void profile_free_part(Gpu *gpu, Part *part);

// Running. What is submitted of the part this time.
VkCommandBuffer profile_buffer(Part *part);
// How many of the next `count` parts may go into one submission: none twice.
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
