// Runs of strata profile as a user starts them, for tests of its commands: a cache folder with the
// device's ceilings, and the JSON object that a run wrote, with the checks that hold for every one.
// Fails the running cmocka test itself.
#ifndef STRATA_TESTS_SUPPORT_PROFILE_RUNS_H
#define STRATA_TESTS_SUPPORT_PROFILE_RUNS_H

#include "support/cli.h"
#include "support/files.h"
#include "support/json_fields.h"

// Makes FOLDER/cache the cache folder of this program and of what it starts, and has `strata peak`
// measure the device into it, once for all tests. False, with a word, where that fails.
bool profile_cache_fill(const TestPath *folder);

// What --json wrote: standard output of a run that ended with `status`, which is freed, or a file.
// Nothing else may be in it, and it must hold together (below). The caller deletes it.
cJSON *profile_printed(CliRun run, int status);
cJSON *profile_written(const TestPath *file);

// Rows of a table: "kernel", "block", "phase" or "shape". profile_row gives NULL where there is
// none.
const cJSON *profile_rows(const cJSON *profile, const char *table);
const cJSON *profile_row(const cJSON *profile, const char *table, const char *name);
// The sum of a key over all rows.
double profile_sum(const cJSON *profile, const char *table, const char *key);
// Both hold the same rows, whatever their order, with the same calls, bytes and operations.
void check_same_work(const cJSON *a, const cJSON *b);

size_t profile_steps(const cJSON *profile);
// A number of the list `key` of "steps".
double profile_step(const cJSON *profile, const char *key, size_t step);

// Slices of a category in what --trace wrote.
size_t trace_slices(const TestPath *file, const char *category);

#endif
