// One text as the model knows it: its tokens, where their keys and values lie, and how many blocks
// each has passed. Computes nothing: engine.h brings positions deeper.
#ifndef STRATA_INFER_SEQUENCE_H
#define STRATA_INFER_SEQUENCE_H

#include "infer/pages.h"

typedef struct {
    PagePool *pool;
    uint32_t *tokens; // (count) of room for `context`
    uint32_t *depths; // (count) blocks passed; never ascending, as a token attends to all before it
    uint32_t *pages;  // (page_count) of room for pages_for(context)
    uint32_t count, context, page_count;
    uint32_t counted_from; // a position
    uint64_t blocks_run;   // blocks that positions from counted_from on have been run through
} Sequence;

// An empty text of at most `context` tokens. pool must outlive it.
bool sequence_make(Sequence *sequence, PagePool *pool, uint32_t context, Error *err);
void sequence_free(Sequence *sequence); // gives its pages back; sequence may be zero

// Appends tokens that have passed no block. Fails, and changes nothing, where the context or the
// pool has no room.
bool sequence_append(Sequence *sequence, const uint32_t *tokens, uint32_t count, Error *err);
// Forgets all tokens but the first `count`.
void sequence_truncate(Sequence *sequence, uint32_t count);
// Where a position's key and value lie.
uint32_t sequence_slot(const Sequence *sequence, uint32_t position);
// The first position below `end` that has passed fewer than `depth` blocks; `end`: none.
uint32_t sequence_pending(const Sequence *sequence, uint32_t end, uint32_t depth);

#endif
