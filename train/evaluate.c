// How well every depth predicts the outputs of a dataset: see evaluate.h.
#include "train/evaluate.h"
#include "base/json.h"
#include "train/step.h"

#include <math.h>

enum { ROWS = 2048 }; // of a batch, unless a record is longer

typedef struct {
    double loss;
    uint64_t hits, exact;
} Sums;

// Adds what exit says of examples first .. last - 1, whose supervised rows lie in their order.
static void add_scores(Sums *sums, const float *losses, const Dataset *set, size_t first,
                       size_t last)
{
    for (size_t i = first; i < last; i++) {
        uint32_t supervised = example_supervised(&set->examples[i]), hits = 0;
        for (uint32_t r = 0; r < supervised; r++) {
            sums->loss += losses[2 * r];
            hits += losses[2 * r + 1] > 0.5f;
        }
        sums->hits += hits;
        sums->exact += hits == supervised && !set->examples[i].truncated;
        losses += 2 * (size_t)supervised;
    }
}

// As many examples from `first` on as fit; returns the first that did not.
static size_t fill(Batch *batch, const Dataset *set, size_t first)
{
    batch_begin(batch);
    size_t i = first;
    while (i < set->count && batch_add_example(batch, set, &set->examples[i])) i++;
    batch_end(batch);
    return i;
}

static void finish(DepthScore *score, const Sums *sums, const Dataset *set, uint64_t tokens)
{
    score->loss = sums->loss / (double)tokens;
    score->perplexity = exp(score->loss);
    score->token_accuracy = (double)sums->hits / (double)tokens;
    score->exact_match = (double)sums->exact / (double)(set->count + set->dropped);
}

uint32_t evaluate_rows(uint32_t longest)
{
    return longest > ROWS ? longest : ROWS;
}

bool evaluate(Llama *model, const Dataset *set, const uint32_t *depths, uint32_t depth_count,
              DepthScore *scores, void (*progress)(void *user, size_t done), void *user, Error *err)
{
    uint32_t rows = evaluate_rows(set->longest);
    Step *step = step_open(model, depths, depth_count, rows, false, err);
    if (!step) return false;
    Sums sums[CONFIG_MAX_EXITS] = {{0}};
    uint64_t tokens = 0;
    bool ok = true;
    for (size_t at = 0; ok && at < set->count;) {
        size_t next = fill(step_batch(step), set, at);
        ok = step_run(step, NULL, err);
        for (uint32_t d = 0; ok && d < depth_count; d++)
            add_scores(&sums[d], step_losses(step, d), set, at, next);
        tokens += step_batch(step)->supervised;
        at = next;
        if (ok && progress) progress(user, at);
    }
    for (uint32_t d = 0; ok && d < depth_count; d++) {
        scores[d].depth = depths[d];
        finish(&scores[d], &sums[d], set, tokens);
    }
    step_close(step);
    return ok;
}

cJSON *depth_score_json(const DepthScore *score)
{
    cJSON *item = cJSON_CreateObject();
    cJSON_AddNumberToObject(item, "depth", score->depth);
    cJSON_AddNumberToObject(item, "loss", score->loss);
    cJSON_AddNumberToObject(item, "perplexity", score->perplexity);
    cJSON_AddNumberToObject(item, "token_accuracy", score->token_accuracy);
    cJSON_AddNumberToObject(item, "exact_match", score->exact_match);
    return item;
}
