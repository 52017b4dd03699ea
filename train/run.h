// A training run as the files of the trainer see it: trainer.c (opening, saving, the loop) and
// run_step.c (one step) and rescue.c (a device that fails). Nobody else includes this.
#ifndef STRATA_TRAIN_RUN_H
#define STRATA_TRAIN_RUN_H

#include "train/checkpoint.h"
#include "train/plan.h"
#include "train/train_data.h"
#include "train/trainer.h"

typedef struct {
    TrainConfig *config;
    Gpu *gpu;
    const TrainEvents *events;
    Tokenizer *tokenizer;
    char tokenizer_path[1024];
    LlamaConfig shape; // what model's config is to be; known before its weights are read
    Llama model;
    TrainData data;
    uint32_t rows; // of a micro-batch, at most
    Step *step;
    Plan plan;
    TrainState state;
    uint64_t saved;   // the step that was saved last
    TrainState whole; // after the last whole step
    bool keeps; // whether the device, should it fail now, still holds the weights and moments of
                // whole
} Run;

// One update from the next records, which go into draws (batch_size * grad_accum). False also where
// too many steps in a row left the weights alone; the report is filled all the same.
bool run_step(Run *run, Draw *draws, StepReport *report, Error *err);
// After a failure of the device: writes a checkpoint of the last whole step where what the device
// holds still counts, and adds to the message what --resume goes on from.
void run_rescue(Run *run, Error *err);

#endif
