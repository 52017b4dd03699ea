// The metrics of a run as JSON lines: see metrics.h.
#include "train/metrics.h"
#include "base/file.h"
#include "base/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT (UINT64_C(1) << 33) // bytes of an older file

// The step of a line, or UINT64_MAX where it is no line of ours.
static uint64_t step_of(const char *line, size_t length)
{
    cJSON *object = cJSON_ParseWithLength(line, length);
    const cJSON *step = cJSON_GetObjectItemCaseSensitive(object, "step");
    uint64_t value =
        cJSON_IsNumber(step) && step->valuedouble >= 0 ? (uint64_t)step->valuedouble : UINT64_MAX;
    cJSON_Delete(object);
    return value;
}

// Cuts the file down to the lines up to `step`; a run that was killed may have gone further than
// its last checkpoint, or have left half a line.
static bool cut(const char *path, uint64_t step, Error *err)
{
    char *bytes;
    size_t size, kept = 0;
    if (!file_exists(path)) return true;
    if (!file_read(&bytes, &size, path, LIMIT, err)) return false;
    for (size_t at = 0; at < size;) {
        const char *end = memchr(bytes + at, '\n', size - at);
        if (!end) break;
        size_t length = (size_t)(end - bytes) + 1 - at;
        if (step_of(bytes + at, length) <= step) {
            memmove(bytes + kept, bytes + at, length);
            kept += length;
        }
        at += length;
    }
    bool ok = file_write(path, bytes, kept, err);
    free(bytes);
    return ok;
}

FILE *metrics_open(const char *out, uint64_t step, Error *err)
{
    char path[1024];
    if (!path_join(path, sizeof path, out, "metrics.jsonl", err)) return NULL;
    if (step && !cut(path, step, err)) return NULL;
    FILE *file = fopen(path, step ? "a" : "w");
    if (!file) error_set(err, "%s: cannot write: %s", path, strerror(errno));
    return file;
}

// One line, flushed: whoever follows the file sees each step as it ends.
static void put_line(FILE *file, cJSON *object)
{
    char *text = cJSON_PrintUnformatted(object);
    if (text) fprintf(file, "%s\n", text);
    fflush(file);
    free(text);
    cJSON_Delete(object);
}

void metrics_step(FILE *file, const StepReport *r)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "step", (double)r->step);
    cJSON_AddNumberToObject(object, "loss", r->loss);
    cJSON *losses = cJSON_AddObjectToObject(object, "losses");
    for (uint32_t e = 0; e < r->exit_count; e++) {
        char depth[16];
        snprintf(depth, sizeof depth, "%u", r->exits[e]);
        cJSON_AddNumberToObject(losses, depth, r->losses[e]);
    }
    cJSON_AddNumberToObject(object, "grad_norm", r->norm);
    cJSON_AddBoolToObject(object, "skipped", r->skipped);
    if (r->scale > 0) cJSON_AddNumberToObject(object, "loss_scale", r->scale);
    cJSON_AddNumberToObject(object, "learning_rate", r->rate);
    cJSON_AddNumberToObject(object, "tokens", (double)r->tokens);
    cJSON_AddNumberToObject(object, "supervised", (double)r->supervised);
    cJSON_AddNumberToObject(object, "tokens_per_second", (double)r->tokens / r->seconds);
    cJSON_AddNumberToObject(object, "seconds", r->seconds);
    cJSON_AddNumberToObject(object, "elapsed", r->elapsed);
    cJSON_AddNumberToObject(object, "tflops", 1e-12 * r->operations / r->seconds);
    cJSON_AddNumberToObject(object, "memory_bytes", (double)r->memory_bytes);
    cJSON *exits = cJSON_AddArrayToObject(object, "exits");
    for (uint32_t e = 0; e < r->exit_count; e++)
        cJSON_AddItemToArray(exits, cJSON_CreateNumber(r->exits[e]));
    put_line(file, object);
}

void metrics_valid(FILE *file, uint64_t step, const DepthScore *scores, uint32_t count)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "step", (double)step);
    cJSON *list = cJSON_AddArrayToObject(object, "valid");
    for (uint32_t i = 0; i < count; i++) {
        cJSON *item = depth_score_json(&scores[i]);
        if (item) cJSON_AddItemToArray(list, item);
    }
    put_line(file, object);
}
