// strata bench: how fast a model processes prompts and generates, at each depth and under each
// policy, against full depth in the same run and against an earlier run.
#include "cli_bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char USAGE[] =
    "strata bench MODEL [--depths 2,3,5|exits|all] [--policies \"exits 2:.9,4:.8; exit .9; "
    "draft 2; draft auto\"] [--prompt-tokens 64[,256...]] [--gen-tokens 64] [--repeat 5] "
    "[--data FILE [--records 50]] [--json | --csv] [--compare FILE.json [--tolerance PERCENT]] "
    "[--shared-head] [--quant q8_0|q4_0] [--device N|NAME]";

static bool parse_prompts(BenchOptions *o, const char *text, Error *err)
{
    uint64_t value = 0;
    char item[20];
    o->prompt_count = 0;
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        bool ok = length < sizeof item;
        snprintf(item, sizeof item, "%.*s", (int)length, at);
        if (!ok || !cli_number(item, 0, 1 << 30, &value))
            return error_set(err, "--prompt-tokens '%.40s': a list such as 64,256 is expected",
                             text);
        if (value && o->prompt_count == BENCH_PROMPTS)
            return error_set(err, "--prompt-tokens: more than %d numbers", BENCH_PROMPTS);
        if (value) o->prompts[o->prompt_count++] = value;
        at += length;
        if (!*at) return true;
    }
}

static bool parse_count(uint64_t *out, const char *name, const char *text, uint64_t low,
                        uint64_t high, Error *err)
{
    return cli_number(text, low, high, out) ||
           error_set(err, "--%s '%.40s' is not a number of %llu to %llu", name, text,
                     (unsigned long long)low, (unsigned long long)high);
}

static bool take_value(BenchOptions *o, int option, const char *value, Error *err)
{
    switch (option) {
    case 'p':
        return parse_prompts(o, value, err);
    case 'g':
        o->gen_given = true;
        return parse_count(&o->gen_tokens, "gen-tokens", value, 0, 1 << 30, err);
    case 'r':
        return parse_count(&o->repeats, "repeat", value, 1, BENCH_REPEATS, err);
    case 'q':
        return cli_quant(value, &o->weights) ||
               error_set(err, "--quant '%.40s' is neither q8_0 nor q4_0", value);
    case 'N':
        return parse_count(&o->records, "records", value, 1, 1 << 30, err);
    default:
        return cli_percent(value, &o->tolerance) ||
               error_set(err, "--tolerance '%.40s': a percentage below 100 is expected", value);
    }
}

static const char **text_option(BenchOptions *o, int option)
{
    return option == 'n'   ? &o->depths
           : option == 'P' ? &o->policies
           : option == 'd' ? &o->data
           : option == 'c' ? &o->compare
           : option == 'D' ? &o->device
                           : NULL;
}

static bool *flag_option(BenchOptions *o, int option)
{
    return option == 'j'   ? &o->json
           : option == 'v' ? &o->csv
           : option == 's' ? &o->shared_head
                           : NULL;
}

// -1: go on; else the status to end with.
static int parse_options(BenchOptions *o, int argc, char **argv)
{
    static const struct option options[] = {{"depths", required_argument, NULL, 'n'},
                                            {"policies", required_argument, NULL, 'P'},
                                            {"prompt-tokens", required_argument, NULL, 'p'},
                                            {"gen-tokens", required_argument, NULL, 'g'},
                                            {"repeat", required_argument, NULL, 'r'},
                                            {"data", required_argument, NULL, 'd'},
                                            {"records", required_argument, NULL, 'N'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"csv", no_argument, NULL, 'v'},
                                            {"compare", required_argument, NULL, 'c'},
                                            {"tolerance", required_argument, NULL, 't'},
                                            {"shared-head", no_argument, NULL, 's'},
                                            {"quant", required_argument, NULL, 'q'},
                                            {"device", required_argument, NULL, 'D'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        Error err;
        const char **text = text_option(o, option);
        bool *flag = flag_option(o, option);
        if (option == 'h') {
            printf("usage: %s\n", USAGE);
            return EXIT_OK;
        }
        if (option == '?') return cli_bad_option(USAGE, argv);
        if (text)
            *text = optarg;
        else if (flag)
            *flag = true;
        else if (!take_value(o, option, optarg, &err))
            return cli_usage(USAGE, "%s", err.text);
    }
    return -1;
}

static int parse(BenchOptions *o, int argc, char **argv)
{
    enum { NOT_GIVEN = UINT32_MAX };
    *o = (BenchOptions){.weights = LLAMA_STORED,
                        .gen_tokens = 64,
                        .repeats = 5,
                        .records = 50,
                        .tolerance = -1,
                        .prompt_count = NOT_GIVEN};
    int status = parse_options(o, argc, argv);
    if (status != -1) return status;
    if (argc - optind != 1) return cli_usage(USAGE, "bench takes one MODEL");
    if (o->json && o->csv) return cli_usage(USAGE, "one of --json and --csv is expected");
    if (o->tolerance >= 0 && !o->compare) return cli_usage(USAGE, "--tolerance is for --compare");
    if (o->prompt_count == NOT_GIVEN) { // of a file, its own prompts are what is measured
        o->prompt_count = o->data ? 0 : 1;
        o->prompts[0] = 64;
    }
    if (o->data && o->gen_given && !o->gen_tokens)
        return cli_usage(USAGE, "--data and --gen-tokens 0 do not belong together");
    o->folder = argv[optind];
    return -1;
}

static bool print(const Bench *bench, const BenchChange *changes, Error *err)
{
    if (bench->options->json) return bench_print_json(bench, changes, err);
    if (bench->options->csv)
        bench_print_csv(bench, changes);
    else
        bench_print_table(bench, changes);
    return true;
}

// Whether every row is as fast as before, within the tolerance.
static bool holds(const Bench *bench, const BenchChange *changes)
{
    bool all = true;
    double tolerance = bench->options->tolerance;
    for (size_t i = 0; changes && tolerance >= 0 && i < bench->row_count; i++) {
        char test[24];
        const BenchRow *row = &bench->rows[i];
        if (!bench_is_slower(&changes[i], tolerance)) continue;
        fflush(stdout);
        fprintf(stderr, "strata: %s, %s: %.3g of the tokens/s of %s, %.3g are tolerated\n",
                bench_row_test(row, test, sizeof test), row->label, changes[i].speed.ratio,
                bench->options->compare, 1 - tolerance);
        all = false;
    }
    return all;
}

static bool report(const Bench *bench, const cJSON *old, int *status, Error *err)
{
    BenchChange *changes = NULL;
    char *notes = NULL;
    if (old && !bench_compare(&changes, &notes, bench, old, err)) return false;
    if (notes && *notes) fprintf(stderr, "compared with %s:\n%s", bench->options->compare, notes);
    bool ok = print(bench, changes, err);
    if (ok && !holds(bench, changes)) *status = EXIT_SLOWER;
    free(changes);
    free(notes);
    return ok;
}

static bool run(const BenchOptions *options, const cJSON *old, int *status, Error *err)
{
    Loaded loaded;
    Bench bench;
    if (!cli_load(&loaded, options->folder, options->device, options->weights, err)) return false;
    bool ok = bench_open(&bench, options, &loaded, err) && bench_run(&bench, err) &&
              report(&bench, old, status, err);
    bench_close(&bench);
    cli_unload(&loaded);
    return ok;
}

int cmd_bench(int argc, char **argv)
{
    BenchOptions options;
    Error err;
    cJSON *old = NULL;
    int status = parse(&options, argc, argv);
    if (status != -1) return status;
    // A wrong file is told before anything is measured.
    if (options.compare && !(old = bench_read_old(options.compare, &err))) return cli_fail(&err);
    status = EXIT_OK;
    bool ok = run(&options, old, &status, &err);
    cJSON_Delete(old);
    return ok ? status : cli_fail(&err);
}
