// What the files of the step share: step.c (memory, running) and step_record.c (tapes).
#ifndef STRATA_TRAIN_STEP_INTERNAL_H
#define STRATA_TRAIN_STEP_INTERNAL_H

#include "model/copies.h"
#include "train/step.h"

struct Step {
    Llama *model;
    Copies copies;     // of it, what forward and backward compute with
    Llama gradients;   // only with backward
    MomentSet moments; // only with backward
    Batch batch;
    StepOptions options;              // its exits point to those below
    uint32_t exits[CONFIG_MAX_EXITS]; // (exit_count)
    uint32_t exit_count, deepest;     // deepest exit
    uint32_t chunk;                   // rows of an exit's chunk (C)

    Tensor turns;                  // (T, S)
    Tensor *streams;               // (deepest + 1) of (R, D): the residual stream at each boundary;
                                   // without a sweep back two tensors taken in turn
    BlockActivations *activations; // (deepest); one set without a sweep, with recompute, and where
                                   // `kept` holds what backward needs
    BlockStorage *kept;            // (deepest) of 16 bits, or all f32
    BlockGradients block_gradients;
    Tensor dx;                            // (R, D) gradient of the residual stream
    Tensor picked, normed;                // (C, D) supervised rows of an exit
    Tensor dpicked, dnormed;              // (C, D)
    Tensor inverse;                       // (C, 1)
    Tensor logits;                        // (C, V), then their gradient
    Tensor teacher;                       // (C, V) the deepest exit's logits, with distill
    Tensor losses[CONFIG_MAX_EXITS];      // (R, 2) MEMORY_HOST, per exit
    Tensor divergences[CONFIG_MAX_EXITS]; // (R, 1) MEMORY_HOST, with distill, but for the deepest
    Tensor values;                        // (1, STEP_VALUES) MEMORY_HOST
    Tensor partials, clip;                // gradient norm; clip (1, 2) MEMORY_HOST

    Tape *embed, *embed_back, *zero, *update, *refresh;
    Tape **forward, **exit, **back; // (deepest), exit by index of exits
    Tape **skip;                    // (deepest) a block left out: the stream passes by
    Tape **list;                    // what is submitted
};

// Whether gradients flow back through the blocks.
bool step_sweeps(const Step *step);
// The index of the first parameter that is trained.
size_t step_first_trained(const Step *step);
Tensor step_stream(const Step *step, uint32_t boundary);
const BlockActivations *step_kept(const Step *step, uint32_t block);
// Whether a block's activations are kept in 16 bits rather than where they were made.
bool step_keeps_halves(const Step *step);

// Records every tape. False: the first failure; step_close frees what is there.
bool step_record(Step *step, Error *err);

#endif
