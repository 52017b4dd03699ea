// bench_kernels [--json] [--device D] [--seconds S] [NAME ...]: how fast each op runs on a device,
// at shapes that models have. Only ops whose name contains one of NAME are run, all without. Not a
// benchmark of training or of inference.
//
// An op is recorded once and replayed. All ops are run in turn, round after round, until S seconds
// are over, so that a slow moment of the machine meets all of them. "first" is recording and the
// first run, with what the driver compiles; GFLOP/s and GB/s are those of the median, and the bytes
// are those that must move at least once.
#include "base/json.h"
#include "base/clock.h"
#include "ops/ops.h"

#include "../shaders/args.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TENSORS = 12, MAX_SAMPLES = 200, MIN_ROUNDS = 3, MAX_REPLAYS = 256 };

typedef struct Bench Bench;

typedef struct {
    const char *name;
    void (*record)(Bench *bench);
    uint32_t rows, n, k; // by op; attention: rows, heads, head size
    Dtype weights;       // matmul and embed
} Op;

struct Bench {
    const Op *op;
    Gpu *gpu;
    Counts *counts;
    Rows rows;
    Tensor tensors[MAX_TENSORS]; // (tensor_count)
    uint32_t tensor_count;
    Tape *tape;
    double operations, bytes;    // of one run
    double first;                // seconds
    uint32_t replays;            // runs in a sample
    double samples[MAX_SAMPLES]; // (sample_count) seconds a run
    uint32_t sample_count;
};

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

// ---- tensors -----------------------------------------------------------------------------------

static const float *random_values(uint64_t count)
{
    static float *values;
    static uint64_t have;
    if (count <= have) return values;
    values = realloc(values, count * sizeof *values);
    if (!values) stop("out of memory");
    uint32_t state = 1;
    for (have = 0; have < count; have++) {
        state = state * 1664525u + 1013904223u;
        values[have] = (float)(state >> 8) / (1 << 23) - 1;
    }
    return values;
}

// A tensor that holds `values`, or random ones in [-1, 1).
static Tensor make(Bench *bench, uint32_t rows, uint32_t cols, const void *values)
{
    Error err;
    Tensor tensor = tensor_make(bench->gpu, MEMORY_DEVICE, rows, cols, &err);
    if (!values) values = random_values((uint64_t)rows * cols);
    if (!tensor.span || !tensor_upload(bench->gpu, tensor, values, &err)) stop(err.text);
    bench->tensors[bench->tensor_count++] = tensor;
    return tensor;
}

static Tensor make_floats(Bench *bench, uint32_t rows, uint32_t cols)
{
    return make(bench, rows, cols, NULL);
}

// A parameter of (rows, cols) that is stored as the op says, with random blocks or values.
static Tensor make_weights(Bench *bench, uint32_t rows, uint32_t cols)
{
    Dtype dtype = bench->op->weights;
    if (dtype == DTYPE_F32) return make_floats(bench, rows, cols);
    Error err;
    Tensor tensor = tensor_make_as(bench->gpu, MEMORY_DEVICE, dtype, rows, cols, &err);
    const void *values = random_values((uint64_t)rows * cols);
    if (!tensor.span ||
        !(dtype_blocked(dtype) ? tensor_upload_blocks(bench->gpu, tensor, values, &err)
                               : tensor_upload(bench->gpu, tensor, values, &err)))
        stop(err.text);
    bench->tensors[bench->tensor_count++] = tensor;
    return tensor;
}

// One sequence of all rows.
static Tensor make_row_table(Bench *bench, uint32_t rows)
{
    uint32_t *table = calloc(rows, ROW_WORDS * sizeof *table);
    if (!table) stop("out of memory");
    for (uint32_t r = 0; r < rows; r++) {
        table[ROW_WORDS * r + ROW_POSITION] = r;
        table[ROW_WORDS * r + ROW_LAST_KEY] = r + 1;
        table[ROW_WORDS * r + ROW_UNTIL] = rows;
    }
    Tensor tensor = make(bench, rows, ROW_WORDS, table);
    free(table);
    return tensor;
}

// (rows, 1): i * 7 % below.
static Tensor make_indices(Bench *bench, uint32_t rows, uint32_t below)
{
    uint32_t *indices = calloc(rows, sizeof *indices);
    if (!indices) stop("out of memory");
    for (uint32_t i = 0; i < rows; i++) indices[i] = (uint32_t)((uint64_t)i * 7 % below);
    Tensor tensor = make(bench, rows, 1, indices);
    free(indices);
    return tensor;
}

static Tensor make_step(Bench *bench)
{
    float step[STEP_VALUES] = {
        [STEP_RATE] = 1e-6f,       [STEP_BETA1] = 0.9f,   [STEP_BETA2] = 0.999f,
        [STEP_EPSILON] = 1e-8f,    [STEP_DECAY] = 0.1f,   [STEP_CORRECTION1] = 0.5f,
        [STEP_CORRECTION2] = 0.5f, [STEP_CLIP] = 1.0f,    [STEP_REST1] = 0.1f,
        [STEP_REST2] = 0.001f,     [STEP_WEIGHTS] = 1.0f,
    };
    return make(bench, 1, STEP_VALUES, step);
}

// What must move for `values` values, 4 bytes each.
static void must(Bench *bench, double operations, double values)
{
    bench->operations = operations;
    bench->bytes = 4 * values;
}

// ---- the ops -----------------------------------------------------------------------------------
// Tensors are made before the tape begins: begin() records, the caller's op follows.

static Tape *begin(Bench *bench)
{
    Error err;
    bench->tape = tape_begin(bench->gpu, bench->op->name, &err);
    if (!bench->tape) stop(err.text);
    return bench->tape;
}

static void matmul(Bench *b)
{
    double m = b->op->rows, n = b->op->n, k = b->op->k;
    Tensor x = make_floats(b, b->op->rows, b->op->k), w = make_weights(b, b->op->n, b->op->k);
    Tensor y = make_floats(b, b->op->rows, b->op->n);
    op_matmul(begin(b), y, x, w, b->rows);
    must(b, 2 * m * n * k, m * k + (double)tensor_bytes(w) / 4 + m * n);
}

static void matmul_back_x(Bench *b)
{
    double m = b->op->rows, n = b->op->n, k = b->op->k;
    Tensor dy = make_floats(b, b->op->rows, b->op->n), w = make_floats(b, b->op->n, b->op->k);
    Tensor dx = make_floats(b, b->op->rows, b->op->k);
    op_matmul_back_x(begin(b), dx, dy, w, false, b->rows);
    must(b, 2 * m * n * k, m * k + n * k + m * n);
}

static void matmul_back_w(Bench *b)
{
    double m = b->op->rows, n = b->op->n, k = b->op->k;
    Tensor dy = make_floats(b, b->op->rows, b->op->n), x = make_floats(b, b->op->rows, b->op->k);
    Tensor dw = make_floats(b, b->op->n, b->op->k);
    op_matmul_back_w(begin(b), dw, dy, x, b->rows);
    must(b, 2 * m * n * k, m * k + 2 * n * k + m * n);
}

static void embed(Bench *b)
{
    Tensor tokens = make_indices(b, b->op->rows, b->op->n);
    Tensor table = make_weights(b, b->op->n, b->op->k), y = make_floats(b, b->op->rows, b->op->k);
    op_embed(begin(b), y, tokens, table, b->rows);
    double row = (double)tensor_bytes(table) / b->op->n / 4;
    must(b, 0, b->op->rows * (row + b->op->k));
}

static void rmsnorm(Bench *b)
{
    double values = (double)b->op->rows * b->op->k;
    Tensor x = make_floats(b, b->op->rows, b->op->k), gain = make_floats(b, 1, b->op->k);
    Tensor y = make_floats(b, b->op->rows, b->op->k);
    op_rmsnorm(begin(b), y, x, gain, 1e-5f, b->rows);
    must(b, 4 * values, 2 * values);
}

static void rmsnorm_back(Bench *b)
{
    double values = (double)b->op->rows * b->op->k;
    Tensor x = make_floats(b, b->op->rows, b->op->k), gain = make_floats(b, 1, b->op->k);
    Tensor dy = make_floats(b, b->op->rows, b->op->k), dx = make_floats(b, b->op->rows, b->op->k);
    Tensor dgain = make_floats(b, 1, b->op->k), inverse = make_floats(b, b->op->rows, 1);
    op_rmsnorm_back(begin(b), dx, dgain, inverse, dy, x, gain, 1e-5f, true, b->rows);
    must(b, 14 * values, 4 * values);
}

static void rope(Bench *b)
{
    uint32_t cols = b->op->n * b->op->k;
    Tensor x = make_floats(b, b->op->rows, cols), table = make_row_table(b, b->op->rows);
    float *values = calloc((size_t)b->op->rows * b->op->k, sizeof *values);
    if (!values) stop("out of memory");
    for (uint32_t i = 0; i < b->op->rows * b->op->k; i++) // no turn: x stays as it is
        values[i] = i % b->op->k < b->op->k / 2 ? 1.0f : 0.0f;
    Tensor turns = make(b, b->op->rows, b->op->k, values);
    free(values);
    op_rope(begin(b), x, table, turns, b->rows);
    must(b, 3.0 * b->op->rows * cols, 2.0 * b->op->rows * cols);
}

static void attention(Bench *b)
{
    double rows = b->op->rows, width = (double)b->op->n * b->op->k, pairs = rows * (rows + 1) / 2;
    uint32_t cols = b->op->n * b->op->k, r = b->op->rows;
    Tensor q = make_floats(b, r, cols), k = make_floats(b, r, cols), v = make_floats(b, r, cols);
    Tensor y = make_floats(b, r, cols), stats = make_floats(b, r, 2 * b->op->n);
    Tensor table = make_row_table(b, r);
    op_attention(begin(b), y, stats, q, k, v, table, (Heads){b->op->n, b->op->n, b->op->k},
                 b->rows);
    must(b, 4 * pairs * width, 4 * rows * width);
}

static void attention_back(Bench *b)
{
    double rows = b->op->rows, width = (double)b->op->n * b->op->k, pairs = rows * (rows + 1) / 2;
    uint32_t cols = b->op->n * b->op->k, r = b->op->rows;
    Tensor q = make_floats(b, r, cols), k = make_floats(b, r, cols), v = make_floats(b, r, cols);
    Tensor y = make_floats(b, r, cols), dy = make_floats(b, r, cols);
    Tensor dq = make_floats(b, r, cols), dk = make_floats(b, r, cols), dv = make_floats(b, r, cols);
    Tensor stats = make_floats(b, r, 2 * b->op->n), table = make_row_table(b, r);
    op_attention_back(begin(b), dq, dk, dv, dy, y, stats, q, k, v, table,
                      (Heads){b->op->n, b->op->n, b->op->k}, b->rows);
    must(b, 10 * pairs * width, 8 * rows * width); // the five products; kernels may do more
}

static void swiglu(Bench *b)
{
    double values = (double)b->op->rows * b->op->k;
    Tensor gate = make_floats(b, b->op->rows, b->op->k), up = make_floats(b, b->op->rows, b->op->k);
    Tensor h = make_floats(b, b->op->rows, b->op->k);
    op_swiglu(begin(b), h, gate, up, b->rows);
    must(b, 5 * values, 3 * values);
}

static void swiglu_back(Bench *b)
{
    double values = (double)b->op->rows * b->op->k;
    Tensor gate = make_floats(b, b->op->rows, b->op->k), up = make_floats(b, b->op->rows, b->op->k);
    Tensor dgate = make_floats(b, b->op->rows, b->op->k);
    Tensor dup = make_floats(b, b->op->rows, b->op->k), dh = make_floats(b, b->op->rows, b->op->k);
    op_swiglu_back(begin(b), dgate, dup, dh, gate, up, b->rows);
    must(b, 12 * values, 5 * values);
}

static void add(Bench *b)
{
    double values = (double)b->op->rows * b->op->k;
    Tensor x = make_floats(b, b->op->rows, b->op->k), y = make_floats(b, b->op->rows, b->op->k);
    Tensor z = make_floats(b, b->op->rows, b->op->k);
    op_add(begin(b), z, x, y, b->rows);
    must(b, values, 3 * values);
}

static void cross_entropy(Bench *b)
{
    double values = (double)b->op->rows * b->op->k;
    Tensor logits = make_floats(b, b->op->rows, b->op->k), losses = make_floats(b, b->op->rows, 2);
    Tensor targets = make_indices(b, b->op->rows, b->op->k), step = make_step(b);
    op_cross_entropy(begin(b), losses, logits, targets, step, 0, true, b->rows);
    must(b, 6 * values, 2 * values);
}

static void sum_squares(Bench *b)
{
    double values = (double)b->op->rows * b->op->k;
    Tensor x = make_floats(b, b->op->rows, b->op->k);
    Tensor partials = make_floats(b, 1, op_sum_squares_count(x));
    op_sum_squares(begin(b), partials, 0, x);
    must(b, 2 * values, values);
}

static void adamw(Bench *b)
{
    double values = (double)b->op->rows * b->op->k;
    Tensor weight = make_floats(b, b->op->rows, b->op->k);
    Tensor mean = make_floats(b, b->op->rows, b->op->k);
    float *ones = malloc((size_t)values * sizeof *ones);
    if (!ones) stop("out of memory");
    for (size_t i = 0; i < (size_t)values; i++) ones[i] = 1;
    Tensor square = make(b, b->op->rows, b->op->k, ones); // not negative
    free(ones);
    Tensor gradient = make_floats(b, b->op->rows, b->op->k), step = make_step(b);
    Tensor clip = make(b, 1, 2, (float[]){1, 1});
    op_adamw(begin(b), weight, &(Moments){mean, square}, gradient, step, clip, true, 0);
    must(b, 15 * values, 7 * values);
}

// A prompt, a few rows and one, with weights of that type.
#define WEIGHTS(name, dtype)                                                                       \
    {name, matmul, 512, 512, 512, dtype}, {name, matmul, 4, 2048, 2048, dtype},                    \
    {                                                                                              \
        name, matmul, 1, 2048, 2048, dtype                                                         \
    }

static const Op OPS[] = {
    {"matmul", matmul, 512, 512, 512},
    {"matmul", matmul, 288, 128, 288},
    {"matmul", matmul, 768, 512, 768},
    {"matmul", matmul, 1, 768, 768},
    {"matmul", matmul, 1, 2048, 2048},
    {"matmul", matmul, 4, 2048, 2048},
    {"matmul", matmul, 1, 32000, 768},
    {"matmul", matmul, 4, 768, 768},
    {"matmul", matmul, 16, 768, 768},
    WEIGHTS("matmul_f16", DTYPE_F16),
    WEIGHTS("matmul_q8_0", DTYPE_Q8_0),
    WEIGHTS("matmul_q4_0", DTYPE_Q4_0),
    WEIGHTS("matmul_q4_k", DTYPE_Q4_K),
    WEIGHTS("matmul_q6_k", DTYPE_Q6_K),
    {"matmul_back_x", matmul_back_x, 512, 512, 512},
    {"matmul_back_x", matmul_back_x, 288, 128, 288},
    {"matmul_back_w", matmul_back_w, 512, 512, 512},
    {"matmul_back_w", matmul_back_w, 288, 128, 288},
    {"embed", embed, 512, 32000, 768},
    {"rmsnorm", rmsnorm, 512, 0, 768},
    {"rmsnorm", rmsnorm, 1, 0, 2048},
    {"rmsnorm_back", rmsnorm_back, 512, 0, 768},
    {"rope", rope, 512, 12, 64},
    {"attention", attention, 512, 8, 8},
    {"attention", attention, 512, 8, 64},
    {"attention_back", attention_back, 512, 8, 8},
    {"attention_back", attention_back, 512, 8, 64},
    {"swiglu", swiglu, 512, 0, 2048},
    {"swiglu_back", swiglu_back, 512, 0, 2048},
    {"add", add, 512, 0, 768},
    {"cross_entropy", cross_entropy, 256, 0, 32000},
    {"cross_entropy", cross_entropy, 2048, 0, 512},
    {"sum_squares", sum_squares, 1024, 0, 1024},
    {"adamw", adamw, 1024, 0, 1024},
};
enum { OP_COUNT = sizeof OPS / sizeof *OPS };

// ---- running -----------------------------------------------------------------------------------

static double run(Bench *bench)
{
    Tape *tapes[MAX_REPLAYS];
    Error err;
    for (uint32_t i = 0; i < bench->replays; i++) tapes[i] = bench->tape;
    double start = clock_seconds();
    if (!gpu_run(bench->gpu, tapes, bench->replays, &err)) stop(err.text);
    return (clock_seconds() - start) / bench->replays;
}

static void bench_open(Bench *bench, Gpu *gpu, const Op *op)
{
    Error err;
    *bench = (Bench){.op = op, .gpu = gpu, .replays = 1};
    bench->counts = counts_open(gpu, &err);
    if (!bench->counts) stop(err.text);
    bench->rows = (Rows){bench->counts, 0, 0, op->rows};
    op->record(bench);
    if (!tape_end(bench->tape, &err)) stop(err.text);
    counts_set(bench->counts, 0, op->rows);
    double start = clock_seconds();
    run(bench);
    bench->first = clock_seconds() - start;
    // Submitting costs tens of microseconds: a sample is 2 ms of work at least.
    double once = run(bench);
    bench->replays = once > 2e-3 ? 1 : (uint32_t)fmin(MAX_REPLAYS, ceil(2e-3 / once));
}

static void bench_close(Bench *bench)
{
    tape_free(bench->tape);
    counts_close(bench->counts);
    for (uint32_t i = 0; i < bench->tensor_count; i++) tensor_free(bench->gpu, &bench->tensors[i]);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Rounds over all ops until the time is over; afterwards the samples are in order.
static void measure(Bench *benches, uint32_t count, double seconds)
{
    double start = clock_seconds();
    for (uint32_t round = 0; round < MAX_SAMPLES; round++) {
        if (round >= MIN_ROUNDS && clock_seconds() - start > seconds) break;
        for (uint32_t i = 0; i < count; i++)
            benches[i].samples[benches[i].sample_count++] = run(&benches[i]);
    }
    for (uint32_t i = 0; i < count; i++)
        qsort(benches[i].samples, benches[i].sample_count, sizeof(double), compare);
}

// ---- results -----------------------------------------------------------------------------------

static void shape_text(char *out, size_t size, const Op *op)
{
    if (op->n)
        snprintf(out, size, "%ux%ux%u", op->rows, op->n, op->k);
    else
        snprintf(out, size, "%ux%u", op->rows, op->k);
}

static void print_table(const Gpu *gpu, const Bench *benches, uint32_t count)
{
    const GpuInfo *info = gpu_info(gpu);
    printf("%s (%s)\n", info->name, info->driver);
    printf("%-15s %15s %9s %9s %9s %8s %9s %8s\n", "op", "shape", "first ms", "median ms",
           "best ms", "GFLOP/s", "GB/s", "samples");
    for (uint32_t i = 0; i < count; i++) {
        const Bench *b = &benches[i];
        char shape[48];
        shape_text(shape, sizeof shape, b->op);
        double median = b->samples[b->sample_count / 2];
        printf("%-15s %15s %9.1f %9.3f %9.3f %8.2f %9.2f %8u\n", b->op->name, shape, 1e3 * b->first,
               1e3 * median, 1e3 * b->samples[0], 1e-9 * b->operations / median,
               1e-9 * b->bytes / median, b->sample_count);
    }
}

static void print_json(const Gpu *gpu, const Bench *benches, uint32_t count)
{
    cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "ops");
    cJSON_AddStringToObject(root, "device", gpu_info(gpu)->name);
    cJSON_AddStringToObject(root, "driver", gpu_info(gpu)->driver);
    for (uint32_t i = 0; i < count; i++) {
        const Bench *b = &benches[i];
        cJSON *item = cJSON_CreateObject();
        char shape[48];
        shape_text(shape, sizeof shape, b->op);
        double median = b->samples[b->sample_count / 2];
        cJSON_AddStringToObject(item, "op", b->op->name);
        cJSON_AddStringToObject(item, "shape", shape);
        cJSON_AddNumberToObject(item, "first_seconds", b->first);
        cJSON_AddNumberToObject(item, "median_seconds", median);
        cJSON_AddNumberToObject(item, "best_seconds", b->samples[0]);
        cJSON_AddNumberToObject(item, "gflops", 1e-9 * b->operations / median);
        cJSON_AddNumberToObject(item, "gigabytes_per_second", 1e-9 * b->bytes / median);
        cJSON_AddNumberToObject(item, "samples", b->sample_count);
        cJSON_AddItemToArray(list, item);
    }
    char *text = cJSON_Print(root);
    if (text) puts(text);
    cJSON_free(text);
    cJSON_Delete(root);
}

static bool wanted(const Op *op, const Options *options)
{
    for (int i = 0; i < options->name_count; i++)
        if (strstr(op->name, options->names[i])) return true;
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
    static Bench benches[OP_COUNT];
    uint32_t count = 0;
    Error err;
    const Options options = parse(argc, argv);
    Gpu *gpu = gpu_open(options.device, &err);
    if (!gpu) stop(err.text);
    for (uint32_t i = 0; i < OP_COUNT; i++)
        if (wanted(&OPS[i], &options)) bench_open(&benches[count++], gpu, &OPS[i]);
    if (!count) stop("no op has such a name");
    measure(benches, count, options.seconds);
    (options.json ? print_json : print_table)(gpu, benches, count);
    for (uint32_t i = 0; i < count; i++) bench_close(&benches[i]);
    gpu_close(gpu);
    return 0;
}
