// strata peak: a device's ceilings, measured once, then read from the cache folder.
#include "cli_peak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// 12.3 GB/s, 45.6 us: three digits and a prefix.
static void print_scaled(double value, const char *unit, int width)
{
    static const char *const prefixes[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
    int at = 3;
    for (; value >= 1000 && at < 9; at++) value /= 1000;
    for (; value < 1 && at > 0; at--) value *= 1000;
    int decimals = value >= 100 ? 0 : value >= 10 ? 1 : 2;
    char text[40];
    snprintf(text, sizeof text, "%.*f %s%s", decimals, value, prefixes[at], unit);
    printf("%*s", width, text);
}

static void print_row(const char *what, double best, double median, const char *unit,
                      const char *way)
{
    printf("  %-28s", what);
    print_scaled(best, unit, 14);
    print_scaled(median, unit, 14);
    printf("%s%s\n", *way ? "  " : "", way);
}

// Why a figure of this device is not there.
static const char *lacking(const Gpu *gpu, PeakFigure figure)
{
    return gpu_kernel_lacks(gpu,
                            figure == PEAK_F16 ? K_peak_arithmetic_half : K_peak_arithmetic_dot);
}

static void print_matrix(const PeakMatrix *matrix)
{
    char what[64];
    snprintf(what, sizeof what, "%ux%ux%u %s %s + %s%s", matrix->shape.m, matrix->shape.n,
             matrix->shape.k, matrix->shape.a, matrix->shape.b, matrix->shape.c,
             matrix->shape.saturating ? " sat" : "");
    if (matrix->operations_per_second > 0)
        print_row(what, matrix->operations_per_second, matrix->median, "op/s", "");
    else
        printf("  %-28s  not measured: strata makes no code of these types\n", what);
}

static void print(const Peak *peak, const Gpu *gpu)
{
    printf("%s\n%s\n", peak->device, peak->driver);
    if (peak->host[0]) printf("%s\n", peak->host);
    printf("\n  %-28s%14s%14s\n", "", "best", "median");
    for (int i = 0; i < PEAK_FIGURES; i++) {
        PeakFigure figure = (PeakFigure)i;
        const PeakText *text = peak_text(figure);
        double best = peak_value(peak, figure);
        if (best > 0)
            print_row(text->what, best, peak->median[i], text->unit, peak->way[i]);
        else
            printf("  %-28s  not measured: the device lacks %s\n", text->what,
                   lacking(gpu, figure));
    }
    if (!peak->matrix_count) {
        printf("  %-28s  none: the device lacks them\n", "matrices");
        return;
    }
    printf("  cooperative matrices, m x n x k\n");
    for (uint32_t i = 0; i < peak->matrix_count; i++) print_matrix(&peak->matrices[i]);
}

int cmd_peak(int argc, char **argv)
{
    static const char usage[] = "strata peak [--again] [--json] [--device N|NAME]";
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {"again", no_argument, NULL, 'a'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"device", required_argument, NULL, 'D'},
                                            {0}};
    const char *device = NULL;
    bool again = false, json = false;
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (option == 'h') {
            printf("usage: %s\n", usage);
            return EXIT_OK;
        }
        if (option == '?') return cli_bad_option(usage, argv);
        if (option == 'a') again = true;
        if (option == 'j') json = true;
        if (option == 'D') device = optarg;
    }
    if (optind != argc) return cli_usage(usage, "peak takes no argument");
    Error err;
    static Peak peak;
    Gpu *gpu = gpu_open(device, &err);
    if (!gpu) return cli_fail(&err);
    bool ok = cli_peak(&peak, gpu, again, &err);
    if (ok && json)
        ok = cli_print_json(peak_json(&peak), &err);
    else if (ok)
        print(&peak, gpu);
    gpu_close(gpu);
    return ok ? EXIT_OK : cli_fail(&err);
}
