// What one draw of training is: an example, as it lies in a file of tokens (token_file.h).
#ifndef STRATA_TRAIN_EXAMPLE_H
#define STRATA_TRAIN_EXAMPLE_H

#include <stdint.h>

// One byte for each token.
enum {
    MARK_LOSS = 1,  // it carries loss, as the target of the token before it
    MARK_BEGIN = 2, // a sequence begins with it: it has no token before it
};

// tokens[first .. first + length) of the file, and behind them their marks, a byte each.
typedef struct {
    uint64_t first;
    uint32_t length;     // tokens
    uint32_t sequences;  // independent ones laid end to end: one, or several short documents
    uint32_t supervised; // tokens that carry loss, 1 at least
    uint32_t prompt;     // leading tokens that carry none, BOS included
    uint32_t truncated;  // 1: the end did not fit the context, else 0
    uint32_t unused;     // 0
} Example;

_Static_assert(sizeof(Example) == 32, "files of tokens hold it as it is");

// Rows an example takes in a batch: every token but the last of a sequence is an input.
static inline uint32_t example_rows(const Example *example)
{
    return example->length - example->sequences;
}

static inline uint32_t example_supervised(const Example *example)
{
    return example->supervised;
}

#endif
