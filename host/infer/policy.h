// How deep a token goes: a fixed depth, early exits by confidence, or drafts of the first blocks
// that the deeper ones check. Only what is asked for; decoder.h does it.
#ifndef STRATA_INFER_POLICY_H
#define STRATA_INFER_POLICY_H

#include "model/config.h"

#include <stddef.h>

// What an exit is compared with its threshold by, each within [0, 1]: the largest probability p1 of
// the softmax; p1 - p2, the margin to the second; 1 - H / ln V, where H is the entropy.
typedef enum { CONFIDENCE_PROBABILITY, CONFIDENCE_MARGIN, CONFIDENCE_ENTROPY } Confidence;
extern const char *const CONFIDENCE_NAMES[]; // "probability", "margin", "entropy", NULL
bool confidence_named(Confidence *out, const char *name); // false: none of these

enum { DRAFT_WINDOW = 16 }; // drafted tokens, at most, before they are checked

typedef struct {
    uint32_t depth; // 1 .. L: no token goes deeper
    // Early exits: a token leaves at the first of these whose confidence reaches its threshold.
    uint32_t exits[CONFIG_MAX_EXITS]; // ascending, below depth
    double thresholds[CONFIG_MAX_EXITS];
    uint32_t exit_count;
    Confidence confidence;
    // Self-speculation: the first `draft` blocks propose tokens, `depth` blocks check them.
    uint32_t draft;    // 0: none
    bool draft_auto;   // draft is chosen as it goes, by expected gain
    uint32_t window;   // tokens drafted at first; 0: DRAFT_START
    double draft_stop; // a draft ends before a token of less probability
} DepthPolicy;

#define DRAFT_START 4 // the paper's first window
#define DRAFT_STOP_DEFAULT 0.3

// All blocks, or so many.
DepthPolicy policy_fixed(uint32_t depth);
bool policy_drafts(const DepthPolicy *policy);   // it is one of self-speculation
bool policy_is_fixed(const DepthPolicy *policy); // it neither drafts nor has exits

// "2:.95,4:.9" (--exits), or one threshold (--exit) for every exit below depth that the model was
// trained with, or for every block where it was trained with none.
bool policy_parse_exits(DepthPolicy *policy, const char *text, Error *err);
bool policy_parse_exit(DepthPolicy *policy, const char *text, const LlamaConfig *config,
                       Error *err);
// A depth below policy->depth, or "auto".
bool policy_parse_draft(DepthPolicy *policy, const char *text, Error *err);

// The confidence of logits (V); 0 where one of them is no number.
double confidence_of(const float *logits, uint32_t vocab, Confidence confidence);

// Text that names the policy: "depth 8", "exits 2:0.95,4:0.9 of 8", "draft 2 of 8". Returns out.
const char *policy_describe(const DepthPolicy *policy, char *out, size_t size);

#endif
