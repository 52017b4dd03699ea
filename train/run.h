// A training run as the files of the trainer see it: trainer.c (opening, saving, the loop) and
// run_step.c (one step). Nobody else includes this.
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
    Llama model;
    TrainData data;
    Step *step;
    Plan plan;
    TrainState state;
    uint64_t saved; // the step that was saved last
} Run;

// One update from the next records, which go into draws (batch_size * grad_accum). False also where
// too many steps in a row left the weights alone; the report is filled all the same.
bool run_step(Run *run, Draw *draws, StepReport *report, Error *err);
double run_now(void); // seconds, of a clock that only goes forward

#endif
