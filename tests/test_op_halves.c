// Ops on parameters of 16 bits and on moments of 8: rounding against the host's (base/half.h),
// every kernel against its f32 twin on the same values, quantised moments against double.
#define _POSIX_C_SOURCE 200809L
#include "base/half.h"
#include "support/device.h"
#include "support/guards.h"
#include "support/op_cases.h"

#include "../shaders/args.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const Dtype HALVES[] = {DTYPE_F16, DTYPE_BF16};
enum { TYPES = 2, SLOT = 0 };

static uint16_t narrow(Dtype dtype, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return dtype == DTYPE_F16 ? f16_narrow(bits) : bf16_narrow(bits);
}

static float widen(Dtype dtype, uint16_t pattern)
{
    uint32_t bits = dtype == DTYPE_F16 ? f16_widen(pattern) : bf16_widen(pattern);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// Memory for (rows, cols) values of a dtype, under guard; *tensor is how the op sees it.
static Guard *typed(Guards *guards, Tensor *tensor, Dtype dtype, uint32_t rows, uint32_t cols)
{
    Guard *guard = guards_add(guards, rows, cols * dtype_size(dtype) / 4);
    *tensor = guard->view;
    tensor->cols = cols;
    tensor->dtype = dtype;
    return guard;
}

static void *bytes_of(const Guard *guard, bool after)
{
    return (after ? guard->now : guard->image) + guard->first;
}

// Fills with random values; halves and their f32 twin hold the same ones.
static void put_twins(Guard *halves, Guard *floats, Dtype dtype, uint64_t seed, double factor)
{
    uint64_t count = (uint64_t)floats->view.rows * floats->view.cols;
    double *values = calloc(count, sizeof *values);
    assert_non_null(values);
    op_random(values, count, seed);
    for (uint64_t i = 0; i < count; i++) {
        uint16_t pattern = narrow(dtype, (float)(factor * values[i]));
        ((uint16_t *)bytes_of(halves, false))[i] = pattern;
        ((float *)bytes_of(floats, false))[i] = widen(dtype, pattern);
    }
    free(values);
}

static void put_random(Guard *guard, uint64_t seed)
{
    uint64_t count = (uint64_t)guard->view.rows * guard->view.cols;
    double *values = calloc(count, sizeof *values);
    assert_non_null(values);
    op_random(values, count, seed);
    guard_put_doubles(guard, 0, guard->view.rows, values);
    free(values);
}

static Tape *begin(void)
{
    Error err;
    Tape *tape = tape_begin(device, "halves", &err);
    if (!tape) fail_msg("%s", err.text);
    return tape;
}

// Ends, runs twice, checks canaries.
static void finish(Guards *guards, Tape *tape, const char *what)
{
    Error err;
    if (!tape_end(tape, &err)) fail_msg("%s: %s", what, err.text);
    guards_run(guards, tape);
    guards_check(guards, what);
    guards_repeat(guards, tape, what);
    tape_free(tape);
}

static Counts *counts_of(uint32_t rows)
{
    Error err;
    Counts *counts = counts_open(device, &err);
    if (!counts) fail_msg("%s", err.text);
    counts_set(counts, SLOT, rows);
    return counts;
}

static void same_halves(Dtype dtype, uint16_t got, uint16_t want, float from)
{
    bool both_nan = isnan(widen(dtype, got)) && isnan(widen(dtype, want));
    if (got != want && !both_nan)
        fail_msg("%s of %.9g: %04x, expected %04x", dtype_name(dtype), (double)from, got, want);
}

// ---- rounding ----------------------------------------------------------------------------------

enum { PATTERNS = 65536, AROUND = 5 };

// Every value of 16 bits, the middle to the next one, and the f32 values beside both.
static void put_edges(float *out, Dtype dtype)
{
    const uint32_t half = dtype == DTYPE_F16 ? 0x1000 : 0x8000;
    const int32_t steps[AROUND] = {0, 1, (int32_t)half - 1, (int32_t)half, (int32_t)half + 1};
    for (uint32_t p = 0; p < PATTERNS; p++)
        for (int i = 0; i < AROUND; i++) {
            float value = widen(dtype, (uint16_t)p);
            uint32_t bits;
            memcpy(&bits, &value, sizeof bits);
            bits += (uint32_t)steps[i];
            memcpy(&out[AROUND * p + (uint32_t)i], &bits, sizeof bits);
        }
}

static void check_narrow(Dtype dtype)
{
    Guards guards = {.gpu = device};
    Tensor y;
    Guard *x = guards_add(&guards, PATTERNS, AROUND * 4),
          *to = typed(&guards, &y, dtype, PATTERNS, AROUND * 4);
    float *from = bytes_of(x, false);
    for (int i = 0; i < 4; i++) put_edges(from + i * AROUND * PATTERNS, dtype);
    guard_open(to, 0, PATTERNS);
    Tape *tape = begin();
    op_narrow(tape, y, x->view);
    finish(&guards, tape, "narrow");
    const uint16_t *got = bytes_of(to, true);
    for (uint32_t i = 0; i < AROUND * PATTERNS; i++)
        same_halves(dtype, got[i], narrow(dtype, from[i]), from[i]);
    guards_free(&guards);
}

static void narrows_as_the_host_does(void **state)
{
    (void)state;
    for (int i = 0; i < TYPES; i++) check_narrow(HALVES[i]);
}

static void check_widen(Dtype dtype)
{
    enum { COLS = 64, ROWS = PATTERNS / COLS };
    Guards guards = {.gpu = device};
    Counts *counts = counts_of(ROWS);
    Tensor kept;
    Guard *from = typed(&guards, &kept, dtype, ROWS, COLS), *x = guards_add(&guards, ROWS, COLS);
    for (uint32_t p = 0; p < PATTERNS; p++) ((uint16_t *)bytes_of(from, false))[p] = (uint16_t)p;
    guard_open(x, 0, ROWS);
    Tape *tape = begin();
    op_widen(tape, x->view, kept, (Rows){counts, SLOT, 0, ROWS});
    finish(&guards, tape, "widen");
    for (uint32_t p = 0; p < PATTERNS; p++) {
        float got = ((float *)bytes_of(x, true))[p], want = widen(dtype, (uint16_t)p);
        if (memcmp(&got, &want, sizeof got) && !(isnan(got) && isnan(want)))
            fail_msg("%s %04x: %.9g, expected %.9g", dtype_name(dtype), p, (double)got,
                     (double)want);
    }
    counts_close(counts);
    guards_free(&guards);
}

static void widens_exactly(void **state)
{
    (void)state;
    for (int i = 0; i < TYPES; i++) check_widen(HALVES[i]);
}

// What is kept is what x becomes; with nothing to keep x becomes the same. Rows behind the count
// stay.
static void keeps_what_is_read(void **state)
{
    (void)state;
    enum { ROWS = 9, COLS = 68, COUNT = 7 };
    for (int t = 0; t < TYPES; t++) {
        Guards guards = {.gpu = device};
        Counts *counts = counts_of(COUNT);
        const Rows rows = {counts, SLOT, 0, ROWS};
        Tensor kept;
        Guard *to = typed(&guards, &kept, HALVES[t], ROWS, COLS);
        Guard *x = guards_add(&guards, ROWS, COLS), *alone = guards_add(&guards, ROWS, COLS);
        put_random(x, 3);
        put_random(alone, 3);
        guard_open(x, 0, COUNT);
        guard_open(alone, 0, COUNT);
        guard_open(to, 0, COUNT);
        Tape *tape = begin();
        op_keep(tape, kept, x->view, HALVES[t], rows);
        op_keep(tape, (Tensor){0}, alone->view, HALVES[t], rows);
        finish(&guards, tape, "keep");
        for (uint32_t i = 0; i < COUNT * COLS; i++) {
            uint16_t want = narrow(HALVES[t], ((float *)bytes_of(x, false))[i]);
            assert_int_equal(((uint16_t *)bytes_of(to, true))[i], want);
            assert_true(((float *)bytes_of(x, true))[i] == widen(HALVES[t], want));
            assert_true(((float *)bytes_of(alone, true))[i] == widen(HALVES[t], want));
        }
        counts_close(counts);
        guards_free(&guards);
    }
}

// ---- matrices ----------------------------------------------------------------------------------

typedef struct {
    uint32_t rows, n, k;
} Product;
static const Product PRODUCTS[] = {
    {1, 4, 4}, {3, 8, 12}, {17, 36, 64}, {70, 300, 64}, {2, 64, 260}};
enum { PRODUCT_COUNT = sizeof PRODUCTS / sizeof *PRODUCTS };

// With weights of 16 bits, y and dx are to the bit those of the same weights in f32.
static void check_weights(const Product *p, Dtype dtype)
{
    Guards guards = {.gpu = device};
    Counts *counts = counts_of(p->rows);
    const Rows rows = {counts, SLOT, 0, p->rows};
    Tensor w;
    Guard *half = typed(&guards, &w, dtype, p->n, p->k), *full = guards_add(&guards, p->n, p->k);
    Guard *x = guards_add(&guards, p->rows, p->k), *dy = guards_add(&guards, p->rows, p->n);
    Guard *y[2], *dx[2];
    put_twins(half, full, dtype, 1, 1);
    put_random(x, 2);
    put_random(dy, 3);
    for (int i = 0; i < 2; i++) {
        y[i] = guards_add(&guards, p->rows, p->n);
        dx[i] = guards_add(&guards, p->rows, p->k);
        guard_open(y[i], 0, p->rows);
        guard_open(dx[i], 0, p->rows);
    }
    Tape *tape = begin();
    for (int i = 0; i < 2; i++) {
        op_matmul(tape, y[i]->view, x->view, i ? full->view : w, rows);
        op_matmul_back_x(tape, dx[i]->view, dy->view, i ? full->view : w, false, rows);
    }
    finish(&guards, tape, "weights");
    assert_memory_equal(bytes_of(y[0], true), bytes_of(y[1], true), 4 * p->rows * p->n);
    // Slices hold twice the rows in 16 bits, and dx is their sum.
    float most = getenv("STRATA_SLICE_BYTES") ? 1e-5f : 0;
    for (uint32_t i = 0; i < p->rows * p->k; i++)
        assert_true(fabsf(((float *)bytes_of(dx[0], true))[i] -
                          ((float *)bytes_of(dx[1], true))[i]) <= most);
    counts_close(counts);
    guards_free(&guards);
}

// halves after = round(halves before + what the f32 kernel adds to zeros).
static void check_sums(const Guard *halves, const Guard *sums, Dtype dtype)
{
    const uint16_t *before = bytes_of(halves, false), *after = bytes_of(halves, true);
    const float *sum = bytes_of(sums, true);
    for (uint64_t i = 0; i < (uint64_t)sums->view.rows * sums->view.cols; i++)
        same_halves(dtype, after[i], narrow(dtype, widen(dtype, before[i]) + sum[i]), sum[i]);
}

static void check_gradient(const Product *p, Dtype dtype)
{
    Guards guards = {.gpu = device};
    Counts *counts = counts_of(p->rows);
    const Rows rows = {counts, SLOT, 0, p->rows};
    Tensor dw;
    Guard *half = typed(&guards, &dw, dtype, p->n, p->k), *full = guards_add(&guards, p->n, p->k);
    Guard *x = guards_add(&guards, p->rows, p->k), *dy = guards_add(&guards, p->rows, p->n);
    put_twins(half, full, dtype, 1, 1);
    memset(bytes_of(full, false), 0, 4 * (size_t)p->n * p->k);
    put_random(x, 2);
    put_random(dy, 3);
    guard_open(half, 0, p->n);
    guard_open(full, 0, p->n);
    Tape *tape = begin();
    op_matmul_back_w(tape, dw, dy->view, x->view, rows);
    op_matmul_back_w(tape, full->view, dy->view, x->view, rows);
    finish(&guards, tape, "gradient");
    check_sums(half, full, dtype);
    counts_close(counts);
    guards_free(&guards);
}

static void each_variant(void (*check)(const Product *, Dtype))
{
    static const char *const variants[] = {NULL, "vec4", "shuffle", "texel"};
    for (int v = 0; v < 4; v++) {
        if (variants[v]) setenv("STRATA_VARIANT", variants[v], 1);
        for (int p = 0; p < PRODUCT_COUNT; p++)
            for (int t = 0; t < TYPES; t++) check(&PRODUCTS[p], HALVES[t]);
        unsetenv("STRATA_VARIANT");
    }
    setenv("STRATA_SLICE_BYTES", "16384", 1);
    for (int t = 0; t < TYPES; t++) check(&PRODUCTS[3], HALVES[t]);
    unsetenv("STRATA_SLICE_BYTES");
}

static void weights_are_read_exactly(void **state)
{
    (void)state;
    each_variant(check_weights);
}

static void gradients_are_rounded_once(void **state)
{
    (void)state;
    each_variant(check_gradient);
}

static void embedding_gradients_are_rounded_once(void **state)
{
    (void)state;
    enum { VOCAB = 8, COLS = 36, ROWS = 5, DISTINCT = 3 };
    static const uint32_t uses[] = {1, 0, 4, 2, 7, 3, 0, ROWS}, order[ROWS] = {4, 0, 2, 1, 3};
    for (int t = 0; t < TYPES; t++) {
        Guards guards = {.gpu = device};
        Counts *counts = counts_of(DISTINCT);
        const Rows distinct = {counts, SLOT, 0, DISTINCT};
        Tensor table;
        Guard *half = typed(&guards, &table, HALVES[t], VOCAB, COLS);
        Guard *full = guards_add(&guards, VOCAB, COLS), *dy = guards_add(&guards, ROWS, COLS);
        Guard *used = guards_add(&guards, DISTINCT + 1, 2), *rows = guards_add(&guards, ROWS, 1);
        put_twins(half, full, HALVES[t], 1, 1);
        memset(bytes_of(full, false), 0, 4 * VOCAB * COLS);
        put_random(dy, 2);
        guard_put(used, 0, DISTINCT + 1, uses);
        guard_put(rows, 0, ROWS, order);
        guard_open(half, 0, VOCAB);
        guard_open(full, 0, VOCAB);
        Tape *tape = begin();
        op_embed_back(tape, table, dy->view, used->view, rows->view, distinct);
        op_embed_back(tape, full->view, dy->view, used->view, rows->view, distinct);
        finish(&guards, tape, "embedding");
        check_sums(half, full, HALVES[t]);
        counts_close(counts);
        guards_free(&guards);
    }
}

// ---- the optimizer -----------------------------------------------------------------------------

static Guard *step_values(Guards *guards, float time, float unscale)
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

// The norm of halves, the loss having been scaled by 8.
static void measures_halves(void **state)
{
    (void)state;
    enum { ROWS = 300, COLS = 64 };
    for (int t = 0; t < TYPES; t++) {
        Guards guards = {.gpu = device};
        Tensor gradient;
        Guard *half = typed(&guards, &gradient, HALVES[t], ROWS, COLS);
        Guard *full = guards_add(&guards, ROWS, COLS), *partials = guards_add(&guards, 1, 5);
        Guard *clip = guards_add(&guards, 1, 2), *step = step_values(&guards, 1, 0.125f);
        put_twins(half, full, HALVES[t], 1, 8);
        ((float *)bytes_of(step, false))[STEP_CLIP] = 2;
        guard_open(partials, 0, 1);
        guard_open(clip, 0, 1);
        Tape *tape = begin();
        assert_int_equal(op_sum_squares(tape, partials->view, 0, gradient), 5);
        op_clip(tape, clip->view, partials->view, 5, step->view);
        finish(&guards, tape, "norm of halves");
        double squares = 0;
        for (uint32_t i = 0; i < ROWS * COLS; i++)
            squares += pow(((float *)bytes_of(full, false))[i], 2);
        double norm = sqrt(squares) / 8;
        const float *got = bytes_of(clip, true);
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
    for (int t = 0; t < TYPES; t++) {
        Guards guards = {.gpu = device};
        Tensor gradient;
        Guard *half = typed(&guards, &gradient, HALVES[t], ROWS, COLS);
        Guard *full = guards_add(&guards, ROWS, COLS), *own[2][3];
        Guard *clip = guards_add(&guards, 1, 2), *step = step_values(&guards, 3, 1);
        put_twins(half, full, HALVES[t], 1, 1);
        guard_put(clip, 0, 1, (float[]){1, 0.5f});
        for (int i = 0; i < 6; i++) {
            Guard *guard = own[i / 3][i % 3] = guards_add(&guards, ROWS, COLS);
            put_random(guard, 5 + (uint64_t)i % 3);
            for (uint32_t v = 0; i % 3 == 2 && v < ROWS * COLS; v++)
                ((float *)bytes_of(guard, false))[v] *= ((float *)bytes_of(guard, false))[v];
            guard_open(guard, 0, ROWS);
        }
        Tape *tape = begin();
        for (int i = 0; i < 2; i++)
            op_adamw(tape, own[i][0]->view, &(Moments){own[i][1]->view, own[i][2]->view},
                     i ? full->view : gradient, step->view, clip->view, true, 0);
        finish(&guards, tape, "update from halves");
        for (int i = 0; i < 3; i++)
            assert_memory_equal(bytes_of(own[0][i], true), bytes_of(own[1][i], true),
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
    q->gradient = typed(&q->guards, &q->gradient_view, gradient, Q_ROWS, Q_COLS);
    for (int i = 0; i < 2; i++) {
        q->codes[i] = typed(&q->guards, &q->code_views[i], DTYPE_U8, Q_ROWS, Q_COLS);
        q->scales[i] = guards_add(&q->guards, 1, Q_BLOCKS);
        memset(bytes_of(q->codes[i], false), 0, Q_COUNT);
        memset(bytes_of(q->scales[i], false), 0, 4 * Q_BLOCKS);
        guard_open(q->codes[i], 0, Q_ROWS);
        guard_open(q->scales[i], 0, 1);
    }
    q->step = step_values(&q->guards, 1, 1);
    q->clip = guards_add(&q->guards, 1, 2);
    guard_put(q->clip, 0, 1, (float[]){1, 0.5f});
    put_random(q->weight, 1);
    guard_open(q->weight, 0, Q_ROWS);
    assert_int_equal(op_moment_scales(Q_ROWS, Q_COLS), Q_BLOCKS);
    q->tape = begin();
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
    uint8_t code = ((uint8_t *)bytes_of(q->codes[square], after))[i];
    double scale = ((float *)bytes_of(q->scales[square], after))[i / 256];
    if (square) return scale * pow(code / 255.0, 4);
    return (code & 128 ? -1 : 1) * scale * pow((code & 127) / 127.0, 2);
}

// How far apart codes lie around a value.
static double spacing(const Quantised *q, bool square, uint32_t i, double value)
{
    double scale = ((float *)bytes_of(q->scales[square], true))[i / 256];
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
        ((float *)bytes_of(q->gradient, false))[i] =
            i % 50 == 7 ? 0 : (float)(values[i] * pow(10, -(double)(i % 8)));
}

// One step against double: the update is not rounded, each moment takes a code beside its value.
static void check_quantised_step(Quantised *q, unsigned time)
{
    double c1 = 1 - pow(0.9f, time), c2 = 1 - pow(0.999f, time);
    ((float *)bytes_of(q->step, false))[STEP_CORRECTION1] = (float)c1;
    ((float *)bytes_of(q->step, false))[STEP_CORRECTION2] = (float)c2;
    ((float *)bytes_of(q->step, false))[STEP_TIME] = (float)time;
    put_gradient(q, time);
    guards_run(&q->guards, q->tape);
    guards_check(&q->guards, "quantised");
    guards_repeat(&q->guards, q->tape, "quantised");
    for (uint32_t i = 0; i < Q_COUNT; i++) {
        double g = 0.5 * ((float *)bytes_of(q->gradient, false))[i];
        double m = 0.9 * decode(q, false, false, i) + 0.1 * g;
        double v = 0.999 * decode(q, true, false, i) + 0.001 * g * g;
        double p = ((float *)bytes_of(q->weight, false))[i];
        p -= 0.01 * 0.1 * p;
        double want = p - 0.01 / c1 * m / (sqrt(v / c2) + 1e-8);
        double got = ((float *)bytes_of(q->weight, true))[i];
        if (!(fabs(got - want) <= 4e-6 * (1 + fabs(want))))
            fail_msg("step %u: weight %u: %.9g, expected %.9g", time, i, got, want);
        if (!(fabs(decode(q, false, true, i) - m) <= spacing(q, false, i, m)))
            fail_msg("step %u: mean %u: %.9g, expected %.9g", time, i, decode(q, false, true, i),
                     m);
        bool lifted = ((uint8_t *)bytes_of(q->codes[1], true))[i] == 1;
        if (!lifted && !(fabs(decode(q, true, true, i) - v) <= spacing(q, true, i, v)))
            fail_msg("step %u: square %u: %.9g, expected %.9g", time, i, decode(q, true, true, i),
                     v);
        assert_true((v > 0) == (((uint8_t *)bytes_of(q->codes[1], true))[i] > 0));
    }
}

static void take_over(Quantised *q)
{
    Guard *const all[] = {q->weight, q->codes[0], q->codes[1], q->scales[0], q->scales[1]};
    for (int i = 0; i < 5; i++)
        memcpy(bytes_of(all[i], false), bytes_of(all[i], true),
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
        ((float *)bytes_of(q.gradient, false))[i] = i % 256 ? 1 : 4; // which sets the scale
    for (unsigned time = 1; time <= STEPS; time++) {
        ((float *)bytes_of(q.step, false))[STEP_TIME] = (float)time;
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
    for (int t = 0; t < TYPES; t++) {
        Quantised q[2];
        quantised_open(&q[0], HALVES[t]);
        quantised_open(&q[1], DTYPE_F32);
        put_twins(q[0].gradient, q[1].gradient, HALVES[t], 4, 1);
        for (int i = 0; i < 2; i++) {
            guards_run(&q[i].guards, q[i].tape);
            guards_check(&q[i].guards, "quantised from halves");
        }
        assert_memory_equal(bytes_of(q[0].weight, true), bytes_of(q[1].weight, true), 4 * Q_COUNT);
        for (int i = 0; i < 2; i++)
            assert_memory_equal(bytes_of(q[0].codes[i], true), bytes_of(q[1].codes[i], true),
                                Q_COUNT);
        quantised_close(&q[0]);
        quantised_close(&q[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(narrows_as_the_host_does),
        cmocka_unit_test(widens_exactly),
        cmocka_unit_test(keeps_what_is_read),
        cmocka_unit_test(weights_are_read_exactly),
        cmocka_unit_test(gradients_are_rounded_once),
        cmocka_unit_test(embedding_gradients_are_rounded_once),
        cmocka_unit_test(measures_halves),
        cmocka_unit_test(updates_from_halves),
        cmocka_unit_test(quantised_moments_follow),
        cmocka_unit_test(small_steps_are_not_lost),
        cmocka_unit_test(quantised_from_halves),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests_name("op halves", tests, device_open, device_close);
}
