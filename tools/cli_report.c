// Reports of generations: see cli_report.h.
#include "cli_report.h"

#include <stdio.h>

static cJSON *tokens_at_json(const Report *r)
{
    cJSON *object = cJSON_CreateObject();
    for (uint32_t d = 1; d <= r->blocks; d++) {
        char key[16];
        uint32_t count = r->generation->report.tokens_at[d];
        snprintf(key, sizeof key, "%u", d);
        if (count) cJSON_AddNumberToObject(object, key, count);
    }
    return object;
}

static double acceptance(const GenerationReport *g)
{
    return g->drafted ? (double)g->accepted / (double)g->drafted : 0;
}

static void add_drafts(cJSON *object, const GenerationReport *g)
{
    cJSON_AddNumberToObject(object, "drafted", (double)g->drafted);
    cJSON_AddNumberToObject(object, "accepted", (double)g->accepted);
    cJSON_AddNumberToObject(object, "acceptance", acceptance(g));
    cJSON_AddNumberToObject(object, "checks", (double)g->rounds);
}

cJSON *report_json(const Report *r)
{
    const Generation *g = r->generation;
    char policy[256];
    double ms = generation_ms_per_token(g);
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "policy", policy_describe(r->policy, policy, sizeof policy));
    cJSON_AddNumberToObject(object, "depth", r->policy->depth);
    cJSON_AddStringToObject(object, "text", r->text);
    cJSON_AddNumberToObject(object, "prompt_tokens", (double)r->prompt_tokens);
    cJSON *ids = cJSON_AddArrayToObject(object, "tokens");
    for (size_t i = 0; i < g->count; i++)
        cJSON_AddItemToArray(ids, cJSON_CreateNumber(g->tokens[i]));
    cJSON_AddNumberToObject(object, "ms_per_token", ms);
    cJSON_AddNumberToObject(object, "prompt_ms", 1e3 * g->prompt_seconds);
    cJSON_AddStringToObject(object, "stop", END_NAMES[g->end]);
    cJSON_AddItemToObject(object, "tokens_at", tokens_at_json(r));
    cJSON_AddNumberToObject(object, "blocks_per_token", generation_blocks_per_token(g));
    if (policy_drafts(r->policy)) add_drafts(object, &g->report);
    if (r->full_ms > 0) {
        cJSON_AddNumberToObject(object, "full_depth_ms", r->full_ms);
        cJSON_AddNumberToObject(object, "speedup", ms > 0 ? r->full_ms / ms : 0);
    }
    return object;
}

// "tokens at depth 2: 40, 8: 3"
static void print_depths(const Report *r)
{
    const char *before = "tokens at depth";
    for (uint32_t d = 1; d <= r->blocks; d++) {
        uint32_t count = r->generation->report.tokens_at[d];
        if (!count) continue;
        fprintf(stderr, "%s %u: %u", before, d, count);
        before = ",";
    }
    fprintf(stderr, "; %.2f of %u blocks per token\n", generation_blocks_per_token(r->generation),
            r->blocks);
}

void report_print(const Report *r)
{
    const Generation *g = r->generation;
    char policy[256];
    double ms = generation_ms_per_token(g);
    fprintf(stderr,
            "%s: prompt %zu tokens in %.1f ms; %zu tokens, %.2f ms per token, %.1f tokens/s",
            policy_describe(r->policy, policy, sizeof policy), r->prompt_tokens,
            1e3 * g->prompt_seconds, g->count, ms, ms > 0 ? 1e3 / ms : 0.0);
    if (r->full_ms > 0)
        fprintf(stderr, ", %.2fx full depth (%.2f ms)", ms > 0 ? r->full_ms / ms : 0, r->full_ms);
    fprintf(stderr, "\n");
    if (policy_is_fixed(r->policy)) return;
    print_depths(r);
    if (g->report.rounds)
        fprintf(stderr, "%llu of %llu drafted tokens accepted (%.0f %%) in %llu checks\n",
                (unsigned long long)g->report.accepted, (unsigned long long)g->report.drafted,
                100 * acceptance(&g->report), (unsigned long long)g->report.rounds);
}
