// bench_train MODEL DATA.json [--exits 2,3,5|exits|all] [--steps N] [--batch N] [--profile]: the
// speed of SoFT training, of plain fine-tuning in the same run, how much longer a step of SoFT
// takes, and the speed of greedy decoding at each exit. With --profile also what the profiler
// costs: the same steps with it on, and with every command waited for. Nothing is saved.
#include "cli.h"
#include "base/clock.h"
#include "gpu/profile.h"
#include "infer/generate.h"
#include "profile/cost.h"
#include "cli_profiling.h"
#include "train/dataset.h"
#include "train/step.h"

#include <stdio.h>
#include <stdlib.h>

static const char USAGE[] = "bench_train MODEL DATA.json [--exits LIST|exits|all] [--steps N] "
                            "[--batch N] [--profile] [--device N|NAME]";

enum { MOST_STEPS = 1000, DECODED = 64 };

typedef struct {
    const char *folder, *data, *exits, *device;
    uint64_t steps, batch;
    bool profile;
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

// One way of training, on a model of its own where it needs another device's state.
typedef struct {
    const char *name;
    Llama *model;
    const uint32_t *exits; // (exit_count)
    uint32_t exit_count;
    int base; // the way whose time its own is divided by; -1: none
    Step *step;
    size_t next; // record
    double speeds[MOST_STEPS];
} Way;

// Speeds of a step belong to the same records, so that their ratio is one of times.
static void print_ratio(const Way *way, const Way *base, const Options *o)
{
    double ratios[MOST_STEPS];
    for (uint64_t i = 0; i < o->steps; i++) ratios[i] = base->speeds[i] / way->speeds[i];
    qsort(ratios, o->steps, sizeof(double), compare);
    printf("%s/%s step time %.3f median of the steps' ratios, %.3f to %.3f\n", way->name,
           base->name, ratios[o->steps / 2], ratios[0], ratios[o->steps - 1]);
}

static void print_speed(Way *way, const Options *o)
{
    qsort(way->speeds, o->steps, sizeof(double), compare);
    printf("%-10s %8.0f tokens/s median, %.0f to %.0f over %llu steps of %llu records\n", way->name,
           way->speeds[o->steps / 2], way->speeds[0], way->speeds[o->steps - 1],
           (unsigned long long)o->steps, (unsigned long long)o->batch);
}

// All in turn, so that they meet the same noise of the machine, each at every place of the turn.
static bool time_ways(Way *ways, int count, const Dataset *set, const Options *o, Error *err)
{
    for (uint64_t i = 0; i < o->steps + 1; i++) // the first compiles the kernels
        for (int m = 0; m < count; m++) {
            Way *way = &ways[(m + (int)(i % (uint64_t)count)) % count];
            double speed = time_step(way->step, set, &way->next, o, way->exit_count, err);
            if (!(speed > 0)) return false;
            if (i) way->speeds[i - 1] = speed;
            gpu_profile_clear(way->model->gpu);
        }
    return true;
}

static bool bench_ways(Way *ways, int count, const Dataset *set, const Options *o, Error *err)
{
    uint32_t rows = (uint32_t)o->batch * (set->longest - 1);
    bool ok = true;
    for (int m = 0; ok && m < count; m++) {
        ways[m].step = step_open(ways[m].model, ways[m].exits, ways[m].exit_count, rows, true, err);
        ok = ways[m].step != NULL;
    }
    ok = ok && time_ways(ways, count, set, o, err);
    for (int m = 0; m < count; m++) step_close(ways[m].step);
    for (int m = 0; ok && m < count; m++)
        if (ways[m].base >= 0) print_ratio(&ways[m], &ways[ways[m].base], o);
    for (int m = 0; ok && m < count; m++) print_speed(&ways[m], o);
    return ok;
}

static bool load_profiled(Loaded *loaded, const Options *o, bool serialize, Error *err)
{
    const ProfileOptions options = {
        .serialize = serialize, .cost = cost_of, .every = PROFILING_EVERY};
    return cli_load(loaded, o->folder, o->device, DTYPE_F32, err) &&
           gpu_profile(loaded->gpu, &options, err);
}

// SFT and SoFT; with --profile also SoFT under the profiler.
static bool bench_steps(Loaded *loaded, const Dataset *set, const Options *o, const uint32_t *exits,
                        uint32_t exit_count, Error *err)
{
    static Way ways[4];
    const uint32_t last = loaded->model.config.blocks;
    Loaded watched = {0}, serialized = {0};
    bool ok = !o->profile ||
              (load_profiled(&watched, o, false, err) && load_profiled(&serialized, o, true, err));
    ways[0] = (Way){"SFT", &loaded->model, &last, 1, -1};
    ways[1] = (Way){"SoFT", &loaded->model, exits, exit_count, 0};
    ways[2] = (Way){"profiled", &watched.model, exits, exit_count, 1};
    ways[3] = (Way){"serialized", &serialized.model, exits, exit_count, 1};
    ok = ok && bench_ways(ways, o->profile ? 4 : 2, set, o, err);
    cli_unload(&watched);
    cli_unload(&serialized);
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
    static const struct option options[] = {
        {"exits", required_argument, NULL, 'e'}, {"steps", required_argument, NULL, 's'},
        {"batch", required_argument, NULL, 'b'}, {"device", required_argument, NULL, 'D'},
        {"profile", no_argument, NULL, 'p'},     {0}};
    *o = (Options){.exits = "all", .steps = 10, .batch = 8};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        bool ok = option != '?';
        if (option == 'e') o->exits = optarg;
        if (option == 'D') o->device = optarg;
        if (option == 'p') o->profile = true;
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
