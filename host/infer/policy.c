// Depth policies as text, and confidence: see policy.h.
#include "infer/policy.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const CONFIDENCE_NAMES[] = {"probability", "margin", "entropy", NULL};

DepthPolicy policy_fixed(uint32_t depth)
{
    return (DepthPolicy){.depth = depth, .draft_stop = DRAFT_STOP_DEFAULT};
}

bool policy_drafts(const DepthPolicy *policy)
{
    return policy->draft || policy->draft_auto;
}

bool policy_is_fixed(const DepthPolicy *policy)
{
    return !policy_drafts(policy) && !policy->exit_count;
}

bool confidence_named(Confidence *out, const char *name)
{
    for (int i = 0; CONFIDENCE_NAMES[i]; i++)
        if (!strcmp(name, CONFIDENCE_NAMES[i])) {
            *out = (Confidence)i;
            return true;
        }
    return false;
}

// A number at *text, which is moved behind it.
static bool read_threshold(double *out, const char **text)
{
    char *end;
    if (!isdigit((unsigned char)**text) && **text != '.') return false;
    *out = strtod(*text, &end);
    if (end == *text || !isfinite(*out) || *out > 1e6) return false;
    *text = end;
    return true;
}

static bool add_exit(DepthPolicy *policy, unsigned long depth, double threshold, Error *err)
{
    uint32_t n = policy->exit_count;
    if (depth < 1 || depth >= policy->depth)
        return error_set(err, "exit %lu: exits lie below the depth, %u", depth, policy->depth);
    if (n && depth <= policy->exits[n - 1])
        return error_set(err, "exit %lu stands behind %u: exits must ascend", depth,
                         policy->exits[n - 1]);
    if (n == CONFIG_MAX_EXITS) return error_set(err, "more than %d exits", CONFIG_MAX_EXITS);
    policy->exits[n] = (uint32_t)depth;
    policy->thresholds[n] = threshold;
    policy->exit_count++;
    return true;
}

bool policy_parse_exits(DepthPolicy *policy, const char *text, Error *err)
{
    const char *at = text;
    do {
        char *end;
        unsigned long depth = isdigit((unsigned char)*at) ? strtoul(at, &end, 10) : 0;
        double threshold;
        if (!depth || *end != ':') break;
        at = end + 1;
        if (!read_threshold(&threshold, &at) || (*at && *at != ',')) break;
        if (!add_exit(policy, depth, threshold, err)) return false;
        if (!*at) return true;
        at++;
    } while (*at);
    return error_set(err, "exits '%.60s': a list such as 2:.95,4:.9 is expected", text);
}

bool policy_parse_exit(DepthPolicy *policy, const char *text, const LlamaConfig *config, Error *err)
{
    const char *at = text;
    double threshold;
    if (!read_threshold(&threshold, &at) || *at)
        return error_set(err, "exit '%.40s': a threshold such as .9 is expected", text);
    uint32_t count = config->exit_count ? config->exit_count : policy->depth - 1;
    for (uint32_t i = 0; i < count && i < CONFIG_MAX_EXITS; i++) {
        uint32_t depth = config->exit_count ? config->exits[i] : i + 1;
        if (depth < policy->depth && !add_exit(policy, depth, threshold, err)) return false;
    }
    return true;
}

bool policy_parse_draft(DepthPolicy *policy, const char *text, Error *err)
{
    char *end;
    if (policy->depth < 2) return error_set(err, "draft: a depth of one block has none");
    policy->draft_auto = !strcmp(text, "auto");
    if (policy->draft_auto) return true;
    unsigned long depth = isdigit((unsigned char)*text) ? strtoul(text, &end, 10) : 0;
    if (!depth || *end || depth >= policy->depth)
        return error_set(err, "draft '%.40s': 1 to %u blocks, or 'auto', are expected", text,
                         policy->depth - 1);
    policy->draft = (uint32_t)depth;
    return true;
}

// exp(z - most), where both may be infinite.
static double weight(double z, double most)
{
    return z == most ? 1 : exp(z - most);
}

static double entropy(const float *logits, uint32_t vocab, double most, double sum)
{
    double h = 0;
    for (uint32_t i = 0; i < vocab; i++) {
        double p = weight(logits[i], most) / sum;
        if (p > 0) h -= p * log(p);
    }
    return h;
}

double confidence_of(const float *logits, uint32_t vocab, Confidence confidence)
{
    double most = -INFINITY, second = -INFINITY, sum = 0;
    for (uint32_t i = 0; i < vocab; i++) {
        double z = logits[i];
        if (z > most) {
            second = most;
            most = z;
        } else if (z > second) {
            second = z;
        }
    }
    for (uint32_t i = 0; i < vocab; i++) sum += weight(logits[i], most);
    if (isnan(sum)) return 0;
    if (vocab < 2) return 1;
    if (confidence == CONFIDENCE_PROBABILITY) return 1 / sum;
    if (confidence == CONFIDENCE_MARGIN) return (1 - weight(second, most)) / sum;
    double value = 1 - entropy(logits, vocab, most, sum) / log(vocab);
    return value < 0 ? 0 : value > 1 ? 1 : value;
}

const char *policy_describe(const DepthPolicy *policy, char *out, size_t size)
{
    size_t used = 0;
    if (policy->draft_auto)
        snprintf(out, size, "draft auto of %u", policy->depth);
    else if (policy->draft)
        snprintf(out, size, "draft %u of %u", policy->draft, policy->depth);
    else if (!policy->exit_count)
        snprintf(out, size, "depth %u", policy->depth);
    if (policy_drafts(policy) || policy_is_fixed(policy)) return out;
    used += (size_t)snprintf(out, size, "exits ");
    for (uint32_t i = 0; i < policy->exit_count && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%u:%g", i ? "," : "", policy->exits[i],
                                 policy->thresholds[i]);
    if (used < size) snprintf(out + used, size - used, " of %u", policy->depth);
    return out;
}
