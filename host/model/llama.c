// A LLaMA's parameters on the GPU: see llama.h.
#include "model/llama.h"
#include "base/random.h"
#include "model/hf_folder.h"
#include "model/safetensors.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_PARAMETERS = 9 };

size_t llama_parameter_count(const LlamaConfig *config)
{
    return 2 + (size_t)BLOCK_PARAMETERS * config->blocks + !config->tied;
}

static LlamaParameter matrix(Tensor *tensor, uint32_t rows, uint32_t cols)
{
    return (LlamaParameter){.tensor = tensor, .rows = rows, .cols = cols, .decay = true};
}

static LlamaParameter vector(Tensor *tensor, uint32_t cols)
{
    return (LlamaParameter){.tensor = tensor, .cols = cols};
}

static LlamaParameter block_parameter(Llama *llama, size_t block, size_t which)
{
    static const char *const names[BLOCK_PARAMETERS] = {
        "input_layernorm",  "self_attn.q_proj", "self_attn.k_proj",
        "self_attn.v_proj", "self_attn.o_proj", "post_attention_layernorm",
        "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};
    const LlamaConfig *c = &llama->config;
    BlockWeights *w = &llama->blocks[block];
    uint32_t d = c->width, h = c->hidden;
    uint32_t a = c->heads * c->head_size, g = c->kv_heads * c->head_size;
    LlamaParameter p;
    switch (which) {
    case 0:
        p = vector(&w->attn_norm, d);
        break;
    case 1:
        p = matrix(&w->q, a, d);
        break;
    case 2:
        p = matrix(&w->k, g, d);
        break;
    case 3:
        p = matrix(&w->v, g, d);
        break;
    case 4:
        p = matrix(&w->o, d, a);
        break;
    case 5:
        p = vector(&w->mlp_norm, d);
        break;
    case 6:
        p = matrix(&w->gate, h, d);
        break;
    case 7:
        p = matrix(&w->up, h, d);
        break;
    default:
        p = matrix(&w->down, d, h);
        break;
    }
    snprintf(p.name, sizeof p.name, "model.layers.%zu.%s.weight", block, names[which]);
    return p;
}

LlamaParameter llama_parameter(Llama *llama, size_t i)
{
    const LlamaConfig *c = &llama->config;
    size_t last = 1 + (size_t)BLOCK_PARAMETERS * c->blocks;
    assert(i < llama_parameter_count(c));
    if (i > 0 && i < last)
        return block_parameter(llama, (i - 1) / BLOCK_PARAMETERS, (i - 1) % BLOCK_PARAMETERS);
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

bool llama_make(Llama *llama, Gpu *gpu, const LlamaConfig *config, Error *err)
{
    *llama = (Llama){.gpu = gpu, .config = *config};
    llama->blocks = calloc(config->blocks, sizeof *llama->blocks);
    if (!llama->blocks) return error_set(err, "out of memory");
    for (size_t i = 0; i < llama_parameter_count(config); i++) {
        LlamaParameter p = llama_parameter(llama, i);
        *p.tensor = tensor_make(gpu, MEMORY_DEVICE, p.rows ? p.rows : 1, p.cols, err);
        if (!p.tensor->span) {
            llama_free(llama);
            return false;
        }
    }
    if (config->tied) llama->head = llama->embed;
    return true;
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

static bool read_parameters(Llama *llama, const Safetensors *file, Error *err)
{
    float *values = parameter_buffer(&llama->config, err);
    bool ok = values != NULL;
    for (size_t i = 0; ok && i < llama_parameter_count(&llama->config); i++) {
        LlamaParameter p = llama_parameter(llama, i);
        ok = safetensors_read(file, p.name, p.rows ? p.rows : 1, p.cols, values, err) &&
             tensor_upload(llama->gpu, *p.tensor, values, err);
    }
    free(values);
    return ok;
}

bool llama_load(Llama *llama, Gpu *gpu, const char *folder, Error *err)
{
    *llama = (Llama){0};
    LlamaConfig config;
    char path[1024];
    Safetensors file;
    if (!config_load(&config, folder, err) || !model_file_path(path, sizeof path, folder, err) ||
        !safetensors_open(&file, path, err))
        return false;
    bool ok = llama_make(llama, gpu, &config, err) && read_parameters(llama, &file, err);
    safetensors_close(&file);
    if (!ok) llama_free(llama);
    return ok;
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
            values[j] = p.rows ? (float)(0.02 * random_normal(&random)) : 1.0f;
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

bool llama_save(Llama *llama, const char *folder, Error *err)
{
    char path[1024];
    return path_join(path, sizeof path, folder, "model.safetensors", err) &&
           config_save(&llama->config, folder, err) &&
           hf_folder_write_extras(folder, &llama->config, err) && save_weights(llama, path, err);
}
