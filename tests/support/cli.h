// Runs the program strata as a user does: arguments, environment, standard input; captures what it
// prints and its exit status. A run that takes too long is ended and fails the test.
#ifndef STRATA_TESTS_SUPPORT_CLI_H
#define STRATA_TESTS_SUPPORT_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

enum { CLI_ARGS = 24, CLI_VARIABLES = 4 };

typedef struct {
    const char *args[CLI_ARGS];      // behind the program's name, up to a NULL
    const char *vars[CLI_VARIABLES]; // "NAME=value", added to the test's own environment
    const char *input;               // standard input; NULL: empty
} CliCall;

typedef struct {
    int status; // exit status; 128 + signal where a signal ended it
    // err is without the lines that stand there where something took a second, as it may where the
    // machine is busy or the driver slow; not of a run with STRATA_VERBOSE.
    char *out, *err;
} CliRun;

// A program that is running, its output going to files without a name.
typedef struct {
    pid_t pid;
    FILE *in, *out, *err;
    bool verbose; // STRATA_VERBOSE is among its variables
} CliProcess;

CliProcess cli_start(const CliCall *call);
// Waits until it ends.
CliRun cli_wait(CliProcess *process);
CliRun cli_run(const CliCall *call);
void cli_free(CliRun *run);

// cli_run of these arguments.
#define CLI(...) cli_run(&(CliCall){.args = {__VA_ARGS__}})

// The run ends with that status, prints nothing on standard output, and one line on standard error
// that begins with "strata: " and holds `part`. Frees the run.
#define assert_cli_fails(run, status, part)                                                        \
    cli_check_failure(run, status, part, false, __FILE__, __LINE__)
// The same, where other lines may stand before it: what `strata train` found so far.
#define assert_cli_fails_after_notes(run, status, part)                                            \
    cli_check_failure(run, status, part, true, __FILE__, __LINE__)
void cli_check_failure(CliRun run, int status, const char *part, bool notes, const char *file,
                       int line);

// The run ends well, and `part` is in its standard output. The caller frees.
#define assert_cli_prints(run, part) cli_check_output(&(run), part, __FILE__, __LINE__)
void cli_check_output(const CliRun *run, const char *part, const char *file, int line);

// Fields of a line of CSV, of `size` bytes without its end.
size_t cli_csv_fields(const char *line, size_t size);

#endif
