// How a row of the table of ops is checked: the reference's gradient against central differences,
// the kernels against the reference, twice, under guard. Fails the running cmocka test.
#ifndef STRATA_TESTS_SUPPORT_OP_CHECK_H
#define STRATA_TESTS_SUPPORT_OP_CHECK_H

#include "support/guards.h"
#include "reference/op_cases.h"

// One way of running: which rows, which kernels.
typedef struct {
    uint32_t first;               // Rows.first
    uint32_t spare;               // rows beyond the count that tensors hold and Rows.max allows
    const char *variable, *value; // environment, or NULL
    bool accumulate;
} OpWay;

// The reference's backward against central differences of its forward; large shapes are passed
// over.
void op_check_reference(const OpCase *op);
// Forward, and backward, on the GPU in every way, for every shape.
void op_check_forward(Gpu *gpu, const OpCase *op);
void op_check_backward(Gpu *gpu, const OpCase *op);

// A recording of one case in one way, for tests of more than the table checks.
typedef struct {
    const OpCase *op;
    OpWay way;
    char label[160];
    OpProblem problem;
    OpRun run;
    Guards guards;
    Guard *y, *d[OP_INPUTS];
    double *dy;    // (y) the gradient that comes in
    double *prior; // what an accumulated gradient starts from, of the largest input
    Counts *counts;
    Tape *tape;
} OpTrial;

// Takes the problem over.
void op_trial_open(OpTrial *trial, Gpu *gpu, const OpCase *op, OpProblem *problem, const OpWay *way,
                   bool backward);
void op_trial_close(OpTrial *trial);

#endif
