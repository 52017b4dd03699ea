// Profiles made by hand, for tests of what is made from profiles: no device, times as the test
// says. Fails the running cmocka test itself.
#ifndef STRATA_TESTS_SUPPORT_PROFILES_H
#define STRATA_TESTS_SUPPORT_PROFILES_H

#include "profile/summary.h"

enum {
    HAND_COMMANDS = 64,
    HAND_EVENTS = 16384,
    HAND_RUNS = 4096,
    HAND_TRANSFERS = 16,
    HAND_STEPS = 4096
};

// A record that grows; hand_record gives what it holds. Some 3 MB: not for the stack.
typedef struct {
    GpuInfo device;
    Command commands[HAND_COMMANDS];
    ProfileEvent events[HAND_EVENTS];
    ProfileSubmission submissions[HAND_RUNS];
    ProfileRun runs[HAND_RUNS];
    ProfileTransfer transfers[HAND_TRANSFERS];
    ProfileStep steps[HAND_STEPS];
    size_t command_count;
    ProfileRecord record; // its counts grow; the rest is the test's to set
} HandProfile;

// An empty one, of device "device", driver "driver" and title "title"; free it.
HandProfile *hand_open(void);
// A dispatch of add or rmsnorm on a tape of that label, of a fixed grid, over (rows, cols) values
// of f32.
const Command *hand_dispatch(HandProfile *hand, Kernel kernel, const char *tape, uint32_t rows,
                             uint32_t cols);
// A fill or a copy of (rows, cols) values of f32.
const Command *hand_move(HandProfile *hand, CommandKind kind, const char *tape, uint32_t rows,
                         uint32_t cols);
void hand_step(HandProfile *hand, double begin, double end);
// A call of gpu_run with one submission that takes all of it; events that follow are of this one.
void hand_run(HandProfile *hand, double begin, double end);
// What may still be set in the event that came last is the phase, "" here.
ProfileEvent *hand_event(HandProfile *hand, const Command *command, double begin, double end,
                         double bytes, double operations);
void hand_transfer(HandProfile *hand, bool upload, double begin, double end, uint64_t bytes);

// One whose sums are easily done by hand. Times in whole seconds:
//   step 0    0 .. 100   run 10 .. 60   rmsnorm 15 .. 25 and add 25 .. 45 of forward 0,
//                                       fill 45 .. 50 of backward 1
//                        upload 70 .. 75
//   step 1  100 .. 150   run 110 .. 140   rmsnorm 112 .. 120 of forward 1, copy 120 .. 121
//   no step              run 155 .. 158   add 156 .. 157 of exit 4, in the phase "draft"
// until 160.
HandProfile *hand_sums(void);
ProfileSummary hand_summary(const HandProfile *hand, const Ceilings *ceilings);

#endif
