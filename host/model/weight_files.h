// The weights of a model folder as one set of tensors: model.safetensors or, where that is absent,
// the shards that model.safetensors.index.json names. Reads only; what the tensors mean is not
// known here.
#ifndef STRATA_MODEL_WEIGHT_FILES_H
#define STRATA_MODEL_WEIGHT_FILES_H

#include "model/safetensors.h"

// One tensor of a sharded checkpoint and where it lies.
typedef struct {
    const char *name;         // the shard's
    const Safetensors *shard; // one of WeightFiles.shards
} WeightTensor;

typedef struct {
    char path[1024];       // model.safetensors or the index: what messages name
    Safetensors *shards;   // (shard_count), by file name
    WeightTensor *tensors; // (tensor_count), by name
    size_t shard_count, tensor_count;
} WeightFiles;

// Opens FOLDER's weights. An index comes from strangers: its file names must be plain ones, each
// shard must be there and hold what the index says it does, and no tensor may lie in two. What
// shards hold beyond that may be read, too. The caller closes; on failure nothing is left open.
bool weight_files_open(WeightFiles *files, const char *folder, Error *err);
void weight_files_close(WeightFiles *files);

// The file that holds the tensor `name`, or NULL and a message.
const Safetensors *weight_files_file(const WeightFiles *files, const char *name, Error *err);
// safetensors_read from the file that holds the tensor.
bool weight_files_read(const WeightFiles *files, const char *name, uint64_t rows, uint64_t cols,
                       float *out, Error *err);

#endif
