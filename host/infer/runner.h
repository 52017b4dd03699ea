// Runs a few positions of any sequences through some blocks of a model, and reads logits there: the
// recorded tapes and the tables that they read. Which positions, and when, is decided in engine.h.
#ifndef STRATA_INFER_RUNNER_H
#define STRATA_INFER_RUNNER_H

#include "infer/sequence.h"

enum { RUNNER_ROWS = 64 }; // that run together

typedef struct Runner Runner;

// The rows of a sequence stand side by side, in the order of their positions. Positions before
// these have passed block `to` - 1 at least.
typedef struct {
    Sequence *sequence;
    uint32_t position;
    float *logits; // (V) receives the logits behind this position; NULL: not wanted
} RunRow;

// Positions reach up to `context`. model and pool must outlive the runner.
Runner *runner_open(Llama *model, PagePool *pool, uint32_t context, Error *err);
void runner_close(Runner *runner);

// Takes rows (count, 1 to RUNNER_ROWS) that have passed `from` blocks through to `to` > from;
// logits are those of the exit at depth `to`. Their residuals lie in the pool before and after (but
// not behind the last block, which nothing follows).
bool runner_run(Runner *runner, const RunRow *rows, uint32_t count, uint32_t from, uint32_t to,
                Error *err);

#endif
