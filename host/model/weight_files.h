// The weights of a model as one set of tensors under Hugging Face's names: of a folder
// model.safetensors or, where that is absent, the shards that model.safetensors.index.json names;
// or a GGUF file. Files are mapped, and tensors stay there. Reads only; what the tensors mean is
// not known here.
#ifndef STRATA_MODEL_WEIGHT_FILES_H
#define STRATA_MODEL_WEIGHT_FILES_H

#include "model/gguf.h"
#include "model/safetensors.h"

// One tensor and where it lies. Rows are those of the last dimension.
typedef struct {
    const char *name;      // Hugging Face's; owned by the WeightFiles or its shard
    const char *file_name; // what it is called in its file
    const char *path;      // of that file
    const char *type;      // its dtype as the file says it
    Dtype dtype;           // DTYPE_COUNT: one that strata does not read
    uint32_t rank;
    uint64_t shape[SAFETENSORS_MAX_RANK]; // (rank) row-major
    const uint8_t *data;                  // (size) into the mapping; not aligned
    uint64_t size;                        // bytes
    // 0, or the rows of a head of q or k in a GGUF file of kind llama, which has the rows of the
    // pair that RoPE turns beside each other. Everything below gives them in Hugging Face's order.
    uint32_t head_rows;
} WeightTensor;

typedef struct {
    char path[1024];       // model.safetensors, the index or the GGUF file: what messages name
    Safetensors *shards;   // (shard_count), by file name
    Gguf gguf;             // open where `path` is one
    char **names;          // (tensor_count) Hugging Face's names of a GGUF file's tensors, or NULL
    WeightTensor *tensors; // (tensor_count), by name
    size_t shard_count, tensor_count;
} WeightFiles;

// Opens the weights of a folder or a GGUF file. An index comes from strangers: its file names must
// be plain ones, each shard must be there and hold what the index says it does, and no tensor may
// lie in two. What shards hold beyond that may be read, too. In a GGUF file a tensor without a
// Hugging Face name is refused (gguf_model.h). The caller closes; on failure nothing is left open.
bool weight_files_open(WeightFiles *files, const char *path, Error *err);
void weight_files_close(WeightFiles *files);

// The tensor `name`, or NULL.
const WeightTensor *weight_files_find(const WeightFiles *files, const char *name);
// The tensor `name`, which must be there with shape [rows, cols], or [cols] where rows is 1, in a
// dtype that is read. NULL and a message that names file and tensor on failure.
const WeightTensor *weight_files_expect(const WeightFiles *files, const char *name, uint64_t rows,
                                        uint64_t cols, Error *err);
// Both: the whole tensor in out (rows * cols values).
bool weight_files_read(const WeightFiles *files, const char *name, uint64_t rows, uint64_t cols,
                       float *out, Error *err);

// Values of a tensor, and of one of its rows.
uint64_t weight_tensor_count(const WeightTensor *tensor);
uint64_t weight_tensor_cols(const WeightTensor *tensor);
// Values first .. first + count - 1 as f32 (values_widen). Of a type in blocks, first and count are
// multiples of dtype_block.
void weight_tensor_values(const WeightTensor *tensor, uint64_t first, uint64_t count, float *out);
// Where row `row` lies, as the file stores it.
const uint8_t *weight_tensor_row(const WeightTensor *tensor, uint64_t row);
// The whole tensor as the file stores it, or NULL where its rows lie in another order.
const uint8_t *weight_tensor_data(const WeightTensor *tensor);

#endif
