// Instruction data in Stanford Alpaca's file format: a JSON list of records. Not the prompt around
// a record (text/alpaca.h), nor its tokens.
#ifndef STRATA_TRAIN_ALPACA_FILE_H
#define STRATA_TRAIN_ALPACA_FILE_H

#include "base/error.h"

#include <stddef.h>

// Strings are UTF-8, NUL-terminated and owned by the AlpacaFile; none is NULL.
typedef struct {
    char *instruction, *input, *output; // input is "" where the file has none
} AlpacaRecord;

typedef struct {
    AlpacaRecord *records; // (count)
    size_t count;          // at least 1 once loaded
} AlpacaFile;

// Reads path: a list of objects with the strings instruction, output and, unless it is absent or
// null, input; other keys are ignored. Errors name the record (counted from 1) and the key. The
// caller frees; on failure nothing is left to free.
bool alpaca_file_load(AlpacaFile *file, const char *path, Error *err);
void alpaca_file_free(AlpacaFile *file);

// The same fields of one object, as pointers into it. label names the record in messages.
struct cJSON;
bool alpaca_fields(const char **instruction, const char **input, const char **output,
                   const struct cJSON *item, const char *label, Error *err);

#endif
