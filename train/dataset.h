// Instruction records as token sequences: BOS, prompt and output as one text, EOS. Not their order
// in training (trainer.h), not their layout on the GPU (batch.h).
#ifndef STRATA_TRAIN_DATASET_H
#define STRATA_TRAIN_DATASET_H

#include "base/error.h"
#include "text/tokenizer.h"

// One record: tokens[first .. first + length), of which the leading `prompt` carry no loss.
typedef struct {
    size_t first;
    uint32_t length, prompt; // 1 <= prompt < length
    bool truncated;          // the end did not fit the context
} Example;

typedef struct {
    uint32_t *tokens;  // all records end to end
    Example *examples; // (count)
    size_t count;
    size_t truncated; // how many were cut at the context
    size_t dropped;   // how many had nothing supervised left within the context; not in examples
    uint32_t longest; // tokens of the longest example
} Dataset;

// Reads an Alpaca file. As many leading tokens as BOS and the prompt alone have carry no loss.
// Records are cut at `context` tokens. Fails where no record is left.
bool dataset_load(Dataset *set, const char *path, const Tokenizer *tokenizer, uint32_t context,
                  Error *err);
void dataset_free(Dataset *set);

// Tokens of an example that carry loss.
uint32_t example_supervised(const Example *example);
// Rows an example takes in a batch: every token but the last is an input.
uint32_t example_rows(const Example *example);

#endif
