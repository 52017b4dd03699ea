// Writes config.json, anew or cut down from another: see config.h.
#include "base/file.h"
#include "model/config_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool config_set(cJSON *object, const char *key, cJSON *item)
{
    if (!item) return false;
    bool ok = cJSON_GetObjectItemCaseSensitive(object, key)
                  ? cJSON_ReplaceItemInObjectCaseSensitive(object, key, item)
                  : cJSON_AddItemToObject(object, key, item);
    if (!ok) cJSON_Delete(item);
    return ok;
}

// The shortest decimal that reads back as the same double, always with a point or an exponent:
// cJSON would write 10000, which Transformers takes for an int.
bool config_set_real(cJSON *object, const char *key, double value)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text - 2, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    if (!strpbrk(text, ".e")) strcat(text, ".0");
    return config_set(object, key, cJSON_CreateRaw(text));
}

static bool add_sizes(cJSON *object, const LlamaConfig *config)
{
    bool ok = true;
    for (int i = 0; i < CONFIG_SIZES; i++) {
        const void *value = (const char *)config + config_sizes[i].offset;
        ok = ok && cJSON_AddNumberToObject(object, config_sizes[i].key, *(const uint32_t *)value);
    }
    return ok;
}

// The exits and what they have of their own; no keys where there are none.
static bool set_exits(cJSON *object, const LlamaConfig *config)
{
    static const char *const keys[] = {"strata_exits", "strata_exit_norm", "strata_exit_head"};
    for (int i = 0; i < 3; i++) cJSON_DeleteItemFromObjectCaseSensitive(object, keys[i]);
    if (!config->exit_count) return true;
    cJSON *list = cJSON_AddArrayToObject(object, "strata_exits");
    for (uint32_t i = 0; i < config->exit_count; i++)
        if (!cJSON_AddItemToArray(list, cJSON_CreateNumber(config->exits[i]))) return false;
    return list &&
           (!config->exit_norm || cJSON_AddStringToObject(object, "strata_exit_norm",
                                                          config_exit_norms[config->exit_norm])) &&
           (!config->separate_heads ||
            cJSON_AddStringToObject(object, "strata_exit_head", config_exit_heads[1]));
}

// A list only where there is more than one, as most files have it.
static bool add_eos(cJSON *object, const LlamaConfig *config)
{
    if (!config->eos_count) return cJSON_AddNullToObject(object, "eos_token_id") != NULL;
    if (config->eos_count == 1)
        return cJSON_AddNumberToObject(object, "eos_token_id", config->eos[0]) != NULL;
    cJSON *list = cJSON_AddArrayToObject(object, "eos_token_id");
    for (uint32_t i = 0; list && i < config->eos_count; i++)
        if (!cJSON_AddItemToArray(list, cJSON_CreateNumber(config->eos[i]))) return false;
    return list != NULL;
}

bool config_add_tokens(cJSON *object, const LlamaConfig *config)
{
    bool ok = config->bos == CONFIG_NO_TOKEN
                  ? cJSON_AddNullToObject(object, "bos_token_id") != NULL
                  : cJSON_AddNumberToObject(object, "bos_token_id", config->bos) != NULL;
    return ok && add_eos(object, config);
}

static bool add_window(cJSON *object, const LlamaConfig *config)
{
    return config->window
               ? cJSON_AddNumberToObject(object, "sliding_window", config->window) != NULL
               : cJSON_AddNullToObject(object, "sliding_window") != NULL;
}

// What only files of this kind say.
static bool add_kind(cJSON *object, const LlamaConfig *config)
{
    if (config->kind == KIND_LLAMA)
        return cJSON_AddBoolToObject(object, "attention_bias", config->o_bias) &&
               cJSON_AddBoolToObject(object, "mlp_bias", config->mlp_bias) &&
               cJSON_AddNumberToObject(object, "pretraining_tp", 1);
    if (config->kind == KIND_MISTRAL) return add_window(object, config);
    if (config->kind == KIND_QWEN3 &&
        !cJSON_AddBoolToObject(object, "attention_bias", config->o_bias))
        return false;
    return cJSON_AddBoolToObject(object, "use_sliding_window", config->window != 0) &&
           add_window(object, config) &&
           cJSON_AddNumberToObject(object, "max_window_layers",
                                   config->window ? 0 : config->blocks);
}

// transformers_version names the first release that knows all these keys.
static bool fill(cJSON *object, const LlamaConfig *config)
{
    const char *release = config->kind == KIND_QWEN3 ? "4.51.0" : "4.43.0";
    bool old = config->kind == KIND_LLAMA && config->rope.kind != ROPE_LLAMA3 && !config->o_bias &&
               !config->mlp_bias;
    cJSON *names = cJSON_AddArrayToObject(object, "architectures");
    return names &&
           cJSON_AddItemToArray(names, cJSON_CreateString(config_architectures[config->kind])) &&
           cJSON_AddStringToObject(object, "model_type", config_types[config->kind]) &&
           add_sizes(object, config) && cJSON_AddStringToObject(object, "hidden_act", "silu") &&
           config_set_real(object, "rms_norm_eps", config->norm_epsilon) &&
           config_write_rope(object, config) && add_kind(object, config) &&
           config_set_real(object, "attention_dropout", 0) &&
           cJSON_AddBoolToObject(object, "tie_word_embeddings", config->tied) &&
           config_add_tokens(object, config) &&
           config_set_real(object, "initializer_range", 0.02) &&
           cJSON_AddTrueToObject(object, "use_cache") &&
           cJSON_AddStringToObject(object, "torch_dtype", "float32") &&
           cJSON_AddStringToObject(object, "transformers_version", old ? "4.31.0" : release) &&
           set_exits(object, config);
}

bool config_save(const LlamaConfig *config, const char *folder, Error *err)
{
    char path[1024];
    if (!path_join(path, sizeof path, folder, "config.json", err)) return false;
    if (!config_check(config, path, err)) return false;
    cJSON *object = cJSON_CreateObject();
    bool ok = object && fill(object, config) ? json_write(path, object, err)
                                             : error_set(err, "%s: out of memory", path);
    cJSON_Delete(object);
    return ok;
}

// Reals of the format that cJSON would write back as whole numbers where they are such.
static bool keep_reals(cJSON *object)
{
    static const char *const keys[] = {
        "rms_norm_eps",          "rope_theta", "attention_dropout", "initializer_range",
        "partial_rotary_factor", "factor",     "low_freq_factor",   "high_freq_factor"};
    bool ok = true;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && ok; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, keys[i]);
        if (cJSON_IsNumber(item)) ok = config_set_real(object, keys[i], item->valuedouble);
    }
    return ok;
}

static bool keep_inner_reals(cJSON *object, const char *key)
{
    cJSON *inner = cJSON_GetObjectItemCaseSensitive(object, key);
    return !cJSON_IsObject(inner) || keep_reals(inner);
}

// Newer files list the blocks' kinds of attention.
static void cut_layer_types(cJSON *object, uint32_t blocks)
{
    cJSON *types = cJSON_GetObjectItemCaseSensitive(object, "layer_types");
    while (cJSON_IsArray(types) && cJSON_GetArraySize(types) > (int)blocks)
        cJSON_DeleteItemFromArray(types, (int)blocks);
}

// Newer releases of Transformers write `dtype` for torch_dtype, and read both.
static bool cut(cJSON *object, const LlamaConfig *config, const char *dtype)
{
    cut_layer_types(object, config->blocks);
    return config_set(object, "num_hidden_layers", cJSON_CreateNumber(config->blocks)) &&
           config_set(object, "torch_dtype", cJSON_CreateString(dtype)) &&
           (!cJSON_GetObjectItemCaseSensitive(object, "dtype") ||
            config_set(object, "dtype", cJSON_CreateString(dtype))) &&
           config_set(object, "tie_word_embeddings", cJSON_CreateBool(config->tied)) &&
           set_exits(object, config) && keep_reals(object) &&
           keep_inner_reals(object, "rope_scaling") && keep_inner_reals(object, "rope_parameters");
}

bool config_cut(const char *to, const char *from, uint32_t depth, const char *dtype, Error *err)
{
    char source[1024], path[1024];
    LlamaConfig config = {0};
    if (!path_join(source, sizeof source, from, "config.json", err) ||
        !path_join(path, sizeof path, to, "config.json", err))
        return false;
    cJSON *object = json_read(source, err);
    bool ok = object && config_read(&config, object, source, err);
    if (ok && (!depth || depth > config.blocks))
        ok = error_set(err, "%s: depth %" PRIu32 ", expected 1 to %" PRIu32, source, depth,
                       config.blocks);
    if (ok) config_first_blocks(&config, depth);
    if (ok)
        ok = cut(object, &config, dtype) ? json_write(path, object, err)
                                         : error_set(err, "%s: out of memory", path);
    cJSON_Delete(object);
    return ok;
}
