// LLaMA's config.json: see config.h.
#include "model/config.h"
#include "base/file.h"
#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_BOS = 1, DEFAULT_EOS = 2 }; // LLaMA 2's, and what Transformers assumes

static const double EPSILON_LOW = 1e-30, EPSILON_HIGH = 1, THETA_LOW = 1, THETA_HIGH = 1e15;

// The sizes. The bounds lie far above any model there is and keep every product in 64 bits.
static const struct {
    const char *key;
    size_t offset; // of a uint32_t in LlamaConfig
    uint32_t low, high;
    bool required;
} SIZES[] = {
    {"num_hidden_layers", offsetof(LlamaConfig, blocks), 1, CONFIG_MAX_BLOCKS, true},
    {"hidden_size", offsetof(LlamaConfig, width), 1, 1 << 20, true},
    {"intermediate_size", offsetof(LlamaConfig, hidden), 1, 1 << 20, true},
    {"num_attention_heads", offsetof(LlamaConfig, heads), 1, 1 << 16, true},
    {"num_key_value_heads", offsetof(LlamaConfig, kv_heads), 1, 1 << 16, false},
    {"head_dim", offsetof(LlamaConfig, head_size), 2, CONFIG_MAX_HEAD_SIZE, false},
    {"vocab_size", offsetof(LlamaConfig, vocab_size), 1, 1 << 24, true},
    {"max_position_embeddings", offsetof(LlamaConfig, context), 1, 1 << 24, true},
};
enum { SIZE_COUNT = sizeof SIZES / sizeof SIZES[0] };

// Switches that change what a block computes, with the one number that changes nothing (NAN: only
// null and false do). Some belong to relatives of LLaMA whose files pass for one.
static const struct {
    const char *key;
    double neutral;
} SWITCHES[] = {
    {"rope_scaling", NAN},
    {"attention_bias", NAN},
    {"mlp_bias", NAN},
    {"quantization_config", NAN},
    {"compression_config", NAN},
    {"sliding_window", NAN},
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
    {"is_encoder_decoder", NAN},
    {"add_cross_attention", NAN},
};

static bool refuse(const cJSON *item, const char *parent, const char *expected, const char *source,
                   Error *err)
{
    char *found = cJSON_PrintUnformatted(item);
    error_set(err, "%s: key '%s%.60s' is %.60s, which is not supported; expected %s", source,
              parent, item->string, found ? found : "too large", expected);
    cJSON_free(found);
    return false;
}

static bool check_switches(const cJSON *object, const char *source, Error *err)
{
    for (size_t i = 0; i < sizeof SWITCHES / sizeof SWITCHES[0]; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, SWITCHES[i].key);
        if (!item || cJSON_IsNull(item) || cJSON_IsFalse(item)) continue;
        if (cJSON_IsNumber(item) && item->valuedouble == SWITCHES[i].neutral) continue;
        return refuse(item, "", isnan(SWITCHES[i].neutral) ? "null or false" : "1", source, err);
    }
    return true;
}

static bool check_string(const cJSON *object, const char *key, const char *fallback,
                         const char *expected, const char *source, Error *err)
{
    const char *found;
    if (!json_string_or(&found, object, key, fallback, source, err)) return false;
    if (!found)
        return error_set(err, "%s: key '%s' is missing, expected '%s'", source, key, expected);
    if (!strcmp(found, expected)) return true;
    return error_set(err, "%s: key '%s' is '%.60s', expected '%s'", source, key, found, expected);
}

// What the file must say to be a plain LLaMA. `architectures` may be absent, as in a bare config.
static bool check_kind(const cJSON *object, const char *source, Error *err)
{
    if (!check_string(object, "model_type", NULL, "llama", source, err)) return false;
    if (!check_string(object, "hidden_act", "silu", "silu", source, err)) return false;
    const cJSON *names = cJSON_GetObjectItemCaseSensitive(object, "architectures");
    if (names && !cJSON_IsNull(names)) {
        const cJSON *name = cJSON_IsArray(names) ? names->child : NULL;
        if (!name || name->next || !cJSON_IsString(name) ||
            strcmp(name->valuestring, "LlamaForCausalLM") != 0)
            return refuse(names, "", "[\"LlamaForCausalLM\"]", source, err);
    }
    return check_switches(object, source, err);
}

// Transformers 5's place for RoPE. Only the plain kind is known, so any further key is refused.
static bool read_rope_parameters(LlamaConfig *config, const cJSON *rope, bool theta_given,
                                 const char *source, Error *err)
{
    const char *parent = "rope_parameters.";
    if (!cJSON_IsObject(rope)) return refuse(rope, "", "an object or null", source, err);
    for (const cJSON *item = rope->child; item; item = item->next) {
        bool plain = cJSON_IsString(item) && !strcmp(item->valuestring, "default");
        if (cJSON_IsNull(item)) continue;
        if (!strcmp(item->string, "rope_type") || !strcmp(item->string, "type")) {
            if (!plain) return refuse(item, parent, "\"default\"", source, err);
        } else if (!strcmp(item->string, "partial_rotary_factor")) {
            if (!cJSON_IsNumber(item) || item->valuedouble != 1)
                return refuse(item, parent, "1", source, err);
        } else if (strcmp(item->string, "rope_theta") != 0) {
            return refuse(item, parent, "no such key", source, err);
        }
    }
    double outer = config->rope_theta;
    if (!json_number_or(&config->rope_theta, rope, "rope_theta", outer, THETA_LOW, THETA_HIGH,
                        source, err))
        return false;
    if (!theta_given || config->rope_theta == outer) return true;
    return error_set(err, "%s: key 'rope_theta' is %g but 'rope_parameters.rope_theta' is %g",
                     source, outer, config->rope_theta);
}

static bool read_rope(LlamaConfig *config, const cJSON *object, const char *source, Error *err)
{
    const cJSON *theta = cJSON_GetObjectItemCaseSensitive(object, "rope_theta");
    const cJSON *rope = cJSON_GetObjectItemCaseSensitive(object, "rope_parameters");
    if (!json_number_or(&config->rope_theta, object, "rope_theta", 10000, THETA_LOW, THETA_HIGH,
                        source, err))
        return false;
    if (!rope || cJSON_IsNull(rope)) return true;
    return read_rope_parameters(config, rope, theta && !cJSON_IsNull(theta), source, err);
}

static bool read_sizes(LlamaConfig *config, const cJSON *object, const char *source, Error *err)
{
    for (int i = 0; i < SIZE_COUNT; i++) {
        int64_t value;
        bool ok = SIZES[i].required ? json_int(&value, object, SIZES[i].key, SIZES[i].low,
                                               SIZES[i].high, source, err)
                                    : json_int_or(&value, object, SIZES[i].key, 0, SIZES[i].low,
                                                  SIZES[i].high, source, err);
        if (!ok) return false;
        *(uint32_t *)(void *)((char *)config + SIZES[i].offset) = (uint32_t)value;
    }
    if (!config->kv_heads) config->kv_heads = config->heads;
    if (config->head_size) return true;
    if (config->width % config->heads)
        return error_set(err,
                         "%s: hidden_size %" PRIu32 " is not a multiple of num_attention_heads "
                         "%" PRIu32 ", and there is no head_dim",
                         source, config->width, config->heads);
    config->head_size = config->width / config->heads;
    return true;
}

// eos_token_id may be a list (chat models have several); the first one ends a text here.
static bool read_tokens(LlamaConfig *config, const cJSON *object, const char *source, Error *err)
{
    int64_t high = (int64_t)config->vocab_size - 1, bos, eos;
    if (!json_int_or(&bos, object, "bos_token_id", DEFAULT_BOS, 0, high, source, err)) return false;
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, "eos_token_id");
    if (cJSON_IsArray(item)) {
        item = item->child;
        if (!item || !cJSON_IsNumber(item) || !(item->valuedouble >= 0) ||
            !(item->valuedouble <= (double)high) || item->valuedouble != floor(item->valuedouble))
            return error_set(err,
                             "%s: key 'eos_token_id' must begin with a token id from 0 to %lld",
                             source, (long long)high);
        eos = (int64_t)item->valuedouble;
    } else if (!json_int_or(&eos, object, "eos_token_id", DEFAULT_EOS, 0, high, source, err)) {
        return false;
    }
    config->bos = (uint32_t)bos;
    config->eos = (uint32_t)eos;
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

static const char *const NORMS[] = {[EXIT_NORM_SHARED] = "shared",
                                    [EXIT_NORM_PER_EXIT] = "per_exit",
                                    [EXIT_NORM_NONE] = "none",
                                    NULL};
static const char *const HEADS[] = {"shared", "separate", NULL};

static bool read_exit_modules(LlamaConfig *config, const cJSON *object, const char *source,
                              Error *err)
{
    int norm, head;
    if (!json_word_or(&norm, object, "strata_exit_norm", NORMS, source, err) ||
        !json_word_or(&head, object, "strata_exit_head", HEADS, source, err))
        return false;
    config->exit_norm = (ExitNorm)norm;
    config->separate_heads = head == 1;
    return true;
}

bool config_read(LlamaConfig *config, const cJSON *object, const char *source, Error *err)
{
    if (!cJSON_IsObject(object)) return error_set(err, "%s: is not a JSON object", source);
    return check_kind(object, source, err) && read_sizes(config, object, source, err) &&
           json_number_or(&config->norm_epsilon, object, "rms_norm_eps", 1e-6, EPSILON_LOW,
                          EPSILON_HIGH, source, err) &&
           json_bool_or(&config->tied, object, "tie_word_embeddings", false, source, err) &&
           read_rope(config, object, source, err) && read_tokens(config, object, source, err) &&
           read_exits(config, object, source, err) &&
           read_exit_modules(config, object, source, err) && config_check(config, source, err);
}

bool config_load(LlamaConfig *config, const char *folder, Error *err)
{
    char path[1024];
    *config = (LlamaConfig){0};
    if (!path_join(path, sizeof path, folder, "config.json", err)) return false;
    cJSON *object = json_read(path, err);
    bool ok = object && config_read(config, object, path, err);
    cJSON_Delete(object);
    return ok;
}

static bool check_sizes(const LlamaConfig *config, const char *source, Error *err)
{
    for (int i = 0; i < SIZE_COUNT; i++) {
        uint32_t value = *(const uint32_t *)(const void *)((const char *)config + SIZES[i].offset);
        if (value < SIZES[i].low || value > SIZES[i].high)
            return error_set(err, "%s: %s is %" PRIu32 ", expected %" PRIu32 " to %" PRIu32, source,
                             SIZES[i].key, value, SIZES[i].low, SIZES[i].high);
    }
    if (config->head_size % 2)
        return error_set(err, "%s: head_dim is %" PRIu32 ", expected an even number", source,
                         config->head_size);
    if (config->heads % config->kv_heads)
        return error_set(err,
                         "%s: num_attention_heads %" PRIu32 " is not a multiple of "
                         "num_key_value_heads %" PRIu32,
                         source, config->heads, config->kv_heads);
    return true;
}

// Values of one weight matrix are counted in 32 bits.
static bool check_matrix(uint64_t rows, const LlamaConfig *config, const char *keys,
                         const char *source, Error *err)
{
    if (rows * config->width <= UINT32_MAX) return true;
    return error_set(err, "%s: %s is %" PRIu64 ", expected at most %" PRIu32, source, keys,
                     rows * config->width, UINT32_MAX);
}

static bool check_exits(const LlamaConfig *config, const char *source, Error *err)
{
    if (config->exit_count > CONFIG_MAX_EXITS)
        return error_set(err, "%s: strata_exits holds %" PRIu32 " depths, expected at most %d",
                         source, config->exit_count, CONFIG_MAX_EXITS);
    for (uint32_t i = 0, last = 0; i < config->exit_count; last = config->exits[i++])
        if (config->exits[i] <= last || config->exits[i] > config->blocks)
            return error_set(err,
                             "%s: strata_exits holds %" PRIu32 " behind %" PRIu32
                             ", expected ascending depths from 1 to %" PRIu32,
                             source, config->exits[i], last, config->blocks);
    return true;
}

bool config_check(const LlamaConfig *config, const char *source, Error *err)
{
    if (!check_sizes(config, source, err)) return false;
    uint64_t queries = (uint64_t)config->heads * config->head_size;
    if (!check_matrix(config->vocab_size, config, "vocab_size * hidden_size", source, err) ||
        !check_matrix(config->hidden, config, "intermediate_size * hidden_size", source, err) ||
        !check_matrix(queries, config, "num_attention_heads * head_dim * hidden_size", source, err))
        return false;
    if (!(config->norm_epsilon >= EPSILON_LOW && config->norm_epsilon <= EPSILON_HIGH))
        return error_set(err, "%s: rms_norm_eps is %g, expected %g to %g", source,
                         config->norm_epsilon, EPSILON_LOW, EPSILON_HIGH);
    if (!(config->rope_theta >= THETA_LOW && config->rope_theta <= THETA_HIGH))
        return error_set(err, "%s: rope_theta is %g, expected %g to %g", source, config->rope_theta,
                         THETA_LOW, THETA_HIGH);
    if (config->bos >= config->vocab_size || config->eos >= config->vocab_size)
        return error_set(err, "%s: %s is %" PRIu32 ", expected 0 to %" PRIu32, source,
                         config->bos >= config->vocab_size ? "bos_token_id" : "eos_token_id",
                         config->bos >= config->vocab_size ? config->bos : config->eos,
                         config->vocab_size - 1);
    return check_exits(config, source, err);
}

uint64_t config_parameters(const LlamaConfig *config)
{
    uint64_t width = config->width;
    uint64_t queries = (uint64_t)config->heads * config->head_size;
    uint64_t keys = (uint64_t)config->kv_heads * config->head_size;
    uint64_t block =
        2 * width * queries + 2 * width * keys + 3 * width * config->hidden + 2 * width;
    uint64_t embedding = config->vocab_size * width;
    uint64_t exits = 0; // with modules of their own
    for (uint32_t i = 0; i < config->exit_count; i++) exits += config->exits[i] < config->blocks;
    uint64_t module = (config->exit_norm == EXIT_NORM_PER_EXIT ? width : 0) +
                      (config->separate_heads ? embedding : 0);
    return (config->tied ? 1 : 2) * embedding + config->blocks * block + width + exits * module;
}

// Takes the item over; it replaces that of the same key, where there is one.
static bool set_item(cJSON *object, const char *key, cJSON *item)
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
static bool set_real(cJSON *object, const char *key, double value)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text - 2, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    if (!strpbrk(text, ".e")) strcat(text, ".0");
    return set_item(object, key, cJSON_CreateRaw(text));
}

static bool add_sizes(cJSON *object, const LlamaConfig *config)
{
    bool ok = true;
    for (int i = 0; i < SIZE_COUNT; i++) {
        const void *value = (const char *)config + SIZES[i].offset;
        ok = ok && cJSON_AddNumberToObject(object, SIZES[i].key, *(const uint32_t *)value);
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
           (!config->exit_norm ||
            cJSON_AddStringToObject(object, "strata_exit_norm", NORMS[config->exit_norm])) &&
           (!config->separate_heads ||
            cJSON_AddStringToObject(object, "strata_exit_head", HEADS[1]));
}

// transformers_version names the release whose keys these are.
static bool fill(cJSON *object, const LlamaConfig *config)
{
    cJSON *names = cJSON_AddArrayToObject(object, "architectures");
    return names && cJSON_AddItemToArray(names, cJSON_CreateString("LlamaForCausalLM")) &&
           cJSON_AddStringToObject(object, "model_type", "llama") && add_sizes(object, config) &&
           cJSON_AddStringToObject(object, "hidden_act", "silu") &&
           set_real(object, "rms_norm_eps", config->norm_epsilon) &&
           set_real(object, "rope_theta", config->rope_theta) &&
           cJSON_AddNullToObject(object, "rope_scaling") &&
           cJSON_AddFalseToObject(object, "attention_bias") &&
           set_real(object, "attention_dropout", 0) && cJSON_AddFalseToObject(object, "mlp_bias") &&
           cJSON_AddBoolToObject(object, "tie_word_embeddings", config->tied) &&
           cJSON_AddNumberToObject(object, "bos_token_id", config->bos) &&
           cJSON_AddNumberToObject(object, "eos_token_id", config->eos) &&
           set_real(object, "initializer_range", 0.02) &&
           cJSON_AddNumberToObject(object, "pretraining_tp", 1) &&
           cJSON_AddTrueToObject(object, "use_cache") &&
           cJSON_AddStringToObject(object, "torch_dtype", "float32") &&
           cJSON_AddStringToObject(object, "transformers_version", "4.31.0") &&
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

bool config_is_early_exit(const LlamaConfig *config, uint32_t depth)
{
    for (uint32_t i = 0; i < config->exit_count; i++)
        if (config->exits[i] == depth) return depth < config->blocks;
    return false;
}

void config_first_blocks(LlamaConfig *config, uint32_t depth)
{
    bool modules = config->exit_norm != EXIT_NORM_SHARED || config->separate_heads;
    if (config->separate_heads && config_is_early_exit(config, depth)) config->tied = false;
    uint32_t count = 0;
    while (!modules && count < config->exit_count && config->exits[count] <= depth) count++;
    config->blocks = depth;
    config->exit_count = count;
    config->exit_norm = EXIT_NORM_SHARED;
    config->separate_heads = false;
}

// Reals of the format that cJSON would write back as whole numbers where they are such.
static bool keep_reals(cJSON *object)
{
    static const char *const keys[] = {"rms_norm_eps", "rope_theta", "attention_dropout",
                                       "initializer_range", "partial_rotary_factor"};
    bool ok = true;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && ok; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, keys[i]);
        if (cJSON_IsNumber(item)) ok = set_real(object, keys[i], item->valuedouble);
    }
    return ok;
}

// Newer releases of Transformers write `dtype` for torch_dtype, and read both.
static bool cut(cJSON *object, const LlamaConfig *config, const char *dtype)
{
    cJSON *rope = cJSON_GetObjectItemCaseSensitive(object, "rope_parameters");
    return set_item(object, "num_hidden_layers", cJSON_CreateNumber(config->blocks)) &&
           set_item(object, "torch_dtype", cJSON_CreateString(dtype)) &&
           (!cJSON_GetObjectItemCaseSensitive(object, "dtype") ||
            set_item(object, "dtype", cJSON_CreateString(dtype))) &&
           set_item(object, "tie_word_embeddings", cJSON_CreateBool(config->tied)) &&
           set_exits(object, config) && keep_reals(object) &&
           (!cJSON_IsObject(rope) || keep_reals(rope));
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
