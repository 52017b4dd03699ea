// Several sequences laid end to end as rows on the GPU, with the tables that kernels need: no
// padding, and no row attends outside its own sequence.
#ifndef STRATA_TRAIN_BATCH_H
#define STRATA_TRAIN_BATCH_H

#include "gpu/gpu.h"
#include "train/dataset.h"

// R is the capacity. All tensors are MEMORY_HOST u32.
typedef struct {
    Gpu *gpu;
    Counts *counts;
    uint32_t capacity; // R
    uint32_t window;   // keys that a row sees at most, its own the last; 0: its whole sequence
    uint64_t *sorted;  // (R) scratch: token << 32 | row
    Tensor tokens;     // (R, 1) inputs
    Tensor row_table;  // (R, 4) see shaders/args.h
    Tensor uses;       // (R + 1, 2) distinct tokens and where their rows begin in order
    Tensor order;      // (R, 1) rows by token
    Tensor index;      // (R, 1) supervised rows
    Tensor targets;    // (R, 1) their targets
    uint32_t used;     // rows
    uint32_t supervised;
} Batch;

bool batch_make(Batch *batch, Gpu *gpu, uint32_t capacity, uint32_t window, Error *err);
void batch_free(Batch *batch);

// Empties the batch / appends one sequence of `length` tokens, of which the leading `prompt` are no
// targets (at least 1), or the sequences of an example; false where the rows do not fit any more.
// batch_end completes the tables and sets the counts.
void batch_begin(Batch *batch);
bool batch_add(Batch *batch, const uint32_t *tokens, uint32_t length, uint32_t prompt);
bool batch_add_example(Batch *batch, const Dataset *set, const Example *example);
void batch_end(Batch *batch);

// The rows of each kind as ops take them.
Rows batch_rows(const Batch *batch);
Rows batch_supervised(const Batch *batch, uint32_t first, uint32_t max); // a chunk of them
Rows batch_distinct(const Batch *batch);

#endif
