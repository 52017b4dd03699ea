// bench_kernels [--json] [--device D] [--seconds S] [NAME ...]: how fast each kernel runs on a
// device, alone, at shapes that models have. Only kernels whose name or type contains one of NAME
// are run, all without. Not a benchmark of training or of inference; another version of a kernel is
// measured by strata profile shader.
//
// A kernel is recorded several times on a tape. All are run in turn, round after round, until S
// seconds are over, so that a slow moment of the machine meets all of them. "first" is recording
// and the first run, with what the driver compiles; GFLOP/s and GB/s are those of the median, and
// the bytes are those that must move at least once.
#include "base/clock.h"
#include "base/json.h"
#include "profile/cost.h"
#include "profile/kernel_alone.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SAMPLES = 200, MIN_ROUNDS = 3, MAX_REPLAYS = 256 };

typedef struct {
    const char *kernel, *shape;
    Dtype type; // of its parameter
} Row;

// A prompt, a few rows and one, with weights of that type.
#define WEIGHTS(kernel, type)                                                                      \
    {kernel, "512x512x512", type}, {kernel, "4x2048x2048", type},                                  \
    {                                                                                              \
        kernel, "1x2048x2048", type                                                                \
    }
// Two files of which a device takes one.
#define EITHER(kernel, shape)                                                                      \
    {kernel, shape},                                                                               \
    {                                                                                              \
        kernel "_shuffle", shape                                                                   \
    }

static const Row ROWS[] = {
    WEIGHTS("matmul", DTYPE_F32),
    {"matmul", "288x128x288"},
    {"matmul", "768x512x768"},
    {"matmul", "1x768x768"},
    {"matmul", "1x32000x768"},
    {"matmul", "4x768x768"},
    {"matmul", "16x768x768"},
    WEIGHTS("matmul", DTYPE_F16),
    WEIGHTS("matmul_blocks", DTYPE_Q8_0),
    WEIGHTS("matmul_blocks", DTYPE_Q4_0),
    WEIGHTS("matmul_blocks", DTYPE_Q4_K),
    WEIGHTS("matmul_blocks", DTYPE_Q6_K),
    {"matmul_dx", "512x512x512"},
    {"matmul_dx", "288x128x288"},
    {"matmul_dw", "512x512x512"},
    {"matmul_dw", "288x128x288"},
    {"embed", "512x32000x768"},
    {"rmsnorm", "512x768"},
    {"rmsnorm", "1x2048"},
    {"rmsnorm_back", "512x768"},
    {"rmsnorm_gain_back", "512x768"},
    {"rope", "512x12x64"},
    EITHER("attention", "512x8x8"),
    EITHER("attention", "512x8x64"),
    EITHER("attention_back_q", "512x8x8"),
    EITHER("attention_back_q", "512x8x64"),
    EITHER("attention_back_kv", "512x8x8"),
    EITHER("attention_back_kv", "512x8x64"),
    EITHER("attention_paged", "8x512x8x64"),
    {"swiglu", "512x2048"},
    {"swiglu_back", "512x2048"},
    {"add", "512x768"},
    {"cross_entropy", "256x32000"},
    {"cross_entropy", "2048x512"},
    {"sum_squares", "1024x1024"},
    {"adamw", "1024x1024"},
    {"adamw_q8", "1024x1024"},
};
enum { ROW_COUNT = sizeof ROWS / sizeof *ROWS };

typedef struct {
    const Row *row;
    KernelBed bed;
    KernelWay way;
    Tape *tape;
    double first;                // seconds
    uint32_t replays;            // runs on the tape
    Cost cost;                   // of one run
    double samples[MAX_SAMPLES]; // (sample_count) seconds a run
    uint32_t sample_count;
} Bench;

typedef struct {
    bool json;
    const char *device;
    double seconds;
    char **names; // (name_count)
    int name_count;
} Options;

_Noreturn static void stop(const char *message)
{
    fprintf(stderr, "bench_kernels: %s\n", message);
    exit(1);
}

// ---- running -----------------------------------------------------------------------------------

static double run(Bench *bench)
{
    KernelTime time;
    Error err;
    if (!kernel_time(&time, bench->bed.gpu, bench->tape, bench->replays, &err)) stop(err.text);
    bench->cost = time.cost;
    return time.seconds;
}

static void record(Bench *bench, uint32_t replays)
{
    Error err;
    tape_free(bench->tape);
    bench->replays = replays;
    bench->tape = kernel_tape(&bench->bed, &bench->way, replays, &err);
    if (!bench->tape) stop(err.text);
}

// What the kernel takes from others of its op.
static void run_before(Bench *bench)
{
    Error err;
    Tape *before = kernel_tape_before(&bench->bed, &bench->way, &err);
    if (!before || !gpu_run(bench->bed.gpu, &before, 1, &err)) stop(err.text);
    tape_free(before);
}

// False: the device takes another kernel.
static bool bench_open(Bench *bench, Gpu *gpu, const Row *row)
{
    Error err;
    KernelName name;
    Kernel instead;
    OpShape shape;
    *bench = (Bench){.row = row};
    if (!kernel_name_read(&name, row->kernel, &err) ||
        !kernel_shape_read(&shape, name.kase, row->shape, &err) ||
        !bed_open(&bench->bed, gpu, name.kase, name.kernel, &shape, row->type, &err) ||
        !bed_reset(&bench->bed, &err))
        stop(err.text);
    bed_drop(&bench->bed);
    if (!kernel_way_find(&bench->way, &bench->bed, &name, &instead) || bench->way.variant) {
        bed_close(&bench->bed);
        return false;
    }
    run_before(bench);
    double start = clock_seconds();
    record(bench, 1);
    run(bench);
    bench->first = clock_seconds() - start;
    // Submitting costs tens of microseconds: a sample is 2 ms of work at least.
    double once = run(bench);
    record(bench, once > 2e-3 ? 1 : (uint32_t)fmin(MAX_REPLAYS, ceil(2e-3 / once)));
    return true;
}

static void bench_close(Bench *bench)
{
    tape_free(bench->tape);
    bed_close(&bench->bed);
}

// Rounds over all kernels until the time is over.
static void measure(Bench *benches, uint32_t count, double seconds)
{
    double start = clock_seconds();
    for (uint32_t round = 0; round < MAX_SAMPLES; round++) {
        if (round >= MIN_ROUNDS && clock_seconds() - start > seconds) break;
        for (uint32_t i = 0; i < count; i++)
            benches[i].samples[benches[i].sample_count++] = run(&benches[i]);
    }
}

// ---- results -----------------------------------------------------------------------------------

static void print_table(const Gpu *gpu, const Bench *benches, uint32_t count)
{
    const GpuInfo *info = gpu_info(gpu);
    printf("%s (%s)\n", info->name, info->driver);
    printf("%-26s %-5s %12s %9s %9s %9s %8s %9s %8s\n", "kernel", "type", "shape", "first ms",
           "median ms", "best ms", "GFLOP/s", "GB/s", "samples");
    for (uint32_t i = 0; i < count; i++) {
        const Bench *b = &benches[i];
        Summary s = statistics_summarize(b->samples, b->sample_count);
        printf("%-26s %-5s %12s %9.1f %9.3f %9.3f %8.2f %9.2f %8u\n",
               kernel_sources[b->way.kernel].name, dtype_name(b->row->type), b->row->shape,
               1e3 * b->first, 1e3 * s.median, 1e3 * s.lowest, 1e-9 * b->cost.operations / s.median,
               1e-9 * b->cost.bytes / s.median, b->sample_count);
    }
}

static void print_json(const Gpu *gpu, const Bench *benches, uint32_t count)
{
    cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "kernels");
    cJSON_AddStringToObject(root, "device", gpu_info(gpu)->name);
    cJSON_AddStringToObject(root, "driver", gpu_info(gpu)->driver);
    for (uint32_t i = 0; i < count; i++) {
        const Bench *b = &benches[i];
        Summary s = statistics_summarize(b->samples, b->sample_count);
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "kernel", kernel_sources[b->way.kernel].name);
        cJSON_AddStringToObject(item, "type", dtype_name(b->row->type));
        cJSON_AddStringToObject(item, "shape", b->row->shape);
        cJSON_AddNumberToObject(item, "first_seconds", b->first);
        cJSON_AddNumberToObject(item, "median_seconds", s.median);
        cJSON_AddNumberToObject(item, "best_seconds", s.lowest);
        cJSON_AddNumberToObject(item, "gflops", 1e-9 * b->cost.operations / s.median);
        cJSON_AddNumberToObject(item, "gigabytes_per_second", 1e-9 * b->cost.bytes / s.median);
        cJSON_AddNumberToObject(item, "samples", b->sample_count);
        cJSON_AddItemToArray(list, item);
    }
    char *text = cJSON_Print(root);
    if (text) puts(text);
    cJSON_free(text);
    cJSON_Delete(root);
}

// ---- options -----------------------------------------------------------------------------------

static bool wanted(const Row *row, const Options *options)
{
    for (int i = 0; i < options->name_count; i++)
        if (strstr(row->kernel, options->names[i]) ||
            strstr(dtype_name(row->type), options->names[i]))
            return true;
    return options->name_count == 0;
}

static Options parse(int argc, char **argv)
{
    Options options = {.seconds = 8};
    int i = 1;
    for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
        char *end = NULL;
        bool value = i + 1 < argc;
        if (!strcmp(argv[i], "--json"))
            options.json = true;
        else if (!strcmp(argv[i], "--device") && value)
            options.device = argv[++i];
        else if (!strcmp(argv[i], "--seconds") && value)
            options.seconds = strtod(argv[++i], &end);
        else
            stop("usage: bench_kernels [--json] [--device D] [--seconds S] [NAME ...]");
        if (end && (*end || !(options.seconds >= 0 && options.seconds <= 3600)))
            stop("--seconds: a number from 0 to 3600 is expected");
    }
    options.names = argv + i;
    options.name_count = argc - i;
    return options;
}

int main(int argc, char **argv)
{
    static Bench benches[ROW_COUNT];
    const ProfileOptions profile = {.cost = cost_of};
    uint32_t count = 0;
    Error err;
    const Options options = parse(argc, argv);
    Gpu *gpu = gpu_open(options.device, &err);
    if (!gpu || !gpu_profile(gpu, &profile, &err)) stop(err.text);
    for (uint32_t i = 0; i < ROW_COUNT; i++)
        if (wanted(&ROWS[i], &options) && bench_open(&benches[count], gpu, &ROWS[i])) count++;
    if (!count) stop("no kernel has such a name");
    measure(benches, count, options.seconds);
    (options.json ? print_json : print_table)(gpu, benches, count);
    for (uint32_t i = 0; i < count; i++) bench_close(&benches[i]);
    gpu_close(gpu);
    return 0;
}
