// Choosing the next token from logits. Knows nothing of models or GPUs; the same seed gives the
// same choices on every machine for the same logits.
#ifndef STRATA_TEXT_SAMPLER_H
#define STRATA_TEXT_SAMPLER_H

#include "base/error.h"
#include "base/random.h"

#include <stddef.h>
#include <stdint.h>

// Applied in this order, which is that of Hugging Face Transformers.
typedef struct {
    double repetition_penalty; // 1: none; logits of tokens that occurred are divided by it where
                               // they are above 0, else multiplied (CTRL, arXiv 1909.05858, 4.1)
    double temperature;        // logits are divided by it; 0: greedy, the rest does not matter
    uint32_t top_k;            // the k most probable tokens; 0: all
    double top_p; // the fewest most probable that together reach p; 1: all (1904.09751)
    double min_p; // at least so many times the most probable's; 0: all (2407.01082)
    uint64_t seed;
} SamplerOptions;

// The most probable token, always.
SamplerOptions sampler_greedy(void);
// Every value within what it may be; err names the one that is not.
bool sampler_check(const SamplerOptions *options, Error *err);

typedef struct {
    SamplerOptions options;
    Random random;
    uint32_t vocab;           // V
    float *logits;            // (V) behind the penalty
    struct Candidate *sorted; // (V)
} Sampler;

bool sampler_make(Sampler *sampler, const SamplerOptions *options, uint32_t vocab, Error *err);
void sampler_free(Sampler *sampler); // sampler may be zero

// The greedy choice: the first largest of logits (V) behind the penalty for history (count).
uint32_t sampler_best(Sampler *sampler, const float *logits, const uint32_t *history, size_t count);
// What the next token is drawn from: p (V), probabilities that sum up to 1, 0 where a token is left
// out, as one is whose logit is no number. temperature is above 0.
void sampler_distribution(Sampler *sampler, double *p, const float *logits, const uint32_t *history,
                          size_t count);
// A token with the probability that it has in p (V), whose sum need not be 1.
uint32_t sampler_draw(Sampler *sampler, const double *p);

// The first largest of values (count), passing over what is no number; 0 where none is one.
uint32_t argmax(const float *values, uint32_t count);

#endif
