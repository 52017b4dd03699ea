// One sequence being run through a model at any depth, with an engine of its own. Not decoding
// (generate.h), not text.
#ifndef STRATA_INFER_SESSION_H
#define STRATA_INFER_SESSION_H

#include "infer/engine.h"

typedef struct Session Session;

// A session over at most `context` positions (0: the model's own context). model must outlive it.
Session *session_open(Llama *model, uint32_t context, Error *err);
void session_close(Session *session);
// Forgets every position.
void session_reset(Session *session);
uint32_t session_position(const Session *session); // tokens so far
uint32_t session_context(const Session *session);
uint32_t session_vocab(const Session *session); // logits of a token
Engine *session_engine(Session *session);
Sequence *session_sequence(Session *session);

// Appends count tokens at that depth (1 .. L) and computes the logits after the last `wanted` of
// them (0 <= wanted <= count) into logits (wanted, V). Every call may choose another depth: what
// was fed at less depth is taken along where it is needed. Fails where the context would be passed
// or where a token is not of the vocabulary.
bool session_feed(Session *session, const uint32_t *tokens, uint32_t count, uint32_t depth,
                  uint32_t wanted, float *logits, Error *err);

#endif
