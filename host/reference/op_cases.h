// The table of ops: for each its reference, how to record it, and shapes at which a kernel goes
// wrong that is not careful. Adding an op is adding a row. Tests check every row (op_check.h
// there); kernel_cases.h makes kernels of them that are run one by one.
#ifndef STRATA_REFERENCE_OP_CASES_H
#define STRATA_REFERENCE_OP_CASES_H

#include "ops/ops.h"
#include "reference/ops_reference.h"

#include <stdbool.h>

enum { OP_EXTRAS = 2, OP_SHAPES = 16 };

// Slots of the counts: an op's rows, and the distinct tokens of op_embed_back.
enum { OP_ROWS_SLOT = 2, OP_DISTINCT_SLOT = 1 };

// Which environment variables force other kernels or other ways of summation.
typedef enum { OP_PLAIN, OP_TABLE, OP_MATRIX, OP_REDUCES } OpKind;

// How backward treats the gradient of an input.
typedef enum { GRAD_WRITES, GRAD_ADDS, GRAD_EITHER } OpGrad;

enum {                     // OpCase.flags
    Y_STARTS_AS_INPUT = 1, // forward works in place
    D_STARTS_AS_DY = 2,    // backward works in place
    D_STARTS_AS_INPUT = 4, // backward turns the input into its gradient
    TABLE_FROM_FIRST = 8,  // the table is one of all rows, Rows.first of them before ours
    Y_FROM_FIRST = 16,     // so is y
    LOSS = 32,             // dy is the same for each row: OP_LOSS_WEIGHT
};

#define OP_LOSS_WEIGHT 0.375f

typedef struct {
    uint32_t rows, cols;
    bool per_row; // rows follows the op's Rows
} OpSize;

// What an op needs beside its inputs: scratch (values NULL), or constants, malloc'ed.
typedef struct {
    OpSize size;
    uint32_t *values; // size, f32 or u32
} OpExtra;

// The tensors of a recording.
typedef struct {
    const OpProblem *problem;
    Tape *tape;
    Rows rows;
    Tensor in[OP_INPUTS], d[OP_INPUTS], y, dy, table, extra[OP_EXTRAS];
    bool accumulate;
} OpRun;

typedef struct {
    const char *name;
    OpKind kind;
    unsigned flags;
    uint32_t inputs;
    OpGrad grads[OP_INPUTS];
    OpSize (*size)(const OpShape *shape, int which); // of in[which], of y for -1
    uint32_t table_cols;                             // 0: no table
    void (*fill_table)(OpProblem *problem);
    bool (*extras)(OpExtra *extras, const OpProblem *problem); // may be NULL; false: out of memory
    OpForward *forward;
    OpBackward *backward;
    void (*record)(const OpRun *run);
    void (*record_back)(const OpRun *run); // NULL: the op has none
    double tolerance, relative;            // |got - want| <= tolerance + relative |want|
    OpShape shapes[OP_SHAPES];             // up to the first without rows
} OpCase;

extern const OpCase OP_CASES[];
extern const uint32_t OP_CASE_COUNT;

// The row of that name, or NULL.
const OpCase *op_case(const char *name);

// Random inputs and the table for a case; every value is exact in f32. False: out of memory, and
// nothing is left to be freed.
bool op_problem_make(OpProblem *problem, const OpCase *op, const OpShape *shape, uint64_t seed);
void op_problem_free(OpProblem *problem);
// values (count) in (-1, 1), exact in f32; the same for the same seed.
void op_random(double *values, uint64_t count, uint64_t seed);
// A gradient that comes in, (size) of y.
void op_fill_dy(double *dy, OpSize size, const OpCase *op, uint64_t seed);
// The row table of sequences laid end to end, cut at `rows`: of that length each or, for 0, of 3,
// 1, 9, 30, 3 ...
void op_row_table(uint32_t *table, uint32_t rows, uint32_t sequence);
// Cosines and sines as the model makes them: (context, size).
void op_turns(float *turns, uint32_t context, uint32_t size, double theta);

#endif
