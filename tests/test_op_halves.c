// Ops on parameters of 16 bits: rounding against the host's (base/half.h), every kernel against its
// f32 twin on the same values.
#define _POSIX_C_SOURCE 200809L
#include "ops/ops.h"
#include "support/device.h"
#include "support/halves.h"

#include "../shaders/args.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void same_halves(Dtype dtype, uint16_t got, uint16_t want, float from)
{
    bool both_nan = isnan(half_widen(dtype, got)) && isnan(half_widen(dtype, want));
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
            float value = half_widen(dtype, (uint16_t)p);
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
          *to = half_guard(&guards, &y, dtype, PATTERNS, AROUND * 4);
    float *from = half_bytes(x, false);
    for (int i = 0; i < 4; i++) put_edges(from + i * AROUND * PATTERNS, dtype);
    guard_open(to, 0, PATTERNS);
    Tape *tape = half_begin();
    op_narrow(tape, y, x->view);
    half_finish(&guards, tape, "narrow");
    const uint16_t *got = half_bytes(to, true);
    for (uint32_t i = 0; i < AROUND * PATTERNS; i++)
        same_halves(dtype, got[i], half_narrow(dtype, from[i]), from[i]);
    guards_free(&guards);
}

static void narrows_as_the_host_does(void **state)
{
    (void)state;
    for (int i = 0; i < HALF_TYPES; i++) check_narrow(HALVES[i]);
}

static void check_widen(Dtype dtype)
{
    enum { COLS = 64, ROWS = PATTERNS / COLS };
    Guards guards = {.gpu = device};
    Counts *counts = half_counts(ROWS);
    Tensor kept;
    Guard *from = half_guard(&guards, &kept, dtype, ROWS, COLS),
          *x = guards_add(&guards, ROWS, COLS);
    for (uint32_t p = 0; p < PATTERNS; p++) ((uint16_t *)half_bytes(from, false))[p] = (uint16_t)p;
    guard_open(x, 0, ROWS);
    Tape *tape = half_begin();
    op_widen(tape, x->view, kept, (Rows){counts, HALF_SLOT, 0, ROWS});
    half_finish(&guards, tape, "widen");
    for (uint32_t p = 0; p < PATTERNS; p++) {
        float got = ((float *)half_bytes(x, true))[p], want = half_widen(dtype, (uint16_t)p);
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
    for (int i = 0; i < HALF_TYPES; i++) check_widen(HALVES[i]);
}

// What is kept is what x becomes; with nothing to keep x becomes the same. Rows behind the count
// stay.
static void keeps_what_is_read(void **state)
{
    (void)state;
    enum { ROWS = 9, COLS = 68, COUNT = 7 };
    for (int t = 0; t < HALF_TYPES; t++) {
        Guards guards = {.gpu = device};
        Counts *counts = half_counts(COUNT);
        const Rows rows = {counts, HALF_SLOT, 0, ROWS};
        Tensor kept;
        Guard *to = half_guard(&guards, &kept, HALVES[t], ROWS, COLS);
        Guard *x = guards_add(&guards, ROWS, COLS), *alone = guards_add(&guards, ROWS, COLS);
        half_random(x, 3);
        half_random(alone, 3);
        guard_open(x, 0, COUNT);
        guard_open(alone, 0, COUNT);
        guard_open(to, 0, COUNT);
        Tape *tape = half_begin();
        op_keep(tape, kept, x->view, HALVES[t], rows);
        op_keep(tape, (Tensor){0}, alone->view, HALVES[t], rows);
        half_finish(&guards, tape, "keep");
        for (uint32_t i = 0; i < COUNT * COLS; i++) {
            uint16_t want = half_narrow(HALVES[t], ((float *)half_bytes(x, false))[i]);
            assert_int_equal(((uint16_t *)half_bytes(to, true))[i], want);
            assert_true(((float *)half_bytes(x, true))[i] == half_widen(HALVES[t], want));
            assert_true(((float *)half_bytes(alone, true))[i] == half_widen(HALVES[t], want));
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
    Counts *counts = half_counts(p->rows);
    const Rows rows = {counts, HALF_SLOT, 0, p->rows};
    Tensor w;
    Guard *half = half_guard(&guards, &w, dtype, p->n, p->k),
          *full = guards_add(&guards, p->n, p->k);
    Guard *x = guards_add(&guards, p->rows, p->k), *dy = guards_add(&guards, p->rows, p->n);
    Guard *y[2], *dx[2];
    half_twins(half, full, dtype, 1, 1);
    half_random(x, 2);
    half_random(dy, 3);
    for (int i = 0; i < 2; i++) {
        y[i] = guards_add(&guards, p->rows, p->n);
        dx[i] = guards_add(&guards, p->rows, p->k);
        guard_open(y[i], 0, p->rows);
        guard_open(dx[i], 0, p->rows);
    }
    Tape *tape = half_begin();
    for (int i = 0; i < 2; i++) {
        op_matmul(tape, y[i]->view, x->view, i ? full->view : w, rows);
        op_matmul_back_x(tape, dx[i]->view, dy->view, i ? full->view : w, false, rows);
    }
    half_finish(&guards, tape, "weights");
    assert_memory_equal(half_bytes(y[0], true), half_bytes(y[1], true), 4 * p->rows * p->n);
    // Slices hold twice the rows in 16 bits, and dx is their sum.
    float most = getenv("STRATA_SLICE_BYTES") ? 1e-5f : 0;
    for (uint32_t i = 0; i < p->rows * p->k; i++)
        assert_true(fabsf(((float *)half_bytes(dx[0], true))[i] -
                          ((float *)half_bytes(dx[1], true))[i]) <= most);
    counts_close(counts);
    guards_free(&guards);
}

// halves after = round(halves before + what the f32 kernel adds to zeros).
static void check_sums(const Guard *halves, const Guard *sums, Dtype dtype)
{
    const uint16_t *before = half_bytes(halves, false), *after = half_bytes(halves, true);
    const float *sum = half_bytes(sums, true);
    for (uint64_t i = 0; i < (uint64_t)sums->view.rows * sums->view.cols; i++)
        same_halves(dtype, after[i], half_narrow(dtype, half_widen(dtype, before[i]) + sum[i]),
                    sum[i]);
}

static void check_gradient(const Product *p, Dtype dtype)
{
    Guards guards = {.gpu = device};
    Counts *counts = half_counts(p->rows);
    const Rows rows = {counts, HALF_SLOT, 0, p->rows};
    Tensor dw;
    Guard *half = half_guard(&guards, &dw, dtype, p->n, p->k),
          *full = guards_add(&guards, p->n, p->k);
    Guard *x = guards_add(&guards, p->rows, p->k), *dy = guards_add(&guards, p->rows, p->n);
    half_twins(half, full, dtype, 1, 1);
    memset(half_bytes(full, false), 0, 4 * (size_t)p->n * p->k);
    half_random(x, 2);
    half_random(dy, 3);
    guard_open(half, 0, p->n);
    guard_open(full, 0, p->n);
    Tape *tape = half_begin();
    op_matmul_back_w(tape, dw, dy->view, x->view, rows);
    op_matmul_back_w(tape, full->view, dy->view, x->view, rows);
    half_finish(&guards, tape, "gradient");
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
            for (int t = 0; t < HALF_TYPES; t++) check(&PRODUCTS[p], HALVES[t]);
        unsetenv("STRATA_VARIANT");
    }
    setenv("STRATA_SLICE_BYTES", "16384", 1);
    for (int t = 0; t < HALF_TYPES; t++) check(&PRODUCTS[3], HALVES[t]);
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
    for (int t = 0; t < HALF_TYPES; t++) {
        Guards guards = {.gpu = device};
        Counts *counts = half_counts(DISTINCT);
        const Rows distinct = {counts, HALF_SLOT, 0, DISTINCT};
        Tensor table;
        Guard *half = half_guard(&guards, &table, HALVES[t], VOCAB, COLS);
        Guard *full = guards_add(&guards, VOCAB, COLS), *dy = guards_add(&guards, ROWS, COLS);
        Guard *used = guards_add(&guards, DISTINCT + 1, 2), *rows = guards_add(&guards, ROWS, 1);
        half_twins(half, full, HALVES[t], 1, 1);
        memset(half_bytes(full, false), 0, 4 * VOCAB * COLS);
        half_random(dy, 2);
        guard_put(used, 0, DISTINCT + 1, uses);
        guard_put(rows, 0, ROWS, order);
        guard_open(half, 0, VOCAB);
        guard_open(full, 0, VOCAB);
        Tape *tape = half_begin();
        op_embed_back(tape, table, dy->view, used->view, rows->view, distinct);
        op_embed_back(tape, full->view, dy->view, used->view, rows->view, distinct);
        half_finish(&guards, tape, "embedding");
        check_sums(half, full, HALVES[t]);
        counts_close(counts);
        guards_free(&guards);
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
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests_name("op halves", tests, device_open, device_close);
}
