// Reads config.json: see config.h. What it says of RoPE is read in config_rope.c.
#include "base/file.h"
#include "model/config_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DEFAULT_BOS = 1, DEFAULT_EOS = 2 }; // LLaMA 2's, and what Transformers assumes
enum { MISTRAL_WINDOW = 4096, QWEN_WINDOW = 4096, QWEN_WINDOW_FROM = 28 }; // likewise

bool config_refuse(const cJSON *item, const char *parent, const char *expected, const char *source,
                   Error *err)
{
    char *found = cJSON_PrintUnformatted(item);
    error_set(err, "%s: key '%s%.60s' is %.60s, which is not supported; expected %s", source,
              parent, item->string, found ? found : "too large", expected);
    cJSON_free(found);
    return false;
}

// The item, or NULL where it is absent or null.
static const cJSON *find(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return item && !cJSON_IsNull(item) ? item : NULL;
}

// ---- the kind ----------------------------------------------------------------------------------

// Switches that change what a block computes, with the one number that changes nothing (NAN: only
// null and false do). Some belong to relatives of LLaMA whose files pass for one.
static const struct {
    const char *key;
    double neutral;
} SWITCHES[] = {
    {"quantization_config", NAN},
    {"compression_config", NAN},
    {"attention_chunk_size", NAN},
    {"partial_rotary_factor", 1},
    {"rotary_pct", 1},
    {"clip_qkv", NAN},
    {"use_qk_norm", NAN},
    {"attn_logit_softcapping", NAN},
    {"final_logit_softcapping", NAN},
    {"embedding_multiplier", 1},
    {"residual_multiplier", 1},
    {"logits_scaling", 1},
    {"num_experts", NAN},
    {"num_local_experts", NAN},
    {"no_rope_layers", NAN},
    {"use_mrope", NAN},
    {"is_encoder_decoder", NAN},
    {"add_cross_attention", NAN},
};

static bool check_switches(const cJSON *object, const char *source, Error *err)
{
    for (size_t i = 0; i < sizeof SWITCHES / sizeof SWITCHES[0]; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, SWITCHES[i].key);
        if (!item || cJSON_IsNull(item) || cJSON_IsFalse(item)) continue;
        if (cJSON_IsNumber(item) && item->valuedouble == SWITCHES[i].neutral) continue;
        return config_refuse(item, "", isnan(SWITCHES[i].neutral) ? "null or false" : "1", source,
                             err);
    }
    return true;
}

// model_type says the kind; architectures, which a bare config lacks, must say the same.
static bool read_kind(LlamaConfig *config, const cJSON *object, const char *source, Error *err)
{
    const char *type, *act;
    int kind;
    if (!json_string(&type, object, "model_type", source, err) ||
        !json_word_or(&kind, object, "model_type", config_types, source, err) ||
        !json_string_or(&act, object, "hidden_act", "silu", source, err))
        return false;
    config->kind = (ModelKind)kind;
    if (strcmp(act, "silu") != 0)
        return error_set(err, "%s: key 'hidden_act' is '%.60s', expected 'silu'", source, act);
    const cJSON *names = find(object, "architectures");
    if (!names) return true;
    const cJSON *name = cJSON_IsArray(names) ? names->child : NULL;
    if (name && !name->next && cJSON_IsString(name) &&
        !strcmp(name->valuestring, config_architectures[kind]))
        return true;
    char expected[64];
    snprintf(expected, sizeof expected, "[\"%s\"]", config_architectures[kind]);
    return config_refuse(names, "", expected, source, err);
}

static bool is_qwen(const LlamaConfig *config)
{
    return config->kind == KIND_QWEN2 || config->kind == KIND_QWEN3;
}

// LLaMA's files say which biases there are, Qwen3's of attention. That attention_bias is not looked
// at for the others is no reason to guess what a file means that sets it.
static bool read_biases(LlamaConfig *config, const cJSON *object, const char *source, Error *err)
{
    bool attention, mlp, attention_refused;
    if (!json_bool_or(&attention, object, "attention_bias", false, source, err) ||
        !json_bool_or(&mlp, object, "mlp_bias", false, source, err))
        return false;
    bool may_attend = config->kind == KIND_LLAMA || config->kind == KIND_QWEN3;
    attention_refused = attention && !may_attend;
    if (attention_refused || (mlp && config->kind != KIND_LLAMA))
        return error_set(err, "%s: key '%s' is true, which a %s does not have", source,
                         attention_refused ? "attention_bias" : "mlp_bias",
                         config_types[config->kind]);
    config->qkv_bias = attention || config->kind == KIND_QWEN2;
    config->o_bias = attention;
    config->mlp_bias = mlp;
    config->qk_norm = config->kind == KIND_QWEN3;
    return true;
}

// ---- the window --------------------------------------------------------------------------------

// Newer files say for each block whether it slides: 1 all do, 0 none does, -1 the file is refused.
static int sliding_blocks(const LlamaConfig *config, const cJSON *types, const char *source,
                          Error *err)
{
    uint32_t count = 0, sliding = 0;
    bool ok = cJSON_IsArray(types);
    for (const cJSON *item = ok ? types->child : NULL; item && ok; item = item->next, count++) {
        bool slides = cJSON_IsString(item) && !strcmp(item->valuestring, "sliding_attention");
        ok = slides || (cJSON_IsString(item) && !strcmp(item->valuestring, "full_attention"));
        sliding += slides;
    }
    if (ok && count == config->blocks && (!sliding || sliding == count)) return sliding > 0;
    config_refuse(types, "", "\"full_attention\" or \"sliding_attention\" for all blocks alike",
                  source, err);
    return -1;
}

// Qwen slides in the blocks from max_window_layers on, if at all. 1, 0 and -1 as above.
static int qwen_slides(const LlamaConfig *config, const cJSON *object, const char *source,
                       Error *err)
{
    bool use;
    int64_t from;
    if (!json_bool_or(&use, object, "use_sliding_window", false, source, err) ||
        !json_int_or(&from, object, "max_window_layers", QWEN_WINDOW_FROM, 0, UINT32_MAX, source,
                     err))
        return -1;
    if (!use || from >= config->blocks) return 0;
    if (!from) return 1;
    error_set(err,
              "%s: key 'max_window_layers' is %" PRId64 " of %" PRIu32
              " blocks; a window in some of them only is not supported",
              source, from, config->blocks);
    return -1;
}

// LLaMA has no window: a file of that kind with one was made for something else.
static bool read_window(LlamaConfig *config, const cJSON *object, const char *source, Error *err)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, "sliding_window");
    const cJSON *types = find(object, "layer_types");
    int64_t window = is_qwen(config) ? QWEN_WINDOW : MISTRAL_WINDOW;
    bool none = item ? cJSON_IsNull(item) || cJSON_IsFalse(item) : config->kind == KIND_LLAMA;
    if (config->kind == KIND_LLAMA && !none)
        return config_refuse(item, "", "null or false", source, err);
    if (!none &&
        !json_int_or(&window, object, "sliding_window", window, 1, WINDOW_HIGH, source, err))
        return false;
    int slides = is_qwen(config) ? qwen_slides(config, object, source, err) : !none;
    if (slides >= 0 && types) slides = sliding_blocks(config, types, source, err);
    if (slides < 0) return false;
    if (slides && none)
        return error_set(err, "%s: key 'sliding_window' is missing, but blocks slide", source);
    config->window = slides ? (uint32_t)window : 0;
    return true;
}

// ---- sizes, tokens, exits ----------------------------------------------------------------------

static bool read_sizes(LlamaConfig *config, const cJSON *object, const char *source, Error *err)
{
    for (int i = 0; i < CONFIG_SIZES; i++) {
        int64_t value;
        bool ok = config_sizes[i].required
                      ? json_int(&value, object, config_sizes[i].key, config_sizes[i].low,
                                 config_sizes[i].high, source, err)
                      : json_int_or(&value, object, config_sizes[i].key, 0, config_sizes[i].low,
                                    config_sizes[i].high, source, err);
        if (!ok) return false;
        *(uint32_t *)(void *)((char *)config + config_sizes[i].offset) = (uint32_t)value;
    }
    if (!config->kv_heads && config->kind != KIND_LLAMA) // whose default is a number of its own
        return error_set(err, "%s: key 'num_key_value_heads' is missing", source);
    if (!config->kv_heads) config->kv_heads = config->heads;
    if (config->head_size) return true;
    if (config->kind == KIND_QWEN3) // whose default is a number of its own, too
        return error_set(err, "%s: key 'head_dim' is missing", source);
    if (config->width % config->heads)
        return error_set(err,
                         "%s: hidden_size %" PRIu32 " is not a multiple of num_attention_heads "
                         "%" PRIu32 ", and there is no head_dim",
                         source, config->width, config->heads);
    config->head_size = config->width / config->heads;
    return true;
}

// An absent id is LLaMA's (Qwen names its own or has none), null is none.
static bool read_bos(LlamaConfig *config, const cJSON *object, const char *source, Error *err)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, "bos_token_id");
    int64_t bos;
    config->bos = CONFIG_NO_TOKEN;
    if (item ? cJSON_IsNull(item) : is_qwen(config)) return true;
    if (!json_int_or(&bos, object, "bos_token_id", DEFAULT_BOS, 0, (int64_t)config->vocab_size - 1,
                     source, err))
        return false;
    config->bos = (uint32_t)bos;
    return true;
}

static bool add_eos(LlamaConfig *config, const cJSON *item, const char *source, Error *err)
{
    double id = item->valuedouble, high = (double)config->vocab_size - 1;
    if (!cJSON_IsNumber(item) || !(id >= 0 && id <= high) || id != floor(id))
        return error_set(err, "%s: key 'eos_token_id' must hold token ids from 0 to %.0f", source,
                         high);
    if (config_ends(config, (uint32_t)id)) return true;
    if (config->eos_count == CONFIG_MAX_EOS)
        return error_set(err, "%s: key 'eos_token_id' makes more than %d ids that end a text",
                         source, CONFIG_MAX_EOS);
    config->eos[config->eos_count++] = (uint32_t)id;
    return true;
}

// A number or a list of them, added to what there is.
static bool read_eos(LlamaConfig *config, const cJSON *object, const char *source, Error *err)
{
    const cJSON *item = find(object, "eos_token_id");
    int64_t eos, high = (int64_t)config->vocab_size - 1;
    if (!item) return true;
    if (!cJSON_IsArray(item))
        return json_int_or(&eos, object, "eos_token_id", 0, 0, high, source, err) &&
               add_eos(config, item, source, err);
    bool ok = item->child || error_set(err, "%s: key 'eos_token_id' is an empty list", source);
    for (item = item->child; item && ok; item = item->next) ok = add_eos(config, item, source, err);
    return ok;
}

static bool read_tokens(LlamaConfig *config, const cJSON *object, const char *source, Error *err)
{
    if (!read_bos(config, object, source, err) || !read_eos(config, object, source, err))
        return false;
    if (cJSON_GetObjectItemCaseSensitive(object, "eos_token_id") || is_qwen(config)) return true;
    config->eos[0] = DEFAULT_EOS;
    config->eos_count = 1;
    return true;
}

// The order of the list and its bounds are config_check's.
static bool read_exits(LlamaConfig *config, const cJSON *object, const char *source, Error *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(object, "strata_exits");
    if (!list || cJSON_IsNull(list)) return true;
    bool ok = cJSON_IsArray(list);
    for (const cJSON *item = ok ? list->child : NULL; item && ok; item = item->next) {
        double value = item->valuedouble;
        ok = config->exit_count < CONFIG_MAX_EXITS && cJSON_IsNumber(item) && value >= 1 &&
             value <= UINT32_MAX && value == floor(value);
        if (ok) config->exits[config->exit_count++] = (uint32_t)value;
    }
    return ok || error_set(err, "%s: key 'strata_exits' must be a list of at most %d depths",
                           source, CONFIG_MAX_EXITS);
}

static bool read_exit_modules(LlamaConfig *config, const cJSON *object, const char *source,
                              Error *err)
{
    int norm, head;
    if (!json_word_or(&norm, object, "strata_exit_norm", config_exit_norms, source, err) ||
        !json_word_or(&head, object, "strata_exit_head", config_exit_heads, source, err))
        return false;
    config->exit_norm = (ExitNorm)norm;
    config->separate_heads = head == 1;
    return true;
}

// ---- files -------------------------------------------------------------------------------------

bool config_read(LlamaConfig *config, const cJSON *object, const char *source, Error *err)
{
    *config = (LlamaConfig){.blocks = 0};
    if (!cJSON_IsObject(object)) return error_set(err, "%s: is not a JSON object", source);
    return read_kind(config, object, source, err) && check_switches(object, source, err) &&
           read_sizes(config, object, source, err) && read_biases(config, object, source, err) &&
           read_window(config, object, source, err) &&
           json_number_or(&config->norm_epsilon, object, "rms_norm_eps", 1e-6, EPSILON_LOW,
                          EPSILON_HIGH, source, err) &&
           json_bool_or(&config->tied, object, "tie_word_embeddings", false, source, err) &&
           config_read_rope(config, object, source, err) &&
           read_tokens(config, object, source, err) && read_exits(config, object, source, err) &&
           read_exit_modules(config, object, source, err) && config_check(config, source, err);
}

// What ends a text by generation_config.json, where there is one.
static bool join_generation(LlamaConfig *config, const char *folder, Error *err)
{
    char path[1024];
    if (!path_join(path, sizeof path, folder, "generation_config.json", err)) return false;
    if (!file_exists(path)) return true;
    cJSON *object = json_read(path, err);
    bool ok =
        object && (cJSON_IsObject(object) || error_set(err, "%s: is not a JSON object", path));
    ok = ok && read_eos(config, object, path, err);
    cJSON_Delete(object);
    return ok;
}

bool config_load(LlamaConfig *config, const char *folder, Error *err)
{
    char path[1024];
    *config = (LlamaConfig){.blocks = 0};
    if (!path_join(path, sizeof path, folder, "config.json", err)) return false;
    cJSON *object = json_read(path, err);
    bool ok = object && config_read(config, object, path, err);
    cJSON_Delete(object);
    return ok && join_generation(config, folder, err);
}
