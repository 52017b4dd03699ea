// Cutting a stretch of text into words by a pattern, one word at a time. Not an interface of this
// folder: the encoder's.
#ifndef STRATA_TEXT_PRE_TOKENIZER_H
#define STRATA_TEXT_PRE_TOKENIZER_H

#include "text/pattern.h"
#include "text/tokenizer_internal.h"

typedef struct {
    size_t begin, end; // bytes
    bool match;
} Stretch;

typedef struct {
    PatternSearch *search;
    SplitBehavior behavior;
    bool invert;
    const char *text; // (size)
    size_t size;
    size_t at, from; // what is behind `at` is given out; the pattern is looked for at `from`
    Stretch found;   // the next match, where has_found
    Stretch held;    // where holds: given out once its neighbour is known
    bool has_found, holds;
} Splitter;

void splitter_begin(Splitter *splitter, PatternSearch *search, SplitBehavior behavior, bool invert,
                    const char *text, size_t size);
// 1: the next word is bytes *begin to *end, which is not empty; 0: there is none; -1: failed, with
// a message.
int splitter_next(Splitter *splitter, size_t *begin, size_t *end, Error *err);

#endif
