// Runs of strata profile: see profile_runs.h.
#define _POSIX_C_SOURCE 200809L // setenv
#include "support/profile_runs.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const TABLES[] = {"kernel", "block", "phase", "shape"};
enum { TABLE_COUNT = 4 };

bool profile_cache_fill(const TestPath *folder)
{
    setenv("XDG_CACHE_HOME", test_path(folder->text, "cache").text, 1);
    CliRun run = CLI("peak");
    bool ok = run.status == 0;
    if (!ok) print_error("%s", run.err);
    cli_free(&run);
    return ok;
}

// ---- what must hold ----------------------------------------------------------------------------

// Figures of a file have six digits.
static void check_near(double a, double b, double share, const char *what)
{
    if (!(fabs(a - b) <= share * fabs(b) + 1e-9)) fail_msg("%s: %.9g is not %.9g", what, a, b);
}

// Every table sums up the same commands.
static void check_tables(const cJSON *profile)
{
    const cJSON *whole = field_item(field_item(profile, "accounting"), "whole");
    for (int t = 0; t < TABLE_COUNT; t++) {
        check_near(profile_sum(profile, TABLES[t], "total"), field_number(whole, "busy"), 1e-4,
                   TABLES[t]);
        check_near(profile_sum(profile, TABLES[t], "share"), 1, 1e-4, TABLES[t]);
        static const char *const counts[] = {"calls", "bytes", "operations"};
        for (int c = 0; c < 3; c++)
            check_near(profile_sum(profile, TABLES[t], counts[c]),
                       profile_sum(profile, "kernel", counts[c]), 1e-12, counts[c]);
    }
}

// Busy, gaps, host and transfers are the clock's time, within 3 % of 50 ms or more.
static void check_account(const cJSON *account)
{
    static const char *const parts[] = {"busy", "gaps", "host", "transfers"};
    double wall = field_number(account, "wall"), sum = 0;
    for (int i = 0; i < 4; i++) {
        assert_true(field_number(account, parts[i]) >= 0);
        sum += field_number(account, parts[i]);
    }
    check_near(field_number(account, "sum"), sum, 1e-4, "sum");
    if (wall >= .05 && !(fabs(sum - wall) <= .03 * wall)) fail_msg("%g s are %g s", sum, wall);
    if (wall >= .05) assert_true(fabs(field_number(account, "deviation")) <= .03);
}

// What kernels took in a step is what the device was busy in it.
static void check_samples(const cJSON *profile)
{
    size_t count = profile_steps(profile);
    for (size_t i = 0; i < count; i++) {
        double sum = 0;
        const cJSON *row;
        cJSON_ArrayForEach(row, profile_rows(profile, "kernel"))
        {
            assert_int_equal(cJSON_GetArraySize(field_item(row, "samples")), count);
            sum += cJSON_GetArrayItem(field_item(row, "samples"), (int)i)->valuedouble;
        }
        check_near(sum, profile_step(profile, "busy", i), 1e-4, "a step's kernels");
    }
}

static cJSON *checked(cJSON *profile)
{
    const cJSON *accounting = field_item(profile, "accounting");
    assert_int_equal(field_number(profile, "profile"), 1);
    assert_true(profile_sum(profile, "kernel", "calls") > 0);
    check_tables(profile);
    check_account(field_item(accounting, "whole"));
    check_account(field_item(accounting, "steps"));
    check_samples(profile);
    return profile;
}

cJSON *profile_printed(CliRun run, int status)
{
    Error err;
    if (run.status != status) fail_msg("status %d: %s", run.status, run.err);
    assert_null(strstr(run.err, "measuring")); // the ceilings are known
    const char *end = strchr(run.out, '\n');
    assert_true(end && !end[1]); // a line
    cJSON *profile = json_parse(run.out, strlen(run.out), "output", &err);
    if (!profile) fail_msg("%s", err.text);
    cli_free(&run);
    return checked(profile);
}

cJSON *profile_written(const TestPath *file)
{
    Error err;
    cJSON *profile = json_read(file->text, &err);
    if (!profile) fail_msg("%s", err.text);
    return checked(profile);
}

// ---- parts of it -------------------------------------------------------------------------------

const cJSON *profile_rows(const cJSON *profile, const char *table)
{
    return field_item(field_item(profile, "tables"), table);
}

const cJSON *profile_row(const cJSON *profile, const char *table, const char *name)
{
    const cJSON *row;
    cJSON_ArrayForEach(row, profile_rows(profile, table))
    {
        if (!strcmp(field_text(row, "name"), name)) return row;
    }
    return NULL;
}

double profile_sum(const cJSON *profile, const char *table, const char *key)
{
    double sum = 0;
    const cJSON *row;
    cJSON_ArrayForEach(row, profile_rows(profile, table)) sum += field_number(row, key);
    return sum;
}

void check_same_work(const cJSON *a, const cJSON *b)
{
    static const char *const keys[] = {"calls", "bytes", "operations"};
    for (int t = 0; t < TABLE_COUNT; t++) {
        const cJSON *row;
        assert_int_equal(cJSON_GetArraySize(profile_rows(a, TABLES[t])),
                         cJSON_GetArraySize(profile_rows(b, TABLES[t])));
        cJSON_ArrayForEach(row, profile_rows(a, TABLES[t]))
        {
            const char *name = field_text(row, "name");
            const cJSON *other = profile_row(b, TABLES[t], name);
            if (!other) fail_msg("%s '%s' is in one run alone", TABLES[t], name);
            for (int k = 0; k < 3; k++)
                if (field_number(row, keys[k]) != field_number(other, keys[k]))
                    fail_msg("%s '%s': %s %.17g and %.17g", TABLES[t], name, keys[k],
                             field_number(row, keys[k]), field_number(other, keys[k]));
        }
    }
}

size_t profile_steps(const cJSON *profile)
{
    const cJSON *steps = field_item(profile, "steps");
    static const char *const lists[] = {"wall", "busy", "loss", "tokens"};
    double count = field_number(steps, "count");
    for (int i = 0; i < 4; i++)
        assert_int_equal(cJSON_GetArraySize(field_item(steps, lists[i])), count);
    return (size_t)count;
}

double profile_step(const cJSON *profile, const char *key, size_t step)
{
    const cJSON *item =
        cJSON_GetArrayItem(field_item(field_item(profile, "steps"), key), (int)step);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

size_t trace_slices(const TestPath *file, const char *category)
{
    Error err;
    size_t count = 0;
    cJSON *trace = json_read(file->text, &err);
    if (!trace) fail_msg("%s", err.text);
    const cJSON *event;
    cJSON_ArrayForEach(event, field_item(trace, "traceEvents"))
    {
        if (strcmp(field_text(event, "ph"), "X") != 0) continue;
        count += !strcmp(field_text(event, "cat"), category);
    }
    cJSON_Delete(trace);
    return count;
}
