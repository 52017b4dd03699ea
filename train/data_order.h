// In which order training takes the records of its files: which file is next, and which of its
// records. Not the records themselves (dataset.h).
#ifndef STRATA_TRAIN_DATA_ORDER_H
#define STRATA_TRAIN_DATA_ORDER_H

#include "base/error.h"

#include <stdint.h>

enum { DATA_FILES = 64 }; // at most

typedef struct DataOrder DataOrder;

typedef struct {
    uint32_t file, example;
} DataPick;

// Where an order stands; a plain value without pointers, to be copied and kept in checkpoints. The
// order of an epoch follows from seed, file and epoch alone, and the next file from how much was
// drawn from each, so there is no other state. Entries behind file_count are 0.
typedef struct {
    uint64_t seed;
    uint64_t file_count;
    struct {
        uint64_t count;    // records
        uint64_t epoch;    // the epoch at hand, from 0
        uint64_t position; // how many of its records were drawn: 0 .. count
    } files[DATA_FILES];
} DataOrderState;

_Static_assert(sizeof(DataOrderState) == 16 + 24 * DATA_FILES, "checkpoints hold it as it is");

// An order over file_count files (1 .. DATA_FILES) of counts[i] records each (1 .. 2^32 - 1), with
// weights[i] > 0. Of any n draws from the beginning, file i has its share n * weight / sum to
// within a few records; with counts as weights, the first sum of counts draws take every record
// once. Within a file each epoch takes every record once, shuffled. Takes 4 bytes for each record.
DataOrder *data_order_open(const uint64_t *counts, const double *weights, uint32_t file_count,
                           uint64_t seed, Error *err);
void data_order_close(DataOrder *order); // NULL is fine

DataPick data_order_next(DataOrder *order);

// Restoring continues exactly where the saved order stood, given the same weights. It fails, and
// changes nothing, where the files are others in number or records.
void data_order_save(const DataOrder *order, DataOrderState *state);
bool data_order_restore(DataOrder *order, const DataOrderState *state, Error *err);

#endif
