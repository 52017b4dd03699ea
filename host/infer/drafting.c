// Choosing drafts by expected gain: see drafting.h.
#include "infer/drafting.h"

#include <math.h>

// Until something is known a draft is taken to be good, so that each depth is tried; what is known
// fades by FADE a token of text, so that it is tried again when the text has changed. The share
// that is believed of a draft that never stands is PRIOR_ACCEPTED PRIOR_WEIGHT (1 - FADE), below
// 1 %: more than that a vain draft costs in most models, and then it is seldom tried.
#define PRIOR_WEIGHT 0.5
#define PRIOR_ACCEPTED 0.9
#define PRIOR_MADE 0.9
#define FADE 0.98

static void add_candidate(Drafting *d, uint32_t depth)
{
    if (d->count < CONFIG_MAX_EXITS) d->candidates[d->count++] = (DraftCandidate){.depth = depth};
}

void drafting_begin(Drafting *d, const DepthPolicy *policy, const LlamaConfig *c, bool clock)
{
    uint64_t heads = (uint64_t)(2 * c->heads + 2 * c->kv_heads) * c->head_size;
    *d = (Drafting){
        .automatic = policy->draft_auto,
        .clock = clock,
        .depth = policy->depth,
        .window = policy->window ? policy->window : DRAFT_START,
        .block_cost = (double)c->width * (double)(heads + (uint64_t)3 * c->hidden),
        .head_cost = (double)c->width * c->vocab_size,
    };
    if (!d->automatic) {
        add_candidate(d, policy->draft);
        return;
    }
    uint32_t all = c->exit_count ? c->exit_count : policy->depth - 1;
    for (uint32_t i = 0; i < all; i++) {
        uint32_t depth = c->exit_count ? c->exits[i] : i + 1;
        if (depth < policy->depth) add_candidate(d, depth);
    }
    if (!d->count) add_candidate(d, policy->depth - 1);
}

// ---- costs -------------------------------------------------------------------------------------

static double pass_cost(const Drafting *d, uint32_t blocks)
{
    return blocks * d->block_cost + d->head_cost;
}

static int check_class(uint32_t rows)
{
    return rows <= 1 ? 0 : rows <= 8 ? 1 : 2;
}

static double scale(const Drafting *d)
{
    return d->seconds_per_byte > 0 ? d->seconds_per_byte : 1;
}

static double draft_cost(const Drafting *d, const DraftCandidate *c)
{
    return d->clock && c->seconds > 0 ? c->seconds : scale(d) * pass_cost(d, c->depth);
}

// What is left to run of the blocks behind the drafted ones, for so many rows.
static double check_cost(const Drafting *d, uint32_t from, uint32_t rows)
{
    double whole = d->clock ? d->check_seconds[check_class(rows)] : 0;
    if (whole <= 0) whole = scale(d) * pass_cost(d, d->depth);
    return whole * pass_cost(d, d->depth - from) / pass_cost(d, d->depth);
}

// ---- plans -------------------------------------------------------------------------------------

static double rate(double hits, double tries, double prior)
{
    return (hits + PRIOR_WEIGHT * prior) / (tries + PRIOR_WEIGHT);
}

// Expected tokens per cost: token i of a draft is made with probability made^i and stands, if all
// before it do, with accepted^i; behind the last that stands the check gives one more. The last
// draft passes its blocks only with the check.
static double gain(const Drafting *d, const DraftCandidate *c, uint32_t window)
{
    double made = rate(c->made, c->asked, PRIOR_MADE);
    double stands = made * rate(c->accepted, c->judged, PRIOR_ACCEPTED);
    double tokens = 1, cost = check_cost(d, c->depth, window + 1);
    for (uint32_t i = 0; i <= window; i++) {
        if (i) tokens += pow(stands, i);
        cost += pow(made, i) * draft_cost(d, c);
    }
    return tokens / cost;
}

DraftPlan drafting_plan(const Drafting *d)
{
    if (!d->automatic) return (DraftPlan){d->candidates[0].depth, d->window};
    DraftPlan best = {0, 0};
    double most = 1 / check_cost(d, 0, 1);
    for (uint32_t i = 0; i < d->count; i++)
        for (uint32_t window = 1; window <= DRAFT_WINDOW; window++) {
            double value = gain(d, &d->candidates[i], window);
            if (value <= most) continue;
            most = value;
            best = (DraftPlan){d->candidates[i].depth, window};
        }
    return best;
}

// ---- learning ----------------------------------------------------------------------------------

static DraftCandidate *find(Drafting *d, uint32_t depth)
{
    for (uint32_t i = 0; i < d->count; i++)
        if (d->candidates[i].depth == depth) return &d->candidates[i];
    return NULL;
}

static void fade(DraftCandidate *c, uint32_t tokens)
{
    double *all[] = {&c->asked, &c->made, &c->judged, &c->accepted};
    for (int i = 0; i < 4; i++) *all[i] *= pow(FADE, tokens);
}

void drafting_learn(Drafting *d, DraftPlan plan, uint32_t asked, uint32_t made, uint32_t accepted)
{
    for (uint32_t i = 0; i < d->count; i++) fade(&d->candidates[i], accepted + 1);
    DraftCandidate *c = find(d, plan.depth);
    if (!c) return;
    c->asked += asked;
    c->made += made;
    c->judged += accepted + (accepted < made);
    c->accepted += accepted;
    if (!d->automatic) d->window = drafting_window(d->window, made, accepted == made);
}

uint32_t drafting_window(uint32_t window, uint32_t made, bool all)
{
    if (!made) return window;
    if (all) return window + 2 < DRAFT_WINDOW ? window + 2 : DRAFT_WINDOW;
    return window > 1 ? window - 1 : 1;
}

static void blend(double *mean, double value)
{
    *mean = *mean > 0 ? 0.8 * *mean + 0.2 * value : value;
}

void drafting_timed_draft(Drafting *d, DraftPlan plan, double seconds)
{
    DraftCandidate *c = find(d, plan.depth);
    if (c) blend(&c->seconds, seconds);
    blend(&d->seconds_per_byte, seconds / pass_cost(d, plan.depth));
}

void drafting_timed_check(Drafting *d, DraftPlan plan, uint32_t rows, bool drafts, double seconds)
{
    const DraftCandidate *c = drafts ? find(d, plan.depth) : NULL;
    if (c) seconds -= draft_cost(d, c);
    if (seconds <= 0) return;
    double whole = seconds * pass_cost(d, d->depth) / pass_cost(d, d->depth - plan.depth);
    blend(&d->check_seconds[check_class(rows)], whole);
    blend(&d->seconds_per_byte, whole / pass_cost(d, d->depth));
}
