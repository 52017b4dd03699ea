// The key "data" of a training config: one file, or several with weights. Not the files themselves
// (dataset.h).
#ifndef STRATA_TRAIN_DATA_FILES_H
#define STRATA_TRAIN_DATA_FILES_H

#include "base/error.h"

#include <stdint.h>

struct cJSON;

typedef struct {
    char *path;
    double weight; // 0: none was given
} DataFile;

typedef struct {
    DataFile *files; // (count); NULL where the key is missing
    uint32_t count;
} DataFiles;

// Reads "data" of object: a path, or a list of paths and of {"path": ..., "weight": ...}. Absent or
// null: no files. The caller frees; on failure nothing is left to free.
bool data_files_read(DataFiles *data, const struct cJSON *object, const char *file, Error *err);
void data_files_free(DataFiles *data);

#endif
