// A profile against an earlier one that `--json` wrote: what became faster or slower by more than
// the noise within both. It cannot know that the machine was busy throughout one of them.
#ifndef STRATA_PROFILE_COMPARE_H
#define STRATA_PROFILE_COMPARE_H

#include "base/statistics.h"
#include "profile/table.h"

// An earlier profile.
typedef struct ProfileOld ProfileOld;

// Reads and checks a file of the layout in table.h, whoever wrote it: every field that is compared,
// of all tables; one by pipeline may be missing, as earlier versions wrote none. NULL and a message
// that names file, row and key.
ProfileOld *compare_read(const char *path, Error *err);
void compare_free(ProfileOld *old);

// The whole step, or a row of a table, against the same of the earlier profile.
typedef struct {
    char name[SUMMARY_NAME]; // "step" of the whole step
    int table;               // a SummaryKind; -1: the whole step
    // NONE: not in the earlier profile; GONE: not in this one; UNKNOWN: too few steps.
    Change change;
    // Of the seconds in a step, new over old, by statistics_compare. Steps in which it did not run
    // count nothing.
    SeriesRatio time;
    double old_median, new_median; // seconds in a step, 0: none
    bool regressed;                // slower by more than the tolerance, and this is not noise
} ProfileChange;

typedef struct {
    ProfileChange *changes; // (count) the whole step, then tables by kind: as rows lie, then gone
    size_t count, regressed, unknown;
    char *notes; // in what the runs differ otherwise, a line each; "": in nothing
    const char *path;
    double tolerance;
} ProfileComparison;

// Compares the whole step and the tables of `kinds` (bits 1 << SummaryKind); a table that is not in
// the earlier profile is a note. tolerance is a share,
// such as 0.05; below 0 nothing is called regressed. `old` must outlive the comparison. False: out
// of memory; free it all the same.
bool compare_make(ProfileComparison *out, const ProfileOld *old, const ProfileReport *report,
                  unsigned kinds, double tolerance, Error *err);
void comparison_free(ProfileComparison *comparison);

// An aligned table of all changes.
void compare_print(FILE *stream, const ProfileComparison *comparison);
// The notes, how many rows are unknown, and what regressed, a line each; nothing where there is
// none.
void compare_print_notes(FILE *stream, const ProfileComparison *comparison);
// Adds to what table_json made "compared": {"file", "tolerance" (where there is one), "notes":
// [text, ...], "regressed", "unknown", "rows": [{"table": kind or "step", "name", "change",
// "ratio", "low", "high", "old", "new", "regressed"}, ...]}; old and new are the medians of seconds
// in a step. Ratios are 0 where one of both is not there.
void compare_json(cJSON *object, const ProfileComparison *comparison);

#endif
