// What inference alone records: RoPE on the way into the cache, and matrix products that add to the
// residual stream. Attention over the cache is in test_op_paged.c.
#define _POSIX_C_SOURCE 200809L
#include "support/device.h"
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

enum { CONTEXT = 40, SLOTS = 70, MOST = 64 };

// A tape over `rows` of at most MOST rows.
typedef struct {
    Guards guards;
    Counts *counts;
    Tape *tape;
    Rows rows;
} Run;

static void run_open(Run *run, uint32_t most)
{
    Error err;
    *run = (Run){.guards = {.gpu = device}, .counts = counts_open(device, &err)};
    assert_non_null(run->counts);
    run->rows = (Rows){run->counts, 0, 0, most};
}

// Behind all guards: no memory is taken while a tape is recorded.
static void run_record(Run *run)
{
    Error err;
    run->tape = tape_begin(device, "cache", &err);
    assert_non_null(run->tape);
}

static void run_go(Run *run, uint32_t rows, const char *what)
{
    Error err;
    if (!tape_end(run->tape, &err)) fail_msg("%s: %s", what, err.text);
    counts_set(run->counts, 0, rows);
    guards_run(&run->guards, run->tape);
    guards_check(&run->guards, what);
    guards_repeat(&run->guards, run->tape, what);
}

static void run_close(Run *run)
{
    tape_free(run->tape);
    counts_close(run->counts);
    guards_free(&run->guards);
}

static double *random_values(uint64_t count, uint64_t seed)
{
    double *values = malloc(count * sizeof *values);
    assert_non_null(values);
    op_random(values, count, seed);
    return values;
}

static void near(double got, double want)
{
    if (!(fabs(got - want) <= 2e-6)) fail_msg("%.9g, expected %.9g", got, want);
}

// ---- RoPE into the cache -----------------------------------------------------------------------

// Where rows go and what their positions are: neither in order.
static uint32_t slot_of(uint32_t row)
{
    return (row * 29 + 3) % SLOTS;
}

static uint32_t position_of(uint32_t row)
{
    return (row * 11 + 5) % CONTEXT;
}

static void check_turned(const float *got, const double *x, const float *turns, uint32_t heads,
                         uint32_t size)
{
    for (uint32_t h = 0; h < heads; h++)
        for (uint32_t j = 0; j < size / 2; j++) {
            double a = x[h * size + j], b = x[h * size + j + size / 2];
            double c = turns[j], s = turns[size / 2 + j];
            near(got[h * size + j], a * c - b * s);
            near(got[h * size + j + size / 2], b * c + a * s);
        }
}

static void check_rope(Heads heads, uint32_t rows, uint32_t most)
{
    uint32_t q_cols = heads.heads * heads.size, kv_cols = heads.kv_heads * heads.size;
    Run run;
    char what[80];
    snprintf(what, sizeof what, "rope_cache, %u rows of %u heads of %u", rows, heads.heads,
             heads.size);
    run_open(&run, most);
    double *q = random_values((uint64_t)most * q_cols, 1);
    double *k = random_values((uint64_t)most * kv_cols, 2);
    double *v = random_values((uint64_t)most * kv_cols, 3);
    float *angles = malloc(CONTEXT * heads.size * sizeof *angles);
    op_turns(angles, CONTEXT, heads.size, 100);
    Guard *table = guards_add(&run.guards, most, ROW_WORDS);
    Guard *turns = guards_add(&run.guards, CONTEXT, heads.size);
    Guard *slots = guards_add(&run.guards, most, 1);
    Guard *gq = guards_add(&run.guards, most, q_cols), *gk = guards_add(&run.guards, most, kv_cols);
    Guard *gv = guards_add(&run.guards, most, kv_cols);
    Guard *ck = guards_add(&run.guards, SLOTS, kv_cols),
          *cv = guards_add(&run.guards, SLOTS, kv_cols);
    guard_put(turns, 0, CONTEXT, angles);
    guard_put_doubles(gq, 0, rows, q);
    guard_put_doubles(gk, 0, rows, k);
    guard_put_doubles(gv, 0, rows, v);
    guard_open(gq, 0, rows);
    guard_open(ck, 0, SLOTS);
    guard_open(cv, 0, SLOTS);
    for (uint32_t r = 0; r < rows; r++) {
        const uint32_t row[ROW_WORDS] = {position_of(r), 0, 0, 0}, slot = slot_of(r);
        guard_put(table, r, 1, row);
        guard_put(slots, r, 1, &slot);
    }
    run_record(&run);
    op_rope_cache(run.tape, gq->view, ck->view, cv->view, gk->view, gv->view, slots->view,
                  table->view, turns->view, heads, run.rows);
    run_go(&run, rows, what);
    for (uint32_t r = 0; r < rows; r++) {
        const float *row_turns = angles + position_of(r) * heads.size;
        check_turned(guard_row(gq, r), q + (size_t)r * q_cols, row_turns, heads.heads, heads.size);
        check_turned(guard_row(ck, slot_of(r)), k + (size_t)r * kv_cols, row_turns, heads.kv_heads,
                     heads.size);
        for (uint32_t c = 0; c < kv_cols; c++)
            near(guard_row(cv, slot_of(r))[c], v[(size_t)r * kv_cols + c]);
    }
    for (uint32_t s = 0; s < SLOTS; s++) { // no other slot is touched
        bool taken = false;
        for (uint32_t r = 0; r < rows; r++) taken |= slot_of(r) == s;
        if (taken) continue;
        assert_memory_equal(guard_row(ck, s), ck->image + ck->first + (size_t)s * kv_cols,
                            4 * (size_t)kv_cols);
        assert_memory_equal(guard_row(cv, s), cv->image + cv->first + (size_t)s * kv_cols,
                            4 * (size_t)kv_cols);
    }
    run_close(&run);
    free(q);
    free(k);
    free(v);
    free(angles);
}

static void rope_goes_into_the_cache(void **state)
{
    (void)state;
    static const Heads heads[] = {{4, 2, 16}, {1, 1, 2}, {3, 3, 6}, {8, 1, 128}, {6, 2, 64}};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        check_rope(heads[i], 1, 1);
        check_rope(heads[i], 37, MOST);
    }
    setenv("STRATA_VARIANT", "any", 1);
    check_rope(heads[0], 5, 8);
    unsetenv("STRATA_VARIANT");
}

// ---- products that add -------------------------------------------------------------------------

// y += x w^T is, to the bit, the product and then the sum.
static void check_product(uint32_t rows, uint32_t most, uint32_t k, uint32_t n)
{
    Run run;
    run_open(&run, most);
    double *x = random_values((uint64_t)rows * k, 4), *w = random_values((uint64_t)n * k, 5);
    double *before = random_values((uint64_t)rows * n, 6);
    Guard *gx = guards_add(&run.guards, most, k), *gw = guards_add(&run.guards, n, k);
    Guard *y = guards_add(&run.guards, most, n), *product = guards_add(&run.guards, most, n);
    guard_put_doubles(gx, 0, rows, x);
    guard_put_doubles(gw, 0, n, w);
    guard_put_doubles(y, 0, rows, before);
    guard_open(y, 0, rows);
    guard_open(product, 0, rows);
    run_record(&run);
    op_matmul(run.tape, product->view, gx->view, gw->view, run.rows);
    op_matmul_add(run.tape, y->view, gx->view, gw->view, run.rows);
    run_go(&run, rows, "matmul_add");
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < n; c++) {
            float sum = (float)before[(size_t)r * n + c] + guard_row(product, r)[c];
            assert_true(guard_row(y, r)[c] == sum);
        }
    run_close(&run);
    free(x);
    free(w);
    free(before);
}

static void products_add(void **state)
{
    (void)state;
    static const char *const variants[] = {"any", "vec4", "shuffle", "texel"};
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        setenv("STRATA_VARIANT", variants[v], 1);
        check_product(1, 1, 64, 40);
        check_product(3, 4, 96, 36);
        check_product(19, MOST, 64, 20);
        check_product(5, 8, 35, 13);
    }
    unsetenv("STRATA_VARIANT");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rope_goes_into_the_cache),
        cmocka_unit_test(products_add),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, device_open, device_close);
}
