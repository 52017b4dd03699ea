// Loading a LLaMA's parameters onto the GPU from mapped files: see llama.h.
#include "model/gguf_model.h"
#include "model/llama.h"
#include "model/weight_files.h"

#include <stdlib.h>
#include <string.h>

enum { STRETCH = 1 << 22, ROW_STEP = 64 }; // bytes of f32; rows

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

// Rows at a time: a few megabytes of f32, which begin at a multiple of 256 bytes in every dtype.
static uint32_t stretch_rows(Tensor tensor)
{
    uint64_t rows = STRETCH / sizeof(float) / tensor.cols / ROW_STEP * ROW_STEP;
    if (!rows) rows = ROW_STEP;
    return rows < tensor.rows ? (uint32_t)rows : tensor.rows;
}

// Rows as the file stores them, which is what the device wants: from the mapping, or through
// `buffer` where they lie in another order.
static bool upload_stored(Loading *l, Tensor to, const WeightTensor *from, uint32_t first,
                          uint8_t *buffer, Error *err)
{
    uint64_t bytes = dtype_bytes(from->dtype, to.cols);
    const uint8_t *rows = buffer, *data = weight_tensor_data(from);
    if (data) rows = data + first * bytes;
    for (uint32_t r = 0; !data && r < to.rows; r++)
        memcpy(buffer + r * bytes, weight_tensor_row(from, first + r), (size_t)bytes);
    return dtype_blocked(to.dtype) ? tensor_upload_blocks(l->llama->gpu, to, rows, err)
                                   : tensor_upload(l->llama->gpu, to, rows, err);
}

// Rows in another dtype than the file's, through f32.
static bool upload_converted(Loading *l, const LlamaParameter *p, Tensor to,
                             const WeightTensor *from, uint32_t first, float *values, Error *err)
{
    LlamaParameter part = *p;
    part.tensor = &to;
    if (p->rows) part.rows = to.rows;
    weight_tensor_values(from, (uint64_t)first * to.cols, (uint64_t)to.rows * to.cols, values);
    return llama_upload(l->llama->gpu, &part, values, err);
}

static bool load_parameter(Loading *l, const LlamaParameter *p, Error *err)
{
    const WeightTensor *from = expect(l->files, p, err);
    if (!from) return false;
    // A turned vector's values are turned one by one.
    bool stored = from->dtype == p->tensor->dtype && (p->rows || weight_tensor_data(from));
    uint32_t step = stretch_rows(*p->tensor);
    float *buffer = malloc((size_t)step * p->cols * sizeof *buffer);
    bool ok = buffer || error_set(err, "out of memory");
    for (uint32_t first = 0; ok && first < p->tensor->rows; first += step) {
        uint32_t left = p->tensor->rows - first;
        Tensor to = tensor_rows(*p->tensor, first, left < step ? left : step);
        ok = stored ? upload_stored(l, to, from, first, (uint8_t *)buffer, err)
                    : upload_converted(l, p, to, from, first, buffer, err);
        if (ok) advance(l, dtype_bytes(from->dtype, (uint64_t)to.rows * to.cols));
    }
    free(buffer);
    return ok;
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

// What each parameter is stored as where it is what the file has: dtypes (llama_parameter_count).
static void stored_dtypes(Dtype *dtypes, Llama *shape, const WeightFiles *files)
{
    for (size_t i = 0; i < llama_parameter_count(&shape->config); i++) {
        LlamaParameter p = llama_parameter(shape, i);
        const WeightTensor *from =
            weight_files_find(files, p.name); // loading names what is missing
        dtypes[i] = from && from->dtype != DTYPE_COUNT ? from->dtype : DTYPE_F32;
    }
}

static bool make_stored(Llama *llama, Gpu *gpu, const LlamaConfig *config, const WeightFiles *files,
                        Error *err)
{
    BlockWeights *blocks = calloc(config->blocks, sizeof *blocks);
    Dtype *dtypes = calloc(llama_parameter_count(config), sizeof *dtypes);
    bool ok = (blocks && dtypes) || error_set(err, "out of memory");
    if (ok) stored_dtypes(dtypes, &(Llama){.config = *config, .blocks = blocks}, files);
    ok = ok && llama_make_each(llama, gpu, config, dtypes, err);
    free(dtypes);
    free(blocks);
    return ok;
}

// Names a tensor that is no parameter; there is one.
static bool refuse_more(Llama *shape, const WeightFiles *files, Error *err)
{
    bool *used = calloc(files->tensor_count, sizeof *used);
    if (!used) return error_set(err, "out of memory");
    for (size_t i = 0; i < llama_parameter_count(&shape->config); i++) {
        const WeightTensor *t = weight_files_find(files, llama_parameter(shape, i).name);
        if (t) used[t - files->tensors] = true;
    }
    size_t i = 0;
    while (used[i]) i++;
    free(used);
    return error_set(err, "%s: tensor '%.100s' is none that its keys speak of", files->path,
                     files->tensors[i].file_name);
}

bool llama_expect_no_more(const LlamaConfig *config, const WeightFiles *files, Error *err)
{
    bool gguf = files->gguf.map.bytes != NULL;
    if (!gguf || files->tensor_count <= llama_parameter_count(config)) return true;
    BlockWeights *blocks = calloc(config->blocks, sizeof *blocks);
    if (!blocks) return error_set(err, "out of memory");
    refuse_more(&(Llama){.config = *config, .blocks = blocks}, files, err);
    free(blocks);
    return false;
}

static bool load(Llama *llama, Gpu *gpu, const char *path, uint32_t blocks,
                 const LoadOptions *options, Error *err)
{
    *llama = (Llama){0};
    LlamaConfig whole, config;
    WeightFiles files;
    if (!model_config_load(&whole, path, err)) return false;
    config = whole;
    if (!extract(&config, blocks, path, err) || !weight_files_open(&files, path, err)) return false;
    Loading loading = {llama, &files, options, 0, 0};
    bool ok = llama_expect_no_more(&whole, &files, err) &&
              (options->dtype == LLAMA_STORED
                   ? make_stored(llama, gpu, &config, &files, err)
                   : llama_make_as(llama, gpu, &config, 0, options->dtype, err)) &&
              load_parameters(&loading, err);
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
    return load(llama, gpu, path, blocks, &(LoadOptions){DTYPE_F32}, err);
}

bool llama_load(Llama *llama, Gpu *gpu, const char *path, Error *err)
{
    return llama_load_as(llama, gpu, path, DTYPE_F32, err);
}

bool llama_load_as(Llama *llama, Gpu *gpu, const char *path, Dtype dtype, Error *err)
{
    return llama_load_with(llama, gpu, path, &(LoadOptions){dtype}, err);
}
