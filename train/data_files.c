// The key "data" of a training config: see data_files.h.
#include "train/data_files.h"
#include "base/json.h"
#include "train/data_order.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool copy_path(DataFile *out, const char *path, const char *label, Error *err)
{
    size_t size = strlen(path) + 1;
    if (size == 1) return error_set(err, "%s is an empty path", label);
    out->path = malloc(size);
    if (!out->path) return error_set(err, "%s: out of memory", label);
    memcpy(out->path, path, size);
    return true;
}

// One of a list; label names it.
static bool read_entry(DataFile *out, const cJSON *item, const char *label, Error *err)
{
    const char *path;
    if (cJSON_IsString(item)) return copy_path(out, item->valuestring, label, err);
    if (!cJSON_IsObject(item)) return error_set(err, "%s must be a path or an object", label);
    for (const cJSON *field = item->child; field; field = field->next)
        if (strcmp(field->string, "path") && strcmp(field->string, "weight"))
            return error_set(err, "%s: unknown key '%.60s', expected 'path' and 'weight'", label,
                             field->string);
    if (!json_string(&path, item, "path", label, err) ||
        !json_number_or(&out->weight, item, "weight", -1, 0, 1e15, label, err))
        return false;
    if (out->weight == 0) return error_set(err, "%s: key 'weight' is 0, expected more", label);
    if (out->weight < 0) out->weight = 0;
    return copy_path(out, path, label, err);
}

static bool read_list(DataFiles *data, const cJSON *list, const char *file, Error *err)
{
    int count = cJSON_GetArraySize(list);
    if (count < 1 || count > DATA_FILES)
        return error_set(err, "%s: key 'data' lists %d files, expected 1 to %d", file, count,
                         DATA_FILES);
    data->files = calloc((size_t)count, sizeof *data->files);
    if (!data->files) return error_set(err, "out of memory");
    for (const cJSON *item = list->child; item; item = item->next) {
        char label[1100];
        snprintf(label, sizeof label, "%.1000s: key 'data', entry %d", file, (int)data->count + 1);
        if (!read_entry(&data->files[data->count++], item, label, err)) return false;
    }
    return true;
}

static bool read_one(DataFiles *data, const cJSON *item, const char *file, Error *err)
{
    char label[1100];
    snprintf(label, sizeof label, "%.1000s: key 'data'", file);
    if (!cJSON_IsString(item)) return error_set(err, "%s must be a path or a list", label);
    data->files = calloc(1, sizeof *data->files);
    if (!data->files) return error_set(err, "out of memory");
    data->count = 1;
    return copy_path(data->files, item->valuestring, label, err);
}

bool data_files_read(DataFiles *data, const cJSON *object, const char *file, Error *err)
{
    *data = (DataFiles){0};
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, "data");
    if (!item || cJSON_IsNull(item)) return true;
    bool ok =
        cJSON_IsArray(item) ? read_list(data, item, file, err) : read_one(data, item, file, err);
    if (!ok) data_files_free(data);
    return ok;
}

void data_files_free(DataFiles *data)
{
    for (uint32_t i = 0; i < data->count; i++) free(data->files[i].path);
    free(data->files);
    *data = (DataFiles){0};
}
