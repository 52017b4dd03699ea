// The weights of a model folder: see weight_files.h.
#include "model/weight_files.h"
#include "base/json.h"

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

static const char *file_name(const Safetensors *shard)
{
    return strrchr(shard->path, '/') + 1;
}

// Sorts the tensors of all shards by name; one that lies in two of them is refused.
static bool collect_tensors(WeightFiles *c, Error *err)
{
    c->tensors = calloc(c->tensor_count + 1, sizeof *c->tensors);
    if (!c->tensors) return error_set(err, "%s: out of memory", c->path);
    WeightTensor *next = c->tensors;
    for (size_t i = 0; i < c->shard_count; i++)
        for (size_t j = 0; j < c->shards[i].count; j++)
            *next++ = (WeightTensor){c->shards[i].entries[j].name, &c->shards[i]};
    // The name comes first in a WeightTensor.
    qsort(c->tensors, c->tensor_count, sizeof *c->tensors, compare_names);
    for (size_t i = 1; i < c->tensor_count; i++) {
        const WeightTensor *a = &c->tensors[i - 1], *b = &c->tensors[i];
        if (!strcmp(a->name, b->name))
            return error_set(err, "%s: tensor '%.100s' lies in two shards, '%.100s' and '%.100s'",
                             c->path, a->name, file_name(a->shard), file_name(b->shard));
    }
    return true;
}

static const WeightTensor *find_tensor(const WeightFiles *c, const char *name)
{
    const WeightTensor key = {.name = name};
    return bsearch(&key, c->tensors, c->tensor_count, sizeof key, compare_names);
}

// Each tensor lies where the index says.
static bool check_map(const WeightFiles *c, const cJSON *map, Error *err)
{
    for (const cJSON *item = map->child; item; item = item->next) {
        const WeightTensor *tensor = find_tensor(c, item->string);
        if (tensor && !strcmp(file_name(tensor->shard), item->valuestring)) continue;
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

bool weight_files_open(WeightFiles *c, const char *folder, Error *err)
{
    *c = (WeightFiles){0};
    if (!path_join(c->path, sizeof c->path, folder, "model.safetensors", err)) return false;
    bool ok;
    if (file_exists(c->path)) {
        ok = open_single(c, err);
    } else {
        ok = path_join(c->path, sizeof c->path, folder, "model.safetensors.index.json", err) &&
             (file_exists(c->path) ||
              error_set(err, "%s: holds no model.safetensors and no model.safetensors.index.json",
                        folder)) &&
             open_index(c, folder, err);
    }
    if (!ok) weight_files_close(c);
    return ok;
}

void weight_files_close(WeightFiles *c)
{
    for (size_t i = 0; i < c->shard_count; i++) safetensors_close(&c->shards[i]);
    free(c->shards);
    free(c->tensors);
    *c = (WeightFiles){0};
}

// ---- reading -----------------------------------------------------------------------------------

const Safetensors *weight_files_file(const WeightFiles *c, const char *name, Error *err)
{
    const WeightTensor *tensor = find_tensor(c, name);
    if (tensor) return tensor->shard;
    error_set(err, "%s: tensor '%.100s' is missing", c->path, name);
    return NULL;
}

bool weight_files_read(const WeightFiles *c, const char *name, uint64_t rows, uint64_t cols,
                       float *out, Error *err)
{
    const Safetensors *file = weight_files_file(c, name, err);
    return file && safetensors_read(file, name, rows, cols, out, err);
}
