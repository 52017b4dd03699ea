// A data file as examples, ready to be drawn: tokens and their marks, mapped from a file that is
// made once and kept in the user's cache folder. Not their order in training (data_order.h), not
// their layout on the GPU (batch.h).
#ifndef STRATA_TRAIN_DATASET_H
#define STRATA_TRAIN_DATASET_H

#include "text/tokenizer.h"
#include "train/token_file.h"

// Where the file of tokens lies.
typedef enum {
    DATASET_TEMPORARY, // a file without a name: no cache was asked for, or it cannot be written
    DATASET_CACHED,    // made, and put into the cache
    DATASET_FOUND,     // it was in the cache
} DatasetPlace;

typedef struct {
    const uint32_t *tokens;  // at Example.first: the tokens of an example, then its marks
    const Example *examples; // (count)
    size_t count;
    size_t truncated; // how many records were cut at the context
    size_t dropped;   // how many had nothing supervised left within the context; not in examples
    uint32_t longest; // rows of the longest example + 1
    DatasetPlace place;
    Error cache_error; // why it is not in the cache though it should be; else ""
    TokenFile file;
} Dataset;

typedef struct {
    const Tokenizer *tokenizer;
    const char
        *tokenizer_path;   // whose bytes decide whether the cache is up to date; NULL: no cache
    uint32_t context;      // tokens of a sequence at most, 2 at least
    const char *separator; // line between documents; NULL: DATA_SEPARATOR
} DatasetOptions;

// Opens a data file of any format (data_source.h). Its tokens are looked for in the cache by what
// they follow from: the bytes of tokenizer and data, context, separator. STRATA_CACHE_TOKENS=0
// keeps them out of it. Fails where no example is left.
bool dataset_open(Dataset *set, const char *path, const DatasetOptions *options, Error *err);
// The same without a cache.
bool dataset_load(Dataset *set, const char *path, const Tokenizer *tokenizer, uint32_t context,
                  Error *err);
void dataset_free(Dataset *set);

// The marks of an example's tokens.
const uint8_t *dataset_marks(const Dataset *set, const Example *example); // (length)

#endif
