// The data of a training run: see train_data.h.
#include "train/train_data.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    DatasetOptions options;
    void (*note)(void *user, const char *line);
    void *user;
} Opening;

static void tell(const Opening *o, const Dataset *set, const char *path)
{
    static const char *const places[] = {[DATASET_TEMPORARY] = "without a cache",
                                         [DATASET_CACHED] = "kept in the cache",
                                         [DATASET_FOUND] = "found in the cache"};
    char line[512];
    if (!o->note) return;
    snprintf(line, sizeof line,
             "%.200s: %zu records, longest %" PRIu32 " tokens, %zu cut at %" PRIu32
             " tokens, %zu left out because nothing of their output is left; rows are laid end to "
             "end, without padding; tokens %s",
             path, set->count, set->longest, set->truncated, o->options.context, set->dropped,
             places[set->place]);
    o->note(o->user, line);
    if (!set->cache_error.text[0]) return;
    snprintf(line, sizeof line, "its tokens cannot be kept for the next run: %.400s",
             set->cache_error.text);
    o->note(o->user, line);
}

static bool open_set(const Opening *o, Dataset *set, const char *path, Error *err)
{
    if (!dataset_open(set, path, &o->options, err)) return false;
    tell(o, set, path);
    return true;
}

static bool open_sets(TrainData *data, const Opening *o, const DataFiles *files, Error *err)
{
    data->sets = calloc(files->count, sizeof *data->sets);
    if (!data->sets) return error_set(err, "out of memory");
    data->count = files->count;
    for (uint32_t i = 0; i < data->count; i++) {
        if (!open_set(o, &data->sets[i], files->files[i].path, err)) return false;
        data->records += data->sets[i].count;
        if (data->sets[i].longest > data->longest) data->longest = data->sets[i].longest;
    }
    return true;
}

// Files without a weight weigh as much as they have records.
static bool open_order(TrainData *data, const TrainConfig *config, Error *err)
{
    uint64_t counts[DATA_FILES];
    double weights[DATA_FILES];
    for (uint32_t i = 0; i < data->count; i++) {
        double weight = config->data.files[i].weight;
        counts[i] = data->sets[i].count;
        weights[i] = weight > 0 ? weight : (double)counts[i];
    }
    data->order = data_order_open(counts, weights, data->count, config->seed, err);
    return data->order != NULL;
}

bool train_data_open(TrainData *data, const TrainConfig *config, const Tokenizer *tokenizer,
                     const char *tokenizer_path, void (*note)(void *user, const char *line),
                     void *user, Error *err)
{
    *data = (TrainData){0};
    const Opening opening = {.options = {.tokenizer = tokenizer,
                                         .tokenizer_path = tokenizer_path,
                                         .context = config->context,
                                         .separator = config->separator},
                             .note = note,
                             .user = user};
    bool ok = open_sets(data, &opening, &config->data, err) &&
              (!config->valid || open_set(&opening, &data->valid, config->valid, err)) &&
              open_order(data, config, err);
    if (!ok) train_data_close(data);
    return ok;
}

void train_data_close(TrainData *data)
{
    for (uint32_t i = 0; i < data->count; i++) dataset_free(&data->sets[i]);
    free(data->sets);
    dataset_free(&data->valid);
    data_order_close(data->order);
    *data = (TrainData){0};
}

Draw train_data_next(TrainData *data)
{
    DataPick pick = data_order_next(data->order);
    const Dataset *set = &data->sets[pick.file];
    return (Draw){set, &set->examples[pick.example]};
}
