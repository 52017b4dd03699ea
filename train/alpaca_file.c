// Alpaca data files: see alpaca_file.h.
#include "train/alpaca_file.h"
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool copy_string(char **out, const char *text, const char *label, Error *err)
{
    size_t size = strlen(text) + 1;
    *out = malloc(size);
    if (!*out) return error_set(err, "%s: out of memory", label);
    memcpy(*out, text, size);
    return true;
}

bool alpaca_fields(const char **instruction, const char **input, const char **output,
                   const cJSON *item, const char *label, Error *err)
{
    return json_string(instruction, item, "instruction", label, err) &&
           json_string_or(input, item, "input", "", label, err) &&
           json_string(output, item, "output", label, err);
}

// label is "FILE: record N".
static bool read_record(AlpacaRecord *record, const cJSON *item, const char *label, Error *err)
{
    const char *instruction, *input, *output;
    if (!cJSON_IsObject(item)) return error_set(err, "%s: is not an object", label);
    return alpaca_fields(&instruction, &input, &output, item, label, err) &&
           copy_string(&record->instruction, instruction, label, err) &&
           copy_string(&record->input, input, label, err) &&
           copy_string(&record->output, output, label, err);
}

// cJSON's lists are linked: one walk, no indexing.
static bool read_records(AlpacaFile *file, const cJSON *list, const char *path, Error *err)
{
    if (!cJSON_IsArray(list)) return error_set(err, "%s: is not a JSON list of records", path);
    if (!list->child) return error_set(err, "%s: holds no records", path);
    file->records = calloc((size_t)cJSON_GetArraySize(list), sizeof *file->records);
    if (!file->records) return error_set(err, "%s: out of memory", path);
    for (const cJSON *item = list->child; item; item = item->next) {
        char label[1100];
        snprintf(label, sizeof label, "%.1000s: record %zu", path, file->count + 1);
        if (!read_record(&file->records[file->count++], item, label, err)) return false;
    }
    return true;
}

bool alpaca_file_load(AlpacaFile *file, const char *path, Error *err)
{
    *file = (AlpacaFile){0};
    cJSON *list = json_read(path, err);
    bool ok = list && read_records(file, list, path, err);
    cJSON_Delete(list);
    if (!ok) alpaca_file_free(file);
    return ok;
}

void alpaca_file_free(AlpacaFile *file)
{
    for (size_t i = 0; i < file->count; i++) {
        free(file->records[i].instruction);
        free(file->records[i].input);
        free(file->records[i].output);
    }
    free(file->records);
    *file = (AlpacaFile){0};
}
