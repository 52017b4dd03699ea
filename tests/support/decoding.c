// Helpers of tests of decoding: see decoding.h.
#include "support/decoding.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

Engine *open_engine(Llama *model, uint32_t context, uint32_t pages)
{
    Error err;
    Engine *engine = engine_open(model, context, pages, &err);
    if (!engine) fail_msg("%s", err.text);
    return engine;
}

Sequence open_sequence(Engine *engine)
{
    Error err;
    Sequence sequence;
    if (!sequence_make(&sequence, engine_pool(engine), engine_context(engine), &err))
        fail_msg("%s", err.text);
    return sequence;
}

void some_tokens(uint32_t *tokens, uint32_t count, uint32_t vocab, uint32_t seed)
{
    uint32_t state = 12345 + 777 * seed;
    for (uint32_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        tokens[i] = i ? (state >> 8) % vocab : 1;
    }
}

GenerateOptions plain_options(DepthPolicy policy)
{
    return (GenerateOptions){.policy = policy, .sampler = sampler_greedy(), .max_tokens = 256};
}

DepthPolicy exits_policy(uint32_t depth, const uint32_t *depths, uint32_t count, double threshold)
{
    DepthPolicy policy = policy_fixed(depth);
    policy.exit_count = count;
    for (uint32_t i = 0; i < count; i++) {
        policy.exits[i] = depths[i];
        policy.thresholds[i] = threshold;
    }
    return policy;
}

Generation run_options(Engine *engine, Sequence *sequence, const uint32_t *prompt, uint32_t count,
                       const GenerateOptions *options)
{
    Generation out;
    Error err;
    sequence_truncate(sequence, 0);
    if (!generate(&out, engine, sequence, prompt, count, options, &err)) fail_msg("%s", err.text);
    return out;
}

void check_same_text(const Generation *a, const Generation *b, const char *what, uint32_t which)
{
    if (a->count != b->count || a->end != b->end)
        fail_msg("%s %u: %zu tokens (%s), expected %zu (%s)", what, which, b->count,
                 END_NAMES[b->end], a->count, END_NAMES[a->end]);
    for (size_t i = 0; i < a->count; i++)
        if (a->tokens[i] != b->tokens[i])
            fail_msg("%s %u: token %zu is %u, expected %u", what, which, i, b->tokens[i],
                     a->tokens[i]);
}

static void check_same_slots(Tensor a, const Sequence *in_a, Tensor b, const Sequence *in_b,
                             uint32_t end, const char *what, uint32_t block)
{
    float *left = download(a), *right = download(b);
    for (uint32_t p = 0; p < end; p++)
        if (memcmp(left + (size_t)sequence_slot(in_a, p) * a.cols,
                   right + (size_t)sequence_slot(in_b, p) * b.cols, 4 * (size_t)a.cols))
            fail_msg("block %u: the %s of position %u differs", block, what, p);
    free(left);
    free(right);
}

void check_same_cache(Engine *a, const Sequence *in_a, Engine *b, const Sequence *in_b,
                      uint32_t end, uint32_t depth)
{
    for (uint32_t block = 0; block < depth; block++) {
        const BlockCache *left = &engine_pool(a)->caches[block];
        const BlockCache *right = &engine_pool(b)->caches[block];
        check_same_slots(left->k, in_a, right->k, in_b, end, "key", block);
        check_same_slots(left->v, in_a, right->v, in_b, end, "value", block);
    }
}
