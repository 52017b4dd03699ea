// Options of decoding: see cli_decode.h.
#include "cli_decode.h"
#include "base/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

DecodeOptions decode_defaults(void)
{
    return (DecodeOptions){
        .draft_stop = DRAFT_STOP_DEFAULT, .sampler = sampler_greedy(), .max_tokens = 256};
}

static bool number(double *out, const char *name, const char *text, Error *err)
{
    char *end;
    *out = strtod(text, &end);
    return (end != text && !*end && isfinite(*out)) ||
           error_set(err, "--%s '%.40s' is not a number", name, text);
}

static bool whole(uint64_t *out, const char *name, const char *text, uint64_t low, uint64_t high,
                  Error *err)
{
    return cli_number(text, low, high, out) ||
           error_set(err, "--%s '%.40s' is not a number of %llu to %llu", name, text,
                     (unsigned long long)low, (unsigned long long)high);
}

static bool confidence(Confidence *out, const char *text, Error *err)
{
    return confidence_named(out, text) ||
           error_set(err, "--confidence '%.40s': probability, margin or entropy is expected", text);
}

static bool add_stop(DecodeOptions *o, const char *text, Error *err)
{
    size_t size = strlen(text), valid = utf8_check(text, size);
    if (!size) return error_set(err, "--stop: an empty text");
    if (valid < size) return error_set(err, "--stop: invalid UTF-8 at byte %zu", valid);
    if (o->stop_count == STOP_MOST) return error_set(err, "--stop: more than %d", STOP_MOST);
    o->stops[o->stop_count++] = text;
    return true;
}

static bool sampling_option(SamplerOptions *s, int option, const char *value, bool *known,
                            Error *err)
{
    uint64_t k = 0;
    switch (option) {
    case OPTION_TEMPERATURE:
        return number(&s->temperature, "temperature", value, err);
    case OPTION_TOP_K:
        if (!whole(&k, "top-k", value, 0, UINT32_MAX, err)) return false;
        s->top_k = (uint32_t)k;
        return true;
    case OPTION_TOP_P:
        return number(&s->top_p, "top-p", value, err);
    case OPTION_MIN_P:
        return number(&s->min_p, "min-p", value, err);
    case OPTION_PENALTY:
        return number(&s->repetition_penalty, "repetition-penalty", value, err);
    case OPTION_SEED:
        return whole(&s->seed, "seed", value, 0, UINT64_C(1) << 53, err);
    default:
        *known = false;
        return true;
    }
}

bool decode_option(DecodeOptions *o, int option, const char *value, bool *known, Error *err)
{
    *known = true;
    switch (option) {
    case OPTION_DEPTH:
        o->depth = value;
        return true;
    case OPTION_EXIT:
        o->exit = value;
        return true;
    case OPTION_EXITS:
        o->exits = value;
        return true;
    case OPTION_DRAFT:
        o->draft = value;
        return true;
    case OPTION_CONFIDENCE:
        return confidence(&o->confidence, value, err);
    case OPTION_DRAFT_STOP:
        return number(&o->draft_stop, "draft-stop", value, err);
    case OPTION_WINDOW:
        return whole(&o->window, "draft-window", value, 1, DRAFT_WINDOW, err);
    case OPTION_MAX_TOKENS:
        return whole(&o->max_tokens, "max-tokens", value, 1, 1 << 30, err);
    case OPTION_STOP:
        return add_stop(o, value, err);
    default:
        return sampling_option(&o->sampler, option, value, known, err);
    }
}

int decode_option_named(const char *name)
{
    static const struct option options[] = {DECODE_OPTIONS};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const char *a = name, *b = options[i].name;
        while (*a && (*a == *b || (*a == '_' && *b == '-'))) a++, b++;
        if (!*a && !*b) return options[i].val;
    }
    return 0;
}

// What is stored with the model is asked for.
static bool is_calibrated(const char *policy)
{
    return policy && !strcmp(policy, "calibrated");
}

bool decode_replace(DecodeOptions *o, int option, const char *value, Error *err)
{
    bool known;
    if (option == OPTION_DEPTH || option == OPTION_EXIT || option == OPTION_EXITS ||
        option == OPTION_DRAFT)
        o->exit = o->exits = o->draft = NULL;
    if ((option == OPTION_EXITS || option == OPTION_DRAFT) && is_calibrated(value)) o->depth = NULL;
    if (option == OPTION_STOP) o->stop_count = 0;
    return decode_option(o, option, value, &known, err);
}

bool decode_check(const DecodeOptions *o, Error *err)
{
    int policies = (o->exit != NULL) + (o->exits != NULL) + (o->draft != NULL);
    if (policies > 1) return error_set(err, "one of --exit, --exits and --draft is expected");
    if (o->depth && (is_calibrated(o->exits) || is_calibrated(o->draft)))
        return error_set(err, "a calibrated policy is of all blocks: --depth does not go with it");
    return sampler_check(&o->sampler, err);
}

bool decode_has_policy(const DecodeOptions *o)
{
    return o->depth || o->exit || o->exits || o->draft;
}

// The policy that `strata calibrate` stored with the model; *kind POLICY_FULL asks for the default,
// and stays that where it is full depth or nothing is stored.
static bool stored_policy(DepthPolicy *policy, PolicyKind *kind, const DecodeOptions *o,
                          const LlamaConfig *config, Error *err)
{
    StoredPolicies stored = {0};
    bool found, asked = *kind != POLICY_FULL;
    if (o->folder && !policy_file_load(&stored, &found, o->folder, config, err)) return false;
    if (!asked) *kind = stored.kind;
    if (*kind == POLICY_FULL) return true;
    if (!(*kind == POLICY_EXITS ? stored.has_exits : stored.has_draft))
        return error_set(err, "no calibrated policy is stored with the model: `strata calibrate`");
    *policy = *kind == POLICY_EXITS ? stored.exits : stored.draft;
    return true;
}

bool decode_policy(DepthPolicy *policy, const DecodeOptions *o, const LlamaConfig *config,
                   Error *err)
{
    uint64_t depth = config->blocks;
    PolicyKind kind = is_calibrated(o->exits)   ? POLICY_EXITS
                      : is_calibrated(o->draft) ? POLICY_DRAFT
                                                : POLICY_FULL;
    if (kind != POLICY_FULL || !decode_has_policy(o)) {
        if (!stored_policy(policy, &kind, o, config, err)) return false;
        if (kind != POLICY_FULL) return true;
    }
    if (o->depth && !cli_number(o->depth, 1, config->blocks, &depth))
        return error_set(err, "--depth %.40s: the model has depths 1 to %u, or 'all'", o->depth,
                         config->blocks);
    *policy = policy_fixed((uint32_t)depth);
    policy->confidence = o->confidence;
    policy->draft_stop = o->draft_stop;
    policy->window = (uint32_t)o->window;
    if (o->exit) return policy_parse_exit(policy, o->exit, config, err);
    if (o->exits) return policy_parse_exits(policy, o->exits, err);
    if (o->draft) return policy_parse_draft(policy, o->draft, err);
    return true;
}
