// A model at one depth as a folder of its own: see export.h.
#include "model/export.h"
#include "base/json.h"
#include "base/values.h"
#include "model/config.h"
#include "model/gguf_convert.h"
#include "model/gguf_model.h"
#include "model/hf_folder.h"
#include "model/llama.h"
#include "model/weight_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 1 << 14, FILE_LIMIT = 1 << 30 };

// By Dtype: Hugging Face's name.
static const char *const DTYPES[] = {"float32", "float16", "bfloat16"};

// What stands beside the weights and config.json and is the same at every depth.
static const char *const COPIED[] = {"tokenizer.json",          "tokenizer_config.json",
                                     "tokenizer.model",         "added_tokens.json",
                                     "special_tokens_map.json", "chat_template.jinja",
                                     "generation_config.json"};

// One tensor: where it lies and where it goes.
typedef struct {
    LlamaParameter parameter; // its tensor points nowhere
    char source[96];          // its name where it lies
    const WeightTensor *tensor;
    uint64_t values;
    Dtype dtype;
    uint32_t shard; // from 0
} Item;

typedef struct {
    const ExportOptions *options;
    Item *items; // (count), in the order of the files
    size_t count;
    uint32_t shards;
    uint64_t bytes; // of all tensors
} Plan;

// ---- plan --------------------------------------------------------------------------------------

// Where a parameter of the first blocks of `whole` lies: an exit's own norm and head become the
// model's.
static void name_source(Item *item, const LlamaConfig *whole, uint32_t depth)
{
    const char *name = item->parameter.name;
    bool early = config_is_early_exit(whole, depth);
    bool norm =
        early && whole->exit_norm == EXIT_NORM_PER_EXIT && !strcmp(name, "model.norm.weight");
    bool head = early && whole->separate_heads && !strcmp(name, "lm_head.weight");
    if (norm || head)
        snprintf(item->source, sizeof item->source, "strata.exits.%u.%s.weight", (unsigned)depth,
                 norm ? "norm" : "lm_head");
    else
        snprintf(item->source, sizeof item->source, "%s", name);
}

static bool list_items(Plan *plan, const LlamaConfig *config, const LlamaConfig *whole, Error *err)
{
    Llama shape = {.config = *config, .blocks = calloc(config->blocks, sizeof *shape.blocks)};
    plan->count = llama_parameter_count(config);
    plan->items = calloc(plan->count, sizeof *plan->items);
    bool ok = shape.blocks && plan->items;
    for (size_t i = 0; ok && i < plan->count; i++) {
        Item *item = &plan->items[i];
        item->parameter = llama_parameter(&shape, i);
        name_source(item, whole, config->blocks);
        item->values =
            (uint64_t)(item->parameter.rows ? item->parameter.rows : 1) * item->parameter.cols;
    }
    free(shape.blocks);
    return ok || error_set(err, "out of memory");
}

// Finds every tensor before anything is written.
static bool find_items(Plan *plan, const WeightFiles *weights, Error *err)
{
    for (size_t i = 0; i < plan->count; i++) {
        Item *item = &plan->items[i];
        const LlamaParameter *p = &item->parameter;
        item->tensor =
            weight_files_expect(weights, item->source, p->rows ? p->rows : 1, p->cols, err);
        if (!item->tensor) return false;
    }
    return true;
}

// Whether every value of the tensor is one of that 16-bit dtype.
static bool is_exact(const WeightTensor *tensor, Dtype dtype)
{
    float values[PIECE], back[PIECE];
    uint16_t patterns[PIECE];
    uint64_t count = weight_tensor_count(tensor);
    for (uint64_t at = 0; at < count; at += PIECE) {
        uint64_t part = count - at < PIECE ? count - at : PIECE;
        weight_tensor_values(tensor, at, part, values);
        if (values_narrow(dtype, values, part, patterns)) return false;
        values_widen(dtype, (const uint8_t *)patterns, 0, part, back);
        if (memcmp(values, back, part * sizeof *values) != 0) return false;
    }
    return true;
}

static Dtype decoded(Dtype dtype)
{
    return dtype_blocked(dtype) ? DTYPE_F32 : dtype;
}

// The dtype of each tensor. Where they stay as they are, vectors, which GGUF files have in F32,
// become what the matrices are if that is exact: folders are of one dtype as a rule.
static void choose_dtypes(Plan *plan)
{
    Dtype asked = plan->options->dtype, matrices = decoded(plan->items[0].tensor->dtype);
    for (size_t i = 0; i < plan->count; i++) {
        Item *item = &plan->items[i];
        item->dtype = asked == DTYPE_COUNT ? decoded(item->tensor->dtype) : asked;
        bool narrower = asked == DTYPE_COUNT && !item->parameter.rows && matrices != DTYPE_F32;
        if (narrower && is_exact(item->tensor, matrices)) item->dtype = matrices;
    }
}

static const char *torch_dtype(const Plan *plan)
{
    return DTYPES[plan->items[0].dtype]; // of the embedding
}

// The shard that was being filled ends: its tensors, so far without a number, get the next one.
static void number_shard(Plan *plan, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++)
        if (plan->items[i].shard == UINT32_MAX) plan->items[i].shard = plan->shards;
    plan->shards++;
}

// Hugging Face's way: tensors fill a shard in their order up to the limit. One beyond the limit
// gets a shard of its own, at once, and the shard that was being filled goes on behind it.
static void divide(Plan *plan)
{
    uint64_t limit = plan->options->shard_size, filled = 0;
    size_t first = 0;
    for (size_t i = 0; i < plan->count; i++) {
        Item *item = &plan->items[i];
        uint64_t bytes = item->values * dtype_size(item->dtype);
        plan->bytes += bytes;
        item->shard = UINT32_MAX; // for now
        if (bytes > limit) {
            item->shard = plan->shards++;
            continue;
        }
        if (filled + bytes > limit) {
            number_shard(plan, first, i);
            first = i;
            filled = 0;
        }
        filled += bytes;
    }
    if (filled) number_shard(plan, first, plan->count);
}

// ---- weights -----------------------------------------------------------------------------------

typedef struct {
    char text[64];
} ShardName;

static ShardName shard_name(const Plan *plan, uint32_t shard)
{
    ShardName name = {"model.safetensors"};
    if (plan->shards > 1)
        snprintf(name.text, sizeof name.text, "model-%05" PRIu32 "-of-%05" PRIu32 ".safetensors",
                 shard + 1, plan->shards);
    return name;
}

static bool put_item(SafetensorsWriter *writer, const Item *item, Error *err)
{
    Dtype dtype = item->dtype;
    float values[PIECE];
    uint16_t patterns[PIECE];
    for (uint64_t at = 0; at < item->values; at += PIECE) {
        uint64_t count = item->values - at < PIECE ? item->values - at : PIECE;
        weight_tensor_values(item->tensor, at, count, values);
        if (dtype == DTYPE_F32) {
            safetensors_put(writer, values, count);
            continue;
        }
        const float *large = values_narrow(dtype, values, count, patterns);
        if (large)
            return error_set(err, "%s: tensor '%s' holds %g, which is too large for %s",
                             item->tensor->path, item->parameter.name, (double)*large,
                             DTYPES[dtype]);
        safetensors_put_halves(writer, patterns, count);
    }
    return true;
}

static SafetensorsWriter *create_shard(const Plan *plan, uint32_t shard, const char *path,
                                       Error *err)
{
    SafetensorsTensor *tensors = calloc(plan->count, sizeof *tensors);
    SafetensorsWriter *writer = NULL;
    size_t count = 0;
    for (size_t i = 0; tensors && i < plan->count; i++) {
        const LlamaParameter *p = &plan->items[i].parameter;
        if (plan->items[i].shard != shard) continue;
        tensors[count] = p->rows ? (SafetensorsTensor){p->name, 2, {p->rows, p->cols}}
                                 : (SafetensorsTensor){p->name, 1, {p->cols}};
        tensors[count++].dtype = plan->items[i].dtype;
    }
    if (tensors)
        writer = safetensors_create(path, tensors, count, err);
    else
        error_set(err, "%s: out of memory", path);
    free(tensors);
    return writer;
}

static bool write_shard(const Plan *plan, uint32_t shard, const char *folder, Error *err)
{
    char path[1280];
    if (!path_join(path, sizeof path, folder, shard_name(plan, shard).text, err)) return false;
    SafetensorsWriter *writer = create_shard(plan, shard, path, err);
    bool ok = writer != NULL;
    for (size_t i = 0; ok && i < plan->count; i++)
        if (plan->items[i].shard == shard) ok = put_item(writer, &plan->items[i], err);
    if (ok) return safetensors_commit(writer, err);
    safetensors_abort(writer);
    return false;
}

static bool fill_index(cJSON *index, const Plan *plan)
{
    cJSON *metadata = cJSON_AddObjectToObject(index, "metadata");
    cJSON *map = cJSON_AddObjectToObject(index, "weight_map");
    bool ok = map && cJSON_AddNumberToObject(metadata, "total_size", (double)plan->bytes);
    for (size_t i = 0; ok && i < plan->count; i++)
        ok = cJSON_AddStringToObject(map, plan->items[i].parameter.name,
                                     shard_name(plan, plan->items[i].shard).text) != NULL;
    return ok;
}

static bool write_index(const Plan *plan, const char *folder, Error *err)
{
    char path[1280];
    if (!path_join(path, sizeof path, folder, "model.safetensors.index.json", err)) return false;
    cJSON *index = cJSON_CreateObject();
    bool ok = fill_index(index, plan) ? json_write(path, index, err)
                                      : error_set(err, "%s: out of memory", path);
    cJSON_Delete(index);
    return ok;
}

// ---- folder ------------------------------------------------------------------------------------

static bool copy_file(const char *to, const char *from, const char *name, Error *err)
{
    char source[1024], path[1280];
    char *bytes;
    size_t size;
    if (!path_join(source, sizeof source, from, name, err) ||
        !path_join(path, sizeof path, to, name, err))
        return false;
    if (!file_exists(source)) return true;
    if (!file_read(&bytes, &size, source, FILE_LIMIT, err)) return false;
    bool ok = file_write(path, bytes, size, err);
    free(bytes);
    return ok;
}

// config.json and what stands beside the weights.
static bool write_small_files(const Plan *plan, const char *to, const char *from, Error *err)
{
    if (gguf_is_file(from)) return gguf_write_small_files(to, from, torch_dtype(plan), err);
    bool ok = config_cut(to, from, plan->options->depth, torch_dtype(plan), err);
    for (size_t i = 0; ok && i < sizeof COPIED / sizeof COPIED[0]; i++)
        ok = copy_file(to, from, COPIED[i], err);
    return ok;
}

static bool write_files(const Plan *plan, const char *to, const char *from, Error *err)
{
    bool ok = write_small_files(plan, to, from, err);
    for (uint32_t shard = 0; ok && shard < plan->shards; shard++)
        ok = write_shard(plan, shard, to, err);
    return ok && (plan->shards == 1 || write_index(plan, to, err));
}

static bool write_folder(const Plan *plan, const char *to, const char *from, Error *err)
{
    HfFolder folder;
    if (!hf_folder_begin(&folder, to, err)) return false;
    if (write_files(plan, folder.temp, from, err)) return hf_folder_commit(&folder, err);
    hf_folder_abort(&folder);
    return false;
}

// Cuts the config down to the depth; whole is what it was.
static bool cut(LlamaConfig *config, const char *from, uint32_t depth, Error *err)
{
    const LlamaConfig whole = *config;
    if (depth == EXPORT_WHOLE) return true;
    if (gguf_is_file(from))
        return error_set(err, "%s: a depth of a GGUF file cannot be exported; convert it first",
                         from);
    if (!depth || depth > config->blocks)
        return error_set(err, "depth %" PRIu32 ": the model has %" PRIu32 " blocks", depth,
                         config->blocks);
    if (whole.exit_norm == EXIT_NORM_NONE && config_is_early_exit(&whole, depth))
        return error_set(err,
                         "depth %" PRIu32 ": that exit has no norm before its head "
                         "(strata_exit_norm), which no LLaMA of its own can have",
                         depth);
    config_first_blocks(config, depth);
    return true;
}

bool model_export(const char *to, const char *from, const ExportOptions *options, Error *err)
{
    LlamaConfig config;
    WeightFiles weights;
    if (file_same(to, from)) return error_set(err, "%s: is the model that is exported", to);
    if (!hf_folder_check(to, err) || !model_config_load(&config, from, err)) return false;
    const LlamaConfig whole = config;
    if (!cut(&config, from, options->depth, err) || !weight_files_open(&weights, from, err))
        return false;
    Plan plan = {.options = options};
    bool ok = llama_expect_no_more(&whole, &weights, err) &&
              list_items(&plan, &config, &whole, err) && find_items(&plan, &weights, err);
    if (ok) choose_dtypes(&plan);
    if (ok) divide(&plan);
    ok = ok && write_folder(&plan, to, from, err);
    free(plan.items);
    weight_files_close(&weights);
    return ok;
}
