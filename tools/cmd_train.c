// strata train: reads the config, trains, shows progress, writes metrics.
#include "cli.h"
#include "cli_training.h"
#include "train/metrics.h"
#include "train/tensorboard.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static volatile sig_atomic_t stop;

// The first signal ends the run after the step at hand; a second one ends it at once.
static void on_signal(int number)
{
    stop = 1;
    signal(number, SIG_DFL);
}

typedef struct {
    const char *out;
    FILE *metrics;
    Tensorboard *board;
    TrainingDisplay steps;
} Display;

static bool on_begin(void *user, uint64_t step, Error *err)
{
    Display *display = user;
    display->metrics = metrics_open(display->out, step, err);
    if (display->metrics) display->board = tensorboard_open(display->out, err);
    return display->board != NULL;
}

static void on_step(void *user, const StepReport *report)
{
    Display *display = user;
    metrics_step(display->metrics, report);
    tensorboard_step(display->board, report);
    training_show(&display->steps, report);
}

static void on_valid(void *user, uint64_t step, const DepthScore *scores, uint32_t count)
{
    Display *display = user;
    metrics_valid(display->metrics, step, scores, count);
    tensorboard_valid(display->board, step, scores, count);
    fprintf(stderr, "%svalidation at step %llu:", display->steps.terminal ? "\n" : "",
            (unsigned long long)step);
    for (uint32_t i = 0; i < count; i++)
        fprintf(stderr, "  depth %u: loss %.4f, exact %.1f%%", scores[i].depth, scores[i].loss,
                100 * scores[i].exact_match);
    fputc('\n', stderr);
}

static void on_saved(void *user, uint64_t step)
{
    Display *display = user;
    fprintf(stderr, "%ssaved at step %llu\n", display->steps.terminal ? "\r\033[K" : "",
            (unsigned long long)step);
}

static bool run(TrainConfig *config, const char *device, Error *err)
{
    Display display = {.out = config->out, .steps = training_display(5)};
    const TrainEvents events = {&display, on_begin, training_note, on_step, on_valid, on_saved};
    Gpu *gpu = gpu_open(device, err);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    bool ok = gpu && train(config, gpu, &events, &stop, err);
    gpu_close(gpu);
    if (display.metrics) fclose(display.metrics);
    tensorboard_close(display.board);
    return ok;
}

int cmd_train(int argc, char **argv)
{
    static const char usage[] = "strata train CONFIG.json [--set key=value]... [--resume]"
                                " [--device N|NAME]";
    static const struct option options[] = {{"set", required_argument, NULL, 's'},
                                            {"resume", no_argument, NULL, 'r'},
                                            {"device", required_argument, NULL, 'D'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *device = NULL;
    bool resume = false;
    const char **sets = calloc((size_t)argc, sizeof(const char *));
    size_t set_count = 0;
    int status = -1;
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (option == 's' && sets)
            sets[set_count++] = optarg;
        else if (option == 'r')
            resume = true;
        else if (option == 'D')
            device = optarg;
        else if (option == 'h')
            status = (printf("usage: %s\n", usage), EXIT_OK);
        else
            status = cli_bad_option(usage, argv);
        if (status != -1) break;
    }
    if (status == -1 && argc - optind != 1)
        status = cli_usage(usage, "train takes one CONFIG.json");
    TrainConfig config = {0};
    Error err;
    if (status == -1) {
        bool ok = train_config_load(&config, argv[optind], sets, set_count, &err);
        config.resume = resume;
        ok = ok && run(&config, device, &err);
        status = ok ? EXIT_OK : cli_fail(&err);
        train_config_free(&config);
    }
    free(sets);
    return status;
}
