// The metrics of a run as a TensorBoard event file, OUT/events.out.tfevents.*, for
// `tensorboard --logdir`. Scalars only; tags:
//   loss/mean, loss/depth_N, grad_norm, learning_rate, tokens_per_second, tflops, memory_bytes
//   valid/loss_depth_N, valid/exact_match_depth_N
// The same figures and more are in metrics.jsonl (metrics.h).
#ifndef STRATA_TRAIN_TENSORBOARD_H
#define STRATA_TRAIN_TENSORBOARD_H

#include "train/trainer.h"

typedef struct Tensorboard Tensorboard;

// Begins a new event file in folder out, which exists. Files that are there stay: TensorBoard reads
// all of a folder as one run, and this one says from which step on it replaces older ones. NULL and
// a message on failure.
Tensorboard *tensorboard_open(const char *out, Error *err);
void tensorboard_close(Tensorboard *board); // may be NULL

// Each is one record, flushed.
void tensorboard_step(Tensorboard *board, const StepReport *report);
void tensorboard_valid(Tensorboard *board, uint64_t step, const DepthScore *scores, uint32_t count);

// CRC-32C (Castagnoli), which the records' framing uses.
uint32_t tensorboard_crc(const void *bytes, size_t size);

#endif
