// The metrics of a run as JSON lines in OUT/metrics.jsonl: one object per step, one per validation.
#ifndef STRATA_TRAIN_METRICS_H
#define STRATA_TRAIN_METRICS_H

#include "train/trainer.h"

#include <stdio.h>

// The file in folder out, which exists: a new one where step is 0, else what the older run wrote up
// to that step, to be gone on with. NULL and a message on failure.
FILE *metrics_open(const char *out, uint64_t step, Error *err);
// {"step","loss","losses":{"2":..},"grad_norm","learning_rate","tokens","supervised",
// "tokens_per_second","seconds","elapsed","tflops","memory_bytes","exits":[2,..]}
void metrics_step(FILE *file, const StepReport *report);
// {"step","valid":[{"depth","loss","perplexity","token_accuracy","exact_match"}]}
void metrics_valid(FILE *file, uint64_t step, const DepthScore *scores, uint32_t count);

#endif
