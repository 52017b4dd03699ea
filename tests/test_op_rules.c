// What holds across runs of an op: all variants give the same bits, large scores and logits, what
// scatter leaves alone. That a row never depends on the rows beside it is in test_op_alone.c,
// single ops against their reference are in test_ops.c.
#define _POSIX_C_SOURCE 200809L
#include "support/op_check.h"

#include "../shaders/args.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
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

// NaN is never near.
static void near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("%.9g, expected %.9g", got, want);
}

// ---- variants ----------------------------------------------------------------------------------

static void same_rows(const Guard *a, const Guard *b, uint32_t first_a, uint32_t first_b,
                      uint32_t rows, const char *what)
{
    size_t bytes = 4 * (size_t)rows * a->view.cols;
    if (memcmp(guard_row(a, first_a), guard_row(b, first_b), bytes))
        fail_msg("%s: %u rows are not the same to the bit", what, rows);
}

static void open_and_run(OpTrial *trial, const OpCase *op, const OpShape *shape, const OpWay *way,
                         bool backward)
{
    OpProblem problem;
    assert_true(op_problem_make(&problem, op, shape, 5));
    op_trial_open(trial, gpu, op, &problem, way, backward);
    guards_run(&trial->guards, trial->tape);
}

static void matmul_variants_agree(void **state)
{
    (void)state;
    static const OpWay ways[] = {
        {.accumulate = true},
        {.variable = "STRATA_VARIANT", .value = "any", .accumulate = true},
        {.variable = "STRATA_VARIANT", .value = "vec4", .accumulate = true},
        {.variable = "STRATA_VARIANT", .value = "shuffle", .accumulate = true},
        {.variable = "STRATA_VARIANT", .value = "texel", .accumulate = true}};
    enum { WAYS = sizeof ways / sizeof *ways };
    const OpCase *op = op_case("matmul");
    for (const OpShape *shape = op->shapes; shape->rows; shape++) {
        for (int backward = 0; backward < 2; backward++) {
            OpTrial trials[WAYS];
            for (int i = 0; i < WAYS; i++) open_and_run(&trials[i], op, shape, &ways[i], backward);
            for (int i = 1; i < WAYS; i++) {
                const char *what = trials[i].label;
                if (!backward) same_rows(trials[0].y, trials[i].y, 0, 0, shape->rows, what);
                if (backward) same_rows(trials[0].d[0], trials[i].d[0], 0, 0, shape->rows, what);
                if (backward) same_rows(trials[0].d[1], trials[i].d[1], 0, 0, shape->others, what);
            }
            for (int i = 0; i < WAYS; i++) op_trial_close(&trials[i]);
        }
    }
}

// ---- attention ---------------------------------------------------------------------------------

// Scores far outside of what exp can hold: the running maximum must carry them.
static void attention_with_large_scores(void **state)
{
    (void)state;
    static const char *const lanes[] = {"1", "32"};
    const OpCase *op = op_case("attention");
    for (int i = 0; i < 2; i++) {
        OpTrial trial;
        OpProblem problem;
        const OpWay way = {.variable = "STRATA_LANES", .value = lanes[i]};
        assert_true(op_problem_make(
            &problem, op, &(OpShape){.rows = 20, .heads = 1, .kv_heads = 1, .size = 8}, 2));
        for (int at = 0; at < 20 * 8; at++) problem.in[0][at] *= 1024;
        op_trial_open(&trial, gpu, op, &problem, &way, false);
        guards_run(&trial.guards, trial.tape);
        double want[20 * 8];
        reference_attention(want, &trial.problem);
        for (int at = 0; at < 20 * 8; at++) near(guard_row(trial.y, 0)[at], want[at], 2e-4);
        op_trial_close(&trial);
    }
}

// ---- scatter -----------------------------------------------------------------------------------

static void scatter_overwrites(void **state)
{
    (void)state;
    const uint32_t index[6] = {99, 99, 4, 0, 7, 2}; // two rows before ours
    const float prior = 5, x[4 * 3] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    Guards guards = {.gpu = gpu};
    Error err;
    Counts *counts = counts_open(gpu, &err);
    Guard *from = guards_add(&guards, 5, 3), *to = guards_add(&guards, 8, 3);
    Guard *table = guards_add(&guards, 7, 1);
    guard_put(from, 0, 4, x);
    guard_put(table, 0, 6, index);
    for (uint32_t i = 0; i < 8 * 3; i++) memcpy(to->image + to->first + i, &prior, 4);
    guard_open(to, 0, 8);
    Tape *tape = tape_begin(gpu, "scatter", &err);
    op_scatter(tape, to->view, from->view, table->view, false, (Rows){counts, 0, 2, 5});
    assert_true(tape_end(tape, &err));
    counts_set(counts, 0, 6);
    guards_run(&guards, tape);
    guards_check(&guards, "scatter");
    const float want[8][3] = {{4, 5, 6}, {5, 5, 5}, {10, 11, 12}, {5, 5, 5},
                              {1, 2, 3}, {5, 5, 5}, {5, 5, 5},    {7, 8, 9}};
    assert_memory_equal(guard_row(to, 0), want, sizeof want);
    tape_free(tape);
    counts_close(counts);
    guards_free(&guards);
}

// ---- loss --------------------------------------------------------------------------------------

enum { LOSS_ROWS = 6, LOSS_COLS = 5 };

// Rows that overflow a naive softmax, a tie, and a target far from the largest logit.
static const double EXTREME[LOSS_ROWS][LOSS_COLS] = {
    {80, -80, 80, 0, -80},    {1e4, -1e4, 0, 9999, 1}, {-1e4, -1e4, -1e4, -1e4, -1e4},
    {-80, -80, -80, -80, 80}, {1e4, 1e4, 1e4, 1e4, 0}, {-3, -2, -1, -1, -2}};
static const uint32_t EXTREME_TARGETS[LOSS_ROWS] = {2, 1, 0, 4, 3, 2};
static const float EXTREME_HITS[LOSS_ROWS] = {0, 0, 1, 1, 0, 1}; // the first of equals counts

static void check_extreme(const char *lanes)
{
    OpTrial trial;
    OpProblem problem;
    const OpCase *op = op_case("cross_entropy");
    const OpWay way = {.variable = "STRATA_LANES", .value = lanes};
    assert_true(op_problem_make(&problem, op, &(OpShape){.rows = LOSS_ROWS, .cols = LOSS_COLS}, 2));
    memcpy(problem.in[0], EXTREME, sizeof EXTREME);
    memcpy(problem.table, EXTREME_TARGETS, sizeof EXTREME_TARGETS);
    op_trial_open(&trial, gpu, op, &problem, &way, true);
    guards_run(&trial.guards, trial.tape);
    double want[2 * LOSS_ROWS], gradient[LOSS_ROWS * LOSS_COLS] = {0}, *d[] = {gradient};
    reference_cross_entropy(want, &trial.problem);
    reference_cross_entropy_back(d, trial.dy, &trial.problem);
    for (uint32_t r = 0; r < LOSS_ROWS; r++) {
        near(guard_row(trial.y, r)[0], want[2 * r], 1e-6 + 1e-6 * want[2 * r]);
        assert_true(guard_row(trial.y, r)[1] == EXTREME_HITS[r]);
    }
    for (uint32_t i = 0; i < LOSS_ROWS * LOSS_COLS; i++)
        near(guard_row(trial.d[0], 0)[i], gradient[i], 1e-6);
    op_trial_close(&trial);
}

static void loss_of_extreme_logits(void **state)
{
    (void)state;
    check_extreme("1");
    check_extreme("2");
    check_extreme("32");
}

// As many classes as LLaMA has. An invocation of lavapipe's may not walk over them three times.
static void loss_of_a_large_vocabulary(void **state)
{
    (void)state;
    enum { ROWS = 3, COLS = 32000 };
    OpTrial trial;
    OpProblem problem;
    const OpCase *op = op_case("cross_entropy");
    assert_true(op_problem_make(&problem, op, &(OpShape){.rows = ROWS, .cols = COLS}, 2));
    op_trial_open(&trial, gpu, op, &problem, &(OpWay){.variable = NULL}, true);
    guards_run(&trial.guards, trial.tape);
    double want[2 * ROWS], *gradient = calloc(ROWS * COLS, sizeof *gradient), *d[] = {gradient};
    assert_non_null(gradient);
    reference_cross_entropy(want, &trial.problem);
    reference_cross_entropy_back(d, trial.dy, &trial.problem);
    for (uint32_t r = 0; r < ROWS; r++) near(guard_row(trial.y, r)[0], want[2 * r], 2e-5);
    for (uint32_t i = 0; i < ROWS * COLS; i++) near(guard_row(trial.d[0], 0)[i], gradient[i], 1e-6);
    free(gradient);
    op_trial_close(&trial);
}

static void no_validation_messages(void **state)
{
    (void)state;
    assert_int_equal(gpu_validation_messages(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matmul_variants_agree),      cmocka_unit_test(attention_with_large_scores),
        cmocka_unit_test(scatter_overwrites),         cmocka_unit_test(loss_of_extreme_logits),
        cmocka_unit_test(loss_of_a_large_vocabulary), cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests_name("op rules", tests, open_gpu, close_gpu);
}
