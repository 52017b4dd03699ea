// A profile made up by hand, as large as a test wants it: training steps of a model of some blocks,
// whose times and costs follow from shapes. No device is needed.
#ifndef STRATA_TESTS_SUPPORT_MADE_PROFILE_H
#define STRATA_TESTS_SUPPORT_MADE_PROFILE_H

#include "profile/record.h"

typedef struct {
    uint32_t steps, blocks;
    const char *title, *device, *driver;
    const char *extra; // a tape of this label, of one fill and one copy, ends each step; NULL: none
    bool disorder;     // clocks put every 7th command, and every 3rd submission, a little early,
                       // and every 5th command takes no time
    bool no_costs;
} MadeOptions;

typedef struct {
    ProfileRecord record;
    GpuInfo device;
    Command *commands;
    ProfileEvent *events;
    ProfileSubmission *submissions;
    ProfileRun *runs;
    ProfileTransfer *transfers;
    ProfileStep *steps;
    size_t command_count;
} MadeProfile;

// Each step is an upload, a run of two submissions in flight together, an update in a run of its
// own, and a download; the loss of the second step is no number.
MadeProfile *made_profile(const MadeOptions *options);
void made_profile_free(MadeProfile *made);

#endif
