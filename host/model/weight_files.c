// The weights of a model folder: see weight_files.h.
#include "model/weight_files.h"
#include "base/json.h"
#include "base/values.h"
#include "model/gguf_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char SUFFIX[] = ".safetensors";

// ---- shards ------------------------------------------------------------------------------------

// A file beside the index and nothing else: no separators, and with the suffix neither "." nor
// "..".
static bool name_is_plain(const char *name)
{
    size_t length = strlen(name), suffix = sizeof SUFFIX - 1;
    return length > suffix && !strcmp(name + length - suffix, SUFFIX) && !strpbrk(name, "/\\");
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// The different file names of the map in ascending order into names (one for each tensor at most);
// how many, 0 and a message on failure.
static size_t shard_names(const char **names, const cJSON *map, const char *path, Error *err)
{
    size_t count = 0, kept = 0;
    for (const cJSON *item = map->child; item; item = item->next) {
        if (!cJSON_IsString(item) || !name_is_plain(item->valuestring)) {
            error_set(err,
                      "%s: 'weight_map' has tensor '%.100s' in '%.100s', expected the plain name "
                      "of a shard (*%s)",
                      path, item->string, cJSON_IsString(item) ? item->valuestring : "?", SUFFIX);
            return 0;
        }
        names[count++] = item->valuestring;
    }
    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count; i++)
        if (!kept || strcmp(names[kept - 1], names[i]) != 0) names[kept++] = names[i];
    if (!kept) error_set(err, "%s: 'weight_map' names no shard", path);
    return kept;
}

static bool open_shards(WeightFiles *c, const char *folder, const char *const *names, size_t count,
                        Error *err)
{
    c->shards = calloc(count, sizeof *c->shards);
    if (!c->shards) return error_set(err, "%s: out of memory", c->path);
    for (size_t i = 0; i < count; i++) {
        char path[1024];
        if (!path_join(path, sizeof path, folder, names[i], err)) return false;
        if (!file_exists(path))
            return error_set(err, "%s: its shard '%.100s' is missing", c->path, names[i]);
        if (!safetensors_open(&c->shards[i], path, err)) return false;
        c->shard_count++;
        c->tensor_count += c->shards[i].count;
    }
    return true;
}

static const char *file_name(const char *path)
{
    return strrchr(path, '/') + 1;
}

static WeightTensor of_entry(const Safetensors *shard, const SafetensorsEntry *entry)
{
    WeightTensor t = {entry->name,
                      entry->name,
                      shard->path,
                      entry->dtype,
                      safetensors_dtype(entry),
                      entry->rank,
                      .data = entry->data,
                      .size = entry->size};
    memcpy(t.shape, entry->shape, sizeof t.shape);
    return t;
}

// Sorts the tensors of all shards by name; one that lies in two of them is refused.
static bool collect_tensors(WeightFiles *c, Error *err)
{
    c->tensors = calloc(c->tensor_count + 1, sizeof *c->tensors);
    if (!c->tensors) return error_set(err, "%s: out of memory", c->path);
    WeightTensor *next = c->tensors;
    for (size_t i = 0; i < c->shard_count; i++)
        for (size_t j = 0; j < c->shards[i].count; j++)
            *next++ = of_entry(&c->shards[i], &c->shards[i].entries[j]);
    // The name comes first in a WeightTensor.
    qsort(c->tensors, c->tensor_count, sizeof *c->tensors, compare_names);
    for (size_t i = 1; i < c->tensor_count; i++) {
        const WeightTensor *a = &c->tensors[i - 1], *b = &c->tensors[i];
        if (!strcmp(a->name, b->name))
            return error_set(err, "%s: tensor '%.100s' lies in two shards, '%.100s' and '%.100s'",
                             c->path, a->name, file_name(a->path), file_name(b->path));
    }
    return true;
}

const WeightTensor *weight_files_find(const WeightFiles *c, const char *name)
{
    if (!c->tensor_count) return NULL;
    const WeightTensor key = {.name = name};
    return bsearch(&key, c->tensors, c->tensor_count, sizeof key, compare_names);
}

// Each tensor lies where the index says.
static bool check_map(const WeightFiles *c, const cJSON *map, Error *err)
{
    for (const cJSON *item = map->child; item; item = item->next) {
        const WeightTensor *tensor = weight_files_find(c, item->string);
        if (tensor && !strcmp(file_name(tensor->path), item->valuestring)) continue;
        return error_set(err, "%s: tensor '%.100s' is missing from its shard '%.100s'", c->path,
                         item->string, item->valuestring);
    }
    return true;
}

// ---- opening -----------------------------------------------------------------------------------

static bool open_mapped(WeightFiles *c, const char *folder, const cJSON *map, Error *err)
{
    if (!cJSON_IsObject(map))
        return error_set(
            err, "%s: 'weight_map' must be an object that names the shard of each tensor", c->path);
    const char **names = calloc((size_t)cJSON_GetArraySize(map) + 1, sizeof *names);
    if (!names) return error_set(err, "%s: out of memory", c->path);
    size_t count = shard_names(names, map, c->path, err);
    bool ok = count && open_shards(c, folder, names, count, err) && collect_tensors(c, err) &&
              check_map(c, map, err);
    free(names);
    return ok;
}

static bool open_index(WeightFiles *c, const char *folder, Error *err)
{
    cJSON *index = json_read(c->path, err);
    bool ok = index &&
              (cJSON_IsObject(index) || error_set(err, "%s: is not a JSON object", c->path)) &&
              open_mapped(c, folder, cJSON_GetObjectItemCaseSensitive(index, "weight_map"), err);
    cJSON_Delete(index);
    return ok;
}

static bool open_single(WeightFiles *c, Error *err)
{
    c->shards = calloc(1, sizeof *c->shards);
    if (!c->shards) return error_set(err, "%s: out of memory", c->path);
    if (!safetensors_open(c->shards, c->path, err)) return false;
    c->shard_count = 1;
    c->tensor_count = c->shards->count;
    return collect_tensors(c, err);
}

// ---- a GGUF file -------------------------------------------------------------------------------

static bool name_gguf_tensor(WeightFiles *c, size_t i, uint32_t head_rows, Error *err)
{
    char name[GGUF_HF_NAME];
    const GgufTensor *t = &c->gguf.tensors[i];
    if (!gguf_name_to_hf(name, t->name))
        return error_set(err, "%s: tensor '%.100s' is none of a LLaMA's", c->path, t->name);
    size_t size = strlen(name) + 1;
    c->names[i] = malloc(size);
    if (!c->names[i]) return error_set(err, "%s: out of memory", c->path);
    memcpy(c->names[i], name, size);
    c->tensors[i] = (WeightTensor){c->names[i],
                                   t->name,
                                   c->gguf.path,
                                   dtype_name(t->dtype),
                                   t->dtype,
                                   t->rank,
                                   .data = t->data,
                                   .size = t->size,
                                   .head_rows = gguf_is_turned(t->name) ? head_rows : 0};
    memcpy(c->tensors[i].shape, t->shape, sizeof t->shape);
    return true;
}

// Rows of q and k come in whole heads, so that weight_tensor_row stays within them.
static bool check_heads(const WeightFiles *c, Error *err)
{
    for (size_t i = 0; i < c->tensor_count; i++) {
        const WeightTensor *t = &c->tensors[i];
        if (!t->head_rows || (t->rank <= 2 && t->shape[0] % t->head_rows == 0)) continue;
        return error_set(err,
                         "%s: tensor '%.100s' has %" PRIu64
                         " rows, expected a multiple of the head "
                         "size %" PRIu32,
                         c->path, t->file_name, t->shape[0], t->head_rows);
    }
    return true;
}

static bool open_gguf(WeightFiles *c, Error *err)
{
    uint32_t head_rows = 0;
    if (!gguf_open(&c->gguf, c->path, err) || !gguf_turned_rows(&head_rows, &c->gguf, err))
        return false;
    size_t count = c->gguf.tensor_count;
    c->names = calloc(count + 1, sizeof *c->names);
    c->tensors = calloc(count + 1, sizeof *c->tensors);
    if (!c->names || !c->tensors) return error_set(err, "%s: out of memory", c->path);
    for (size_t i = 0; i < count; i++) {
        if (gguf_is_table(c->gguf.tensors[i].name)) continue;
        if (!name_gguf_tensor(c, i, head_rows, err)) return false;
    }
    size_t kept = 0; // without tables
    for (size_t i = 0; i < count; i++)
        if (c->tensors[i].name) c->tensors[kept++] = c->tensors[i];
    c->tensor_count = kept;
    qsort(c->tensors, kept, sizeof *c->tensors, compare_names);
    return check_heads(c, err);
}

// ---- opening any -------------------------------------------------------------------------------

static bool open_folder(WeightFiles *c, const char *folder, Error *err)
{
    if (!path_join(c->path, sizeof c->path, folder, "model.safetensors", err)) return false;
    if (file_exists(c->path)) return open_single(c, err);
    return path_join(c->path, sizeof c->path, folder, "model.safetensors.index.json", err) &&
           (file_exists(c->path) ||
            error_set(err, "%s: holds no model.safetensors and no model.safetensors.index.json",
                      folder)) &&
           open_index(c, folder, err);
}

bool weight_files_open(WeightFiles *c, const char *path, Error *err)
{
    *c = (WeightFiles){0};
    bool ok;
    if (gguf_is_file(path)) {
        int length = snprintf(c->path, sizeof c->path, "%s", path);
        ok = (length > 0 && (size_t)length < sizeof c->path)
                 ? open_gguf(c, err)
                 : error_set(err, "%.80s...: path is too long", path);
    } else {
        ok = open_folder(c, path, err);
    }
    if (!ok) weight_files_close(c);
    return ok;
}

void weight_files_close(WeightFiles *c)
{
    for (size_t i = 0; i < c->shard_count; i++) safetensors_close(&c->shards[i]);
    for (size_t i = 0; c->names && i < c->gguf.tensor_count; i++) free(c->names[i]);
    gguf_close(&c->gguf);
    free(c->names);
    free(c->shards);
    free(c->tensors);
    *c = (WeightFiles){0};
}

// ---- reading -----------------------------------------------------------------------------------

static bool refuse_shape(const WeightTensor *t, uint64_t rows, uint64_t cols, Error *err)
{
    char found[SAFETENSORS_MAX_RANK * 22 + 1] = "", rows_text[24] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < t->rank; i++)
        used += (size_t)snprintf(found + used, sizeof found - used, "%s%" PRIu64, i ? ", " : "",
                                 t->shape[i]);
    if (rows != 1) snprintf(rows_text, sizeof rows_text, "%" PRIu64 ", ", rows);
    return error_set(err, "%s: tensor '%.100s' has shape [%s], expected [%s%" PRIu64 "]", t->path,
                     t->file_name, found, rows_text, cols);
}

const WeightTensor *weight_files_expect(const WeightFiles *c, const char *name, uint64_t rows,
                                        uint64_t cols, Error *err)
{
    const WeightTensor *t = weight_files_find(c, name);
    if (!t) {
        error_set(err, "%s: tensor '%.100s' is missing", c->path, name);
        return NULL;
    }
    bool matches = t->rank == 2 ? t->shape[0] == rows && t->shape[1] == cols
                                : t->rank == 1 && rows == 1 && t->shape[0] == cols;
    if (!matches) {
        refuse_shape(t, rows, cols, err);
        return NULL;
    }
    if (t->dtype != DTYPE_COUNT) return t;
    error_set(err, "%s: tensor '%.100s' is %s, expected F32, F16 or BF16", t->path, t->file_name,
              t->type);
    return NULL;
}

bool weight_files_read(const WeightFiles *c, const char *name, uint64_t rows, uint64_t cols,
                       float *out, Error *err)
{
    const WeightTensor *t = weight_files_expect(c, name, rows, cols, err);
    if (t) weight_tensor_values(t, 0, rows * cols, out); // what the file's checks have bounded
    return t != NULL;
}

uint64_t weight_tensor_cols(const WeightTensor *t)
{
    // A bias of q is turned as the rows of q are.
    return t->rank && !(t->rank == 1 && t->head_rows) ? t->shape[t->rank - 1] : 1;
}

uint64_t weight_tensor_count(const WeightTensor *t)
{
    uint64_t count = 1;
    for (uint32_t i = 0; i < t->rank; i++) count *= t->shape[i];
    return count;
}

// Which row of the file is row `row`. Of a head's rows the file has the pair (j, j + S/2) that
// Hugging Face's RoPE turns at (2j, 2j + 1).
static uint64_t turned_row(const WeightTensor *t, uint64_t row)
{
    uint64_t size = t->head_rows;
    if (!size) return row;
    uint64_t j = row % size;
    return row - j + (j < size / 2 ? 2 * j : 2 * (j - size / 2) + 1);
}

const uint8_t *weight_tensor_row(const WeightTensor *t, uint64_t row)
{
    return t->data + dtype_bytes(t->dtype, turned_row(t, row) * weight_tensor_cols(t));
}

const uint8_t *weight_tensor_data(const WeightTensor *t)
{
    return t->head_rows ? NULL : t->data;
}

void weight_tensor_values(const WeightTensor *t, uint64_t first, uint64_t count, float *out)
{
    uint64_t cols = weight_tensor_cols(t);
    if (!t->head_rows) {
        values_widen(t->dtype, t->data, first, count, out);
        return;
    }
    while (count) {
        uint64_t row = first / cols, in = first % cols;
        uint64_t part = cols - in < count ? cols - in : count;
        values_widen(t->dtype, weight_tensor_row(t, row), in, part, out);
        first += part;
        count -= part;
        out += part;
    }
}
