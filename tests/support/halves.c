// What tests of 16-bit parameters and 8-bit moments share: see halves.h.
#include "support/halves.h"
#include "base/half.h"
#include "support/device.h"
#include "reference/op_cases.h"

#include "../../shaders/args.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

const Dtype HALVES[HALF_TYPES] = {DTYPE_F16, DTYPE_BF16};

uint16_t half_narrow(Dtype dtype, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return dtype == DTYPE_F16 ? f16_narrow(bits) : bf16_narrow(bits);
}

float half_widen(Dtype dtype, uint16_t pattern)
{
    uint32_t bits = dtype == DTYPE_F16 ? f16_widen(pattern) : bf16_widen(pattern);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

Guard *half_guard(Guards *guards, Tensor *tensor, Dtype dtype, uint32_t rows, uint32_t cols)
{
    Guard *guard = guards_add(guards, rows, cols * dtype_size(dtype) / 4);
    *tensor = guard->view;
    tensor->cols = cols;
    tensor->dtype = dtype;
    return guard;
}

void *half_bytes(const Guard *guard, bool after)
{
    return (after ? guard->now : guard->image) + guard->first;
}

void half_twins(Guard *halves, Guard *floats, Dtype dtype, uint64_t seed, double factor)
{
    uint64_t count = (uint64_t)floats->view.rows * floats->view.cols;
    double *values = calloc(count, sizeof *values);
    assert_non_null(values);
    op_random(values, count, seed);
    for (uint64_t i = 0; i < count; i++) {
        uint16_t pattern = half_narrow(dtype, (float)(factor * values[i]));
        ((uint16_t *)half_bytes(halves, false))[i] = pattern;
        ((float *)half_bytes(floats, false))[i] = half_widen(dtype, pattern);
    }
    free(values);
}

void half_random(Guard *guard, uint64_t seed)
{
    uint64_t count = (uint64_t)guard->view.rows * guard->view.cols;
    double *values = calloc(count, sizeof *values);
    assert_non_null(values);
    op_random(values, count, seed);
    guard_put_doubles(guard, 0, guard->view.rows, values);
    free(values);
}

Tape *half_begin(void)
{
    Error err;
    Tape *tape = tape_begin(device, "halves", &err);
    if (!tape) fail_msg("%s", err.text);
    return tape;
}

void half_finish(Guards *guards, Tape *tape, const char *what)
{
    Error err;
    if (!tape_end(tape, &err)) fail_msg("%s: %s", what, err.text);
    guards_run(guards, tape);
    guards_check(guards, what);
    guards_repeat(guards, tape, what);
    tape_free(tape);
}

Counts *half_counts(uint32_t rows)
{
    Error err;
    Counts *counts = counts_open(device, &err);
    if (!counts) fail_msg("%s", err.text);
    counts_set(counts, HALF_SLOT, rows);
    return counts;
}

Guard *half_step(Guards *guards, float time, float unscale)
{
    const float step[STEP_VALUES] = {
        [STEP_RATE] = 0.01f,
        [STEP_BETA1] = 0.9f,
        [STEP_BETA2] = 0.999f,
        [STEP_EPSILON] = 1e-8f,
        [STEP_DECAY] = 0.1f,
        [STEP_CORRECTION1] = 1 - powf(0.9f, time),
        [STEP_CORRECTION2] = 1 - powf(0.999f, time),
        [STEP_REST1] = 0.1f,
        [STEP_REST2] = 0.001f,
        [STEP_UNSCALE] = unscale,
        [STEP_TIME] = time,
    };
    Guard *guard = guards_add(guards, 1, STEP_VALUES);
    guard_put(guard, 0, 1, step);
    return guard;
}
