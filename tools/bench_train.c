// bench_train MODEL DATA.json [--exits 2,3,5|exits|all] [--steps N] [--batch N]: the speed of SoFT
// training, of plain fine-tuning in the same run, how much longer a step of SoFT takes, and the
// speed of greedy decoding at each exit. Nothing is saved.
#include "cli.h"
#include "base/clock.h"
#include "infer/generate.h"
#include "train/dataset.h"
#include "train/step.h"

#include <stdio.h>
#include <stdlib.h>

static const char USAGE[] = "bench_train MODEL DATA.json [--exits LIST|exits|all] [--steps N] "
                            "[--batch N] [--device N|NAME]";

enum { MOST_STEPS = 1000, DECODED = 64 };

typedef struct {
    const char *folder, *data, *exits, *device;
    uint64_t steps, batch;
} Options;

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// One whole step on the next records of the file; returns tokens per second, 0 on failure.
static double time_step(Step *step, const Dataset *set, size_t *next, const Options *o,
                        uint32_t exits, Error *err)
{
    Batch *batch = step_batch(step);
    batch_begin(batch);
    for (uint64_t i = 0; i < o->batch; i++) {
        const Example *example = &set->examples[(*next)++ % set->count];
        batch_add_example(batch, set, example);
    }
    batch_end(batch);
    double weights[CONFIG_MAX_EXITS], norm, began = clock_seconds();
    for (uint32_t e = 0; e < exits; e++) weights[e] = 1.0 / (batch->supervised * exits);
    const UpdateValues values = {
        .rate = 1e-5, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .clip = 1.0, .time = 1};
    if (!step_zero_gradients(step, err) || !step_run(step, weights, err) ||
        !step_update(step, &values, &norm, err))
        return 0.0;
    return batch->used / (clock_seconds() - began);
}

// The two speeds of a pair belong to the same records, so that their ratio is one of times.
static void print_speeds(double speeds[2][MOST_STEPS], const Options *o)
{
    double ratios[MOST_STEPS];
    for (uint64_t i = 0; i < o->steps; i++) ratios[i] = speeds[0][i] / speeds[1][i];
    for (int m = 0; m < 2; m++) {
        qsort(speeds[m], o->steps, sizeof(double), compare);
        printf("%-5s %8.0f tokens/s median, %.0f to %.0f over %llu steps of %llu records\n",
               m ? "SoFT" : "SFT", speeds[m][o->steps / 2], speeds[m][0], speeds[m][o->steps - 1],
               (unsigned long long)o->steps, (unsigned long long)o->batch);
    }
    qsort(ratios, o->steps, sizeof(double), compare);
    printf("SoFT/SFT step time %.3f median of the steps' ratios, %.3f to %.3f\n",
           ratios[o->steps / 2], ratios[0], ratios[o->steps - 1]);
}

// SFT and SoFT in turn, so that both meet the same noise of the machine.
static bool bench_steps(Loaded *loaded, const Dataset *set, const Options *o, const uint32_t *exits,
                        uint32_t exit_count, Error *err)
{
    double speeds[2][MOST_STEPS];
    uint32_t last = loaded->model.config.blocks, rows = (uint32_t)o->batch * (set->longest - 1);
    Step *steps[2] = {step_open(&loaded->model, &last, 1, rows, true, err), NULL};
    if (steps[0]) steps[1] = step_open(&loaded->model, exits, exit_count, rows, true, err);
    bool ok = steps[1] != NULL;
    size_t next[2] = {0, 0};
    for (uint64_t i = 0; ok && i < o->steps + 1; i++) // the first compiles the kernels
        for (int m = 0; ok && m < 2; m++) {
            double speed = time_step(steps[m], set, &next[m], o, m ? exit_count : 1, err);
            ok = speed > 0;
            if (i) speeds[m][i - 1] = speed;
        }
    step_close(steps[0]);
    step_close(steps[1]);
    if (ok) print_speeds(speeds, o);
    return ok;
}

static bool bench_decoding(Loaded *loaded, const uint32_t *exits, uint32_t exit_count, Error *err)
{
    uint32_t bos = tokenizer_bos(loaded->tokenizer), prompt = bos == TOKEN_NONE ? 0 : bos;
    Session *session = session_open(&loaded->model, 0, err);
    bool ok = session != NULL;
    for (uint32_t e = 0; ok && e < exit_count; e++) {
        double best = 0.0;
        for (int repeat = 0; ok && repeat < 4; repeat++) { // the first compiles the kernels
            Generation out;
            ok = generate_greedy(&out, session, &prompt, 1, exits[e], DECODED, NULL, 0, err);
            double speed = ok ? 1e3 / generation_ms_per_token(&out) : 0.0;
            if (ok) generation_free(&out);
            if (speed > best) best = speed;
        }
        if (ok) printf("decode at depth %2u %8.0f tokens/s best of 3\n", exits[e], best);
    }
    session_close(session);
    return ok;
}

static int parse(Options *o, int argc, char **argv)
{
    static const struct option options[] = {{"exits", required_argument, NULL, 'e'},
                                            {"steps", required_argument, NULL, 's'},
                                            {"batch", required_argument, NULL, 'b'},
                                            {"device", required_argument, NULL, 'D'},
                                            {0}};
    *o = (Options){.exits = "all", .steps = 10, .batch = 8};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        bool ok = option != '?';
        if (option == 'e') o->exits = optarg;
        if (option == 'D') o->device = optarg;
        if (option == 's') ok = cli_number(optarg, 1, MOST_STEPS, &o->steps);
        if (option == 'b') ok = cli_number(optarg, 1, 4096, &o->batch);
        if (!ok) return cli_usage(USAGE, "unknown option or unusable value");
    }
    if (argc - optind != 2) return cli_usage(USAGE, "MODEL and DATA.json are expected");
    o->folder = argv[optind];
    o->data = argv[optind + 1];
    return -1;
}

static bool run(const Options *o, Loaded *loaded, Error *err)
{
    uint32_t exits[CONFIG_MAX_EXITS];
    Dataset set;
    uint32_t count = cli_depths(exits, o->exits, &loaded->model.config, err);
    if (!count ||
        !dataset_load(&set, o->data, loaded->tokenizer, loaded->model.config.context, err))
        return false;
    printf("%s on %s, %s\n", o->folder, gpu_info(loaded->gpu)->name, gpu_info(loaded->gpu)->driver);
    bool ok = bench_steps(loaded, &set, o, exits, count, err) &&
              bench_decoding(loaded, exits, count, err);
    dataset_free(&set);
    return ok;
}

int main(int argc, char **argv)
{
    Options options;
    Loaded loaded;
    Error err;
    int status = parse(&options, argc, argv);
    if (status != -1) return status;
    if (!cli_load(&loaded, options.folder, options.device, DTYPE_F32, &err)) return cli_fail(&err);
    bool ok = run(&options, &loaded, &err);
    cli_unload(&loaded);
    return ok ? EXIT_OK : cli_fail(&err);
}
