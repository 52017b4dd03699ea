// strata_policy.json: see policy_file.h.
#include "infer/policy_file.h"
#include "base/file.h"
#include "base/json.h"
#include "model/llama.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const KINDS[] = {"depth", "exits", "draft", NULL}; // by PolicyKind

// ---- reading -----------------------------------------------------------------------------------

static bool read_exit(DepthPolicy *policy, const cJSON *item, const char *path, Error *err)
{
    char where[1100];
    int64_t depth;
    double threshold;
    uint32_t n = policy->exit_count;
    if (!cJSON_IsObject(item) || n == CONFIG_MAX_EXITS)
        return error_set(err, "%s: exits: a list of at most %d objects is expected", path,
                         CONFIG_MAX_EXITS);
    snprintf(where, sizeof where, "%s: exits[%u]", path, n);
    int64_t least = n ? policy->exits[n - 1] + (int64_t)1 : 1;
    if (!json_int(&depth, item, "depth", least, (int64_t)policy->depth - 1, where, err) ||
        !json_number_or(&threshold, item, "threshold", -1, 0, 1e6, where, err))
        return false;
    if (threshold < 0) return error_set(err, "%s: key 'threshold' is missing", where);
    policy->exits[n] = (uint32_t)depth;
    policy->thresholds[n] = threshold;
    policy->exit_count++;
    return true;
}

static bool read_exits(StoredPolicies *p, const cJSON *object, const char *path, Error *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(object, "exits");
    int confidence;
    if (!json_word_or(&confidence, object, "confidence", CONFIDENCE_NAMES, path, err)) return false;
    p->exits.confidence = (Confidence)confidence;
    if (!list) return true;
    if (!cJSON_IsArray(list)) return error_set(err, "%s: exits: a list is expected", path);
    p->has_exits = true;
    for (const cJSON *item = list->child; item; item = item->next)
        if (!read_exit(&p->exits, item, path, err)) return false;
    return true;
}

static bool read_draft(StoredPolicies *p, const cJSON *object, const char *path, Error *err)
{
    const cJSON *draft = cJSON_GetObjectItemCaseSensitive(object, "draft");
    char where[1100];
    int64_t depth, window;
    if (!draft) return true;
    if (!cJSON_IsObject(draft)) return error_set(err, "%s: draft: an object is expected", path);
    snprintf(where, sizeof where, "%s: draft", path);
    if (!json_int(&depth, draft, "depth", 1, (int64_t)p->draft.depth - 1, where, err) ||
        !json_int_or(&window, draft, "window", DRAFT_START, 1, DRAFT_WINDOW, where, err) ||
        !json_number_or(&p->draft.draft_stop, draft, "stop", DRAFT_STOP_DEFAULT, 0, 1, where, err))
        return false;
    p->has_draft = true;
    p->draft.draft = (uint32_t)depth;
    p->draft.window = (uint32_t)window;
    return true;
}

static bool read_policies(StoredPolicies *p, const cJSON *object, const char *path, Error *err)
{
    int kind;
    if (!cJSON_IsObject(object)) return error_set(err, "%s: an object is expected", path);
    if (!json_word_or(&kind, object, "default", KINDS, path, err) ||
        !read_exits(p, object, path, err) || !read_draft(p, object, path, err))
        return false;
    p->kind = (PolicyKind)kind;
    if ((kind == POLICY_EXITS && !p->has_exits) || (kind == POLICY_DRAFT && !p->has_draft))
        return error_set(err, "%s: default is '%s', but that key is missing", path, KINDS[kind]);
    return true;
}

bool policy_file_load(StoredPolicies *policies, bool *found, const char *folder,
                      const LlamaConfig *config, Error *err)
{
    char path[1024];
    *policies = (StoredPolicies){0};
    *found = false;
    if (!path_join(path, sizeof path, folder, LLAMA_POLICIES, err)) return false;
    if (!file_exists(path)) return true;
    cJSON *object = json_read(path, err);
    policies->exits = policies->draft = policy_fixed(config->blocks);
    *found = object && read_policies(policies, object, path, err);
    if (!*found) *policies = (StoredPolicies){0};
    cJSON_Delete(object);
    return *found;
}

// ---- writing -----------------------------------------------------------------------------------

// The shortest digits that read back as the very value: a threshold is the confidence of some
// token, which is to leave. cJSON's own digits may be off by a bit.
static void add_exact(cJSON *object, const char *key, double value)
{
    char text[40];
    int digits = 6;
    do snprintf(text, sizeof text, "%.*g", digits, value);
    while (strtod(text, NULL) != value && digits++ < 17);
    if (isfinite(value))
        cJSON_AddRawToObject(object, key, text);
    else
        cJSON_AddNullToObject(object, key);
}

static void add_exits(cJSON *object, const DepthPolicy *policy)
{
    cJSON_AddStringToObject(object, "confidence", CONFIDENCE_NAMES[policy->confidence]);
    cJSON *list = cJSON_AddArrayToObject(object, "exits");
    for (uint32_t i = 0; i < policy->exit_count; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddNumberToObject(item, "depth", policy->exits[i]);
        add_exact(item, "threshold", policy->thresholds[i]);
        cJSON_AddItemToArray(list, item);
    }
}

static void add_draft(cJSON *object, const DepthPolicy *policy)
{
    cJSON *draft = cJSON_AddObjectToObject(object, "draft");
    cJSON_AddNumberToObject(draft, "depth", policy->draft);
    cJSON_AddNumberToObject(draft, "window", policy->window ? policy->window : DRAFT_START);
    add_exact(draft, "stop", policy->draft_stop);
}

bool policy_file_save(const StoredPolicies *policies, const char *folder,
                      const struct cJSON *calibration, Error *err)
{
    char path[1024];
    if (!path_join(path, sizeof path, folder, LLAMA_POLICIES, err)) return false;
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "default", KINDS[policies->kind]);
    if (policies->has_exits) add_exits(object, &policies->exits);
    if (policies->has_draft) add_draft(object, &policies->draft);
    cJSON *copy = calibration ? cJSON_Duplicate(calibration, 1) : NULL;
    if (copy) cJSON_AddItemToObject(object, "calibration", copy);
    bool ok = object && (copy || !calibration) ? json_write(path, object, err)
                                               : error_set(err, "out of memory");
    cJSON_Delete(object);
    return ok;
}
