// One sequence being run through a model at any depth: KV caches, prompt in chunks, one token at a
// time. Depth is the length of the list of tapes that is submitted. Not sampling, not text.
#ifndef STRATA_INFER_SESSION_H
#define STRATA_INFER_SESSION_H

#include "model/llama.h"

typedef struct Session Session;

// A session over at most `context` positions (0: the model's own context). model must outlive it.
Session *session_open(Llama *model, uint32_t context, Error *err);
void session_close(Session *session);
// Forgets every position.
void session_reset(Session *session);
uint32_t session_position(const Session *session); // tokens so far
uint32_t session_context(const Session *session);
uint32_t session_vocab(const Session *session); // logits of a token

// Appends count tokens at that depth (1 .. L) and computes the logits after the last `wanted` of
// them (0 <= wanted <= count) into logits (wanted, V). A session is fed at one depth only until it
// is reset. Fails where the context would be passed.
bool session_feed(Session *session, const uint32_t *tokens, uint32_t count, uint32_t depth,
                  uint32_t wanted, float *logits, Error *err);

#endif
