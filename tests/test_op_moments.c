// The optimizer's ops on gradients of 16 bits and on moments of 8: against their f32 twins and
// against double.
#define _POSIX_C_SOURCE 200809L
#include "ops/ops.h"
#include "support/device.h"
#include "support/halves.h"
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

// ---- the optimizer -----------------------------------------------------------------------------

// The norm of halves, the loss having been scaled by 8.
static void measures_halves(void **state)
{
    (void)state;
    enum { ROWS = 300, COLS = 64 };
    for (int t = 0; t < HALF_TYPES; t++) {
        Guards guards = {.gpu = device};
        Tensor gradient;
        Guard *half = half_guard(&guards, &gradient, HALVES[t], ROWS, COLS);
        Guard *full = guards_add(&guards, ROWS, COLS), *partials = guards_add(&guards, 1, 5);
        Guard *clip = guards_add(&guards, 1, 2), *step = half_step(&guards, 1, 0.125f);
        half_twins(half, full, HALVES[t], 1, 8);
        ((float *)half_bytes(step, false))[STEP_CLIP] = 2;
        guard_open(partials, 0, 1);
        guard_open(clip, 0, 1);
        Tape *tape = half_begin();
        assert_int_equal(op_sum_squares(tape, partials->view, 0, gradient), 5);
        op_clip(tape, clip->view, partials->view, 5, step->view);
        half_finish(&guards, tape, "norm of halves");
        double squares = 0;
        for (uint32_t i = 0; i < ROWS * COLS; i++)
            squares += pow(((float *)half_bytes(full, false))[i], 2);
        double norm = sqrt(squares) / 8;
        const float *got = half_bytes(clip, true);
        assert_true(fabs(got[CLIP_NORM] - norm) <= 1e-5 * norm);
        assert_true(fabs(got[CLIP_SCALE] - 0.125 * 2 / norm) <= 1e-5 * 0.125 * 2 / norm);
        guards_free(&guards);
    }
}

// A gradient of 16 bits moves f32 moments and weights as the same gradient in f32 does.
static void updates_from_halves(void **state)
{
    (void)state;
    enum { ROWS = 33, COLS = 132 };
    for (int t = 0; t < HALF_TYPES; t++) {
        Guards guards = {.gpu = device};
        Tensor gradient;
        Guard *half = half_guard(&guards, &gradient, HALVES[t], ROWS, COLS);
        Guard *full = guards_add(&guards, ROWS, COLS), *own[2][3];
        Guard *clip = guards_add(&guards, 1, 2), *step = half_step(&guards, 3, 1);
        half_twins(half, full, HALVES[t], 1, 1);
        guard_put(clip, 0, 1, (float[]){1, 0.5f});
        for (int i = 0; i < 6; i++) {
            Guard *guard = own[i / 3][i % 3] = guards_add(&guards, ROWS, COLS);
            half_random(guard, 5 + (uint64_t)i % 3);
            for (uint32_t v = 0; i % 3 == 2 && v < ROWS * COLS; v++)
                ((float *)half_bytes(guard, false))[v] *= ((float *)half_bytes(guard, false))[v];
            guard_open(guard, 0, ROWS);
        }
        Tape *tape = half_begin();
        for (int i = 0; i < 2; i++)
            op_adamw(tape, own[i][0]->view, &(Moments){own[i][1]->view, own[i][2]->view},
                     i ? full->view : gradient, step->view, clip->view, true, 0);
        half_finish(&guards, tape, "update from halves");
        for (int i = 0; i < 3; i++)
            assert_memory_equal(half_bytes(own[0][i], true), half_bytes(own[1][i], true),
                                4 * ROWS * COLS);
        guards_free(&guards);
    }
}

// ---- moments of 8 bits -------------------------------------------------------------------------

enum { Q_ROWS = 24, Q_COLS = 260, Q_COUNT = Q_ROWS * Q_COLS, Q_BLOCKS = (Q_COUNT + 255) / 256 };

typedef struct {
    Guards guards;
    Guard *weight, *codes[2], *scales[2], *gradient, *step, *clip;
    Tensor code_views[2], gradient_view;
    Tape *tape;
} Quantised;

static void quantised_open(Quantised *q, Dtype gradient)
{
    Error err;
    *q = (Quantised){.guards = {.gpu = device}};
    q->weight = guards_add(&q->guards, Q_ROWS, Q_COLS);
    q->gradient = half_guard(&q->guards, &q->gradient_view, gradient, Q_ROWS, Q_COLS);
    for (int i = 0; i < 2; i++) {
        q->codes[i] = half_guard(&q->guards, &q->code_views[i], DTYPE_U8, Q_ROWS, Q_COLS);
        q->scales[i] = guards_add(&q->guards, 1, Q_BLOCKS);
        memset(half_bytes(q->codes[i], false), 0, Q_COUNT);
        memset(half_bytes(q->scales[i], false), 0, 4 * Q_BLOCKS);
        guard_open(q->codes[i], 0, Q_ROWS);
        guard_open(q->scales[i], 0, 1);
    }
    q->step = half_step(&q->guards, 1, 1);
    q->clip = guards_add(&q->guards, 1, 2);
    guard_put(q->clip, 0, 1, (float[]){1, 0.5f});
    half_random(q->weight, 1);
    guard_open(q->weight, 0, Q_ROWS);
    assert_int_equal(op_moment_scales(Q_ROWS, Q_COLS), Q_BLOCKS);
    q->tape = half_begin();
    op_adamw(q->tape, q->weight->view,
             &(Moments){q->code_views[0], q->code_views[1], q->scales[0]->view, q->scales[1]->view},
             q->gradient_view, q->step->view, q->clip->view, true, 7);
    if (!tape_end(q->tape, &err)) fail_msg("%s", err.text);
}

static void quantised_close(Quantised *q)
{
    tape_free(q->tape);
    guards_free(&q->guards);
}

// What a code stands for: shaders/adamw_q8.comp.
static double decode(const Quantised *q, bool square, bool after, uint32_t i)
{
    uint8_t code = ((uint8_t *)half_bytes(q->codes[square], after))[i];
    double scale = ((float *)half_bytes(q->scales[square], after))[i / 256];
    if (square) return scale * pow(code / 255.0, 4);
    return (code & 128 ? -1 : 1) * scale * pow((code & 127) / 127.0, 2);
}

// How far apart codes lie around a value.
static double spacing(const Quantised *q, bool square, uint32_t i, double value)
{
    double scale = ((float *)half_bytes(q->scales[square], true))[i / 256];
    double c = scale > 0 ? (square ? 255 * pow(fabs(value) / scale, 0.25)
                                   : 127 * sqrt(fabs(value) / scale))
                         : 0;
    return square ? scale * (pow((c + 1.01) / 255, 4) - pow(c / 255, 4))
                  : scale * (pow((c + 1.01) / 127, 2) - pow(c / 127, 2));
}

static void put_gradient(Quantised *q, uint64_t seed)
{
    double values[Q_COUNT];
    op_random(values, Q_COUNT, seed);
    for (uint32_t i = 0; i < Q_COUNT; i++) // seven orders of magnitude, some exactly 0
        ((float *)half_bytes(q->gradient, false))[i] =
            i % 50 == 7 ? 0 : (float)(values[i] * pow(10, -(double)(i % 8)));
}

// One step against double: the update is not rounded, each moment takes a code beside its value.
static void check_quantised_step(Quantised *q, unsigned time)
{
    double c1 = 1 - pow(0.9f, time), c2 = 1 - pow(0.999f, time);
    ((float *)half_bytes(q->step, false))[STEP_CORRECTION1] = (float)c1;
    ((float *)half_bytes(q->step, false))[STEP_CORRECTION2] = (float)c2;
    ((float *)half_bytes(q->step, false))[STEP_TIME] = (float)time;
    put_gradient(q, time);
    guards_run(&q->guards, q->tape);
    guards_check(&q->guards, "quantised");
    guards_repeat(&q->guards, q->tape, "quantised");
    for (uint32_t i = 0; i < Q_COUNT; i++) {
        double g = 0.5 * ((float *)half_bytes(q->gradient, false))[i];
        double m = 0.9 * decode(q, false, false, i) + 0.1 * g;
        double v = 0.999 * decode(q, true, false, i) + 0.001 * g * g;
        double p = ((float *)half_bytes(q->weight, false))[i];
        p -= 0.01 * 0.1 * p;
        double want = p - 0.01 / c1 * m / (sqrt(v / c2) + 1e-8);
        double got = ((float *)half_bytes(q->weight, true))[i];
        if (!(fabs(got - want) <= 4e-6 * (1 + fabs(want))))
            fail_msg("step %u: weight %u: %.9g, expected %.9g", time, i, got, want);
        if (!(fabs(decode(q, false, true, i) - m) <= spacing(q, false, i, m)))
            fail_msg("step %u: mean %u: %.9g, expected %.9g", time, i, decode(q, false, true, i),
                     m);
        bool lifted = ((uint8_t *)half_bytes(q->codes[1], true))[i] == 1;
        if (!lifted && !(fabs(decode(q, true, true, i) - v) <= spacing(q, true, i, v)))
            fail_msg("step %u: square %u: %.9g, expected %.9g", time, i, decode(q, true, true, i),
                     v);
        assert_true((v > 0) == (((uint8_t *)half_bytes(q->codes[1], true))[i] > 0));
    }
}

static void take_over(Quantised *q)
{
    Guard *const all[] = {q->weight, q->codes[0], q->codes[1], q->scales[0], q->scales[1]};
    for (int i = 0; i < 5; i++)
        memcpy(half_bytes(all[i], false), half_bytes(all[i], true),
               4 * (size_t)all[i]->view.rows * all[i]->view.cols);
}

static void quantised_moments_follow(void **state)
{
    (void)state;
    static const char *const lanes[] = {"1", "4", "32"};
    for (int l = 0; l < 3; l++) {
        Quantised q;
        setenv("STRATA_LANES", lanes[l], 1);
        quantised_open(&q, DTYPE_F32);
        unsetenv("STRATA_LANES");
        for (unsigned time = 1; time <= 4; time++) {
            check_quantised_step(&q, time);
            take_over(&q);
        }
        quantised_close(&q);
    }
}

// Rounding that takes either neighbour by chance keeps the mean: under one gradient for 200 steps v
// reaches what it would in double, though a step moves it by less than a code.
static void small_steps_are_not_lost(void **state)
{
    (void)state;
    enum { STEPS = 200 };
    Quantised q;
    quantised_open(&q, DTYPE_F32);
    for (uint32_t i = 0; i < Q_COUNT; i++)
        ((float *)half_bytes(q.gradient, false))[i] = i % 256 ? 1 : 4; // which sets the scale
    for (unsigned time = 1; time <= STEPS; time++) {
        ((float *)half_bytes(q.step, false))[STEP_TIME] = (float)time;
        guards_run(&q.guards, q.tape);
        take_over(&q);
    }
    double sum = 0, count = 0, want = 0.25 * (1 - pow(0.999, STEPS));
    for (uint32_t i = 0; i < Q_COUNT; i++)
        if (i % 256) sum += decode(&q, true, true, i), count++;
    print_message("mean of v: %.6f, in double %.6f\n", sum / count, want);
    assert_true(fabs(sum / count / want - 1) < 0.01);
    quantised_close(&q);
}

static void quantised_from_halves(void **state)
{
    (void)state;
    for (int t = 0; t < HALF_TYPES; t++) {
        Quantised q[2];
        quantised_open(&q[0], HALVES[t]);
        quantised_open(&q[1], DTYPE_F32);
        half_twins(q[0].gradient, q[1].gradient, HALVES[t], 4, 1);
        for (int i = 0; i < 2; i++) {
            guards_run(&q[i].guards, q[i].tape);
            guards_check(&q[i].guards, "quantised from halves");
        }
        assert_memory_equal(half_bytes(q[0].weight, true), half_bytes(q[1].weight, true),
                            4 * Q_COUNT);
        for (int i = 0; i < 2; i++)
            assert_memory_equal(half_bytes(q[0].codes[i], true), half_bytes(q[1].codes[i], true),
                                Q_COUNT);
        quantised_close(&q[0]);
        quantised_close(&q[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measures_halves),          cmocka_unit_test(updates_from_halves),
        cmocka_unit_test(quantised_moments_follow), cmocka_unit_test(small_steps_are_not_lost),
        cmocka_unit_test(quantised_from_halves),    cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests_name("op moments", tests, device_open, device_close);
}
