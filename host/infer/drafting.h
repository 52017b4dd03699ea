// How deep and how far to draft next, learned from what was accepted and what it took. Self-
// speculation itself is in decoder.h.
#ifndef STRATA_INFER_DRAFTING_H
#define STRATA_INFER_DRAFTING_H

#include "infer/policy.h"

enum { DRAFT_CHECKS = 3 }; // classes of how many rows a check has

// What is known of drafts of one depth; counts fade, so that the newest text weighs most.
typedef struct {
    uint32_t depth;
    double asked, made;      // tokens: a draft that is not sure enough is asked for but not made
    double judged, accepted; // tokens that were checked behind accepted ones
    double seconds;          // of one drafted token; 0: not known
} DraftCandidate;

typedef struct {
    bool automatic;
    bool clock;      // costs are measured; else they are the bytes of weights that are read
    uint32_t depth;  // that checks
    uint32_t window; // not automatic: the window that the paper's rule is at
    DraftCandidate candidates[CONFIG_MAX_EXITS];
    uint32_t count;
    double block_cost, head_cost;       // bytes
    double check_seconds[DRAFT_CHECKS]; // of a pass through all blocks; 0: not known
    double seconds_per_byte;            // 0: nothing measured yet
} Drafting;

typedef struct {
    uint32_t depth;  // that drafts; 0: a plain step
    uint32_t window; // tokens, 1 to DRAFT_WINDOW; 0 for a plain step
} DraftPlan;

// policy->draft, or with draft_auto every exit the model was trained with (else every block).
// Without `clock` the plans follow from the text alone, so that a seed gives the same text.
void drafting_begin(Drafting *drafting, const DepthPolicy *policy, const LlamaConfig *config,
                    bool clock);
// The paper's rule for one depth: DRAFT_START tokens at first, 2 more where all were accepted, else
// one less (SoFT, 5.3). Automatic: the depth and window whose expected tokens per cost are highest.
DraftPlan drafting_plan(const Drafting *drafting);
// The paper's rule: the window behind one in which `made` tokens were drafted, all accepted or not.
uint32_t drafting_window(uint32_t window, uint32_t made, bool all);
// A round: drafts that were asked for and made, and how many of these were accepted.
void drafting_learn(Drafting *drafting, DraftPlan plan, uint32_t asked, uint32_t made,
                    uint32_t accepted);
// What a drafted token took, and a check of `rows` rows from plan.depth on, with `drafts` also the
// last draft's way through the blocks that draft.
void drafting_timed_draft(Drafting *drafting, DraftPlan plan, double seconds);
void drafting_timed_check(Drafting *drafting, DraftPlan plan, uint32_t rows, bool drafts,
                          double seconds);

#endif
