// How recorded work goes to the queue: in submissions that are short enough for the watchdogs of
// drivers. Not recording, which is tape.c's. Private to host/gpu.
#ifndef STRATA_GPU_SUBMIT_INTERNAL_H
#define STRATA_GPU_SUBMIT_INTERNAL_H

#include "base/error.h"
#include "gpu/gpu.h"

#define VK_NO_PROTOTYPES
#include <volk.h>

enum {
    SUBMIT_PARTS = 16, // of a submission at most, however short they were when last seen
    SUBMITS_IN_FLIGHT =
        3, // one runs, one is ready, one is being made: the device never waits for us
    // Tensors that the kernels of one part of a tape name. A product of matrices that names so many
    // (three of 2360 x 2360) is 26 GFLOP; small models never fill a part.
    PART_BYTES = 64 << 20,
};

typedef struct Probe Probe; // profile_internal.h

// A piece of a tape, the least that is submitted.
typedef struct {
    VkCommandBuffer buffer;
    Probe *probe;   // NULL: not profiled
    double seconds; // what it is believed to take; 0: it has not run yet
} Part;

// One vkQueueSubmit that is under way.
typedef struct {
    VkFence fence; // unsignaled while it is not
    Part *const *parts;
    size_t count;
    double began; // seconds, of now() in submit.c
} Submission;

typedef struct {
    Submission ring[SUBMITS_IN_FLIGHT];
    double limit; // seconds that a submission should not exceed
} Submissions;

// How many of the parts that come next one submission takes: as many as stay under limit seconds by
// what is believed of them, at least one. One that has not run yet goes alone.
size_t submit_group(Part *const *parts, size_t count, double limit);
// A submission of those parts (SUBMIT_PARTS at most) took so many seconds: shares them out in
// proportion to what was believed. A belief rises at once and falls by halves: it is better to
// submit too little for a while than too much once. Parts may repeat.
void submit_learn(Part *const *parts, size_t count, double seconds);

// The default limit, or STRATA_SUBMIT_MS.
bool submit_open(Gpu *gpu, Error *err);
void submit_close(Gpu *gpu);
// Runs the parts in order and waits. On failure, what was submitted before has ended, unless the
// device is lost: then nothing may be waited for.
VkResult submit_run(Gpu *gpu, Part *const *parts, size_t count);

#endif
