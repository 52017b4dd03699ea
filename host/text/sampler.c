// Penalty, temperature, top-k, top-p, min-p: see sampler.h.
#include "text/sampler.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Candidate {
    double p;
    uint32_t id;
} Candidate;

SamplerOptions sampler_greedy(void)
{
    return (SamplerOptions){.repetition_penalty = 1, .top_p = 1};
}

bool sampler_check(const SamplerOptions *o, Error *err)
{
    const struct {
        const char *name, *range;
        double value;
        bool good;
    } all[] = {
        {"temperature", "0 and more", o->temperature, o->temperature >= 0 && o->temperature < 1e6},
        {"top_p", "above 0, at most 1", o->top_p, o->top_p > 0 && o->top_p <= 1},
        {"min_p", "0 to 1", o->min_p, o->min_p >= 0 && o->min_p <= 1},
        {"repetition_penalty", "above 0", o->repetition_penalty,
         o->repetition_penalty > 0 && o->repetition_penalty < 1e6},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!all[i].good)
            return error_set(err, "%s: %g, expected %s", all[i].name, all[i].value, all[i].range);
    return true;
}

bool sampler_make(Sampler *sampler, const SamplerOptions *options, uint32_t vocab, Error *err)
{
    *sampler = (Sampler){.options = *options, .random = random_seed(options->seed), .vocab = vocab};
    if (!sampler_check(options, err)) return false;
    sampler->logits = malloc(vocab * sizeof *sampler->logits);
    sampler->sorted = malloc(vocab * sizeof *sampler->sorted);
    if (sampler->logits && sampler->sorted) return true;
    sampler_free(sampler);
    return error_set(err, "out of memory");
}

void sampler_free(Sampler *sampler)
{
    free(sampler->logits);
    free(sampler->sorted);
    sampler->logits = NULL;
    sampler->sorted = NULL;
}

uint32_t argmax(const float *values, uint32_t count)
{
    uint32_t best = 0;
    while (best + 1 < count && isnan(values[best])) best++;
    for (uint32_t i = best + 1; i < count; i++)
        if (values[i] > values[best]) best = i;
    return count && isnan(values[best]) ? 0 : best;
}

// A token counts once, however often it occurred: the penalised logit comes from the given one.
static const float *penalised(Sampler *s, const float *logits, const uint32_t *history,
                              size_t count)
{
    float penalty = (float)s->options.repetition_penalty;
    if (s->options.repetition_penalty == 1) return logits;
    memcpy(s->logits, logits, s->vocab * sizeof *logits);
    for (size_t i = 0; i < count; i++) {
        uint32_t id = history[i];
        if (id < s->vocab)
            s->logits[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
    }
    return s->logits;
}

uint32_t sampler_best(Sampler *s, const float *logits, const uint32_t *history, size_t count)
{
    return argmax(penalised(s, logits, history, count), s->vocab);
}

// p = softmax(logits / temperature), without a denominator. What broken weights give has its place,
// too: infinite logits share all there is, and one that is no number has nothing.
static double exponentials(double *p, const float *logits, uint32_t vocab, double temperature)
{
    uint32_t best = argmax(logits, vocab);
    double most = logits[best], sum = 0;
    for (uint32_t i = 0; i < vocab; i++) {
        p[i] = logits[i] == most ? 1 : exp((logits[i] - most) / temperature);
        if (isnan(p[i])) p[i] = 0;
        sum += p[i];
    }
    if (sum > 0) return sum;
    return p[best] = 1; // none is a number
}

// The most probable first, of two that are alike the smaller id.
static int by_probability(const void *a, const void *b)
{
    const Candidate *x = a, *y = b;
    if (x->p != y->p) return x->p > y->p ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

// Candidates above the least that could count, sorted. What top_p leaves out in any case: tokens
// that all together have less than 1 - top_p.
static uint32_t sort_candidates(Sampler *s, const double *p, double sum)
{
    double least = s->options.top_k ? 0 : (1 - s->options.top_p) * sum / s->vocab;
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->vocab; i++)
        if (p[i] >= least && p[i] > 0) s->sorted[n++] = (Candidate){p[i], i};
    qsort(s->sorted, n, sizeof *s->sorted, by_probability);
    return n;
}

// How many of the sorted candidates stay.
static uint32_t keep_candidates(const Sampler *s, uint32_t n, double sum)
{
    const SamplerOptions *o = &s->options;
    if (o->top_k && o->top_k < n) {
        n = o->top_k;
        sum = 0;
        for (uint32_t i = 0; i < n; i++) sum += s->sorted[i].p;
    }
    if (o->top_p < 1) {
        double reached = 0;
        uint32_t keep = 0;
        while (keep < n && reached < o->top_p * sum) reached += s->sorted[keep++].p;
        n = keep ? keep : 1;
    }
    while (n > 1 && s->sorted[n - 1].p < o->min_p * s->sorted[0].p) n--;
    return n;
}

void sampler_distribution(Sampler *s, double *p, const float *logits, const uint32_t *history,
                          size_t count)
{
    const SamplerOptions *o = &s->options;
    assert(o->temperature > 0);
    double sum = exponentials(p, penalised(s, logits, history, count), s->vocab, o->temperature);
    if (o->top_k || o->top_p < 1 || o->min_p > 0) {
        uint32_t n = keep_candidates(s, sort_candidates(s, p, sum), sum);
        memset(p, 0, s->vocab * sizeof *p);
        sum = 0;
        for (uint32_t i = 0; i < n; i++) sum += p[s->sorted[i].id] = s->sorted[i].p;
    }
    for (uint32_t i = 0; i < s->vocab; i++) p[i] /= sum;
}

uint32_t sampler_draw(Sampler *s, const double *p)
{
    double sum = 0, reached = 0;
    uint32_t last = 0;
    for (uint32_t i = 0; i < s->vocab; i++) sum += p[i];
    double u = random_uniform(&s->random) * sum;
    for (uint32_t i = 0; i < s->vocab; i++) {
        if (p[i] <= 0) continue;
        last = i; // rounding must not choose what has no probability
        reached += p[i];
        if (u < reached) break;
    }
    return last;
}
