// safetensors files, read and written. Files come from strangers: every length, offset and count is
// checked before it is used. Not sharded checkpoints (weight_files.h), and not what the tensors
// mean. Source: the safetensors format specification (huggingface/safetensors).
#ifndef STRATA_MODEL_SAFETENSORS_H
#define STRATA_MODEL_SAFETENSORS_H

#include "base/dtype.h"
#include "base/error.h"
#include "base/file.h"

#include <stddef.h>
#include <stdint.h>

enum { SAFETENSORS_MAX_RANK = 8 };

typedef struct {
    char *name;    // NUL-terminated, owned by the Safetensors
    char dtype[8]; // "F32", "F16", "BF16", "I32" ... as the file says
    uint32_t rank;
    uint64_t shape[SAFETENSORS_MAX_RANK]; // (rank)
    const uint8_t *data;                  // (size) into the mapping; not aligned
    uint64_t size;                        // bytes
} SafetensorsEntry;

// An open file: mapped, its entries sorted by name.
typedef struct {
    char path[1024];
    FileMap map;
    SafetensorsEntry *entries; // (count)
    size_t count;
} Safetensors;

// Opens and checks the whole header: length, JSON, names, dtypes, shapes, offsets that overlap,
// leave holes or pass the end. The caller closes. On failure nothing is left open.
bool safetensors_open(Safetensors *file, const char *path, Error *err);
void safetensors_close(Safetensors *file);

// The entry of that name, or NULL.
const SafetensorsEntry *safetensors_find(const Safetensors *file, const char *name);

// The tensor `name`, which must be there with shape [rows, cols], or [cols] where rows is 1, in
// F32, F16 or BF16. Errors name file and tensor.
const SafetensorsEntry *safetensors_expect(const Safetensors *file, const char *name, uint64_t rows,
                                           uint64_t cols, Error *err);
// The same of exactly that dtype, for tensors that are read as they lie.
const SafetensorsEntry *safetensors_expect_as(const Safetensors *file, const char *name,
                                              Dtype dtype, uint64_t rows, uint64_t cols,
                                              Error *err);
// How the values of an entry are stored where that is F32, F16 or BF16, else DTYPE_COUNT.
Dtype safetensors_dtype(const SafetensorsEntry *entry);
// Values first .. first + count - 1 of an expected entry as f32, each exactly.
void safetensors_values(const SafetensorsEntry *entry, uint64_t first, uint64_t count, float *out);
// Both: the whole tensor `name` in out (rows * cols values).
bool safetensors_read(const Safetensors *file, const char *name, uint64_t rows, uint64_t cols,
                      float *out, Error *err);

// Writing: declare every tensor, then put their data in the same order, then commit.
typedef struct SafetensorsWriter SafetensorsWriter;
typedef struct {
    const char *name; // printable ASCII without '"' and '\', once in a file
    uint32_t rank;
    uint64_t shape[SAFETENSORS_MAX_RANK]; // (rank)
    Dtype dtype;
} SafetensorsTensor;

// Begins the file at path (see FileWriter). tensors (count) is not used after the call.
SafetensorsWriter *safetensors_create(const char *path, const SafetensorsTensor *tensors,
                                      size_t count, Error *err);
// The next values of F32 tensors, bit by bit; any division into calls will do.
void safetensors_put(SafetensorsWriter *writer, const float *values, uint64_t count);
// The next values of F16 or BF16 tensors, as their patterns.
void safetensors_put_halves(SafetensorsWriter *writer, const uint16_t *patterns, uint64_t count);
// The next bytes of tensors of any dtype.
void safetensors_put_bytes(SafetensorsWriter *writer, const void *bytes, uint64_t count);
// Renames into place; checks that exactly the declared bytes were put. Frees the writer.
bool safetensors_commit(SafetensorsWriter *writer, Error *err);
// Drops the file and frees the writer, which may be NULL.
void safetensors_abort(SafetensorsWriter *writer);

#endif
