// Loading a LLaMA's parameters onto the GPU from mapped files: see llama.h.
#include "model/gguf_model.h"
#include "model/llama.h"
#include "model/weight_files.h"

#include <stdlib.h>

enum { STRETCH = 1 << 22, ROW_STEP = 64 }; // bytes at a time; rows whose f32 begin at 256 bytes

typedef struct {
    Llama *llama;
    const WeightFiles *files;
    const LoadOptions *options;
    uint64_t done, all; // bytes of the files
} Loading;

// The file's tensor of a parameter.
static const WeightTensor *expect(const WeightFiles *files, const LlamaParameter *p, Error *err)
{
    return weight_files_expect(files, p->name, p->rows ? p->rows : 1, p->cols, err);
}

static void advance(Loading *l, uint64_t bytes)
{
    l->done += bytes;
    if (l->options && l->options->progress) l->options->progress(l->options->user, l->done, l->all);
}

// Rows of f32 that are converted at a time.
static uint32_t stretch_rows(uint32_t cols)
{
    uint64_t rows = STRETCH / sizeof(float) / cols / ROW_STEP * ROW_STEP;
    return rows ? (uint32_t)rows : ROW_STEP;
}

// A tensor that is f32 on the device, converted a few rows at a time.
static bool convert(Loading *l, Tensor to, const WeightTensor *from, Error *err)
{
    uint32_t step = stretch_rows(to.cols) < to.rows ? stretch_rows(to.cols) : to.rows;
    float *values = malloc((size_t)step * to.cols * sizeof *values);
    bool ok = values || error_set(err, "out of memory");
    for (uint32_t row = 0; ok && row < to.rows; row += step) {
        uint32_t rows = to.rows - row < step ? to.rows - row : step;
        uint64_t count = (uint64_t)rows * to.cols;
        weight_tensor_values(from, (uint64_t)row * to.cols, count, values);
        ok = tensor_upload(l->llama->gpu, tensor_rows(to, row, rows), values, err);
        if (ok) advance(l, dtype_bytes(from->dtype, count));
    }
    free(values);
    return ok;
}

static bool load_parameter(Loading *l, const LlamaParameter *p, Error *err)
{
    const WeightTensor *from = expect(l->files, p, err);
    if (!from) return false;
    bool as_it_lies = from->dtype == DTYPE_F32 && weight_tensor_data(from);
    if (!as_it_lies) return convert(l, *p->tensor, from, err);
    if (!tensor_upload(l->llama->gpu, *p->tensor, from->data, err)) return false;
    advance(l, from->size);
    return true;
}

// Finds every tensor before anything is loaded, and counts their bytes.
static bool find_all(Loading *l, Error *err)
{
    for (size_t i = 0; i < llama_parameter_count(&l->llama->config); i++) {
        LlamaParameter p = llama_parameter(l->llama, i);
        const WeightTensor *from = expect(l->files, &p, err);
        if (!from) return false;
        l->all += from->size;
    }
    return true;
}

static bool load_parameters(Loading *l, Error *err)
{
    bool ok = find_all(l, err);
    for (size_t i = 0; ok && i < llama_parameter_count(&l->llama->config); i++) {
        LlamaParameter p = llama_parameter(l->llama, i);
        ok = load_parameter(l, &p, err);
    }
    return ok;
}

// Cuts the config down to its first blocks; UINT32_MAX: leaves it whole.
static bool extract(LlamaConfig *config, uint32_t blocks, const char *path, Error *err)
{
    if (blocks == UINT32_MAX) return true;
    if (blocks > config->blocks)
        return error_set(err, "%s: depth %u, but the model has %u blocks", path, (unsigned)blocks,
                         (unsigned)config->blocks);
    bool tied = config->tied;
    config_first_blocks(config, blocks);
    config->tied = tied; // the model's own norm and head, whatever the exit there had
    config->exit_count = 0;
    return true;
}

static bool load(Llama *llama, Gpu *gpu, const char *path, uint32_t blocks,
                 const LoadOptions *options, Error *err)
{
    *llama = (Llama){0};
    LlamaConfig config;
    WeightFiles files;
    if (!model_config_load(&config, path, err) || !extract(&config, blocks, path, err) ||
        !weight_files_open(&files, path, err))
        return false;
    Loading loading = {llama, &files, options, 0, 0};
    bool ok = llama_make(llama, gpu, &config, err) && load_parameters(&loading, err);
    weight_files_close(&files);
    if (!ok) llama_free(llama);
    return ok;
}

bool llama_load_with(Llama *llama, Gpu *gpu, const char *path, const LoadOptions *options,
                     Error *err)
{
    return load(llama, gpu, path, UINT32_MAX, options, err);
}

bool llama_load_first(Llama *llama, Gpu *gpu, const char *path, uint32_t blocks, Error *err)
{
    return load(llama, gpu, path, blocks, NULL, err);
}

bool llama_load(Llama *llama, Gpu *gpu, const char *path, Error *err)
{
    return load(llama, gpu, path, UINT32_MAX, NULL, err);
}
