// A model that serves sequences at any depth. A token that left at depth d has no keys and values
// above d, but its residual is kept; when a token behind it goes deeper, those that wait go with
// it. So an early exit costs nothing but the choice, and every block sees exact keys and values.
// What is computed for a position does not depend, to the bit, on what runs beside it, or in which
// pieces.
#ifndef STRATA_INFER_ENGINE_H
#define STRATA_INFER_ENGINE_H

#include "infer/sequence.h"

typedef struct Engine Engine;

// Sequences of at most `context` tokens each (0: the model's own context) share `pages` pages (0:
// as many as one such sequence needs). model must outlive the engine.
Engine *engine_open(Llama *model, uint32_t context, uint32_t pages, Error *err);
void engine_close(Engine *engine); // after its sequences
Llama *engine_model(const Engine *engine);
PagePool *engine_pool(Engine *engine);
uint32_t engine_context(const Engine *engine);
// Whether all ids (count) are of the model's vocabulary; names the first that is not.
bool engine_check_tokens(const Engine *engine, const uint32_t *ids, size_t count, Error *err);

// One sequence's part of an advance.
typedef struct {
    Sequence *sequence;
    uint32_t end; // positions 0 .. end - 1 are to pass `depth` blocks at least
    uint32_t
        wanted;    // logits behind the last so many of them, which have passed fewer blocks so far
    float *logits; // (wanted, V)
} Advance;

// Brings all of them to `depth` (1 .. L) together; wanted logits are those of the exit there. Each
// sequence stands in the list once. On failure positions are where they were, or deeper.
bool engine_advance(Engine *engine, const Advance *list, size_t count, uint32_t depth, Error *err);

#endif
