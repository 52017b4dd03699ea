// The ops over whole parameters: gradient norm, clipping, AdamW; against double and against PyTorch
// (tests/reference/adamw.safetensors).
#define _POSIX_C_SOURCE 200809L
#include "model/safetensors.h"
#include "support/guards.h"
#include "reference/op_cases.h"

#include "../shaders/args.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Gpu *gpu;

static int open_gpu(void **state)
{
    (void)state;
    Error err;
    gpu = gpu_open(NULL, &err);
    if (!gpu) print_error("%s\n", err.text);
    return gpu ? 0 : -1;
}

static int close_gpu(void **state)
{
    (void)state;
    gpu_close(gpu);
    return 0;
}

static void near(double got, double want, double tolerance, const char *what, uint32_t at)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%s[%u]: %.9g, expected %.9g", what, at, got, want);
}

static Tape *begin(const char *label)
{
    Error err;
    Tape *tape = tape_begin(gpu, label, &err);
    if (!tape) fail_msg("%s", err.text);
    return tape;
}

static void end(Tape *tape)
{
    Error err;
    if (!tape_end(tape, &err)) fail_msg("%s", err.text);
}

// ---- gradient norm -----------------------------------------------------------------------------

enum { PARAMETERS = 6 };

// Parameters of these shapes: less than a chunk, exactly one, one value more, several, one value;
// the last in slices where a binding sees SLICE_BYTES.
static const uint32_t SHAPES[PARAMETERS][2] = {{3, 37},    {64, 64}, {1, 4097},
                                               {129, 257}, {1, 1},   {300, 64}};
#define SLICE_BYTES "16384"

static double norm_of(const Guard *guard)
{
    double sum = 0;
    const float *x = (const float *)(const void *)(guard->image + guard->first);
    for (uint64_t i = 0; i < (uint64_t)guard->view.rows * guard->view.cols; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

static Guard *random_guard(Guards *guards, uint32_t rows, uint32_t cols, uint64_t seed)
{
    Guard *guard = guards_add(guards, rows, cols);
    double *values = calloc((size_t)rows * cols, sizeof *values);
    assert_non_null(values);
    op_random(values, (uint64_t)rows * cols, seed);
    guard_put_doubles(guard, 0, rows, values);
    free(values);
    return guard;
}

static Guard *step_guard(Guards *guards, float clip)
{
    float step[STEP_VALUES] = {[STEP_CLIP] = clip, [STEP_UNSCALE] = 1};
    Guard *guard = guards_add(guards, 1, STEP_VALUES);
    guard_put(guard, 0, 1, step);
    return guard;
}

// The norm over all parameters and the factor, with the largest norm `limit`.
static void check_clip(float limit, const char *lanes)
{
    Guards guards = {.gpu = gpu};
    Guard *parameters[PARAMETERS], *partials = guards_add(&guards, 1, 64);
    Guard *clip = guards_add(&guards, 1, 2), *step = step_guard(&guards, limit);
    uint32_t count = 0;
    double squares = 0;
    for (uint32_t i = 0; i < PARAMETERS; i++) {
        parameters[i] = random_guard(&guards, SHAPES[i][0], SHAPES[i][1], i);
        squares += norm_of(parameters[i]);
    }
    setenv("STRATA_LANES", lanes, 1);
    Tape *tape = begin("clip");
    for (uint32_t i = 0; i < PARAMETERS; i++) {
        uint32_t written = op_sum_squares(tape, partials->view, count, parameters[i]->view);
        assert_int_equal(written, op_sum_squares_count(parameters[i]->view));
        count += written;
    }
    assert_int_equal(count, 1 + 1 + 2 + 9 + 1 + 5);
    op_clip(tape, clip->view, partials->view, count, step->view);
    end(tape);
    unsetenv("STRATA_LANES");
    partials->open = partials->first;
    partials->closed = partials->first + count;
    guard_open(clip, 0, 1);
    guards_run(&guards, tape);
    double norm = sqrt(squares), scale = limit > 0 && limit < norm ? limit / norm : 1;
    near(guard_row(clip, 0)[CLIP_NORM], norm, 2e-6 * norm, "norm", 0);
    near(guard_row(clip, 0)[CLIP_SCALE], scale, 2e-6, "scale", 0);
    guards_check(&guards, "clip");
    guards_repeat(&guards, tape, "clip");
    tape_free(tape);
    guards_free(&guards);
}

static void clips_the_norm(void **state)
{
    (void)state;
    static const char *const lanes[] = {"1", "2", "32", "64"};
    for (int i = 0; i < 4; i++) {
        check_clip(1.0f, lanes[i]);
        check_clip(1000.0f, lanes[i]); // above the norm: nothing to clip
        check_clip(0.0f, lanes[i]);    // off
    }
    setenv("STRATA_SLICE_BYTES", SLICE_BYTES, 1);
    check_clip(1.0f, "32");
    unsetenv("STRATA_SLICE_BYTES");
}

// As many partial sums as 290 million values make: more than an invocation of lavapipe's walks
// over.
static void clips_by_many_sums(void **state)
{
    (void)state;
    enum { COUNT = 70001 };
    Guards guards = {.gpu = gpu};
    Guard *partials = random_guard(&guards, 1, COUNT, 3), *clip = guards_add(&guards, 1, 2);
    Guard *step = step_guard(&guards, 1.0f);
    double sum = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        float *value = (float *)(void *)(partials->image + partials->first) + i;
        *value = 1 + *value;
        sum += *value;
    }
    guard_open(clip, 0, 1);
    Tape *tape = begin("clip");
    op_clip(tape, clip->view, partials->view, COUNT, step->view);
    end(tape);
    guards_run(&guards, tape);
    near(guard_row(clip, 0)[CLIP_NORM], sqrt(sum), 1e-4 * sqrt(sum), "norm", 0);
    tape_free(tape);
    guards_free(&guards);
}

// A gradient that is all zero has norm 0 and is not scaled.
static void clips_nothing_at_zero(void **state)
{
    (void)state;
    Guards guards = {.gpu = gpu};
    Guard *partials = guards_add(&guards, 1, 3), *clip = guards_add(&guards, 1, 2);
    Guard *step = step_guard(&guards, 1.0f);
    guard_put(partials, 0, 1, (float[]){0, 0, 0});
    guard_open(clip, 0, 1);
    Tape *tape = begin("clip");
    op_clip(tape, clip->view, partials->view, 3, step->view);
    end(tape);
    guards_run(&guards, tape);
    assert_true(guard_row(clip, 0)[CLIP_NORM] == 0.0f);
    assert_true(guard_row(clip, 0)[CLIP_SCALE] == 1.0f);
    tape_free(tape);
    guards_free(&guards);
}

// ---- AdamW -------------------------------------------------------------------------------------

// One parameter with its state on the GPU.
typedef struct {
    Guards guards;
    Guard *weight, *mean, *square, *gradient, *step, *clip;
    uint32_t count;
    Tape *tape;
} Update;

static void put_step(Guard *guard, unsigned step, AdamwRates rates)
{
    float values[STEP_VALUES] = {
        [STEP_RATE] = (float)rates.rate,
        [STEP_BETA1] = (float)rates.beta1,
        [STEP_BETA2] = (float)rates.beta2,
        [STEP_EPSILON] = (float)rates.epsilon,
        [STEP_DECAY] = (float)rates.decay,
        [STEP_CORRECTION1] = (float)(1 - pow(rates.beta1, step)),
        [STEP_CORRECTION2] = (float)(1 - pow(rates.beta2, step)),
        [STEP_REST1] = (float)(1 - rates.beta1),
        [STEP_REST2] = (float)(1 - rates.beta2),
    };
    guard_put(guard, 0, 1, values);
}

static void update_open(Update *u, uint32_t rows, uint32_t cols, bool decay)
{
    *u = (Update){.guards = {.gpu = gpu}, .count = rows * cols};
    u->weight = guards_add(&u->guards, rows, cols);
    u->mean = guards_add(&u->guards, rows, cols);
    u->square = guards_add(&u->guards, rows, cols);
    u->gradient = guards_add(&u->guards, rows, cols);
    u->step = guards_add(&u->guards, 1, STEP_VALUES);
    u->clip = guards_add(&u->guards, 1, 2);
    guard_open(u->weight, 0, rows);
    guard_open(u->mean, 0, rows);
    guard_open(u->square, 0, rows);
    memset(u->mean->image + u->mean->first, 0, 4 * (size_t)u->count);
    memset(u->square->image + u->square->first, 0, 4 * (size_t)u->count);
    u->tape = begin("adamw");
    op_adamw(u->tape, u->weight->view, &(Moments){u->mean->view, u->square->view},
             u->gradient->view, u->step->view, u->clip->view, decay, 0);
    end(u->tape);
}

// Runs one step; its results are what the next begins with.
static void update_run(Update *u, const double *gradient, float scale)
{
    guard_put_doubles(u->gradient, 0, u->gradient->view.rows, gradient);
    guard_put(u->clip, 0, 1, (float[]){0, scale});
    guards_run(&u->guards, u->tape);
    guards_check(&u->guards, "adamw");
    guards_repeat(&u->guards, u->tape, "adamw");
    Guard *const state[] = {u->weight, u->mean, u->square};
    for (int i = 0; i < 3; i++) guard_put(state[i], 0, state[i]->view.rows, guard_row(state[i], 0));
}

static void update_close(Update *u)
{
    tape_free(u->tape);
    guards_free(&u->guards);
}

static void check_adamw(uint32_t rows, uint32_t cols, double decay)
{
    enum { STEPS = 7 };
    const uint32_t count = rows * cols;
    const float scale = 0.25f;
    AdamwRates rates = {0, 0.9, 0.999, 1e-8, decay};
    Update u;
    update_open(&u, rows, cols, decay > 0);
    double *memory = calloc(5 * (size_t)count, sizeof *memory);
    assert_non_null(memory);
    double *weight = memory, *mean = weight + count, *square = mean + count;
    double *gradient = square + count, *scaled = gradient + count;
    op_random(weight, count, 1);
    guard_put_doubles(u.weight, 0, rows, weight);
    for (unsigned step = 1; step <= STEPS; step++) {
        op_random(gradient, count, 10 + step);
        for (uint32_t i = 0; i < count; i++) scaled[i] = gradient[i] * (double)scale;
        rates.rate = 1e-2 / step;
        put_step(u.step, step, rates);
        if (decay == 0) ((float *)(void *)(u.step->image + u.step->first))[STEP_DECAY] = 0.5f;
        update_run(&u, gradient, scale);
        reference_adamw(weight, mean, square, scaled, count, step, rates);
        for (uint32_t i = 0; i < count; i++) {
            near(guard_row(u.weight, 0)[i], weight[i], 2e-6, "weight", i);
            near(guard_row(u.mean, 0)[i], mean[i], 1e-7, "mean", i);
            near(guard_row(u.square, 0)[i], square[i], 1e-8, "square", i);
        }
    }
    free(memory);
    update_close(&u);
}

// Without decay the step still names a rate of it, which must not count.
static void adamw_follows_the_reference(void **state)
{
    (void)state;
    for (int decay = 0; decay < 2; decay++) {
        check_adamw(1, 1, 0.1 * decay);
        check_adamw(1, 37, 0.1 * decay);
        check_adamw(5, 64, 0.1 * decay);
        check_adamw(33, 129, 0.1 * decay);
    }
    setenv("STRATA_SLICE_BYTES", SLICE_BYTES, 1);
    check_adamw(300, 64, 0.1);
    unsetenv("STRATA_SLICE_BYTES");
}

// 32768 workgroups are the widest row of them: a larger parameter takes a second one.
static void adamw_of_a_large_parameter(void **state)
{
    (void)state;
    const uint32_t count = (1u << 23) + 300; // 64 lanes of 4 values a group
    Update u;
    update_open(&u, 1, count, false);
    put_step(u.step, 1, (AdamwRates){1, 0.9, 0.999, 0, 0});
    double *gradient = calloc(count, sizeof *gradient);
    assert_non_null(gradient);
    for (uint32_t i = 0; i < count; i++) gradient[i] = i % 3 ? 1 : -2;
    memset(u.weight->image + u.weight->first, 0, 4 * (size_t)count);
    update_run(&u, gradient, 1);
    for (uint32_t i = 0; i < count; i++) // the first step goes one rate against the gradient's sign
        near(guard_row(u.weight, 0)[i], i % 3 ? -1 : 1, 1e-5, "weight", i);
    free(gradient);
    update_close(&u);
}

// ---- PyTorch -----------------------------------------------------------------------------------

enum { TORCH_STEPS = 3, TORCH_SIZE = 64 };

static void read_doubles(const Safetensors *file, const char *name, uint32_t count, double *out)
{
    float values[TORCH_SIZE];
    Error err;
    bool flat = safetensors_read(file, name, 1, count, values, &err);
    if (!flat && !safetensors_read(file, name, count, 1, values, &err)) fail_msg("%s", err.text);
    for (uint32_t i = 0; i < count; i++) out[i] = (double)values[i];
}

static void check_torch(const Safetensors *file, const char *prefix, float limit)
{
    double start[TORCH_SIZE], rates[TORCH_STEPS], norms[TORCH_STEPS];
    Update u;
    update_open(&u, 1, TORCH_SIZE, true);
    read_doubles(file, "p0", TORCH_SIZE, start);
    read_doubles(file, "learning_rates", TORCH_STEPS, rates);
    read_doubles(file, "norms", TORCH_STEPS, norms);
    guard_put_doubles(u.weight, 0, 1, start);
    for (unsigned step = 1; step <= TORCH_STEPS; step++) {
        char name[32];
        double gradient[TORCH_SIZE], want[TORCH_SIZE], norm = norms[step - 1];
        snprintf(name, sizeof name, "g%u", step);
        read_doubles(file, name, TORCH_SIZE, gradient);
        snprintf(name, sizeof name, "%sp%u", prefix, step);
        read_doubles(file, name, TORCH_SIZE, want);
        put_step(u.step, step, (AdamwRates){rates[step - 1], 0.9, 0.999, 1e-8, 0.1});
        update_run(&u, gradient, limit > 0 && norm > limit ? (float)(limit / (norm + 1e-6)) : 1);
        for (uint32_t i = 0; i < TORCH_SIZE; i++)
            near(guard_row(u.weight, 0)[i], want[i], 5e-7, name, i);
    }
    update_close(&u);
}

static void adamw_follows_torch(void **state)
{
    (void)state;
    Safetensors file;
    Error err;
    if (!safetensors_open(&file, TEST_ROOT "/tests/reference/adamw.safetensors", &err))
        fail_msg("%s", err.text);
    check_torch(&file, "", 0);
    check_torch(&file, "clipped.", 1);
    safetensors_close(&file);
}

static void no_validation_messages(void **state)
{
    (void)state;
    assert_int_equal(gpu_validation_messages(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clips_the_norm),
        cmocka_unit_test(clips_nothing_at_zero),
        cmocka_unit_test(clips_by_many_sums),
        cmocka_unit_test(adamw_follows_the_reference),
        cmocka_unit_test(adamw_of_a_large_parameter),
        cmocka_unit_test(adamw_follows_torch),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests_name("op optimizer", tests, open_gpu, close_gpu);
}
