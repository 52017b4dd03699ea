// A LLaMA's parameters on the GPU: see llama.h.
#include "model/llama.h"
#include "base/random.h"
#include "model/hf_folder.h"
#include "model/safetensors.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t module_parameters(const LlamaConfig *config)
{
    return (size_t)(config->exit_norm == EXIT_NORM_PER_EXIT) + config->separate_heads;
}

// The exits before the last block; those are the ones that can have norms and heads.
static uint32_t early_exits(const LlamaConfig *config)
{
    uint32_t count = config->exit_count;
    return count && config->exits[count - 1] == config->blocks ? count - 1 : count;
}

static LlamaParameter matrix(Tensor *tensor, uint32_t rows, uint32_t cols)
{
    return (LlamaParameter){.tensor = tensor, .rows = rows, .cols = cols, .decay = true};
}

static LlamaParameter vector(Tensor *tensor, uint32_t cols)
{
    return (LlamaParameter){.tensor = tensor, .cols = cols};
}

// The widths of a block.
typedef enum { ONE, WIDTH, HIDDEN, QUERIES, KEYS, HEAD } Side;

static uint32_t side(const LlamaConfig *c, Side side)
{
    const uint32_t sides[] = {[WIDTH] = c->width,
                              [HIDDEN] = c->hidden,
                              [QUERIES] = c->heads * c->head_size,
                              [KEYS] = c->kv_heads * c->head_size,
                              [HEAD] = c->head_size};
    return sides[side];
}

// What the config has or has not.
typedef enum { ALWAYS, QK_NORM, QKV_BIAS, O_BIAS, MLP_BIAS } PartOf;

// A block's parameters in the order of the files; rows ONE: a vector.
static const struct {
    const char *name;
    size_t offset; // of a Tensor in BlockWeights
    Side rows, cols;
    PartOf of;
} PARTS[] = {
    {"input_layernorm.weight", offsetof(BlockWeights, attn_norm), ONE, WIDTH, ALWAYS},
    {"self_attn.q_proj.weight", offsetof(BlockWeights, q), QUERIES, WIDTH, ALWAYS},
    {"self_attn.k_proj.weight", offsetof(BlockWeights, k), KEYS, WIDTH, ALWAYS},
    {"self_attn.v_proj.weight", offsetof(BlockWeights, v), KEYS, WIDTH, ALWAYS},
    {"self_attn.o_proj.weight", offsetof(BlockWeights, o), WIDTH, QUERIES, ALWAYS},
    {"post_attention_layernorm.weight", offsetof(BlockWeights, mlp_norm), ONE, WIDTH, ALWAYS},
    {"mlp.gate_proj.weight", offsetof(BlockWeights, gate), HIDDEN, WIDTH, ALWAYS},
    {"mlp.up_proj.weight", offsetof(BlockWeights, up), HIDDEN, WIDTH, ALWAYS},
    {"mlp.down_proj.weight", offsetof(BlockWeights, down), WIDTH, HIDDEN, ALWAYS},
    {"self_attn.q_norm.weight", offsetof(BlockWeights, q_norm), ONE, HEAD, QK_NORM},
    {"self_attn.k_norm.weight", offsetof(BlockWeights, k_norm), ONE, HEAD, QK_NORM},
    {"self_attn.q_proj.bias", offsetof(BlockWeights, q_bias), ONE, QUERIES, QKV_BIAS},
    {"self_attn.k_proj.bias", offsetof(BlockWeights, k_bias), ONE, KEYS, QKV_BIAS},
    {"self_attn.v_proj.bias", offsetof(BlockWeights, v_bias), ONE, KEYS, QKV_BIAS},
    {"self_attn.o_proj.bias", offsetof(BlockWeights, o_bias), ONE, WIDTH, O_BIAS},
    {"mlp.gate_proj.bias", offsetof(BlockWeights, gate_bias), ONE, HIDDEN, MLP_BIAS},
    {"mlp.up_proj.bias", offsetof(BlockWeights, up_bias), ONE, HIDDEN, MLP_BIAS},
    {"mlp.down_proj.bias", offsetof(BlockWeights, down_bias), ONE, WIDTH, MLP_BIAS},
};

static bool has_part(const LlamaConfig *c, size_t part)
{
    const bool has[] = {[ALWAYS] = true,
                        [QK_NORM] = c->qk_norm,
                        [QKV_BIAS] = c->qkv_bias,
                        [O_BIAS] = c->o_bias,
                        [MLP_BIAS] = c->mlp_bias};
    return has[PARTS[part].of];
}

static size_t block_parameters(const LlamaConfig *config)
{
    size_t count = 0;
    for (size_t i = 0; i < sizeof PARTS / sizeof *PARTS; i++) count += has_part(config, i);
    return count;
}

static LlamaParameter block_parameter(Llama *llama, size_t block, size_t which)
{
    const LlamaConfig *c = &llama->config;
    size_t part = 0;
    for (;; part++)
        if (has_part(c, part) && !which--) break;
    Tensor *tensor = (Tensor *)(void *)((char *)&llama->blocks[block] + PARTS[part].offset);
    LlamaParameter p = PARTS[part].rows == ONE
                           ? vector(tensor, side(c, PARTS[part].cols))
                           : matrix(tensor, side(c, PARTS[part].rows), side(c, PARTS[part].cols));
    p.bias = PARTS[part].of >= QKV_BIAS;
    snprintf(p.name, sizeof p.name, "model.layers.%zu.%s", block, PARTS[part].name);
    return p;
}

size_t llama_shared_count(const LlamaConfig *config)
{
    return 2 + block_parameters(config) * config->blocks + !config->tied;
}

size_t llama_parameter_count(const LlamaConfig *config)
{
    return llama_shared_count(config) + module_parameters(config) * early_exits(config);
}

static LlamaParameter exit_parameter(Llama *llama, size_t i)
{
    const LlamaConfig *c = &llama->config;
    size_t exit = i / module_parameters(c), which = i % module_parameters(c);
    bool norm = c->exit_norm == EXIT_NORM_PER_EXIT && which == 0;
    ExitWeights *w = &llama->exits[exit];
    LlamaParameter p =
        norm ? vector(&w->norm, c->width) : matrix(&w->head, c->vocab_size, c->width);
    snprintf(p.name, sizeof p.name, "strata.exits.%u.%s.weight", (unsigned)c->exits[exit],
             norm ? "norm" : "lm_head");
    return p;
}

LlamaParameter llama_parameter(Llama *llama, size_t i)
{
    const LlamaConfig *c = &llama->config;
    size_t each = block_parameters(c), last = 1 + each * c->blocks, shared = llama_shared_count(c);
    assert(i < llama_parameter_count(c));
    if (i >= shared) return exit_parameter(llama, i - shared);
    if (i > 0 && i < last) return block_parameter(llama, (i - 1) / each, (i - 1) % each);
    LlamaParameter p;
    if (i == 0) {
        p = matrix(&llama->embed, c->vocab_size, c->width);
        snprintf(p.name, sizeof p.name, "model.embed_tokens.weight");
    } else if (i == last) {
        p = vector(&llama->norm, c->width);
        snprintf(p.name, sizeof p.name, "model.norm.weight");
    } else {
        p = matrix(&llama->head, c->vocab_size, c->width);
        snprintf(p.name, sizeof p.name, "lm_head.weight");
    }
    return p;
}

// The exit's index, or exit_count where depth is no exit before the last block.
static uint32_t find_exit(const LlamaConfig *c, uint32_t depth)
{
    for (uint32_t e = 0; e < early_exits(c); e++)
        if (c->exits[e] == depth) return e;
    return c->exit_count;
}

Tensor llama_exit_norm(const Llama *llama, uint32_t depth)
{
    const LlamaConfig *c = &llama->config;
    uint32_t e = find_exit(c, depth);
    if (e == c->exit_count || c->exit_norm == EXIT_NORM_SHARED) return llama->norm;
    return c->exit_norm == EXIT_NORM_NONE ? (Tensor){0} : llama->exits[e].norm;
}

Tensor llama_exit_head(const Llama *llama, uint32_t depth)
{
    uint32_t e = find_exit(&llama->config, depth);
    bool own = e < llama->config.exit_count && llama->config.separate_heads;
    return own ? llama->exits[e].head : llama->head;
}

Dtype llama_dtype(const LlamaParameter *p, Dtype dtype)
{
    bool packs = p->rows && (dtype_blocked(dtype) ? p->cols % dtype_block(dtype) == 0
                                                  : p->rows % 4 == 0 && p->cols % 4 == 0);
    if (dtype == DTYPE_U8 && (uint64_t)p->rows * p->cols < QUANT_LEAST) packs = false;
    return packs ? dtype : DTYPE_F32;
}

// Each as its own of dtypes or, where that is NULL, all as `dtype`.
static bool make_parameters(Llama *llama, size_t first, const Dtype *dtypes, Dtype dtype,
                            Error *err)
{
    for (size_t i = first; i < llama_parameter_count(&llama->config); i++) {
        LlamaParameter p = llama_parameter(llama, i);
        Dtype stored = llama_dtype(&p, dtypes ? dtypes[i] : dtype);
        *p.tensor =
            tensor_make_as(llama->gpu, MEMORY_DEVICE, stored, p.rows ? p.rows : 1, p.cols, err);
        if (!p.tensor->span) return false;
    }
    return true;
}

static bool make(Llama *llama, Gpu *gpu, const LlamaConfig *config, size_t first,
                 const Dtype *dtypes, Dtype dtype, Error *err)
{
    *llama = (Llama){.gpu = gpu, .config = *config};
    llama->blocks = calloc(config->blocks, sizeof *llama->blocks);
    if (!llama->blocks) return error_set(err, "out of memory");
    if (!make_parameters(llama, first, dtypes, dtype, err)) {
        llama_free(llama);
        return false;
    }
    if (config->tied) llama->head = llama->embed;
    return true;
}

bool llama_make_as(Llama *llama, Gpu *gpu, const LlamaConfig *config, size_t first, Dtype dtype,
                   Error *err)
{
    return make(llama, gpu, config, first, NULL, dtype, err);
}

bool llama_make_each(Llama *llama, Gpu *gpu, const LlamaConfig *config, const Dtype *dtypes,
                     Error *err)
{
    return make(llama, gpu, config, 0, dtypes, DTYPE_F32, err);
}

bool llama_make(Llama *llama, Gpu *gpu, const LlamaConfig *config, Error *err)
{
    return llama_make_as(llama, gpu, config, 0, DTYPE_F32, err);
}

void llama_free(Llama *llama)
{
    if (!llama->blocks) return;
    for (size_t i = 0; i < llama_parameter_count(&llama->config); i++)
        tensor_free(llama->gpu, llama_parameter(llama, i).tensor);
    free(llama->blocks);
    *llama = (Llama){0};
}

static uint64_t largest_parameter(const LlamaConfig *config)
{
    BlockWeights block = {0};
    Llama shape = {.config = *config, .blocks = &block};
    shape.config.blocks = 1;
    shape.config.exit_count = 0; // their heads and norms are no larger
    uint64_t most = 0;
    for (size_t i = 0; i < llama_parameter_count(&shape.config); i++) {
        LlamaParameter p = llama_parameter(&shape, i);
        uint64_t values = (uint64_t)(p.rows ? p.rows : 1) * p.cols;
        if (values > most) most = values;
    }
    return most;
}

// Room on the host for the largest parameter, or NULL.
static float *parameter_buffer(const LlamaConfig *config, Error *err)
{
    float *values = malloc(largest_parameter(config) * sizeof *values);
    if (!values) error_set(err, "out of memory");
    return values;
}

static bool copy_parameter(Llama *llama, Tensor from, Tensor to, float *values, Error *err)
{
    return tensor_download(llama->gpu, from, values, err) &&
           tensor_upload(llama->gpu, to, values, err);
}

bool llama_add_exits(Llama *llama, const uint32_t *exits, uint32_t count, ExitNorm norm,
                     bool separate_heads, Error *err)
{
    LlamaConfig *c = &llama->config;
    assert(count <= CONFIG_MAX_EXITS && !module_parameters(c));
    memcpy(c->exits, exits, count * sizeof *exits);
    c->exit_count = count;
    c->exit_norm = norm;
    c->separate_heads = separate_heads;
    float *values = parameter_buffer(c, err);
    bool ok = values && make_parameters(llama, llama_shared_count(c), NULL, DTYPE_F32, err);
    for (uint32_t e = 0; ok && e < early_exits(c); e++) {
        ExitWeights *w = &llama->exits[e];
        ok = (!w->norm.span || copy_parameter(llama, llama->norm, w->norm, values, err)) &&
             (!w->head.span || copy_parameter(llama, llama->head, w->head, values, err));
    }
    free(values);
    return ok;
}

void llama_share_exits(Llama *llama)
{
    for (uint32_t e = 0; e < llama->config.exit_count; e++) {
        tensor_free(llama->gpu, &llama->exits[e].norm);
        tensor_free(llama->gpu, &llama->exits[e].head);
    }
    llama->config.exit_norm = EXIT_NORM_SHARED;
    llama->config.separate_heads = false;
}

bool llama_randomize(Llama *llama, uint64_t seed, Error *err)
{
    float *values = parameter_buffer(&llama->config, err);
    bool ok = values != NULL;
    Random random = random_seed(seed);
    for (size_t i = 0; ok && i < llama_parameter_count(&llama->config); i++) {
        LlamaParameter p = llama_parameter(llama, i);
        uint64_t count = (uint64_t)(p.rows ? p.rows : 1) * p.cols;
        for (uint64_t j = 0; j < count; j++)
            values[j] = p.rows ? (float)(0.02 * random_normal(&random)) : !p.bias;
        ok = tensor_upload(llama->gpu, *p.tensor, values, err);
    }
    free(values);
    return ok;
}

static bool write_parameters(Llama *llama, SafetensorsWriter *writer, Error *err)
{
    float *values = parameter_buffer(&llama->config, err);
    bool ok = values != NULL;
    for (size_t i = 0; ok && i < llama_parameter_count(&llama->config); i++) {
        LlamaParameter p = llama_parameter(llama, i);
        ok = tensor_download(llama->gpu, *p.tensor, values, err);
        if (ok) safetensors_put(writer, values, (uint64_t)(p.rows ? p.rows : 1) * p.cols);
    }
    free(values);
    return ok;
}

static bool save_weights(Llama *llama, const char *path, Error *err)
{
    size_t count = llama_parameter_count(&llama->config);
    SafetensorsTensor *tensors = calloc(count, sizeof *tensors);
    LlamaParameter *parameters = calloc(count, sizeof *parameters);
    SafetensorsWriter *writer = NULL;
    if (tensors && parameters) {
        for (size_t i = 0; i < count; i++) {
            LlamaParameter *p = &parameters[i];
            *p = llama_parameter(llama, i);
            tensors[i] = p->rows ? (SafetensorsTensor){p->name, 2, {p->rows, p->cols}}
                                 : (SafetensorsTensor){p->name, 1, {p->cols}};
        }
        writer = safetensors_create(path, tensors, count, err);
    } else {
        error_set(err, "out of memory");
    }
    bool ok = writer && write_parameters(llama, writer, err);
    if (ok)
        ok = safetensors_commit(writer, err);
    else if (writer)
        safetensors_abort(writer);
    free(parameters);
    free(tensors);
    return ok;
}

// Thresholds that were calibrated for other weights promise nothing for these, and may not even be
// of as many blocks. They go first: a run that is killed behind it leaves a model at full depth.
static bool remove_policies(const char *folder, Error *err)
{
    char path[1024];
    return path_join(path, sizeof path, folder, LLAMA_POLICIES, err) && file_remove(path, err);
}

bool llama_save(Llama *llama, const char *folder, Error *err)
{
    char path[1024];
    return llama_expect_f32(llama, "saving", err) && remove_policies(folder, err) &&
           path_join(path, sizeof path, folder, "model.safetensors", err) &&
           config_save(&llama->config, folder, err) &&
           hf_folder_write_extras(folder, &llama->config, err) && save_weights(llama, path, err);
}
