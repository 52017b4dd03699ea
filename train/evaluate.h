// How well every depth predicts the outputs of a dataset. One pass of the step without backward
// serves all depths at once.
#ifndef STRATA_TRAIN_EVALUATE_H
#define STRATA_TRAIN_EVALUATE_H

#include "model/llama.h"
#include "train/dataset.h"

typedef struct {
    uint32_t depth;
    double loss;           // nats per supervised token, over all of them
    double perplexity;     // exp(loss)
    double token_accuracy; // share of supervised tokens that are the largest logit
    // Share of records whose output and EOS greedy decoding reproduces. Greedy decoding from the
    // prompt gives exactly those tokens where each is the largest logit behind its predecessors,
    // which is what is counted; a record cut at the context does not count as reproduced. Of a chat
    // all answers must be right, each behind the true ones before it.
    double exact_match;
} DepthScore;

// Scores (depth_count) of ascending depths within 1..L. progress (may be NULL) is called now and
// then with the records done.
bool evaluate(Llama *model, const Dataset *set, const uint32_t *depths, uint32_t depth_count,
              DepthScore *scores, void (*progress)(void *user, size_t done), void *user,
              Error *err);

// Rows of a batch that is scored, where the longest record has so many tokens.
uint32_t evaluate_rows(uint32_t longest);

// {"depth","loss","perplexity","token_accuracy","exact_match"}; the caller owns it. NULL: no
// memory.
struct cJSON *depth_score_json(const DepthScore *score);

#endif
