// Where the time went: how much of the wall clock the device was busy, and what the rest was. Busy
// is measured by the device's clock, all else by the host's, so that their sum is a check of both.
// Not what ran: that is summary.h's.
#ifndef STRATA_PROFILE_ACCOUNT_H
#define STRATA_PROFILE_ACCOUNT_H

#include "profile/record.h"

// Seconds of a span of time.
typedef struct {
    double wall;      // the clock
    double busy;      // of all commands of the calls of gpu_run that began in it
    double gaps;      // within gpu_run, where no command ran: submitting, waiting, between
                      // submissions, before the first command and behind the last
    double host;      // outside gpu_run and transfers
    double transfers; // uploads and downloads
} Account;

// Busy, gaps, host and transfers together.
double account_sum(const Account *account);
// By what share of the wall clock the sum is above it (below 0: less). More than nothing where
// commands stick out of their calls of gpu_run or lie on top of each other. 0 without any time.
double account_deviation(const Account *account);

// Uploads or downloads.
typedef struct {
    size_t count;
    uint64_t bytes;
    double seconds;
} TransferSum;

enum { ACCOUNT_NO_STEP = UINT32_MAX };

// The accounts of a record.
typedef struct {
    Account whole;         // record->begin to end
    Account steps;         // of all steps together
    Account *step;         // (step_count) of each
    uint32_t *event_steps; // (event_count) the step of each command, or ACCOUNT_NO_STEP. It is the
                           // step in which its call of gpu_run began, which the host knows without
                           // a clock's error
    TransferSum uploads, downloads;
    // Commands that by the device's clock began before their call of gpu_run or ended behind it, by
    // how much the furthest did, and by how much all together.
    size_t clipped;
    double furthest, clipped_seconds;
} Accounts;

// Steps are in order of time. Durations below 0 count as 0. False: out of memory; free the accounts
// all the same.
bool accounts_make(Accounts *out, const ProfileRecord *record, Error *err);
void accounts_free(Accounts *accounts);

#endif
