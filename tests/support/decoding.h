// What tests of decoding share: engines, texts, generations under a policy. Fails the running
// cmocka test itself.
#ifndef STRATA_TESTS_SUPPORT_DECODING_H
#define STRATA_TESTS_SUPPORT_DECODING_H

#include "infer/generate.h"
#include "support/device.h"

Engine *open_engine(Llama *model, uint32_t context, uint32_t pages);
Sequence open_sequence(Engine *engine);
// Some fixed text of count ids below vocab, another one for each seed; the first is 1.
void some_tokens(uint32_t *tokens, uint32_t count, uint32_t vocab, uint32_t seed);

// Greedy, no EOS, 256 tokens at most.
GenerateOptions plain_options(DepthPolicy policy);
// Exits at each of depths (count) with one threshold.
DepthPolicy exits_policy(uint32_t depth, const uint32_t *depths, uint32_t count, double threshold);
// A generation behind the prompt in an emptied sequence.
Generation run_options(Engine *engine, Sequence *sequence, const uint32_t *prompt, uint32_t count,
                       const GenerateOptions *options);
// Both have the same tokens and the same end; what and which name the case.
void check_same_text(const Generation *a, const Generation *b, const char *what, uint32_t which);
// Keys and values of the positions below `end` in blocks below `depth` are the same to the bit.
void check_same_cache(Engine *a, const Sequence *in_a, Engine *b, const Sequence *in_b,
                      uint32_t end, uint32_t depth);

#endif
