// Searching thresholds and drafts: see calibrate.h.
#include "infer/calibrate.h"
#include "infer/drafting.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Shares of all tokens that the full depth has right and the exits together may get wrong.
static const double HARMS[EXIT_CURVE] = {0.002, 0.005, 0.01, 0.015, 0.02, 0.03,
                                         0.05,  0.07,  0.1,  0.15,  0.2,  0.3};

enum { SUBSETS = 256 };

#define NEVER 1e9 // a threshold that nothing reaches

// ---- judging a policy --------------------------------------------------------------------------

// How sure exit e is at position p, within [0, 1]. What is no number is sure of nothing, as
// confidence_of has it: it must neither leave nor confuse the sorting.
static double sureness(const Observations *o, size_t p, uint32_t e)
{
    double value = o->confidences[p * o->exits + e];
    return value > 0 ? fmin(value, 1) : 0;
}

// Where a position leaves: an index of depths.
static uint32_t leaves_at(const Observations *o, size_t p, const double *thresholds,
                          const bool *used, uint32_t *failed)
{
    *failed = 0;
    for (uint32_t e = 0; e < o->exits; e++) {
        if (!used[e]) continue;
        if (sureness(o, p, e) >= thresholds[e]) return e;
        ++*failed;
    }
    return o->exits;
}

static bool is_same(const Observations *o, size_t p, uint32_t e)
{
    return e == o->exits || o->same[p * o->exits + e];
}

// Judges at positions first, first + 2, ...
static void judge(ExitChoice *choice, const Observations *o, const StepCosts *costs,
                  const double *thresholds, const bool *used, size_t first)
{
    double right = 0, full = 0, same = 0, blocks = 0, seconds = 0, n = 0;
    for (size_t p = first; p < o->count; p += 2, n++) {
        uint32_t failed, e = leaves_at(o, p, thresholds, used, &failed);
        right += o->right[p * (o->exits + 1) + e];
        full += o->right[p * (o->exits + 1) + o->exits];
        same += is_same(o, p, e);
        blocks += o->depths[e];
        seconds += costs->token[e] + failed * costs->check;
    }
    choice->accuracy = right / n;
    choice->full_accuracy = full / n;
    choice->agreement = same / n;
    choice->blocks = blocks / n;
    choice->speed = n * costs->token[o->exits] / seconds;
}

// ---- thresholds --------------------------------------------------------------------------------

// A position of the choosing half, at one exit.
typedef struct {
    double sureness;
    size_t position;
    int lost; // right tokens that leaving here loses: 1, 0 or -1
} Leaving;

// N = (P + 1) / 2 positions of the choosing half: the even ones.
typedef struct {
    const Observations *o;
    const StepCosts *costs;
    Leaving *lists;    // (E, N) by exit, the surest first: sorted once, not for each subset
    uint32_t *left_at; // (P) where a position leaves, of the exits gone through so far
    size_t count;      // N
} Search;

static int by_sureness(const void *a, const void *b)
{
    const Leaving *x = a, *y = b;
    if (x->sureness > y->sureness || x->sureness < y->sureness)
        return x->sureness > y->sureness ? -1 : 1;
    return (x->position > y->position) - (x->position < y->position);
}

static bool search_begin(Search *s, const Observations *o, const StepCosts *costs)
{
    *s = (Search){.o = o, .costs = costs, .count = (o->count + 1) / 2};
    s->lists = malloc(o->exits * s->count * sizeof *s->lists);
    s->left_at = malloc(o->count * sizeof *s->left_at);
    if (!s->lists || !s->left_at) return false;
    for (uint32_t e = 0; e < o->exits; e++) {
        Leaving *list = s->lists + e * s->count;
        for (size_t p = 0; p < o->count; p += 2) {
            const uint8_t *right = o->right + p * (o->exits + 1);
            list[p / 2] = (Leaving){sureness(o, p, e), p, right[o->exits] - right[e]};
        }
        qsort(list, s->count, sizeof *list, by_sureness);
    }
    return true;
}

static void search_end(Search *s)
{
    free(s->lists);
    free(s->left_at);
}

static bool has_left(const Search *s, size_t p)
{
    return s->left_at[p] != s->o->exits;
}

// The lowest threshold at which those that leave lose no more than `most` tokens. Of the many
// thresholds that are tried some look good by chance, so one standard deviation of the tokens that
// change is taken on top.
static double lowest_threshold(const Search *s, uint32_t e, double most)
{
    const Leaving *list = s->lists + e * s->count;
    double lost = 0, changed = 0, threshold = NEVER;
    bool any = false; // of this sureness
    for (size_t i = 0; i < s->count; i++) {
        if (!has_left(s, list[i].position)) {
            lost += list[i].lost;
            changed += abs(list[i].lost);
            any = true;
        }
        if (i + 1 < s->count && list[i + 1].sureness >= list[i].sureness) continue;
        if (any && lost + sqrt(changed) <= most) threshold = list[i].sureness;
        any = false;
    }
    return threshold;
}

// Exit by exit, among the positions of the half that no exit before took.
static void choose_thresholds(double *thresholds, const Search *s, const bool *used, double harm)
{
    const Observations *o = s->o;
    uint32_t exits = 0;
    for (uint32_t e = 0; e < o->exits; e++) exits += used[e];
    double most = harm * (double)s->count / (exits ? exits : 1);
    for (size_t p = 0; p < o->count; p += 2) s->left_at[p] = o->exits;
    for (uint32_t e = 0; e < o->exits; e++) {
        thresholds[e] = used[e] ? lowest_threshold(s, e, most) : NEVER;
        const Leaving *list = s->lists + e * s->count;
        for (size_t i = 0; i < s->count && list[i].sureness >= thresholds[e]; i++)
            if (!has_left(s, list[i].position)) s->left_at[list[i].position] = e;
    }
}

static DepthPolicy make_policy(const Observations *o, const double *thresholds, const bool *used)
{
    DepthPolicy policy = policy_fixed(o->depths[o->exits]);
    policy.confidence = o->confidence;
    for (uint32_t e = 0; e < o->exits; e++) {
        if (!used[e] || thresholds[e] == NEVER) continue;
        policy.exits[policy.exit_count] = o->depths[e];
        policy.thresholds[policy.exit_count++] = thresholds[e];
    }
    return policy;
}

// Which exits a subset has: a bit each; beyond 8 exits, each bit stands for several side by side.
static void use_subset(bool *used, uint32_t exits, uint32_t subset)
{
    for (uint32_t e = 0; e < exits; e++) used[e] = subset >> (exits <= 8 ? e : 8 * e / exits) & 1;
}

// The exits with the least expected time at the choosing half, for that harm.
static void best_subset(ExitChoice *out, const Search *s, double harm)
{
    const Observations *o = s->o;
    double thresholds[CONFIG_MAX_EXITS];
    bool used[CONFIG_MAX_EXITS];
    uint32_t subsets = o->exits < 8 ? 1u << o->exits : SUBSETS;
    double best = 0;
    for (uint32_t subset = 0; subset < subsets; subset++) {
        ExitChoice trial = {.harm = harm};
        use_subset(used, o->exits, subset);
        choose_thresholds(thresholds, s, used, harm);
        for (uint32_t e = 0; e < o->exits; e++) used[e] &= thresholds[e] != NEVER;
        judge(&trial, o, s->costs, thresholds, used, 0);
        if (trial.speed <= best) continue;
        best = trial.speed;
        trial.policy = make_policy(o, thresholds, used);
        judge(&trial, o, s->costs, thresholds, used, 1);
        *out = trial;
    }
}

uint32_t calibrate_exits(ExitChoice *curve, const Observations *o, const StepCosts *costs)
{
    uint32_t n = 0;
    if (!o->exits || o->count < CALIBRATE_LEAST) return 0;
    Search search;
    if (search_begin(&search, o, costs))
        for (; n < EXIT_CURVE; n++) best_subset(&curve[n], &search, HARMS[n]);
    search_end(&search);
    return n;
}

const ExitChoice *calibrate_choose(const ExitChoice *curve, uint32_t count, double max_loss)
{
    const ExitChoice *best = NULL;
    for (uint32_t i = 0; i < count; i++) {
        bool good = curve[i].full_accuracy - curve[i].accuracy <= max_loss + 1e-12;
        if (good && (!best || curve[i].speed > best->speed)) best = &curve[i];
    }
    return best;
}

// ---- drafts ------------------------------------------------------------------------------------

// A plan, and what comes of it where all texts are drafted and checked from end to end.
typedef struct {
    uint32_t e, window; // the exit that drafts, the first window
    double stop;
    double made, accepted, seconds;
} DraftTrial;

// A round at position p of a text that ends before `end`: made tokens are drafted, so many stand.
static uint32_t draft_round(DraftTrial *t, const Observations *o, const StepCosts *costs, size_t p,
                            size_t end, uint32_t window, uint32_t *made)
{
    uint32_t asked = 0, right = 0;
    *made = 0;
    while (*made < window && p + *made < end) {
        asked++;
        if (sureness(o, p + *made, t->e) < t->stop) break;
        ++*made;
    }
    while (right < *made && o->same[(p + right) * o->exits + t->e]) right++;
    // Where no draft was refused the last one passes its blocks with the check.
    uint32_t passes = asked == *made ? asked + 1 : asked;
    t->made += *made;
    t->accepted += right;
    t->seconds += passes * costs->token[t->e] + costs->checks[t->e][*made + 1];
    return right;
}

// All texts, with the window as drafting.c moves it.
static void try_draft(DraftTrial *t, const Observations *o, const StepCosts *costs)
{
    for (size_t p = 0, end; p < o->count; p = end) {
        uint32_t window = t->window, made;
        for (end = p + 1; end < o->count && !o->begins[end];) end++;
        while (p < end) {
            uint32_t right = draft_round(t, o, costs, p, end, window, &made);
            window = drafting_window(window, made, right == made);
            p += right + 1;
        }
    }
}

DraftChoice calibrate_draft(const Observations *o, const StepCosts *costs)
{
    DraftChoice best = {.speed = 1};
    if (o->count < CALIBRATE_LEAST || o->confidence != CONFIDENCE_PROBABILITY) return best;
    double full = (double)o->count * costs->token[o->exits];
    for (uint32_t e = 0; e < o->exits; e++)
        for (int step = 0; step < 10; step++)
            for (uint32_t window = 1; window <= DRAFT_WINDOW; window++) {
                DraftTrial t = {.e = e, .window = window, .stop = step / 10.0};
                try_draft(&t, o, costs);
                if (full / t.seconds <= best.speed) continue;
                double acceptance = t.made > 0 ? t.accepted / t.made : 0;
                best = (DraftChoice){o->depths[e], window, t.stop, acceptance, full / t.seconds};
            }
    return best;
}
