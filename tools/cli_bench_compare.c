// The comparison with an earlier run: see cli_bench.h.
#include "cli_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- what differs otherwise --------------------------------------------------------------------

static bool note_text(Text *notes, const char *what, const char *old, const char *new)
{
    char line[512];
    if (!strcmp(old, new)) return true;
    snprintf(line, sizeof line, "%s was %.200s, is %.200s\n", what, *old ? old : "not given",
             *new ? new : "not given");
    return text_append(notes, line);
}

static bool note_number(Text *notes, const char *what, int64_t old, uint64_t new)
{
    char was[32], is[32];
    snprintf(was, sizeof was, "%lld", (long long)old);
    snprintf(is, sizeof is, "%llu", (unsigned long long)new);
    return note_text(notes, what, was, is);
}

// Keys that are missing count as empty texts and 0.
static bool note_differences(Text *notes, const cJSON *file, const Bench *b, const char *path,
                             Error *err)
{
    const GpuInfo *gpu = gpu_info(b->loaded->gpu);
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(file, "model");
    const cJSON *settings = cJSON_GetObjectItemCaseSensitive(file, "settings");
    const char *device, *driver, *dtype, *data, *own_data = b->options->data;
    int64_t parameters, records, most = INT64_C(1) << 53;
    if (!json_string_or(&device, file, "device", "", path, err) ||
        !json_string_or(&driver, file, "driver", "", path, err) ||
        !json_string_or(&dtype, model, "dtype", "", path, err) ||
        !json_string_or(&data, settings, "data", "", path, err) ||
        !json_int_or(&records, settings, "records", 0, 0, most, path, err) ||
        !json_int_or(&parameters, model, "parameters", 0, 0, most, path, err))
        return false;
    return (text_append(notes, "") && note_text(notes, "device", device, gpu->name) &&
            note_text(notes, "driver", driver, gpu->driver) &&
            note_number(notes, "parameters", parameters,
                        config_parameters(&b->loaded->model.config)) &&
            note_text(notes, "dtype", dtype, bench_dtype(b)) &&
            note_text(notes, "data", data, own_data ? own_data : "") &&
            note_number(notes, "records", records, own_data ? b->prompt_count : 0)) ||
           error_set(err, "out of memory");
}

// ---- rows --------------------------------------------------------------------------------------

typedef struct {
    const char *kind, *policy;
    int64_t prompt_tokens, gen_tokens;
    double speeds[STATISTICS_MOST]; // (count), above 0
    size_t count;
    double speedup; // 0: not stated
} OldRow;

static bool read_speeds(OldRow *row, const cJSON *object, const char *path, Error *err)
{
    size_t count;
    if (!json_numbers(row->speeds, &count, STATISTICS_MOST, object, "repeats", 0, path, err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (row->speeds[i] > 0) row->speeds[row->count++] = row->speeds[i];
    return true;
}

static bool read_row(OldRow *row, const cJSON *object, const char *path, Error *err)
{
    const cJSON *speedup = cJSON_GetObjectItemCaseSensitive(object, "speedup");
    row->count = 0;
    row->speedup = 0;
    if (!cJSON_IsObject(object))
        return error_set(err, "%s: key 'rows': objects are expected", path);
    return json_string(&row->kind, object, "kind", path, err) &&
           json_string(&row->policy, object, "policy", path, err) &&
           json_int_or(&row->prompt_tokens, object, "prompt_tokens", 0, 0, UINT32_MAX, path, err) &&
           json_int_or(&row->gen_tokens, object, "gen_tokens", 0, 0, UINT32_MAX, path, err) &&
           (!cJSON_IsObject(speedup) ||
            json_number_or(&row->speedup, speedup, "median", 0, 0, 1e9, path, err)) &&
           read_speeds(row, object, path, err);
}

static bool is_same(const OldRow *old, const BenchRow *row)
{
    return !strcmp(old->kind, row->prompt ? "prompt" : "generation") &&
           old->prompt_tokens == row->prompt_tokens && old->gen_tokens == row->gen_tokens &&
           !strcmp(old->policy, row->label);
}

static bool compare_row(BenchChange *change, const Bench *b, const BenchRow *row, const OldRow *old,
                        Error *err)
{
    double speeds[BENCH_REPEATS];
    size_t count = 0;
    for (size_t i = 0; i < b->options->repeats; i++)
        if (row->speeds[i] > 0) speeds[count++] = row->speeds[i];
    if (!count || !old->count) return true;
    if (!statistics_compare(&change->speed, speeds, count, old->speeds, old->count))
        return error_set(err, "out of memory");
    change->old_median = statistics_summarize(old->speeds, old->count).median;
    change->old_speedup = old->speedup;
    change->change = statistics_change_of_speed(&change->speed);
    return true;
}

static bool compare_rows(BenchChange *changes, const Bench *b, const cJSON *old_run, Error *err)
{
    const cJSON *item, *rows = cJSON_GetObjectItemCaseSensitive(old_run, "rows");
    OldRow *old = malloc(sizeof *old);
    bool ok = old || error_set(err, "out of memory");
    for (item = rows->child; ok && item; item = item->next) {
        ok = read_row(old, item, b->options->compare, err);
        for (size_t i = 0; ok && i < b->row_count; i++)
            if (changes[i].change == CHANGE_NONE && is_same(old, &b->rows[i]))
                ok = compare_row(&changes[i], b, &b->rows[i], old, err);
    }
    free(old);
    return ok;
}

static bool check_rows(const cJSON *run, const char *path, Error *err)
{
    const cJSON *rows = cJSON_GetObjectItemCaseSensitive(run, "rows"), *item;
    if (!cJSON_IsArray(rows))
        return error_set(err, "%s: key 'rows': what strata bench --json prints is expected", path);
    OldRow *old = malloc(sizeof *old);
    bool ok = old || error_set(err, "out of memory");
    for (item = rows->child; ok && item; item = item->next) ok = read_row(old, item, path, err);
    free(old);
    return ok;
}

cJSON *bench_read_old(const char *path, Error *err)
{
    cJSON *run = json_read(path, err);
    if (run && check_rows(run, path, err)) return run;
    cJSON_Delete(run);
    return NULL;
}

bool bench_compare(BenchChange **changes, char **notes, const Bench *b, const cJSON *old,
                   Error *err)
{
    Text text = {0};
    *changes = calloc(b->row_count, sizeof **changes);
    bool ok = *changes ? note_differences(&text, old, b, b->options->compare, err) &&
                             compare_rows(*changes, b, old, err)
                       : error_set(err, "out of memory");
    *notes = text.bytes;
    if (ok) return true;
    free(*changes);
    text_free(&text);
    *changes = NULL;
    *notes = NULL;
    return false;
}

bool bench_is_slower(const BenchChange *c, double tolerance)
{
    if (c->change == CHANGE_NONE || c->change == CHANGE_SAME || c->change == CHANGE_FASTER)
        return false;
    return c->speed.ratio < 1 - tolerance;
}
