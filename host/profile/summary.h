// What a profile comes to: the commands that ran, summed up by kernel, by block, by phase, by
// shape and by pipeline, beside what the device can do, and the accounts of the time. Numbers
// alone; table.h writes them, compare.h sets them against earlier ones.
#ifndef STRATA_PROFILE_SUMMARY_H
#define STRATA_PROFILE_SUMMARY_H

#include "profile/account.h"
#include "profile/peak.h"

// What the device can do, as it was measured; 0: not known.
typedef struct {
    double bytes_per_second;       // from and to its memory
    double cache_bytes_per_second; // where all fits into caches
    double operations_per_second;  // f32
    double launch_seconds;         // of a command that does nothing, behind a barrier
} Ceilings;
// Those of a device: the better one of copying and reading for bytes, f32 for operations.
Ceilings summary_ceilings(const Peak *peak);

typedef enum {
    SUMMARY_KERNELS,   // by kernel; fills and copies are rows "fill" and "copy"
    SUMMARY_BLOCKS,    // by place in the model (profile_place)
    SUMMARY_PHASES,    // by what it was for (profile_phase)
    SUMMARY_SHAPES,    // by kernel and shape
    SUMMARY_PIPELINES, // by kernel and specialization constants; fills and copies as by kernel
    SUMMARY_TABLES
} SummaryKind;
extern const char *const SUMMARY_NAMES[]; // (SUMMARY_TABLES) "kernel", "block", and so on

// The ceiling that a row is nearest to.
typedef enum {
    LIMIT_UNKNOWN,
    LIMIT_MEMORY,
    LIMIT_CACHE,   // it moves more than memory could: what is nearest is the rate of caches
    LIMIT_COMPUTE, // arithmetic
    LIMIT_LAUNCH,  // half of its time and more is what a command costs that does nothing
    LIMIT_LATENCY, // a quarter of no ceiling: it mostly waits
} Limit;
extern const char *const LIMIT_NAMES[]; // "-", "memory", "cache", "compute", "launch", "latency"

enum { SUMMARY_NAME = 176, SUMMARY_SAMPLES = 1000 };

typedef struct {
    char name[SUMMARY_NAME];
    int kernel; // of tables by kernel, shape and pipeline; else, and of fills and copies, -1
    uint32_t constants[GPU_CONSTANTS]; // of the table by pipeline
    size_t calls;
    double total, median;             // seconds, of all calls and of one
    double bytes, operations;         // of all calls
    double share;                     // of the time of all commands
    double byte_rate, operation_rate; // a second; 0 where the time is 0
    // Of the ceilings, 1 being all of it; 0 where one is not known. launch_share is the share of
    // the time that as many commands would take that do nothing, 1 at most.
    double byte_share, operation_share, launch_share;
    Limit limit;
    double *samples; // (sample_count) seconds in each step that is sampled
} SummaryRow;

// Longest total first, ties by name.
typedef struct {
    SummaryRow *rows; // (count)
    size_t count;
    double *samples; // of all rows
} SummaryTable;

typedef struct {
    const ProfileRecord *record;
    Ceilings ceilings;
    Accounts accounts;
    // Steps sample_every * i are sampled, so that there are at most SUMMARY_SAMPLES.
    size_t sample_every, sample_count;
    SummaryTable tables[SUMMARY_TABLES];
} ProfileSummary;

// All tables. The record must outlive the summary; of tensors only shapes are looked at. False: out
// of memory; free the summary all the same.
bool summary_make(ProfileSummary *out, const ProfileRecord *record, const Ceilings *ceilings,
                  Error *err);
void summary_free(ProfileSummary *summary);

// Rows as one, whatever they are of, with a median of 0 and without samples.
SummaryRow summary_sum(const ProfileSummary *summary, const SummaryRow *rows, size_t count,
                       const char *name);

#endif
