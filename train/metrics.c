// The metrics of a run as JSON lines: see metrics.h.
#include "train/metrics.h"
#include "base/file.h"
#include "base/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

FILE *metrics_open(const char *out, Error *err)
{
    char path[1024];
    if (!path_join(path, sizeof path, out, "metrics.jsonl", err)) return NULL;
    FILE *file = fopen(path, "w");
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
    cJSON_AddNumberToObject(object, "learning_rate", r->rate);
    cJSON_AddNumberToObject(object, "tokens", (double)r->tokens);
    cJSON_AddNumberToObject(object, "supervised", (double)r->supervised);
    cJSON_AddNumberToObject(object, "tokens_per_second", (double)r->tokens / r->seconds);
    cJSON_AddNumberToObject(object, "seconds", r->seconds);
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
