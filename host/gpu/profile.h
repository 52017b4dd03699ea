// What a profiled device did: every command of every tape that ran, with its times and what it
// cost. Recording and running take their usual course; what is collected here is said by nobody but
// them. Tables and pictures of it are host/profile's.
#ifndef STRATA_GPU_PROFILE_H
#define STRATA_GPU_PROFILE_H

#include "gpu/gpu.h"

typedef enum { COMMAND_DISPATCH, COMMAND_FILL, COMMAND_COPY } CommandKind;

// A command as it was recorded on a tape. Lives as long as the Gpu, also where its tape does not.
typedef struct {
    CommandKind kind;
    char tape[64]; // the tape's label, such as "forward 7"
    // Its args are those below. Of a fill tensors[0] is what is filled, of a copy tensors[0] is set
    // from tensors[1]; there kernel says nothing. Tensors may have been freed since.
    Dispatch dispatch;
    uint8_t args[GPU_ARGS_BYTES];
} Command;

// The bytes that must move at least once and the operations that must be done, of one run.
typedef struct {
    double bytes, operations;
} Cost;

// Of a dispatch whose grid's count said so many rows (0 where the grid is fixed). Called while the
// tensors are there.
typedef Cost CostRule(const Dispatch *dispatch, uint32_t rows);

// Times are in seconds on the clock of clock_seconds().

// A command that ran. What stands between two commands of a submission (a barrier that waits) is
// part of the later one's time: they follow each other without a gap.
typedef struct {
    const Command *command;
    const char *phase; // what gpu_set_phase said when it was submitted; "" where nothing
    uint32_t rows;     // as in CostRule
    uint32_t submission;
    double begin, end;
    Cost cost;
} ProfileEvent;

// One vkQueueSubmit, from the call to when the host knew that it was done.
typedef struct {
    double sent, done;
    uint32_t run;
    size_t first, count; // of the events
} ProfileSubmission;

// A call of gpu_run.
typedef struct {
    double begin, end;
    uint64_t memory; // bytes that tensors held
} ProfileRun;

// A piece of a tensor_upload or tensor_download, as the host saw it.
typedef struct {
    bool upload;
    double begin, end;
    uint64_t bytes;
} ProfileTransfer;

typedef struct {
    const ProfileEvent *events;           // (event_count) in the order they ran
    const ProfileSubmission *submissions; // (submission_count)
    const ProfileRun *runs;               // (run_count)
    const ProfileTransfer *transfers;     // (transfer_count)
    size_t event_count, submission_count, run_count, transfer_count;
    size_t shared_count; // of the events that have a share of their part's time
    double began;        // when collecting began
    bool serialized;     // each command was waited for
    bool timestamps;     // false: the device has none, and times are the host's around each command
    bool calibrated;    // VK_EXT_calibrated_timestamps puts the device's times on the host's clock;
                        // else a few empty submissions did
    double clock_error; // seconds by which all of the device's times may be off against the host's
} Profile;

typedef struct {
    bool serialize; // one submission for each command, waited for: exact alone, slower together
    CostRule *cost; // NULL: costs are 0
    // Timestamps cost time, on CPU drivers 0.1 ms each. Of the runs of a part of a tape the first
    // and then one of so many has one behind each command; the others have two, at beginning and
    // end, and share this time out as the last run did that was timed. 0 and 1: every run.
    uint32_t every;
} ProfileOptions;

// Turns profiling on for what is recorded from now on: right after gpu_open, before any tape of
// interest. Where the device has no timestamps it serializes. Without this call nothing that is
// recorded or submitted differs from a program without a profiler.
bool gpu_profile(Gpu *gpu, const ProfileOptions *options, Error *err);
// Drops what was collected; what is recorded stays. Not within a run.
void gpu_profile_clear(Gpu *gpu);
// What was collected; it changes with every run. All empty where profiling is off.
Profile gpu_profile_view(const Gpu *gpu);
// False: memory ran out, and something that ran is missing.
bool gpu_profile_whole(const Gpu *gpu);

#endif
