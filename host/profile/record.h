// What all reports of a profile are made from: the commands that ran, and what they ran for.
#ifndef STRATA_PROFILE_RECORD_H
#define STRATA_PROFILE_RECORD_H

#include "gpu/profile.h"

// Times are in seconds on the clock of clock_seconds().

// One step of the work: an update of training, a round of generation.
typedef struct {
    double begin, end;
    double loss;     // NAN where there is none
    uint32_t tokens; // that it took or made
} ProfileStep;

// Nothing here is owned.
typedef struct {
    const char *title; // what ran, such as "train assets/demo.json"
    const GpuInfo *device;
    Profile data;
    const ProfileStep *steps; // (step_count), one after the other
    size_t step_count;
    double begin, end; // of all that was profiled; steps lie within
} ProfileRecord;

// The label of a tape is words, and behind them often a number. Its words are the phase where
// gpu_set_phase said none ("forward", "backward"), and its place in the model is:
//   "forward 7", "backward 7", "block 7", "skip 7"   block 7
//   "exit 4"                                         exit 4
//   anything else                                    the label
// Writes that place, or the phase of the event, as text of at most 64 bytes.
void profile_place(char out[64], const char *label);
void profile_phase(char out[64], const ProfileEvent *event);

#endif
