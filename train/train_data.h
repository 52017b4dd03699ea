// All the data of a training run: its files, the order in which their examples are drawn, and the
// validation file.
#ifndef STRATA_TRAIN_TRAIN_DATA_H
#define STRATA_TRAIN_TRAIN_DATA_H

#include "train/data_order.h"
#include "train/dataset.h"
#include "train/train_config.h"

typedef struct {
    Dataset *sets; // (count) as in the config
    uint32_t count;
    Dataset valid;    // count 0: none
    DataOrder *order; // of sets
    uint64_t records; // of all sets
    uint32_t longest; // rows of the longest example of all sets + 1
} TrainData;

// An example that was drawn, and where it lies.
typedef struct {
    const Dataset *set;
    const Example *example;
} Draw;

// Opens the files of a completed config. note (may be NULL) is told what was found in each.
bool train_data_open(TrainData *data, const TrainConfig *config, const Tokenizer *tokenizer,
                     const char *tokenizer_path, void (*note)(void *user, const char *line),
                     void *user, Error *err);
void train_data_close(TrainData *data);

Draw train_data_next(TrainData *data);

#endif
