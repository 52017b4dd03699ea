// A training step at the widths of LLaMA 2 13B: width 5120, 40 heads of 128, a vocabulary of
// 32,000, random weights, few blocks. Losses, the head's gradient and the embedding's against sums
// in double, the blocks' gradients against differences of the loss; the memory against the plan.
// With bindings of 128 MiB the embedding and the head come in five slices, the MLP's matrices in
// three. Not whether such a model learns anything.
//
// STRATA_TEST_WIDE_BLOCKS says how many blocks: 1 (where it is not set) takes 9.6 GiB of device
// memory and 2 GiB of the host's, 2 take 14.4 GiB, 0 leaves the test out. Skipped where the memory
// is not there.
#include "base/random.h"
#include "support/device.h"
#include "train/plan.h"
#include "train/step_internal.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BLOCKS = 40, WIDTH = 5120, VOCAB = 32000 };
enum { SEQUENCES = 2, LENGTH = 5, ROWS = SEQUENCES * (LENGTH - 1) };
// Spread over the vocabulary, so that each slice of the embedding has some; one is there twice.
static const uint32_t TOKENS[SEQUENCES][LENGTH] = {{1, 6551, 6552, 13107, 31999},
                                                   {1, 19656, 26208, 31998, 2}};

static uint32_t exits[MOST_BLOCKS]; // 1 .. blocks
static uint32_t blocks;
static LlamaConfig config;
static Llama model;
static Step *step;
static bool ready; // the machine has the memory, and everything is open

// ---- a model and its step ----------------------------------------------------------------------

// What the machine can give now; 0 where it does not say.
static uint64_t memory_there(void)
{
    FILE *file = fopen("/proc/meminfo", "r");
    char line[128];
    uint64_t kib = 0;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1) break;
    if (file) fclose(file);
    return kib << 10;
}

// On a GPU its own memory counts, on a CPU driver what is left of the machine's.
static bool has_memory(const Plan *plan)
{
    const uint64_t host = UINT64_C(2) << 30; // the head twice, and what the rest of the test takes
    const GpuInfo *info = gpu_info(device);
    bool cpu = !strcmp(info->kind, "cpu");
    uint64_t needed = host + (cpu ? plan->peak : 0), there = memory_there();
    Error why;
    if (!plan_check(plan, info, &why)) {
        print_message("skipped: device %s: %s\n", info->name, why.text);
        return false;
    }
    if (there >= needed) return true;
    print_message("skipped: %.1f GiB of memory are needed, %.1f GiB are free\n",
                  (double)needed / (1 << 30), (double)there / (1 << 30));
    return false;
}

// Random numbers of deviation 0.02, as llama_randomize gives them, but taken in turn from a list:
// 645 million of them take a minute. Its length is prime: no two rows are alike.
static void fill_matrix(Tensor tensor, const float *normals, size_t count, uint64_t *at)
{
    uint64_t size = (uint64_t)tensor.rows * tensor.cols;
    float *values = malloc(size * sizeof *values);
    Error err;
    assert_non_null(values);
    for (uint64_t i = 0; i < size; i++) values[i] = normals[(*at)++ % count];
    if (!tensor_upload(device, tensor, values, &err)) fail_msg("%s", err.text);
    free(values);
}

static void fill_model(void)
{
    enum { NORMALS = 1048583 };
    float *normals = malloc(NORMALS * sizeof *normals), ones[WIDTH];
    Random random = random_seed(13);
    uint64_t at = 0;
    Error err;
    assert_non_null(normals);
    for (size_t i = 0; i < NORMALS; i++) normals[i] = (float)(0.02 * random_normal(&random));
    for (size_t i = 0; i < WIDTH; i++) ones[i] = 1;
    for (size_t i = 0; i < llama_parameter_count(&model.config); i++) {
        LlamaParameter p = llama_parameter(&model, i);
        if (p.rows)
            fill_matrix(*p.tensor, normals, NORMALS, &at);
        else if (!tensor_upload(device, *p.tensor, ones, &err))
            fail_msg("%s", err.text);
    }
    free(normals);
}

static void fill_batch(Batch *batch)
{
    batch_begin(batch);
    for (int i = 0; i < SEQUENCES; i++) assert_true(batch_add(batch, TOKENS[i], LENGTH, 1));
    batch_end(batch);
    assert_int_equal(batch->supervised, ROWS);
}

static void open_all(const Plan *plan)
{
    Error err;
    if (!llama_make(&model, device, &config, &err)) fail_msg("%s", err.text);
    fill_model();
    step = step_open(&model, exits, blocks, ROWS, true, &err);
    if (!step) fail_msg("%s", err.text);
    fill_batch(step_batch(step));
    double peak = (double)gpu_memory_peak(device);
    print_message("%u blocks: planned %.3f GiB, measured peak %.3f GiB\n", blocks,
                  (double)plan->peak / (1 << 30), peak / (1 << 30));
    assert_true(fabs((double)plan->peak - peak) <= 0.05 * peak);
}

static uint32_t wanted_blocks(void)
{
    const char *text = getenv("STRATA_TEST_WIDE_BLOCKS");
    unsigned long count = text ? strtoul(text, NULL, 10) : 1;
    return count < MOST_BLOCKS ? (uint32_t)count : MOST_BLOCKS;
}

static int open_wide(void **state)
{
    Plan plan;
    Error err;
    blocks = wanted_blocks();
    if (!blocks) print_message("skipped: STRATA_TEST_WIDE_BLOCKS is 0\n");
    if (!blocks) return 0;
    if (device_open(state)) return -1;
    config = (LlamaConfig){.blocks = blocks,
                           .width = WIDTH,
                           .hidden = 13824,
                           .heads = 40,
                           .kv_heads = 40,
                           .head_size = 128,
                           .vocab_size = VOCAB,
                           .context = 4096,
                           .norm_epsilon = 1e-5,
                           .rope_theta = 10000};
    for (uint32_t e = 0; e < blocks; e++) exits[e] = e + 1;
    if (!plan_make(&plan, &(PlanShape){&config, exits, blocks, ROWS, 0}, &err)) return -1;
    if (!has_memory(&plan)) return 0;
    open_all(&plan);
    ready = true;
    return 0;
}

static int close_wide(void **state)
{
    step_close(step);
    llama_free(&model);
    return device_close(state);
}

// The weight of a row's loss: what is minimised is the mean over exits of the mean over rows.
static double share(void)
{
    return 1.0 / ((double)ROWS * blocks);
}

static void run(Step *which)
{
    double weights[MOST_BLOCKS];
    Error err;
    for (uint32_t e = 0; e < blocks; e++) weights[e] = share();
    if (!step_run(which, weights, &err)) fail_msg("%s", err.text);
}

static double mean_loss(const Step *which)
{
    double sum = 0;
    for (uint32_t e = 0; e < blocks; e++)
        for (uint32_t r = 0; r < ROWS; r++) sum += step_losses(which, e)[2 * r];
    return sum * share();
}

static void need_memory(void)
{
    if (!ready) skip();
}

// ---- the exits, in double ----------------------------------------------------------------------

static const uint32_t *batch_targets(void)
{
    return tensor_host(step_batch(step)->targets);
}

// What an exit reads: the stream at its boundary, normed (gains are 1). All rows are supervised.
static double *normed_rows(uint32_t depth)
{
    float *stream = download(step_stream(step, depth));
    double *normed = malloc(sizeof *normed * ROWS * WIDTH);
    assert_non_null(normed);
    for (size_t r = 0; r < ROWS; r++) {
        double squares = 0;
        for (size_t i = 0; i < WIDTH; i++) squares += pow(stream[r * WIDTH + i], 2);
        double scale = 1 / sqrt(squares / WIDTH + config.norm_epsilon);
        for (size_t i = 0; i < WIDTH; i++) normed[r * WIDTH + i] = stream[r * WIDTH + i] * scale;
    }
    free(stream);
    return normed;
}

static double dot(const float *w, const double *x)
{
    double sum = 0;
    for (size_t i = 0; i < WIDTH; i++) sum += w[i] * x[i];
    return sum;
}

// The softmax of the exit's logits, (ROWS, VOCAB); checks the losses that the step found.
static double *probabilities(const float *head, const double *normed, const float *losses)
{
    double *p = malloc(sizeof *p * ROWS * VOCAB);
    assert_non_null(p);
    for (size_t r = 0; r < ROWS; r++) {
        double *row = p + r * VOCAB, sum = 0;
        for (size_t v = 0; v < VOCAB; v++)
            sum += row[v] = exp(dot(head + v * WIDTH, normed + r * WIDTH));
        for (size_t v = 0; v < VOCAB; v++) row[v] /= sum;
        double expected = -log(row[batch_targets()[r]]);
        if (!(fabs(losses[2 * r] - expected) <= 1e-5 * expected))
            fail_msg("row %zu: loss %.8g, expected %.8g", r, losses[2 * r], expected);
    }
    return p;
}

// Adds an exit's part of the gradient of row v of the head: the sum over its rows of
// (softmax - target)[v] * normed.
static void add_head_row(double *sum, uint32_t v, const double *p, const double *normed)
{
    for (size_t r = 0; r < ROWS; r++) {
        double dlogit = share() * (p[r * VOCAB + v] - (batch_targets()[r] == v));
        for (size_t i = 0; i < WIDTH; i++) sum[i] += dlogit * normed[r * WIDTH + i];
    }
}

static void check_row(const char *what, uint32_t v, const float *found, const double *expected)
{
    double most = 0, worst = 0;
    for (size_t i = 0; i < WIDTH; i++) {
        most = fmax(most, fabs(expected[i]));
        worst = fmax(worst, fabs(found[i] - expected[i]));
    }
    if (!(worst <= 1e-4 * most)) fail_msg("%s, row %u: off by %.3g of %.3g", what, v, worst, most);
}

// Rows of a (VOCAB, WIDTH) matrix that are looked at: those that the batch has as tokens or as
// targets, and one in STRIDE. Slices have thousands of rows: each has some of them.
enum { STRIDE = 500, LOOKED = VOCAB / STRIDE + SEQUENCES * LENGTH };

static uint32_t looked_at(uint32_t i)
{
    const uint32_t *tokens = TOKENS[0];
    return i < VOCAB / STRIDE ? i * STRIDE : tokens[i - VOCAB / STRIDE];
}

static void check_head(void)
{
    double *sums = calloc(LOOKED * WIDTH, sizeof *sums);
    float *head = download(model.head);
    assert_non_null(sums);
    for (uint32_t e = 0; e < blocks; e++) {
        double *normed = normed_rows(exits[e]);
        double *p = probabilities(head, normed, step_losses(step, e));
        for (uint32_t i = 0; i < LOOKED; i++)
            add_head_row(sums + (size_t)i * WIDTH, looked_at(i), p, normed);
        free(p);
        free(normed);
    }
    free(head);
    float *gradient = download(step_gradients(step)->head);
    for (uint32_t i = 0; i < LOOKED; i++)
        check_row("head", looked_at(i), gradient + (size_t)looked_at(i) * WIDTH,
                  sums + (size_t)i * WIDTH);
    free(gradient);
    free(sums);
}

// A token's row is the sum of the stream's gradients at its rows; where there is none, 0.
static void check_embedding(void)
{
    float *gradient = download(step_gradients(step)->embed), *dx = download(step->dx);
    const uint32_t *inputs = tensor_host(step_batch(step)->tokens);
    for (uint32_t i = 0; i < LOOKED; i++) {
        double sum[WIDTH] = {0};
        for (size_t r = 0; r < ROWS; r++)
            for (size_t k = 0; inputs[r] == looked_at(i) && k < WIDTH; k++)
                sum[k] += dx[r * WIDTH + k];
        check_row("embedding", looked_at(i), gradient + (size_t)looked_at(i) * WIDTH, sum);
    }
    free(gradient);
    free(dx);
}

// The rows are normed, so that logits of random weights are normal with variance s^2 = 0.02^2 *
// WIDTH. The loss is log(sum(exp)) = log(VOCAB) + s^2 / 2, less the mean of the targets' logits,
// which is 0 with deviation s / sqrt(ROWS) where the targets differ; four of these are allowed.
static void losses_and_gradients_of_exits(void **state)
{
    (void)state;
    need_memory();
    Error err;
    assert_true(step_zero_gradients(step, &err));
    run(step);
    double variance = 0.02 * 0.02 * WIDTH, expected = log(VOCAB) + variance / 2;
    print_message("loss %.4f, log(V) is %.4f, random weights give %.4f\n", mean_loss(step),
                  log(VOCAB), expected);
    assert_true(fabs(mean_loss(step) - expected) <= 4 * sqrt(variance / ROWS));
    check_head();
    check_embedding();
}

// ---- the blocks, by differences ----------------------------------------------------------------

// The loss with the tensor's values moved by h along the unit vector of its gradient.
static double moved_loss(Step *score, Tensor tensor, const float *values, const float *gradient,
                         double h)
{
    size_t count = tensor_bytes(tensor) / sizeof *values;
    float *moved = malloc(count * sizeof *moved);
    Error err;
    assert_non_null(moved);
    for (size_t i = 0; i < count; i++) moved[i] = (float)(values[i] + h * gradient[i]);
    if (!tensor_upload(device, tensor, moved, &err)) fail_msg("%s", err.text);
    free(moved);
    run(score);
    return mean_loss(score);
}

// The slope of the loss along a gradient is the gradient's norm. A gradient that lacked a slice or
// had it elsewhere would be too short for the slope, or too long. The step is chosen so that the
// loss moves by some hundredths: far more than its rounding, and little beside its curvature.
static void check_slope(Step *score, const char *name, Tensor tensor, Tensor gradient)
{
    float *values = download(tensor), *d = download(gradient);
    double norm = 0, change = 0.02;
    Error err;
    for (size_t i = 0; i < tensor_bytes(tensor) / sizeof *d; i++) norm += (double)d[i] * d[i];
    norm = sqrt(norm);
    assert_true(isfinite(norm) && norm > 0);
    double h = change / norm; // length of the move
    double up = moved_loss(score, tensor, values, d, h / norm);
    double down = moved_loss(score, tensor, values, d, -h / norm);
    double slope = (up - down) / (2 * h);
    print_message("%s: norm %.6f, slope %.6f\n", name, norm, slope);
    if (!tensor_upload(device, tensor, values, &err)) fail_msg("%s", err.text);
    assert_true(fabs(slope - norm) <= 0.01 * norm);
    free(values);
    free(d);
}

static void gradients_of_blocks(void **state)
{
    (void)state;
    need_memory();
    Error err;
    Step *score = step_open(&model, exits, blocks, ROWS, false, &err);
    if (!score) fail_msg("%s", err.text);
    fill_batch(step_batch(score));
    const BlockWeights *w = &model.blocks[0], *d = &step_gradients(step)->blocks[0];
    check_slope(score, "embedding", model.embed, step_gradients(step)->embed);
    check_slope(score, "q", w->q, d->q);
    check_slope(score, "v", w->v, d->v);
    check_slope(score, "gate", w->gate, d->gate);
    check_slope(score, "down", w->down, d->down);
    step_close(score);
}

// ---- the update --------------------------------------------------------------------------------

// AdamW's first update moves every weight with a gradient by the rate.
static void update_lowers_the_loss(void **state)
{
    (void)state;
    need_memory();
    const double rate = 1e-5;
    const UpdateValues values = {
        .rate = rate, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .clip = 1, .time = 1};
    Error err;
    double before = mean_loss(step), norm, moved = 0;
    float *old = download(model.blocks[0].q);
    if (!step_update(step, &values, &norm, &err)) fail_msg("%s", err.text);
    assert_true(isfinite(norm) && norm > 0);
    float *now = download(model.blocks[0].q);
    for (size_t i = 0; i < tensor_bytes(model.blocks[0].q) / sizeof *old; i++)
        moved = fmax(moved, fabs((double)now[i] - old[i]));
    assert_true(moved > 0.5 * rate && moved < 1.5 * rate);
    free(old);
    free(now);
    run(step);
    print_message("norm %.4f, loss %.4f, then %.4f\n", norm, before, mean_loss(step));
    assert_true(mean_loss(step) < before - 0.01);
}

static void no_messages(void **state)
{
    need_memory();
    no_validation_messages(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_and_gradients_of_exits),
        cmocka_unit_test(gradients_of_blocks),
        cmocka_unit_test(update_lowers_the_loss),
        cmocka_unit_test(no_messages),
    };
    return cmocka_run_group_tests(tests, open_wide, close_wide);
}
