// A run that is profiled: what strata profile train and generate share beside their reports
// (cli_profile.h): a device that is watched, its ceilings, and the steps of the work.
#ifndef STRATA_TOOLS_CLI_PROFILING_H
#define STRATA_TOOLS_CLI_PROFILING_H

#include "cli_profile.h"

typedef struct {
    ReportOptions reports;
    uint64_t steps;  // that are profiled; 0: all
    uint64_t warmup; // rounds before them, in which pipelines are made
    uint64_t every;  // of the runs of a tape, one of so many is timed command by command
    bool serialize;  // each command is waited for
} ProfilingOptions;

enum { PROFILING_EVERY = 8 }; // unless told: on lavapipe a timestamp costs 0.1 ms

ProfilingOptions profiling_defaults(uint64_t steps, uint64_t warmup);

enum { OPTION_STEPS = 1200, OPTION_WARMUP, OPTION_EVERY, OPTION_SERIALIZE };
#define PROFILING_OPTIONS                                                                          \
    REPORT_OPTIONS, {"steps", required_argument, NULL, OPTION_STEPS},                              \
        {"warmup", required_argument, NULL, OPTION_WARMUP},                                        \
        {"every", required_argument, NULL, OPTION_EVERY},                                          \
    {                                                                                              \
        "serialize", no_argument, NULL, OPTION_SERIALIZE                                           \
    }
#define PROFILING_USAGE "[--steps N] [--warmup N] [--every N] [--serialize] " REPORT_USAGE

// As reports_option and reports_check, for these.
bool profiling_option(ProfilingOptions *options, int option, const char *value, bool *known,
                      Error *err);
bool profiling_check(const ProfilingOptions *options, Error *err);

typedef struct {
    ProfilingOptions *options;
    Gpu *gpu;
    Ceilings ceilings;
    ProfileStep *steps; // (count)
    size_t count, room;
    double begin, at; // seconds: of what counts, and of the step at hand
    bool failed;      // out of memory
} Profiling;

// Reads what is compared with, knows or measures the device's ceilings, and opens the device with
// profiling on. profiling->options is set; all else is zero.
bool profiling_open(Profiling *profiling, const char *device, Error *err);
void profiling_close(Profiling *profiling);
// What counts begins now, and so does its first step.
void profiling_start(Profiling *profiling);
// A step ends, and the next one begins. As in ProfileStep.
void profiling_step(Profiling *profiling, double loss, uint32_t tokens);
// Writes every report of what was profiled until now; title is "COMMAND WHAT". *status as in
// reports_write.
bool profiling_report(Profiling *profiling, const char *command, const char *what, int *status,
                      Error *err);

#endif
