// strata profile train: what strata train does for a few updates, measured command by command. What
// the run would leave in `out` is neither read nor written.
#include "cli_profiling.h"
#include "cli_training.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct {
    Profiling profiling;
    volatile sig_atomic_t stop;
    uint64_t steps; // in all
    TrainingDisplay display;
} Run;

static void show(Run *run, const StepReport *report)
{
    StepReport shown = *report;
    shown.steps = run->steps;
    training_show(&run->display, &shown);
}

// What makes the run futile, said before a device is opened and its ceilings are measured.
static bool check(Run *run, TrainConfig *config, Error *err)
{
    LlamaConfig shape;
    uint64_t most = config->steps, warmup = run->profiling.options->warmup;
    if (!train_config_model(&shape, config, err)) return false;
    if (most <= warmup)
        return error_set(err, "steps: %llu, but %llu of --warmup come first",
                         (unsigned long long)most, (unsigned long long)warmup);
    if (run->steps > most) {
        fprintf(stderr, "the training ends with step %llu\n", (unsigned long long)most);
        run->steps = most;
    }
    return true;
}

static bool began(void *user, uint64_t step, Error *err)
{
    Run *run = user;
    (void)step; // 0: nothing is resumed
    (void)err;
    profiling_start(&run->profiling);
    return true;
}

static void stepped(void *user, const StepReport *report)
{
    Run *run = user;
    uint64_t warmup = run->profiling.options->warmup;
    show(run, report);
    if (report->done_here <= warmup)
        profiling_start(&run->profiling);
    else
        profiling_step(&run->profiling, report->loss, (uint32_t)report->tokens);
    run->stop = report->done_here >= run->steps;
}

static bool profile(TrainConfig *config, ProfilingOptions *options, const char *path,
                    const char *device, int *status, Error *err)
{
    Run run = {.profiling = {.options = options},
               .steps = options->steps + options->warmup,
               .display = training_display(0)};
    const TrainEvents events = {
        .user = &run, .begin = began, .note = training_note, .stepped = stepped};
    config->leaves_nothing = true;
    bool ok = check(&run, config, err) && profiling_open(&run.profiling, device, err) &&
              train(config, run.profiling.gpu, &events, &run.stop, err) &&
              profiling_report(&run.profiling, "train", path, status, err);
    profiling_close(&run.profiling);
    return ok;
}

static const char USAGE[] =
    "strata profile train CONFIG.json [--set key=value]... " PROFILING_USAGE " [--device N|NAME]";
static const struct option OPTIONS[] = {{"set", required_argument, NULL, 's'},
                                        {"device", required_argument, NULL, 'D'},
                                        {"help", no_argument, NULL, 'h'},
                                        PROFILING_OPTIONS,
                                        {0}};

typedef struct {
    ProfilingOptions profiling;
    const char *device;
    const char **sets; // (set_count)
    size_t set_count;
} Arguments;

// -1: go on, else the status to end with.
static int parse(Arguments *a, int argc, char **argv)
{
    Error err;
    for (int option; (option = getopt_long(argc, argv, "h", OPTIONS, NULL)) != -1;) {
        bool known = true;
        if (option == 'h') {
            printf("usage: %s\n", USAGE);
            return EXIT_OK;
        }
        if (option == 's')
            a->sets[a->set_count++] = optarg;
        else if (option == 'D')
            a->device = optarg;
        else if (!profiling_option(&a->profiling, option, optarg, &known, &err))
            return cli_usage(USAGE, "%s", err.text);
        if (!known) return cli_bad_option(USAGE, argv);
    }
    if (argc - optind != 1) return cli_usage(USAGE, "profile train takes one CONFIG.json");
    if (!profiling_check(&a->profiling, &err)) return cli_usage(USAGE, "%s", err.text);
    return -1;
}

int cmd_profile_train(int argc, char **argv)
{
    Arguments a = {.profiling = profiling_defaults(10, 2),
                   .sets = calloc((size_t)argc, sizeof(const char *))};
    TrainConfig config = {0};
    Error err;
    int status =
        a.sets ? parse(&a, argc, argv) : (error_set(&err, "out of memory"), cli_fail(&err));
    if (status == -1) {
        status = EXIT_OK;
        bool ok = train_config_load(&config, argv[optind], a.sets, a.set_count, &err) &&
                  profile(&config, &a.profiling, argv[optind], a.device, &status, &err);
        if (!ok) status = cli_fail(&err);
        train_config_free(&config);
    }
    free(a.sets);
    return status;
}
