// The pipelines that ops ask for: see static_kernels.h. A new op gets its line in record_ops (a
// test misses kernels that no line reaches).
#include "profile/static_kernels.h"
#include "gpu/dry.h"
#include "ops/launch.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint32_t width, hidden, vocabulary;
    Heads heads;
} Shape;

static const Shape LARGE = {4096, 11008, 32000, {32, 32, 128}}; // LLaMA 2 7B
static const Shape SMALL = {2048, 5632, 32000, {32, 4, 64}};    // TinyLlama 1.1B

typedef struct {
    StaticPipelines *out;
    Tape *tape;
    bool chosen;
    bool failed;   // out of memory
    char what[48]; // of what is being recorded
    Rows rows;
} Recorder;

// ---- what is recorded --------------------------------------------------------------------------

static StaticPipeline *find(StaticPipelines *all, const Dispatch *dispatch)
{
    for (size_t i = 0; i < all->count; i++)
        if (all->list[i].kernel == dispatch->kernel &&
            !memcmp(all->list[i].constants, dispatch->constants, sizeof dispatch->constants))
            return &all->list[i];
    return NULL;
}

static StaticPipeline *add(StaticPipelines *all, const Dispatch *dispatch)
{
    StaticPipeline *list = realloc(all->list, (all->count + 1) * sizeof *list);
    if (!list) return NULL;
    all->list = list;
    StaticPipeline *made = &list[all->count++];
    *made = (StaticPipeline){.kernel = dispatch->kernel};
    memcpy(made->constants, dispatch->constants, sizeof made->constants);
    return made;
}

static void add_rows(StaticPipeline *pipeline, uint32_t rows)
{
    for (uint32_t i = 0; i < pipeline->row_count; i++)
        if (pipeline->rows[i] == rows) return;
    if (pipeline->row_count < STATIC_ROWS) pipeline->rows[pipeline->row_count++] = rows;
}

static bool see(void *user, const Dispatch *dispatch)
{
    Recorder *recorder = user;
    StaticPipeline *pipeline = find(recorder->out, dispatch);
    if (!pipeline) {
        pipeline = add(recorder->out, dispatch);
        if (pipeline) memcpy(pipeline->what, recorder->what, sizeof pipeline->what);
    }
    recorder->failed |= !pipeline;
    if (!pipeline) return false;
    pipeline->chosen |= recorder->chosen;
    if (recorder->rows.max) add_rows(pipeline, recorder->rows.max);
    return false;
}

// ---- the ops -----------------------------------------------------------------------------------

static Tensor floats(uint32_t rows, uint32_t cols)
{
    return tensor_imagine(DTYPE_F32, rows, cols);
}

static void say_matrix(Recorder *recorder, const char *name, Tensor matrix)
{
    char type[12] = "";
    snprintf(type, sizeof type, "%s", dtype_name(matrix.dtype));
    for (char *c = type; *c; c++) *c = (char)tolower((unsigned char)*c);
    snprintf(recorder->what, sizeof recorder->what, "%s %u x %u %s", name, matrix.rows, matrix.cols,
             type);
}

static void say(Recorder *recorder, const char *name, uint32_t number)
{
    snprintf(recorder->what, sizeof recorder->what, "%s %u", name, number);
}

static const Dtype STORED[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16}; // also gradients
static const Dtype BLOCKED[] = {DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q4_K, DTYPE_Q6_K};
enum { STORED_COUNT = 3, BLOCKED_COUNT = 4 };

static void record_product(Recorder *recorder, const Shape *shape, Dtype dtype)
{
    Tensor w = tensor_imagine(dtype, shape->width, shape->width);
    Tensor x = floats(recorder->rows.max, shape->width);
    say_matrix(recorder, "w", w);
    op_matmul(recorder->tape, x, x, w, recorder->rows);
}

static void record_products_back(Recorder *recorder, const Shape *shape, Dtype dtype)
{
    Tensor w = tensor_imagine(dtype, shape->width, shape->width);
    Tensor x = floats(recorder->rows.max, shape->width);
    say_matrix(recorder, "w", w);
    op_matmul_back_x(recorder->tape, x, x, w, false, recorder->rows);
    op_matmul_back_w(recorder->tape, w, x, x, recorder->rows);
}

static void record_embed(Recorder *recorder, const Shape *shape)
{
    Tensor x = floats(recorder->rows.max, shape->width), ids = floats(recorder->rows.max, 4);
    for (int i = 0; i < STORED_COUNT + BLOCKED_COUNT; i++) {
        Dtype dtype = i < STORED_COUNT ? STORED[i] : BLOCKED[i - STORED_COUNT];
        Tensor table = tensor_imagine(dtype, shape->vocabulary, shape->width);
        say_matrix(recorder, "table", table);
        op_embed(recorder->tape, x, ids, table, recorder->rows);
        if (i < STORED_COUNT) op_embed_back(recorder->tape, table, x, ids, ids, recorder->rows);
    }
}

// What works value by value, or moves rows.
static void record_elements(Recorder *recorder, const Shape *shape)
{
    Tape *tape = recorder->tape;
    Rows rows = recorder->rows;
    Tensor x = floats(rows.max, shape->width), h = floats(rows.max, shape->hidden);
    Tensor ids = floats(rows.max, 4), gain = floats(1, shape->width);
    say(recorder, "width", shape->width);
    op_add(tape, x, x, x, rows);
    op_bias(tape, x, gain, rows);
    op_bias_back(tape, gain, x, rows);
    op_gather(tape, x, x, ids, rows);
    op_scatter(tape, x, x, ids, false, rows);
    op_scatter(tape, x, x, ids, true, rows);
    op_rmsnorm(tape, x, x, gain, 1e-5f, rows);
    op_rmsnorm_back(tape, x, gain, ids, x, x, gain, 1e-5f, true, rows);
    for (int i = 1; i < STORED_COUNT; i++) {
        Tensor kept = tensor_imagine(STORED[i], rows.max, shape->width);
        say_matrix(recorder, "kept", kept);
        op_keep(tape, kept, x, STORED[i], rows);
        op_keep(tape, (Tensor){0}, x, STORED[i], rows);
        op_widen(tape, x, kept, rows);
    }
    say(recorder, "width", shape->hidden);
    op_swiglu(tape, h, h, h, rows);
    op_swiglu_back(tape, h, h, h, h, h, rows);
}

static void record_heads(Recorder *recorder, const Shape *shape)
{
    Tape *tape = recorder->tape;
    Rows rows = recorder->rows;
    Heads heads = shape->heads;
    Tensor q = floats(rows.max, heads.heads * heads.size);
    Tensor k = floats(rows.max, heads.kv_heads * heads.size);
    Tensor table = floats(rows.max, 4), turns = floats(4096, heads.size);
    Tensor stats = floats(rows.max, 2 * heads.heads);
    say(recorder, "heads of", heads.size);
    op_rope(tape, q, table, turns, rows);
    op_rope_cache(tape, q, k, k, k, k, table, table, turns, heads, rows);
    op_attention_paged(tape, q, q, k, k, table, table, heads, rows);
    op_attention(tape, q, stats, q, k, k, table, heads, rows);
    op_attention_back(tape, q, k, k, q, q, stats, q, k, k, table, heads, rows);
}

static void record_losses(Recorder *recorder, const Shape *shape)
{
    Tensor logits = floats(recorder->rows.max, shape->vocabulary);
    Tensor losses = floats(recorder->rows.max, 2), step = floats(1, STEP_VALUES);
    say(recorder, "vocabulary", shape->vocabulary);
    op_cross_entropy(recorder->tape, losses, logits, losses, step, 0, true, recorder->rows);
    op_distill(recorder->tape, losses, logits, logits, step, 0, recorder->rows);
}

// What works on whole parameters, no rows.
static void record_updates(Recorder *recorder, const Shape *shape)
{
    Tape *tape = recorder->tape;
    Tensor weight = floats(shape->width, shape->width), step = floats(1, STEP_VALUES);
    Tensor codes = tensor_imagine(DTYPE_U8, shape->width, shape->width);
    Tensor scales = floats(1, op_moment_scales(weight.rows, weight.cols));
    const Moments wide = {.mean = weight, .square = weight};
    const Moments narrow = {codes, codes, scales, scales};
    recorder->rows = (Rows){0};
    say_matrix(recorder, "w", weight);
    op_clip(tape, step, scales, op_sum_squares_count(weight), step);
    for (int i = 0; i < STORED_COUNT; i++) {
        Tensor gradient = tensor_imagine(STORED[i], shape->width, shape->width);
        say_matrix(recorder, "gradient", gradient);
        op_sum_squares(tape, scales, 0, gradient);
        op_adamw(tape, weight, &wide, gradient, step, step, true, 0);
        op_adamw(tape, weight, &narrow, gradient, step, step, true, 0);
        if (i) op_narrow(tape, gradient, weight);
    }
}

static void record_ops(Recorder *recorder)
{
    static const uint32_t rows[] = {1, 4, 8, 64, 512};
    for (int i = 0; i < 5; i++) {
        recorder->rows = (Rows){counts_imagine(), 0, 0, rows[i]};
        for (int s = 0; s < STORED_COUNT; s++) record_product(recorder, &LARGE, STORED[s]);
        for (int b = 0; b < BLOCKED_COUNT; b++) record_product(recorder, &LARGE, BLOCKED[b]);
        if (rows[i] > 8)
            for (int s = 0; s < STORED_COUNT; s++)
                record_products_back(recorder, &LARGE, STORED[s]);
        record_embed(recorder, &LARGE);
        record_elements(recorder, &LARGE);
        record_heads(recorder, &LARGE);
        record_heads(recorder, &SMALL);
        record_losses(recorder, &LARGE);
    }
    record_updates(recorder, &LARGE);
}

// ---- all variants ------------------------------------------------------------------------------

// As ops choose (NULL), then each variant where it can be had.
static bool record_variant(StaticPipelines *out, Gpu *gpu, const char *variant, Error *err)
{
    Recorder recorder = {.out = out, .chosen = !variant};
    recorder.tape = tape_begin(gpu, "listed, not run", err);
    if (!recorder.tape) return false;
    gpu_filter(gpu, see, &recorder);
    launch_force_variant(variant);
    record_ops(&recorder);
    launch_force_variant(NULL);
    gpu_filter(gpu, NULL, NULL);
    bool ok = tape_end(recorder.tape, err);
    tape_free(recorder.tape);
    if (ok && recorder.failed) ok = error_set(err, "out of memory");
    return ok;
}

// The kernels of strata peak belong to no op; each has one shape.
static bool add_probes(StaticPipelines *out, const Gpu *gpu, Error *err)
{
    for (int k = 0; k < KERNEL_COUNT; k++) {
        const Dispatch dispatch = {.kernel = (Kernel)k, .constants = {64, 1}};
        if (strncmp(kernel_sources[k].file, "peak_", 5) || !gpu_has_kernel(gpu, (Kernel)k))
            continue;
        StaticPipeline *made = add(out, &dispatch);
        if (!made) return error_set(err, "out of memory");
        snprintf(made->what, sizeof made->what, "strata peak");
    }
    return true;
}

static int by_kernel(const void *a, const void *b)
{
    const StaticPipeline *left = a, *right = b;
    if (left->kernel != right->kernel) return left->kernel < right->kernel ? -1 : 1;
    if (left->chosen != right->chosen) return left->chosen ? -1 : 1;
    return memcmp(left->constants, right->constants, sizeof left->constants);
}

static void find_missing(StaticPipelines *out, const Gpu *gpu)
{
    for (int k = 0; k < KERNEL_COUNT; k++) {
        const char *name = kernel_sources[k].name, *lacks = gpu_kernel_lacks(gpu, (Kernel)k);
        bool shuffles = strstr(name, "shuffle") || strstr(name, "texel");
        out->missing[k] = lacks      ? lacks
                          : shuffles ? "subgroups of a multiple of 8 lanes that shuffle"
                                     : "an op that takes it";
    }
    for (size_t i = 0; i < out->count; i++) out->missing[out->list[i].kernel] = NULL;
}

bool static_pipelines_list(StaticPipelines *out, Gpu *gpu, Error *err)
{
    static const char *const variants[] = {NULL, "any", "vec4", "shuffle", "texel"};
    *out = (StaticPipelines){0};
    bool ok = add_probes(out, gpu, err);
    for (int i = 0; i < 5 && ok; i++) ok = record_variant(out, gpu, variants[i], err);
    if (!ok) {
        static_pipelines_free(out);
        return false;
    }
    qsort(out->list, out->count, sizeof *out->list, by_kernel);
    find_missing(out, gpu);
    return true;
}

void static_pipelines_free(StaticPipelines *pipelines)
{
    free(pipelines->list);
    *pipelines = (StaticPipelines){0};
}
