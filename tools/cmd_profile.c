// strata profile WHAT: picks the part of the profiler. Each lives in its own cmd_profile_*.c.
#include "cli.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *what;
    int (*run)(int argc, char **argv);
} PARTS[] = {
    {"train", "a few updates of a training, command by command", cmd_profile_train},
    {"generate", "generating text, command by command", cmd_profile_generate},
    {"static", "what the driver's compiler says of every kernel; nothing runs", cmd_profile_static},
    {"shader", "one kernel alone: its errors and times, beside another version of its source",
     cmd_profile_shader},
    {"counters", "the hardware counters that a device has", cmd_profile_counters},
};
enum { PART_COUNT = sizeof PARTS / sizeof *PARTS };

static void help(FILE *to)
{
    fprintf(to, "usage: strata profile WHAT [ARGUMENT]...\n\n");
    for (int i = 0; i < PART_COUNT; i++) fprintf(to, "  %-10s%s\n", PARTS[i].name, PARTS[i].what);
    fprintf(to, "\n`strata profile WHAT --help` says what it takes.\n");
}

int cmd_profile(int argc, char **argv)
{
    static const char usage[] = "strata profile WHAT [ARGUMENT]...";
    if (argc < 2) return cli_usage(usage, "profile what? `strata profile --help` lists it");
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        help(stdout);
        return EXIT_OK;
    }
    for (int i = 0; i < PART_COUNT; i++)
        if (!strcmp(argv[1], PARTS[i].name)) return PARTS[i].run(argc - 1, argv + 1);
    return cli_usage(usage, "profile does not know '%.40s'", argv[1]);
}
