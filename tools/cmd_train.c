// strata train: reads the config, trains, shows progress. On a terminal one line that renews
// itself; otherwise plain lines.
#include "cli.h"
#include "train/metrics.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

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
    bool terminal;
    double printed; // elapsed seconds when the last plain line was printed
} Display;

static bool on_begin(void *user, Error *err)
{
    Display *display = user;
    display->metrics = metrics_open(display->out, err);
    return display->metrics != NULL;
}

static void show_note(void *user, const char *line)
{
    (void)user;
    fprintf(stderr, "%s\n", line);
}

static void show_time(double seconds)
{
    long s = (long)(seconds + 0.5);
    if (s >= 3600)
        fprintf(stderr, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        fprintf(stderr, "%ld:%02ld", s / 60, s % 60);
}

static void show_bar(const StepReport *r)
{
    enum { WIDTH = 20 };
    int full = (int)(r->step * WIDTH / r->steps);
    fprintf(stderr, "[");
    for (int i = 0; i < WIDTH; i++) fputc(i < full ? '#' : '.', stderr);
    fprintf(stderr, "] ");
}

// What matters most comes first: a narrow terminal shows the beginning.
static void show_step(const StepReport *r)
{
    fprintf(stderr, "step %llu/%llu  left ", (unsigned long long)r->step,
            (unsigned long long)r->steps);
    show_time(r->elapsed / (double)r->step * (double)(r->steps - r->step));
    fprintf(stderr, "  loss %.4f (", r->loss);
    for (uint32_t e = 0; e < r->exit_count; e++)
        fprintf(stderr, "%s%u: %.3f", e ? "  " : "", r->exits[e], r->losses[e]);
    fprintf(stderr, ")  %.0f tokens/s  norm %.3f  rate %.2e", (double)r->tokens / r->seconds,
            r->norm, r->rate);
}

static void on_step(void *user, const StepReport *report)
{
    Display *display = user;
    metrics_step(display->metrics, report);
    if (display->terminal) {
        fprintf(stderr, "\r\033[K\033[?7l"); // one line, cut at the edge and not wrapped
        show_bar(report);
        show_step(report);
        fprintf(stderr, "\033[?7h");
        if (report->step == report->steps) fputc('\n', stderr);
        return;
    }
    // Plain lines: the first, the last, and one every five seconds.
    if (report->step > 1 && report->step < report->steps &&
        report->elapsed - display->printed < 5.0)
        return;
    display->printed = report->elapsed;
    show_step(report);
    fputc('\n', stderr);
}

static void on_valid(void *user, uint64_t step, const DepthScore *scores, uint32_t count)
{
    Display *display = user;
    metrics_valid(display->metrics, step, scores, count);
    fprintf(stderr, "%svalidation at step %llu:", display->terminal ? "\n" : "",
            (unsigned long long)step);
    for (uint32_t i = 0; i < count; i++)
        fprintf(stderr, "  depth %u: loss %.4f, exact %.1f%%", scores[i].depth, scores[i].loss,
                100 * scores[i].exact_match);
    fputc('\n', stderr);
}

static void on_saved(void *user, uint64_t step)
{
    Display *display = user;
    fprintf(stderr, "%ssaved at step %llu\n", display->terminal ? "\r\033[K" : "",
            (unsigned long long)step);
}

static bool run(TrainConfig *config, const char *device, Error *err)
{
    Display display = {.out = config->out, .terminal = isatty(STDERR_FILENO)};
    const TrainEvents events = {&display, on_begin, show_note, on_step, on_valid, on_saved};
    Gpu *gpu = gpu_open(device, err);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    bool ok = gpu && train(config, gpu, &events, &stop, err);
    gpu_close(gpu);
    if (display.metrics) fclose(display.metrics);
    return ok;
}

int cmd_train(int argc, char **argv)
{
    static const char usage[] = "strata train CONFIG.json [--set key=value]... [--device N|NAME]";
    static const struct option options[] = {{"set", required_argument, NULL, 's'},
                                            {"device", required_argument, NULL, 'D'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *device = NULL;
    const char **sets = calloc((size_t)argc, sizeof(const char *));
    size_t set_count = 0;
    int status = -1;
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (option == 's' && sets)
            sets[set_count++] = optarg;
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
        bool ok = train_config_load(&config, argv[optind], sets, set_count, &err) &&
                  run(&config, device, &err);
        status = ok ? EXIT_OK : cli_fail(&err);
        train_config_free(&config);
    }
    free(sets);
    return status;
}
