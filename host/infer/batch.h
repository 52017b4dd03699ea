// Many prompts together: continuous batching. A text's place is taken by the next one as soon as it
// ends, and what it becomes does not depend on what runs beside it.
#ifndef STRATA_INFER_BATCH_H
#define STRATA_INFER_BATCH_H

#include "infer/decoder.h"

typedef struct {
    const uint32_t *prompt; // (count)
    uint32_t count;
    GenerateOptions options;
} BatchItem;

// Generates all items (count), at most `places` (1 and more) at a time, and only as many as the
// pool has pages for in the worst case. They begin in their order. out[i] is set when item i ends,
// then done (may be NULL) hears of it; the caller frees each, also after a failure (out is zeroed
// first). Fails before anything runs where an item can never fit: "prompt N", from 1.
bool batch_generate(Generation *out, Engine *engine, const BatchItem *items, size_t count,
                    uint32_t places, void (*done)(void *user, size_t index), void *user,
                    Error *err);

#endif
