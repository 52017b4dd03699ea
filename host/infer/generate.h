// Greedy decoding at one depth: the most probable token, again and again.
#ifndef STRATA_INFER_GENERATE_H
#define STRATA_INFER_GENERATE_H

#include "infer/session.h"

#include <stddef.h>

typedef struct {
    uint32_t *tokens; // (count) without the prompt, without EOS; free with generation_free
    size_t count;
    bool ended;            // by EOS; else by max_tokens or the context
    double prompt_seconds; // until the first token was known
    double seconds;        // for the tokens after it
} Generation;

// Resets the session, feeds prompt (prompt_count >= 1) and generates at most max_tokens at that
// depth until a token that ends a text by `ends` (NULL: none does). token (may be NULL) hears each
// one as it comes. Fails where the prompt is longer than the context.
bool generate_greedy(Generation *out, Session *session, const uint32_t *prompt,
                     uint32_t prompt_count, uint32_t depth, uint32_t max_tokens,
                     const LlamaConfig *ends, void (*token)(void *user, uint32_t id), void *user,
                     Error *err);
void generation_free(Generation *out);
// Milliseconds per token after the first; of the prompt's pass where there is only one.
double generation_ms_per_token(const Generation *out);

// The first largest of count values.
uint32_t argmax(const float *values, uint32_t count);

#endif
