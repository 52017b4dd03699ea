// Greedy decoding at one depth: see generate.h.
#define _POSIX_C_SOURCE 200809L
#include "infer/generate.h"

#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

uint32_t argmax(const float *values, uint32_t count)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++)
        if (values[i] > values[best]) best = i;
    return best;
}

// logits (V) scratch; the first token comes from the prompt's pass.
static bool run(Generation *out, Session *session, const uint32_t *prompt, uint32_t prompt_count,
                uint32_t depth, uint32_t max_tokens, const LlamaConfig *ends, uint32_t vocab,
                float *logits, void (*token)(void *user, uint32_t id), void *user, Error *err)
{
    double began = now();
    if (!session_feed(session, prompt, prompt_count, depth, 1, logits, err)) return false;
    double first = now();
    out->prompt_seconds = first - began;
    while (out->count < max_tokens) {
        uint32_t next = argmax(logits, vocab);
        out->ended = ends && config_ends(ends, next);
        if (out->ended) break;
        out->tokens[out->count++] = next;
        if (token) token(user, next);
        if (out->count == max_tokens || session_position(session) == session_context(session))
            break;
        if (!session_feed(session, &next, 1, depth, 1, logits, err)) return false;
    }
    out->seconds = now() - first;
    return true;
}

bool generate_greedy(Generation *out, Session *session, const uint32_t *prompt,
                     uint32_t prompt_count, uint32_t depth, uint32_t max_tokens,
                     const LlamaConfig *ends, void (*token)(void *user, uint32_t id), void *user,
                     Error *err)
{
    *out = (Generation){0};
    uint32_t context = session_context(session), vocab = session_vocab(session);
    if (prompt_count > context)
        return error_set(err, "prompt: %u tokens, but the context is %u tokens", prompt_count,
                         context);
    if (max_tokens > context) max_tokens = context;
    session_reset(session);
    float *logits = malloc(vocab * sizeof *logits);
    out->tokens = malloc((max_tokens + 1) * sizeof *out->tokens);
    bool ok = (logits && out->tokens) || error_set(err, "out of memory");
    ok = ok && run(out, session, prompt, prompt_count, depth, max_tokens, ends, vocab, logits,
                   token, user, err);
    free(logits);
    if (!ok) generation_free(out);
    return ok;
}

void generation_free(Generation *out)
{
    free(out->tokens);
    *out = (Generation){0};
}

double generation_ms_per_token(const Generation *out)
{
    if (out->count < 2) return 1e3 * out->prompt_seconds;
    return 1e3 * out->seconds / (double)(out->ended ? out->count : out->count - 1);
}
