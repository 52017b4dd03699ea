// What holds of a LLaMA's shape wherever it comes from: see config.h. Reading is config_read.c's
// and config_rope.c's, writing config_write.c's.
#include "model/config_internal.h"

#include <inttypes.h>

const ConfigSize config_sizes[CONFIG_SIZES] = {
    {"num_hidden_layers", offsetof(LlamaConfig, blocks), 1, CONFIG_MAX_BLOCKS, true},
    {"hidden_size", offsetof(LlamaConfig, width), 1, 1 << 20, true},
    {"intermediate_size", offsetof(LlamaConfig, hidden), 1, 1 << 20, true},
    {"num_attention_heads", offsetof(LlamaConfig, heads), 1, 1 << 16, true},
    {"num_key_value_heads", offsetof(LlamaConfig, kv_heads), 1, 1 << 16, false},
    {"head_dim", offsetof(LlamaConfig, head_size), 2, CONFIG_MAX_HEAD_SIZE, false},
    {"vocab_size", offsetof(LlamaConfig, vocab_size), 1, 1 << 24, true},
    {"max_position_embeddings", offsetof(LlamaConfig, context), 1, 1 << 24, true},
};

const char *const config_types[MODEL_KINDS + 1] = {[KIND_LLAMA] = "llama",
                                                   [KIND_MISTRAL] = "mistral",
                                                   [KIND_QWEN2] = "qwen2",
                                                   [KIND_QWEN3] = "qwen3",
                                                   NULL};
const char *const config_architectures[MODEL_KINDS] = {[KIND_LLAMA] = "LlamaForCausalLM",
                                                       [KIND_MISTRAL] = "MistralForCausalLM",
                                                       [KIND_QWEN2] = "Qwen2ForCausalLM",
                                                       [KIND_QWEN3] = "Qwen3ForCausalLM"};
const char *const config_exit_norms[4] = {[EXIT_NORM_SHARED] = "shared",
                                          [EXIT_NORM_PER_EXIT] = "per_exit",
                                          [EXIT_NORM_NONE] = "none",
                                          NULL};
const char *const config_exit_heads[3] = {"shared", "separate", NULL};

static bool check_sizes(const LlamaConfig *config, const char *source, Error *err)
{
    for (int i = 0; i < CONFIG_SIZES; i++) {
        uint32_t value =
            *(const uint32_t *)(const void *)((const char *)config + config_sizes[i].offset);
        if (value < config_sizes[i].low || value > config_sizes[i].high)
            return error_set(err, "%s: %s is %" PRIu32 ", expected %" PRIu32 " to %" PRIu32, source,
                             config_sizes[i].key, value, config_sizes[i].low, config_sizes[i].high);
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

static bool check_token(uint32_t token, const LlamaConfig *config, const char *key,
                        const char *source, Error *err)
{
    if (token < config->vocab_size) return true;
    return error_set(err, "%s: %s is %" PRIu32 ", expected 0 to %" PRIu32, source, key, token,
                     config->vocab_size - 1);
}

static bool check_tokens(const LlamaConfig *config, const char *source, Error *err)
{
    bool ok = config->bos == CONFIG_NO_TOKEN ||
              check_token(config->bos, config, "bos_token_id", source, err);
    if (ok && config->eos_count > CONFIG_MAX_EOS)
        return error_set(err, "%s: eos_token_id holds %" PRIu32 " ids, expected at most %d", source,
                         config->eos_count, CONFIG_MAX_EOS);
    for (uint32_t i = 0; ok && i < config->eos_count; i++)
        ok = check_token(config->eos[i], config, "eos_token_id", source, err);
    return ok;
}

// What the kind's files cannot say cannot be written.
static bool check_switches(const LlamaConfig *config, const char *source, Error *err)
{
    bool llama = config->kind == KIND_LLAMA, qwen2 = config->kind == KIND_QWEN2;
    bool says = llama || config->kind == KIND_QWEN3; // attention_bias
    if ((unsigned)config->kind >= MODEL_KINDS)
        return error_set(err, "%s: model kind %u, expected less than %d", source,
                         (unsigned)config->kind, MODEL_KINDS);
    if ((says ? config->qkv_bias != config->o_bias : config->qkv_bias != qwen2 || config->o_bias) ||
        (config->mlp_bias && !llama))
        return error_set(err, "%s: biases that a %s does not have", source,
                         config_types[config->kind]);
    if (config->qk_norm != (config->kind == KIND_QWEN3))
        return error_set(err, "%s: norms of q and k, which %s", source,
                         config->qk_norm ? "only a qwen3 has" : "a qwen3 has");
    if (config->window > (llama ? 0 : WINDOW_HIGH))
        return error_set(err, "%s: sliding_window is %" PRIu32 ", expected %d or less", source,
                         config->window, llama ? 0 : WINDOW_HIGH);
    return true;
}

bool config_check(const LlamaConfig *config, const char *source, Error *err)
{
    if (!check_sizes(config, source, err) || !check_switches(config, source, err)) return false;
    uint64_t queries = (uint64_t)config->heads * config->head_size;
    if (!check_matrix(config->vocab_size, config, "vocab_size * hidden_size", source, err) ||
        !check_matrix(config->hidden, config, "intermediate_size * hidden_size", source, err) ||
        !check_matrix(queries, config, "num_attention_heads * head_dim * hidden_size", source, err))
        return false;
    if (!(config->norm_epsilon >= EPSILON_LOW && config->norm_epsilon <= EPSILON_HIGH))
        return error_set(err, "%s: rms_norm_eps is %g, expected %g to %g", source,
                         config->norm_epsilon, EPSILON_LOW, EPSILON_HIGH);
    return config_check_rope(config, source, err) && check_tokens(config, source, err) &&
           check_exits(config, source, err);
}

uint64_t config_parameters(const LlamaConfig *config)
{
    uint64_t width = config->width;
    uint64_t queries = (uint64_t)config->heads * config->head_size;
    uint64_t keys = (uint64_t)config->kv_heads * config->head_size;
    uint64_t block =
        2 * width * queries + 2 * width * keys + 3 * width * config->hidden + 2 * width;
    if (config->qkv_bias) block += queries + 2 * keys;
    if (config->o_bias) block += width;
    if (config->qk_norm) block += 2 * (uint64_t)config->head_size;
    if (config->mlp_bias) block += 2 * (uint64_t)config->hidden + width;
    uint64_t embedding = config->vocab_size * width;
    uint64_t exits = 0; // with modules of their own
    for (uint32_t i = 0; i < config->exit_count; i++) exits += config->exits[i] < config->blocks;
    uint64_t module = (config->exit_norm == EXIT_NORM_PER_EXIT ? width : 0) +
                      (config->separate_heads ? embedding : 0);
    return (config->tied ? 1 : 2) * embedding + config->blocks * block + width + exits * module;
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

bool config_ends(const LlamaConfig *config, uint32_t token)
{
    for (uint32_t i = 0; i < config->eos_count; i++)
        if (config->eos[i] == token) return true;
    return false;
}

uint32_t config_first_key(const LlamaConfig *config, uint32_t position)
{
    return config->window && position >= config->window ? position - config->window + 1 : 0;
}
