// How a row of the table of ops is checked: see op_check.h.
#define _POSIX_C_SOURCE 200809L
#include "support/op_check.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double *doubles(OpSize size)
{
    double *values = calloc((size_t)size.rows * size.cols, sizeof *values);
    assert_non_null(values);
    return values;
}

// ---- the reference against itself --------------------------------------------------------------

// sum of dy * y at a point.
static double objective(const OpCase *op, const OpProblem *problem, const double *dy, double *y,
                        uint64_t count)
{
    double sum = 0;
    op->forward(y, problem);
    for (uint64_t i = 0; i < count; i++) sum += dy[i] * y[i];
    return sum;
}

static void check_gradient(const OpCase *op, const OpShape *shape)
{
    const double h = 1e-5;
    OpProblem problem;
    assert_true(op_problem_make(&problem, op, shape, 1));
    OpSize out = op->size(shape, -1);
    uint64_t count = (uint64_t)out.rows * out.cols;
    double *dy = doubles(out), *y = doubles(out), *d[OP_INPUTS] = {0};
    op_fill_dy(dy, out, op, 77);
    for (uint32_t i = 0; i < op->inputs; i++) d[i] = doubles(op->size(shape, (int)i));
    op->backward(d, dy, &problem);
    for (uint32_t i = 0; i < op->inputs; i++) {
        OpSize size = op->size(shape, (int)i);
        for (uint32_t at = 0; at < size.rows * size.cols; at++) {
            double *x = &problem.in[i][at], kept = *x;
            *x = kept + h;
            double above = objective(op, &problem, dy, y, count);
            *x = kept - h;
            double slope = (above - objective(op, &problem, dy, y, count)) / (2 * h);
            *x = kept;
            if (!(fabs(slope - d[i][at]) <= 1e-6 + 1e-5 * fabs(slope)))
                fail_msg("%s: gradient of input %u at %u: %.12g, central difference %.12g",
                         op->name, i, at, d[i][at], slope);
        }
        free(d[i]);
    }
    free(dy);
    free(y);
    op_problem_free(&problem);
}

void op_check_reference(const OpCase *op)
{
    uint32_t checked = 0;
    for (const OpShape *shape = op->shapes; shape->rows; shape++) {
        uint64_t values = 0;
        for (uint32_t i = 0; i < op->inputs; i++)
            values += (uint64_t)op->size(shape, (int)i).rows * op->size(shape, (int)i).cols;
        if (values > 1000) continue;
        check_gradient(op, shape);
        checked++;
    }
    assert_true(checked >= 2);
}

// ---- a trial -----------------------------------------------------------------------------------

// A guarded tensor whose rows, where they follow the op's, have spare ones behind them.
static Guard *add(OpTrial *t, OpSize size, uint32_t in_front)
{
    uint32_t rows = size.rows + (size.per_row ? t->way.spare : 0) + in_front;
    return guards_add(&t->guards, rows, size.cols);
}

static void add_inputs(OpTrial *t)
{
    for (uint32_t i = 0; i < t->op->inputs; i++) {
        OpSize size = t->op->size(&t->problem.shape, (int)i);
        Guard *guard = add(t, size, 0);
        guard_put_doubles(guard, 0, size.rows, t->problem.in[i]);
        t->run.in[i] = guard->view;
    }
    if (t->op->table_cols) {
        uint32_t in_front = t->op->flags & TABLE_FROM_FIRST ? t->way.first : 0;
        uint32_t rows = t->problem.shape.rows;
        Guard *guard = add(t, (OpSize){rows, t->op->table_cols, true}, in_front);
        guard_put(guard, in_front, rows, t->problem.table);
        t->run.table = guard->view;
    }
}

static void add_extras(OpTrial *t)
{
    OpExtra extras[OP_EXTRAS] = {0};
    if (t->op->extras) assert_true(t->op->extras(extras, &t->problem));
    for (uint32_t i = 0; i < OP_EXTRAS && extras[i].size.rows; i++) {
        Guard *guard = add(t, extras[i].size, 0);
        if (extras[i].values)
            guard_put(guard, 0, extras[i].size.rows, extras[i].values);
        else
            guard_open(guard, 0, extras[i].size.rows);
        t->run.extra[i] = guard->view;
        free(extras[i].values);
    }
}

static void add_output(OpTrial *t)
{
    OpSize size = t->op->size(&t->problem.shape, -1);
    uint32_t in_front = t->op->flags & Y_FROM_FIRST ? t->way.first : 0;
    t->y = add(t, size, in_front);
    if (t->op->flags & Y_STARTS_AS_INPUT) guard_put_doubles(t->y, 0, size.rows, t->problem.in[0]);
    guard_open(t->y, in_front, size.rows);
    t->run.y = t->y->view;
}

static bool accumulates(const OpTrial *t, uint32_t i)
{
    return t->op->grads[i] == GRAD_ADDS || (t->op->grads[i] == GRAD_EITHER && t->way.accumulate);
}

static void add_gradients(OpTrial *t)
{
    OpSize size = t->op->size(&t->problem.shape, -1);
    t->dy = doubles(size);
    op_fill_dy(t->dy, size, t->op, 99);
    Guard *dy = add(t, size, 0);
    guard_put_doubles(dy, 0, size.rows, t->dy);
    t->run.dy = dy->view;
    for (uint32_t i = 0; i < t->op->inputs; i++) {
        size = t->op->size(&t->problem.shape, (int)i);
        const double *start = accumulates(t, i) ? t->prior : NULL;
        if (t->op->flags & D_STARTS_AS_DY && !accumulates(t, i)) start = t->dy;
        if (t->op->flags & D_STARTS_AS_INPUT) start = t->problem.in[i];
        t->d[i] = add(t, size, 0);
        if (start) guard_put_doubles(t->d[i], 0, size.rows, start);
        guard_open(t->d[i], 0, size.rows);
        t->run.d[i] = t->d[i]->view;
    }
}

// An accumulated gradient starts from these values; every input finds enough of them.
static double *make_prior(const OpCase *op, const OpShape *shape)
{
    OpSize most = {1, 1, false};
    for (uint32_t i = 0; i < op->inputs; i++) {
        OpSize size = op->size(shape, (int)i);
        if (size.rows * size.cols > most.rows * most.cols) most = size;
    }
    double *prior = doubles(most);
    op_random(prior, (uint64_t)most.rows * most.cols, 55);
    return prior;
}

void op_trial_open(OpTrial *t, Gpu *gpu, const OpCase *op, OpProblem *problem, const OpWay *way,
                   bool backward)
{
    Error err;
    const OpShape *shape = &problem->shape;
    *t = (OpTrial){.op = op, .way = *way, .problem = *problem, .guards = {.gpu = gpu}};
    snprintf(t->label, sizeof t->label, "%s%s rows %u+%u/%u cols %u others %u size %u %s=%s%s",
             op->name, backward ? " backward" : "", way->first, shape->rows,
             shape->rows + way->spare, shape->cols, shape->others, shape->size,
             way->variable ? way->variable : "-", way->variable ? way->value : "-",
             way->accumulate ? " accumulate" : "");
    t->prior = make_prior(op, shape);
    t->counts = counts_open(gpu, &err);
    if (!t->counts) fail_msg("%s", err.text);
    add_inputs(t);
    add_extras(t);
    add_output(t);
    if (backward) add_gradients(t);
    t->run.problem = &t->problem;
    t->run.rows = (Rows){t->counts, OP_ROWS_SLOT, way->first, shape->rows + way->spare};
    t->run.accumulate = way->accumulate;
    if (way->variable) setenv(way->variable, way->value, 1);
    t->tape = t->run.tape = tape_begin(gpu, op->name, &err);
    if (t->tape) (backward ? op->record_back : op->record)(&t->run);
    if (!t->tape || !tape_end(t->tape, &err)) fail_msg("%s: %s", t->label, err.text);
    if (way->variable) unsetenv(way->variable);
    counts_set(t->counts, OP_ROWS_SLOT, way->first + shape->rows);
}

void op_trial_close(OpTrial *t)
{
    tape_free(t->tape);
    counts_close(t->counts);
    guards_free(&t->guards);
    op_problem_free(&t->problem);
    free(t->dy);
    free(t->prior);
}

// ---- the kernels against the reference ---------------------------------------------------------

static void compare(const OpTrial *t, const Guard *guard, uint32_t row, OpSize size,
                    const double *want, const char *what)
{
    const float *got = guard_row(guard, row);
    for (uint32_t i = 0; i < size.rows * size.cols; i++)
        if (!(fabs((double)got[i] - want[i]) <= t->op->tolerance + t->op->relative * fabs(want[i])))
            fail_msg("%s: %s[%u][%u]: %.9g, expected %.9g", t->label, what, i / size.cols,
                     i % size.cols, (double)got[i], want[i]);
}

static void compare_output(const OpTrial *t)
{
    OpSize size = t->op->size(&t->problem.shape, -1);
    double *y = doubles(size);
    t->op->forward(y, &t->problem);
    compare(t, t->y, t->op->flags & Y_FROM_FIRST ? t->way.first : 0, size, y, "y");
    free(y);
}

static void compare_gradients(const OpTrial *t)
{
    double *d[OP_INPUTS] = {0};
    for (uint32_t i = 0; i < t->op->inputs; i++)
        d[i] = doubles(t->op->size(&t->problem.shape, (int)i));
    t->op->backward(d, t->dy, &t->problem);
    for (uint32_t i = 0; i < t->op->inputs; i++) {
        char what[] = {'d', (char)('0' + i), 0};
        OpSize size = t->op->size(&t->problem.shape, (int)i);
        for (uint32_t at = 0; at < size.rows * size.cols && accumulates(t, i); at++)
            d[i][at] += t->prior[at];
        compare(t, t->d[i], 0, size, d[i], what);
        free(d[i]);
    }
}

// Where the count is 0 nothing may change.
static void run_empty(OpTrial *t)
{
    counts_set(t->counts, OP_ROWS_SLOT, t->way.first);
    counts_set(t->counts, OP_DISTINCT_SLOT, 0);
    for (uint32_t i = 0; i < t->guards.count; i++) guard_open(&t->guards.guards[i], 0, 0);
    guards_run(&t->guards, t->tape);
    guards_check(&t->guards, t->label);
}

static void try_way(Gpu *gpu, const OpCase *op, const OpShape *shape, const OpWay *way,
                    bool backward)
{
    OpTrial trial;
    OpProblem problem;
    assert_true(op_problem_make(&problem, op, shape, 3));
    op_trial_open(&trial, gpu, op, &problem, way, backward);
    guards_run(&trial.guards, trial.tape);
    if (backward)
        compare_gradients(&trial);
    else
        compare_output(&trial);
    guards_check(&trial.guards, trial.label);
    guards_repeat(&trial.guards, trial.tape, trial.label);
    run_empty(&trial);
    op_trial_close(&trial);
}

static void try_rows(Gpu *gpu, const OpCase *op, const OpShape *shape, OpWay way, bool backward)
{
    static const struct {
        uint32_t first, spare;
    } rows[] = {{0, 0}, {0, 3}, {5, 2}};
    bool either = false;
    for (uint32_t i = 0; i < op->inputs; i++) either |= op->grads[i] == GRAD_EITHER;
    for (uint32_t i = 0; i < 3; i++) {
        way.first = rows[i].first;
        way.spare = rows[i].spare;
        for (int accumulate = 0; accumulate <= (backward && either); accumulate++) {
            way.accumulate = accumulate;
            try_way(gpu, op, shape, &way, backward);
        }
    }
}

// CPU drivers compile attention for minutes at large heads (LLVM on lavapipe: 20 s at size 128, 100
// s at 256, for each way of summation): there 128 runs in one way, and larger ones only on demand.
enum { CPU_HEAD_SIZE = 128 };

static void check_all(Gpu *gpu, const OpCase *op, bool backward)
{
    static const OpWay ways[][6] = {
        [OP_PLAIN] = {{0}, {.variable = "STRATA_VARIANT", .value = "any"}},
        [OP_TABLE] = {{0},
                      {.variable = "STRATA_VARIANT", .value = "any"},
                      {.variable = "STRATA_SLICE_BYTES", .value = "16384"}},
        [OP_MATRIX] = {{0},
                       {.variable = "STRATA_VARIANT", .value = "any"},
                       {.variable = "STRATA_VARIANT", .value = "vec4"},
                       {.variable = "STRATA_VARIANT", .value = "shuffle"},
                       {.variable = "STRATA_VARIANT", .value = "texel"},
                       {.variable = "STRATA_SLICE_BYTES", .value = "16384"}},
        [OP_REDUCES] = {{0},
                        {.variable = "STRATA_LANES", .value = "1"},
                        {.variable = "STRATA_LANES", .value = "32"},
                        {.variable = "STRATA_VARIANT", .value = "any"}},
    };
    bool cpu = !strcmp(gpu_info(gpu)->kind, "cpu");
    for (const OpShape *shape = op->shapes; shape->rows; shape++) {
        if (shape->size > CPU_HEAD_SIZE && cpu && !getenv("STRATA_TEST_ALL")) {
            print_message("%s: head size %u needs a GPU or STRATA_TEST_ALL=1\n", op->name,
                          shape->size);
            continue;
        }
        static const int counts[] = {
            [OP_PLAIN] = 2, [OP_TABLE] = 3, [OP_MATRIX] = 6, [OP_REDUCES] = 4};
        int count = shape->size >= CPU_HEAD_SIZE && cpu ? 1 : counts[op->kind];
        if (op->kind == OP_REDUCES && shape->size) count--; // attention has no widths
        for (int i = 0; i < count; i++) try_rows(gpu, op, shape, ways[op->kind][i], backward);
    }
}

void op_check_forward(Gpu *gpu, const OpCase *op)
{
    check_all(gpu, op, false);
}

void op_check_backward(Gpu *gpu, const OpCase *op)
{
    check_all(gpu, op, true);
}
