// The config that a GGUF file's keys state: see gguf_model.h.
#define _POSIX_C_SOURCE 200809L
#include "model/gguf_model.h"
#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// Reading goes into a JSON object; the first failure is kept in err and ends it.
typedef struct {
    const Gguf *file;
    const char *arch; // the keys' prefix
    cJSON *json;
    Error *err;
} Reader;

// The architectures and what config.json calls them; llama with a window is Mistral's.
static const struct {
    const char *name, *model;
} ARCHS[] = {
    {"llama", "LlamaForCausalLM"}, {"qwen2", "Qwen2ForCausalLM"}, {"qwen3", "Qwen3ForCausalLM"}};

typedef struct {
    char text[96];
} Key;

static Key key_of(const Reader *r, const char *name)
{
    Key key;
    snprintf(key.text, sizeof key.text, "%s.%s", r->arch ? r->arch : "", name);
    return key;
}

double gguf_short_decimal(double value)
{
    char text[40];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if ((double)strtof(text, NULL) == value) return strtod(text, NULL);
    }
    return value; // a key of 64 bits
}

bool gguf_is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

static bool no_memory(const Reader *r)
{
    return error_set(r->err, "%s: out of memory", r->file->path);
}

static bool add_number(const Reader *r, cJSON *object, const char *name, double value)
{
    return cJSON_AddNumberToObject(object, name, value) || no_memory(r);
}

static bool add_text(const Reader *r, cJSON *object, const char *name, const char *text)
{
    return cJSON_AddStringToObject(object, name, text) || no_memory(r);
}

static bool add_bool(const Reader *r, const char *name, bool value)
{
    return cJSON_AddBoolToObject(r->json, name, value) || no_memory(r);
}

static bool has(const Reader *r, const char *tensor)
{
    return gguf_find_tensor(r->file, tensor) != NULL;
}

// ---- shape -------------------------------------------------------------------------------------

// Bounds are config_read's; these keep what it gets whole numbers.
static bool add_size(const Reader *r, const char *name, const char *hf)
{
    uint64_t value;
    return gguf_int(&value, r->file, key_of(r, name).text, 1, UINT32_MAX, r->err) &&
           add_number(r, r->json, hf, (double)value);
}

// S, or 0 where the width and the heads say it.
static bool head_size(uint64_t *size, const Reader *r)
{
    uint64_t values, turned;
    if (!gguf_int_or(size, r->file, key_of(r, "attention.key_length").text, 0, 2,
                     CONFIG_MAX_HEAD_SIZE, r->err) ||
        !gguf_int_or(&values, r->file, key_of(r, "attention.value_length").text, *size, 2,
                     CONFIG_MAX_HEAD_SIZE, r->err))
        return false;
    uint64_t width, heads;
    if (!gguf_int(&width, r->file, key_of(r, "embedding_length").text, 1, UINT32_MAX, r->err) ||
        !gguf_int(&heads, r->file, key_of(r, "attention.head_count").text, 1, UINT32_MAX, r->err))
        return false;
    if (!*size && width % heads == 0) *size = width / heads;
    if (!*size || *size % 2 || *size > CONFIG_MAX_HEAD_SIZE)
        return error_set(r->err,
                         "%s: key '%s.attention.key_length' gives heads of %" PRIu64
                         " values, expected an even number from 2 to %d",
                         r->file->path, r->arch, *size, CONFIG_MAX_HEAD_SIZE);
    if (values && values != *size)
        return error_set(r->err,
                         "%s: key '%s.attention.value_length' is %" PRIu64 ", expected %" PRIu64
                         " as of keys",
                         r->file->path, r->arch, values, *size);
    if (!gguf_int_or(&turned, r->file, key_of(r, "rope.dimension_count").text, *size, *size, *size,
                     r->err))
        return false;
    return true;
}

static bool add_sizes(const Reader *r)
{
    uint64_t heads, kv_heads, size;
    const GgufTensor *embed = gguf_find_tensor(r->file, "token_embd.weight");
    if (!embed || embed->rank != 2)
        return error_set(r->err, "%s: tensor 'token_embd.weight' is %s", r->file->path,
                         embed ? "not a matrix" : "missing");
    return add_size(r, "block_count", "num_hidden_layers") &&
           add_size(r, "embedding_length", "hidden_size") &&
           add_size(r, "feed_forward_length", "intermediate_size") &&
           add_size(r, "attention.head_count", "num_attention_heads") &&
           gguf_int(&heads, r->file, key_of(r, "attention.head_count").text, 1, UINT32_MAX,
                    r->err) &&
           gguf_int_or(&kv_heads, r->file, key_of(r, "attention.head_count_kv").text, heads, 1,
                       UINT32_MAX, r->err) &&
           add_number(r, r->json, "num_key_value_heads", (double)kv_heads) && head_size(&size, r) &&
           add_number(r, r->json, "head_dim", (double)size) &&
           add_size(r, "context_length", "max_position_embeddings") &&
           add_number(r, r->json, "vocab_size", (double)embed->shape[0]);
}

// ---- constants and switches --------------------------------------------------------------------

// Keys that change what a block computes, and are refused where they are not this number.
static bool check_switches(const Reader *r)
{
    static const char *const names[] = {"expert_count", "expert_used_count"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint64_t value;
        if (!gguf_int_or(&value, r->file, key_of(r, names[i]).text, 0, 0, 0, r->err)) return false;
    }
    static const char *const scales[] = {"logit_scale", "embedding_scale", "residual_scale",
                                         "attention.scale"};
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        double value;
        Key key = key_of(r, scales[i]);
        if (!gguf_number_or(&value, r->file, key.text, 1, r->err)) return false;
        if (value != 1)
            return error_set(r->err, "%s: key '%s' is %g, which is not supported; expected 1",
                             r->file->path, key.text, value);
    }
    return true;
}

// A block that has some of its biases has all of that kind.
static bool add_biases(const Reader *r)
{
    bool qkv = has(r, "blk.0.attn_q.bias"), output = has(r, "blk.0.attn_output.bias");
    bool mlp = has(r, "blk.0.ffn_gate.bias");
    if (!strcmp(r->arch, "qwen2")) // whose blocks always have the first kind alone
        return !output || error_set(r->err, "%s: tensor 'blk.0.attn_output.bias' is none of qwen2",
                                    r->file->path);
    if (qkv != output)
        return error_set(r->err, "%s: tensor 'blk.0.%s.bias' is missing beside 'blk.0.%s.bias'",
                         r->file->path, qkv ? "attn_output" : "attn_q",
                         qkv ? "attn_q" : "attn_output");
    return add_bool(r, "attention_bias", qkv) &&
           (strcmp(r->arch, "llama") != 0 || add_bool(r, "mlp_bias", mlp));
}

static bool add_kind(const Reader *r)
{
    uint64_t window;
    if (!gguf_int_or(&window, r->file, key_of(r, "attention.sliding_window").text, 0, 0, UINT32_MAX,
                     r->err))
        return false;
    bool qwen = strcmp(r->arch, "llama") != 0, mistral = !qwen && window;
    const char *kind = mistral ? "MistralForCausalLM" : NULL;
    for (size_t i = 0; !kind; i++)
        if (!strcmp(r->arch, ARCHS[i].name)) kind = ARCHS[i].model;
    cJSON *names = cJSON_AddArrayToObject(r->json, "architectures");
    if (!names || !cJSON_AddItemToArray(names, cJSON_CreateString(kind))) return no_memory(r);
    if (!add_text(r, r->json, "model_type", mistral ? "mistral" : r->arch) ||
        !add_text(r, r->json, "hidden_act", "silu"))
        return false;
    if (qwen && !add_bool(r, "use_sliding_window", window != 0)) return false;
    return !window || add_number(r, r->json, "sliding_window", (double)window);
}

// ---- RoPE --------------------------------------------------------------------------------------

static bool add_llama3(const Reader *r, const RopeScaling3 *s)
{
    cJSON *object = cJSON_AddObjectToObject(r->json, "rope_scaling");
    return (object || no_memory(r)) && add_text(r, object, "rope_type", "llama3") &&
           add_number(r, object, "factor", s->factor) &&
           add_number(r, object, "low_freq_factor", s->low) &&
           add_number(r, object, "high_freq_factor", s->high) &&
           add_number(r, object, "original_max_position_embeddings", s->context);
}

// What strata itself wrote beside the factors; a factor of 0 where it did not.
static bool own_scaling(RopeScaling3 *s, const Reader *r)
{
    const struct {
        double *to;
        const char *key;
        double fallback;
    } keys[] = {{&s->factor, "strata.rope.factor", 0},
                {&s->low, "strata.rope.low_freq_factor", 1},
                {&s->high, "strata.rope.high_freq_factor", 4},
                {&s->context, "strata.rope.original_context_length", 8192}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (!gguf_number_or(keys[i].to, r->file, keys[i].key, keys[i].fallback, r->err))
            return false;
        *keys[i].to = gguf_short_decimal(*keys[i].to);
    }
    return true;
}

// The factors of rope_freqs.weight as the scaling that they come from.
static bool add_factors(const Reader *r, const GgufTensor *table, double theta)
{
    float factors[CONFIG_MAX_HEAD_SIZE / 2], computed[CONFIG_MAX_HEAD_SIZE / 2];
    RopeScaling3 s;
    uint64_t size;
    if (!head_size(&size, r) || !own_scaling(&s, r)) return false;
    if (table->dtype != DTYPE_F32 || table->rank != 1 || table->shape[0] != size / 2)
        return error_set(r->err,
                         "%s: tensor 'rope_freqs.weight' must be F32 of shape [%" PRIu64 "]",
                         r->file->path, size / 2);
    memcpy(factors, table->data, (size_t)table->size);
    bool ones = true;
    for (uint64_t j = 0; j < size / 2; j++) ones = ones && factors[j] == 1;
    if (ones) return true;
    if (s.factor > 0 && s.high > s.low && s.low > 0) {
        gguf_rope_factors(computed, &s, theta, (uint32_t)size);
        if (!memcmp(computed, factors, (size_t)table->size)) return add_llama3(r, &s);
    }
    if (gguf_rope_fit(&s, factors, theta, (uint32_t)size)) return add_llama3(r, &s);
    return error_set(r->err,
                     "%s: tensor 'rope_freqs.weight' holds factors that no rope_scaling of kind "
                     "llama3 gives",
                     r->file->path);
}

static bool add_scaling(const Reader *r, const char *kind, double factor)
{
    cJSON *object = cJSON_AddObjectToObject(r->json, "rope_scaling");
    return (object || no_memory(r)) && add_text(r, object, "rope_type", kind) &&
           add_number(r, object, "factor", gguf_short_decimal(factor));
}

// Kinds that are not known go on into config.json, where they are refused by name.
static bool add_rope(const Reader *r)
{
    GgufText type;
    double theta, factor, old;
    char kind[32] = "none";
    if (!gguf_number_or(&theta, r->file, key_of(r, "rope.freq_base").text, 10000, r->err) ||
        !gguf_text_or(&type, r->file, key_of(r, "rope.scaling.type").text, r->err) ||
        !gguf_number_or(&old, r->file, key_of(r, "rope.scale_linear").text, 1, r->err) ||
        !gguf_number_or(&factor, r->file, key_of(r, "rope.scaling.factor").text, old, r->err))
        return false;
    theta = gguf_short_decimal(theta);
    if (!add_number(r, r->json, "rope_theta", theta)) return false;
    if (type.text)
        snprintf(kind, sizeof kind, "%.*s", (int)(type.size < 31 ? type.size : 31), type.text);
    else if (factor != 1)
        strcpy(kind, "linear");
    const GgufTensor *table = gguf_find_tensor(r->file, "rope_freqs.weight");
    if (!strcmp(kind, "none") || (!strcmp(kind, "linear") && factor == 1))
        return !table || add_factors(r, table, theta);
    if (table)
        return error_set(r->err, "%s: key '%s.rope.scaling.type' is %s beside 'rope_freqs.weight'",
                         r->file->path, r->arch, kind);
    return add_scaling(r, kind, factor);
}

// ---- tokens and exits --------------------------------------------------------------------------

static const char BOS[] = "tokenizer.ggml.bos_token_id", EOS[] = "tokenizer.ggml.eos_token_id",
                  EOT[] = "tokenizer.ggml.eot_token_id";

static bool add_list(const Reader *r, const char *name, const GgufValue *ids)
{
    cJSON *list = cJSON_AddArrayToObject(r->json, name);
    bool ok = list != NULL;
    for (uint64_t i = 0; ok && i < ids->count; i++)
        ok = cJSON_AddItemToArray(list, cJSON_CreateNumber(gguf_element_u32(ids, i)));
    return ok || no_memory(r);
}

// What strata itself wrote, or NULL.
static bool own_list(const GgufValue **ids, const Reader *r, const char *key)
{
    if (!gguf_array_or(ids, r->file, key, GGUF_U32, r->err)) return false;
    return !*ids || (*ids)->count <= CONFIG_MAX_BLOCKS ||
           error_set(r->err, "%s: key '%s' has %" PRIu64 " elements, expected at most %d",
                     r->file->path, key, (*ids)->count, CONFIG_MAX_BLOCKS);
}

// A text ends at EOS and, in files of chat models, at the end of a turn.
static bool add_tokens(const Reader *r)
{
    uint64_t bos, eos, eot;
    const GgufValue *own;
    if (!gguf_int_or(&bos, r->file, BOS, UINT32_MAX, 0, UINT32_MAX, r->err) ||
        !gguf_int_or(&eos, r->file, EOS, UINT32_MAX, 0, UINT32_MAX, r->err) ||
        !gguf_int_or(&eot, r->file, EOT, eos, 0, UINT32_MAX, r->err) ||
        !own_list(&own, r, "strata.eos_token_ids"))
        return false;
    if (bos != UINT32_MAX && !add_number(r, r->json, "bos_token_id", (double)bos)) return false;
    if (own && own->count == 1)
        return add_number(r, r->json, "eos_token_id", gguf_element_u32(own, 0));
    if (own && own->count) return add_list(r, "eos_token_id", own);
    if (eos == UINT32_MAX) return true;
    if (eot == eos) return add_number(r, r->json, "eos_token_id", (double)eos);
    cJSON *list = cJSON_AddArrayToObject(r->json, "eos_token_id");
    return (list && cJSON_AddItemToArray(list, cJSON_CreateNumber((double)eos)) &&
            cJSON_AddItemToArray(list, cJSON_CreateNumber((double)eot))) ||
           no_memory(r);
}

static bool add_word(const Reader *r, const char *key, const char *hf)
{
    GgufText text;
    char word[32];
    if (!gguf_text_or(&text, r->file, key, r->err)) return false;
    if (!text.text) return true;
    snprintf(word, sizeof word, "%.*s", (int)(text.size < 31 ? text.size : 31), text.text);
    return add_text(r, r->json, hf, word);
}

static bool add_exits(const Reader *r)
{
    const GgufValue *exits;
    if (!own_list(&exits, r, "strata.exits")) return false;
    if (!exits) return true;
    if (!add_list(r, "strata_exits", exits)) return false;
    return add_word(r, "strata.exit_norm", "strata_exit_norm") &&
           add_word(r, "strata.exit_head", "strata_exit_head");
}

// ---- all ---------------------------------------------------------------------------------------

static bool read_arch(Reader *r)
{
    GgufText name;
    if (!gguf_text_or(&name, r->file, "general.architecture", r->err)) return false;
    if (!name.text)
        return error_set(r->err, "%s: key 'general.architecture' is missing", r->file->path);
    for (size_t i = 0; i < sizeof ARCHS / sizeof *ARCHS; i++)
        if (gguf_text_is(name, ARCHS[i].name)) r->arch = ARCHS[i].name;
    return r->arch || error_set(r->err,
                                "%s: key 'general.architecture' is '%.*s', expected 'llama', "
                                "'qwen2' or 'qwen3'",
                                r->file->path, (int)(name.size < 60 ? name.size : 60), name.text);
}

static bool add_epsilon(const Reader *r)
{
    Key key = key_of(r, "attention.layer_norm_rms_epsilon");
    double epsilon;
    if (!gguf_find(r->file, key.text))
        return error_set(r->err, "%s: key '%s' is missing", r->file->path, key.text);
    return gguf_number_or(&epsilon, r->file, key.text, 0, r->err) &&
           add_number(r, r->json, "rms_norm_eps", gguf_short_decimal(epsilon));
}

cJSON *gguf_config_json(const Gguf *file, Error *err)
{
    Reader r = {file, NULL, cJSON_CreateObject(), err};
    bool ok = (r.json || no_memory(&r)) && read_arch(&r) && add_kind(&r) && add_sizes(&r) &&
              check_switches(&r) && add_epsilon(&r) && add_rope(&r) && add_biases(&r) &&
              add_bool(&r, "tie_word_embeddings", !has(&r, "output.weight")) && add_tokens(&r) &&
              add_exits(&r);
    if (ok) return r.json;
    cJSON_Delete(r.json);
    return NULL;
}

bool gguf_config_read(LlamaConfig *config, const Gguf *file, Error *err)
{
    cJSON *json = gguf_config_json(file, err);
    *config = (LlamaConfig){0};
    bool ok = json && config_read(config, json, file->path, err);
    cJSON_Delete(json);
    return ok;
}

bool gguf_turned_rows(uint32_t *rows, const Gguf *file, Error *err)
{
    Reader r = {file, NULL, NULL, err};
    uint64_t size = 0;
    *rows = 0;
    if (!read_arch(&r)) return false;
    if (strcmp(r.arch, "llama") != 0) return true;
    if (!head_size(&size, &r)) return false;
    *rows = (uint32_t)size;
    return true;
}

bool model_config_load(LlamaConfig *config, const char *path, Error *err)
{
    Gguf file;
    if (!gguf_is_file(path)) return config_load(config, path, err);
    if (!gguf_open(&file, path, err)) return false;
    bool ok = gguf_config_read(config, &file, err);
    gguf_close(&file);
    return ok;
}
