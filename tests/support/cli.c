// Runs the program strata: see cli.h.
#define _XOPEN_SOURCE 700 // putenv
#include "support/cli.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_SECONDS = 300 }; // generous: sanitizers, cold caches, busy machines

static void become(const CliCall *call, const CliProcess *process)
{
    char *argv[CLI_ARGS + 2] = {strdup(TEST_STRATA)};
    for (int i = 0; i < CLI_ARGS && call->args[i]; i++) argv[i + 1] = strdup(call->args[i]);
    for (int i = 0; i < CLI_VARIABLES && call->vars[i]; i++) putenv(strdup(call->vars[i]));
    dup2(fileno(process->in), STDIN_FILENO);
    dup2(fileno(process->out), STDOUT_FILENO);
    dup2(fileno(process->err), STDERR_FILENO);
    alarm(LIMIT_SECONDS); // lives on in the program, even where the test has failed meanwhile
    execv(argv[0], argv);
    _exit(127);
}

CliProcess cli_start(const CliCall *call)
{
    CliProcess process = {.in = tmpfile(), .out = tmpfile(), .err = tmpfile()};
    assert_true(process.in && process.out && process.err);
    for (int i = 0; i < CLI_VARIABLES && call->vars[i]; i++)
        process.verbose |= !strncmp(call->vars[i], "STRATA_VERBOSE=", 15);
    if (call->input) fputs(call->input, process.in);
    rewind(process.in);
    process.pid = fork();
    assert_int_not_equal(process.pid, -1);
    if (!process.pid) become(call, &process);
    return process;
}

static char *read_back(FILE *file)
{
    long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    char *text = size < 0 ? NULL : malloc((size_t)size + 1);
    rewind(file);
    assert_true(text && fread(text, 1, (size_t)size, file) == (size_t)size);
    text[size] = 0;
    fclose(file);
    return text;
}

// Takes the lines out that only slow runs have.
static void remove_waits(char *text)
{
    static const char *const waits[] = {"loaded ", "asking the compiler of pipelines: "};
    for (char *line = text; *line;) {
        char *end = strchr(line, '\n');
        bool wait = false;
        for (size_t i = 0; i < sizeof waits / sizeof *waits; i++)
            wait |= !strncmp(line, waits[i], strlen(waits[i]));
        if (!end) return;
        if (wait)
            memmove(line, end + 1, strlen(end + 1) + 1);
        else
            line = end + 1;
    }
}

CliRun cli_wait(CliProcess *process)
{
    int state = 0;
    waitpid(process->pid, &state, 0);
    fclose(process->in);
    CliRun run = {WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state),
                  read_back(process->out), read_back(process->err)};
    if (!process->verbose) remove_waits(run.err);
    if (run.status == 128 + SIGALRM)
        fail_msg("ended after %d seconds:\n%s%s", LIMIT_SECONDS, run.out, run.err);
    return run;
}

CliRun cli_run(const CliCall *call)
{
    CliProcess process = cli_start(call);
    return cli_wait(&process);
}

void cli_free(CliRun *run)
{
    free(run->out);
    free(run->err);
    *run = (CliRun){0};
}

// Where the last line of text begins; NULL where it does not end.
static const char *last_line(const char *text)
{
    size_t at = strlen(text);
    if (!at || text[--at] != '\n') return NULL;
    while (at && text[at - 1] != '\n') at--;
    return text + at;
}

void cli_check_failure(CliRun run, int status, const char *part, bool notes, const char *file,
                       int line)
{
    const char *message = last_line(run.err);
    bool ok = run.status == status && !*run.out && message && (notes || message == run.err) &&
              !strncmp(message, "strata: ", 8) && strstr(message, part);
    if (!ok)
        print_error("status %d, expected %d with '%s'; standard output:\n%s\nerror:\n%s\n",
                    run.status, status, part, run.out, run.err);
    cli_free(&run);
    if (!ok) _fail(file, line);
}

void cli_check_output(const CliRun *run, const char *part, const char *file, int line)
{
    if (run->status == 0 && strstr(run->out, part)) return;
    print_error("status %d, expected 0 with '%s'; standard output:\n%s\nerror:\n%s\n", run->status,
                part, run->out, run->err);
    _fail(file, line);
}

size_t cli_csv_fields(const char *line, size_t size)
{
    size_t count = 1;
    bool quoted = false;
    for (size_t i = 0; i < size; i++) {
        if (line[i] == '"') quoted = !quoted;
        count += line[i] == ',' && !quoted;
    }
    assert_false(quoted);
    return count;
}
