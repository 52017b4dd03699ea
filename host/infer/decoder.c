// Prompt, exits, drafts and their check, one text: see decoder.h.
#include "infer/decoder.h"
#include "base/clock.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

const char *const END_NAMES[] = {"", "eos", "length", "stop"};

struct Decoder {
    Engine *engine;
    Sequence *sequence;
    GenerateOptions options;
    Sampler sampler;
    Drafting drafting;
    DraftPlan plan; // of the round at hand
    uint32_t vocab;
    uint32_t stage;       // fixed and exits: how many exits the token has passed
    uint32_t asked, made; // drafts of the round; those made stand at the end of the sequence
    bool checking;        // the round's drafts are to be checked
    float *logits;        // (rows, V): what decoder_want asked for
    double *drafted_from; // (DRAFT_WINDOW, V) what each draft was drawn from; sampling only
    double *p;            // (V) scratch
    double began, first, asked_at;
    Generation out;
};

static bool drafts(const Decoder *d)
{
    return policy_drafts(&d->options.policy);
}

static bool sampled(const Decoder *d)
{
    return d->options.sampler.temperature > 0;
}

// ---- results -----------------------------------------------------------------------------------

void generation_free(Generation *g)
{
    free(g->tokens);
    free(g->report.tokens_at);
    *g = (Generation){0};
}

// A token that ends the text was computed, too.
static double known_after(const Generation *g, size_t first)
{
    size_t tokens = g->count + (g->end == END_EOS);
    return tokens > first ? (double)(tokens - first) : 0;
}

double generation_ms_per_token(const Generation *g)
{
    double tokens = known_after(g, g->first);
    return tokens > 0 ? 1e3 * g->seconds / tokens : 1e3 * g->prompt_seconds;
}

double generation_blocks_per_token(const Generation *g)
{
    double tokens = known_after(g, 1);
    return tokens > 0 ? (double)g->report.blocks_run / tokens : 0;
}

// ---- life time ---------------------------------------------------------------------------------

static bool make_buffers(Decoder *d, Error *err)
{
    size_t vocab = d->vocab, rows = drafts(d) ? DRAFT_WINDOW + 1 : 1;
    d->logits = malloc(rows * vocab * sizeof *d->logits);
    d->out.tokens = malloc(((size_t)d->options.max_tokens + 1) * sizeof *d->out.tokens);
    d->out.report.tokens_at = calloc(engine_model(d->engine)->config.blocks + 1, sizeof(uint32_t));
    bool ok = d->logits && d->out.tokens && d->out.report.tokens_at;
    if (sampled(d)) {
        d->p = malloc(vocab * sizeof *d->p);
        if (drafts(d)) d->drafted_from = malloc(DRAFT_WINDOW * vocab * sizeof *d->drafted_from);
        ok = ok && d->p && (!drafts(d) || d->drafted_from);
    }
    return ok || error_set(err, "out of memory");
}

static void next_round(Decoder *d)
{
    d->stage = d->asked = d->made = 0;
    d->checking = false;
    if (!drafts(d)) return;
    d->plan = drafting_plan(&d->drafting);
    d->checking = d->plan.depth == 0;
}

// What goes from text to text. Sampled texts follow from their seed alone.
static Drafting *learned(const Decoder *d)
{
    const GenerateOptions *o = &d->options;
    return o->clock && o->policy.draft_auto && !sampled(d) ? o->learned : NULL;
}

static bool begin(Decoder *d, const uint32_t *prompt, uint32_t count, Error *err)
{
    const LlamaConfig *config = &engine_model(d->engine)->config;
    Sequence *s = d->sequence;
    if (count > s->context - s->count)
        return error_set(err, "prompt: %u tokens, but the context is %u tokens", s->count + count,
                         s->context);
    if (!sampler_make(&d->sampler, &d->options.sampler, d->vocab, err) || !make_buffers(d, err) ||
        !engine_check_tokens(d->engine, prompt, count, err) ||
        !sequence_append(s, prompt, count, err))
        return false;
    s->counted_from = s->count;
    s->blocks_run = 0;
    if (learned(d) && learned(d)->count)
        d->drafting = *learned(d);
    else
        drafting_begin(&d->drafting, &d->options.policy, config, d->options.clock && !sampled(d));
    next_round(d);
    if (!d->options.max_tokens) d->out.end = END_LENGTH;
    return true;
}

Decoder *decoder_open(Engine *engine, Sequence *sequence, const uint32_t *prompt, uint32_t count,
                      const GenerateOptions *options, Error *err)
{
    Decoder *d = calloc(1, sizeof *d);
    if (!d) {
        error_set(err, "out of memory");
        return NULL;
    }
    assert(count > 0);
    *d = (Decoder){.engine = engine,
                   .sequence = sequence,
                   .options = *options,
                   .vocab = engine_model(engine)->config.vocab_size,
                   .began = clock_seconds()};
    if (d->options.max_tokens > sequence->context) d->options.max_tokens = sequence->context;
    if (begin(d, prompt, count, err)) return d;
    decoder_close(d);
    return NULL;
}

void decoder_close(Decoder *d)
{
    if (!d) return;
    sampler_free(&d->sampler);
    generation_free(&d->out);
    free(d->logits);
    free(d->drafted_from);
    free(d->p);
    free(d);
}

Generation decoder_result(Decoder *d)
{
    Generation out = d->out;
    d->out = (Generation){0};
    return out;
}

// ---- what it wants -----------------------------------------------------------------------------

uint32_t decoder_depth(const Decoder *d)
{
    const DepthPolicy *p = &d->options.policy;
    if (d->out.end != END_NONE) return 0;
    if (drafts(d)) return d->checking ? p->depth : d->plan.depth;
    return d->stage < p->exit_count ? p->exits[d->stage] : p->depth;
}

const char *decoder_phase(const Decoder *d)
{
    if (d->first <= 0) return "prompt";
    if (!drafts(d)) return "decode";
    return d->checking ? "verify" : "draft";
}

Advance decoder_want(Decoder *d, uint32_t depth)
{
    uint32_t rows = d->checking ? d->made + 1 : 1;
    if (d->asked_at <= 0) d->asked_at = clock_seconds();
    return (Advance){d->sequence, d->sequence->count, depth == decoder_depth(d) ? rows : 0,
                     d->logits};
}

// ---- tokens ------------------------------------------------------------------------------------

static void finish(Decoder *d, GenerationEnd end)
{
    d->out.end = end;
    d->out.seconds = d->first > 0 ? clock_seconds() - d->first : 0;
    d->out.report.blocks_run = d->sequence->blocks_run;
    if (learned(d)) *learned(d) = d->drafting;
}

// A token of the text, known to be next. False: the text has ended with it.
static bool hear(Decoder *d, uint32_t token, uint32_t depth)
{
    d->out.report.tokens_at[depth]++;
    for (uint32_t i = 0; i < d->options.eos_count; i++)
        if (token == d->options.eos[i]) {
            finish(d, END_EOS);
            return false;
        }
    d->out.tokens[d->out.count++] = token;
    if (d->options.token && !d->options.token(d->options.user, token))
        finish(d, END_STOP);
    else if (d->out.count == d->options.max_tokens)
        finish(d, END_LENGTH);
    return d->out.end == END_NONE;
}

// The same, and it is fed to the model next.
static bool go_on(Decoder *d, uint32_t token, uint32_t depth, Error *err)
{
    if (!hear(d, token, depth)) return true;
    if (d->sequence->count == d->sequence->context)
        finish(d, END_LENGTH);
    else if (!sequence_append(d->sequence, &token, 1, err))
        return false;
    next_round(d);
    return true;
}

// The next token behind the first `count` tokens of the sequence.
static uint32_t choose(Decoder *d, const float *logits, uint32_t count)
{
    const uint32_t *history = d->sequence->tokens;
    if (!sampled(d)) return sampler_best(&d->sampler, logits, history, count);
    sampler_distribution(&d->sampler, d->p, logits, history, count);
    return sampler_draw(&d->sampler, d->p);
}

static bool take_exit(Decoder *d, Error *err)
{
    const DepthPolicy *p = &d->options.policy;
    uint32_t depth = decoder_depth(d);
    if (d->stage < p->exit_count &&
        !(confidence_of(d->logits, d->vocab, p->confidence) >= p->thresholds[d->stage])) {
        d->stage++;
        return true;
    }
    return go_on(d, choose(d, d->logits, d->sequence->count), depth, err);
}

// ---- drafts ------------------------------------------------------------------------------------

static bool ends_text(const Decoder *d, uint32_t token)
{
    for (uint32_t i = 0; i < d->options.eos_count; i++)
        if (token == d->options.eos[i]) return true;
    return false;
}

// The draft's next token; false where it is not sure enough of it.
static bool propose(Decoder *d, uint32_t *token)
{
    const uint32_t *history = d->sequence->tokens;
    uint32_t count = d->sequence->count;
    double stop = d->options.policy.draft_stop;
    if (!sampled(d)) {
        *token = sampler_best(&d->sampler, d->logits, history, count);
        return stop <= 0 || confidence_of(d->logits, d->vocab, CONFIDENCE_PROBABILITY) >= stop;
    }
    double *q = d->drafted_from + (size_t)d->made * d->vocab;
    sampler_distribution(&d->sampler, q, d->logits, history, count);
    double most = 0;
    for (uint32_t i = 0; i < d->vocab; i++)
        if (q[i] > most) most = q[i];
    if (most < stop) return false; // decided before the draw: drafts stay unbiased
    *token = sampler_draw(&d->sampler, q);
    return true;
}

static bool take_draft(Decoder *d, Error *err)
{
    Sequence *s = d->sequence;
    uint32_t token;
    if (d->drafting.clock && d->asked) // the first brings the last check's token along
        drafting_timed_draft(&d->drafting, d->plan, clock_seconds() - d->asked_at);
    d->asked++;
    d->checking = true;
    if (s->count == s->context || !propose(d, &token)) return true;
    if (!sequence_append(s, &token, 1, err)) return false;
    d->made++;
    d->checking = d->made == d->plan.window || ends_text(d, token) || s->count == s->context ||
                  d->out.count + d->made + 1 >= d->options.max_tokens;
    return true;
}

// Rejection sampling (Leviathan et al., arXiv 2211.17192, 2.3): a token drawn from q stays with
// probability min(1, p / q); else one is drawn from max(0, p - q). What comes out follows p.
static bool accept_sampled(Decoder *d, const float *logits, uint32_t i, uint32_t count,
                           uint32_t *token)
{
    const double *q = d->drafted_from + (size_t)i * d->vocab;
    double *p = d->p, left = 0;
    sampler_distribution(&d->sampler, p, logits, d->sequence->tokens, count);
    if (random_uniform(&d->sampler.random) * q[*token] < p[*token]) return true;
    for (uint32_t j = 0; j < d->vocab; j++) {
        p[j] = p[j] > q[j] ? p[j] - q[j] : 0;
        left += p[j];
    }
    if (left <= 0) return true; // p is q, up to rounding
    *token = sampler_draw(&d->sampler, p);
    return false;
}

// Whether draft i, *token, stands; else *token becomes what comes in its place.
static bool accept(Decoder *d, uint32_t i, uint32_t count, uint32_t *token)
{
    const float *logits = d->logits + (size_t)i * d->vocab;
    if (sampled(d)) return accept_sampled(d, logits, i, count, token);
    uint32_t drafted = *token;
    *token = sampler_best(&d->sampler, logits, d->sequence->tokens, count);
    return *token == drafted;
}

static void learn(Decoder *d, uint32_t accepted)
{
    d->out.report.drafted += d->made;
    d->out.report.accepted += accepted;
    d->out.report.rounds += d->plan.depth != 0;
    drafting_learn(&d->drafting, d->plan, d->asked, d->made, accepted);
}

static bool take_check(Decoder *d, Error *err)
{
    Sequence *s = d->sequence;
    uint32_t base = s->count - d->made, depth = d->options.policy.depth;
    if (d->drafting.clock && d->first > 0)
        drafting_timed_check(&d->drafting, d->plan, d->made + 1, d->made && d->made == d->asked,
                             clock_seconds() - d->asked_at);
    for (uint32_t i = 0; i < d->made; i++) {
        uint32_t token = s->tokens[base + i];
        if (!accept(d, i, base + i, &token)) {
            learn(d, i);
            sequence_truncate(s, base + i);
            return go_on(d, token, depth, err);
        }
        if (hear(d, token, d->plan.depth)) continue;
        learn(d, i + 1);
        // The sequence keeps what was heard and fed, as without drafts.
        sequence_truncate(s, base + i);
        return true;
    }
    learn(d, d->made);
    uint32_t token = choose(d, d->logits + (size_t)d->made * d->vocab, s->count);
    return go_on(d, token, depth, err);
}

// The clock of the tokens behind the first ones begins.
static void note_first(Decoder *d)
{
    d->out.first = d->out.count + (d->out.end == END_EOS);
    if (!d->out.first) return;
    d->first = clock_seconds();
    d->out.prompt_seconds = d->first - d->began;
}

bool decoder_take(Decoder *d, Error *err)
{
    bool ok = !drafts(d)    ? take_exit(d, err)
              : d->checking ? take_check(d, err)
                            : take_draft(d, err);
    d->asked_at = 0;
    if (!d->out.first) note_first(d);
    return ok;
}
