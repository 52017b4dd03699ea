// GGUF files, the container: keys with values, tensors by name, mapped. Files come from strangers:
// every length, count, type and offset is checked before it is used. Not what keys and tensors mean
// (gguf_model.h), not writing (gguf_write.h). Source: the GGUF specification (ggml-org/ggml),
// versions 2 and 3, little endian.
#ifndef STRATA_MODEL_GGUF_H
#define STRATA_MODEL_GGUF_H

#include "base/dtype.h"
#include "base/error.h"
#include "base/file.h"

#include <stddef.h>
#include <stdint.h>

enum {
    GGUF_MAX_RANK = 4,
    GGUF_NAME_LIMIT = 64,   // bytes of a tensor's name
    GGUF_KEY_LIMIT = 65535, // bytes of a key
    GGUF_ALIGNMENT = 32,    // of data where general.alignment does not say otherwise
};

// Types of values, by their number in files.
typedef enum {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPES
} GgufType;

typedef struct {
    char *key;     // NUL-terminated, owned by the Gguf
    GgufType type; // of an array: of its elements, which are no arrays
    bool is_array;
    uint64_t count;      // elements; 1 where it is no array
    const uint8_t *data; // (size) into the mapping, not aligned; a string stands behind its length
    uint64_t size;       // bytes
} GgufValue;

typedef struct {
    char *name; // NUL-terminated, owned by the Gguf
    Dtype dtype;
    uint32_t rank;                 // 1 to GGUF_MAX_RANK
    uint64_t shape[GGUF_MAX_RANK]; // (rank) row-major, the slowest first: the file has it reversed
    const uint8_t *data;           // (size) into the mapping; not aligned
    uint64_t size;                 // bytes
} GgufTensor;

// An open file.
typedef struct {
    char path[1024];
    FileMap map;
    GgufValue *values;   // (value_count), by key
    GgufTensor *tensors; // (tensor_count), by name
    size_t value_count, tensor_count;
    uint64_t alignment;
} Gguf;

// Opens and checks everything but what keys mean: version, types, lengths, keys or names that stand
// twice, shapes, offsets that are not aligned, overlap or pass the end. A tensor of a type that is
// not a Dtype is refused by name. The caller closes; on failure nothing is left open.
bool gguf_open(Gguf *file, const char *path, Error *err);
void gguf_close(Gguf *file);

// The value of a key, or the tensor of a name, or NULL.
const GgufValue *gguf_find(const Gguf *file, const char *key);
const GgufTensor *gguf_find_tensor(const Gguf *file, const char *name);

// How a Dtype is numbered in files, and the name of that type.
uint32_t gguf_tensor_type(Dtype dtype);
// The bytes of a tensor of shape (rank), row-major. False where the product overflows, a dimension
// is 0 or the last one no multiple of the dtype's block.
bool gguf_tensor_bytes(uint64_t *bytes, Dtype dtype, uint32_t rank, const uint64_t *shape);

// Text within the mapping, not NUL-terminated. It may be any bytes.
typedef struct {
    const char *text; // (size)
    size_t size;
} GgufText;

// One value. The *_or forms take `fallback` where the key is absent; a value of another kind, or
// outside [low, high], is an error that names file and key. Integers may be of any width.
bool gguf_int(uint64_t *out, const Gguf *file, const char *key, uint64_t low, uint64_t high,
              Error *err);
bool gguf_int_or(uint64_t *out, const Gguf *file, const char *key, uint64_t fallback, uint64_t low,
                 uint64_t high, Error *err);
bool gguf_number_or(double *out, const Gguf *file, const char *key, double fallback, Error *err);
bool gguf_bool_or(bool *out, const Gguf *file, const char *key, bool fallback, Error *err);
// text is NULL where the key is absent.
bool gguf_text_or(GgufText *out, const Gguf *file, const char *key, Error *err);
// An array whose elements have that type, *out NULL where the key is absent.
bool gguf_array_or(const GgufValue **out, const Gguf *file, const char *key, GgufType type,
                   Error *err);

// The string at *at, which goes on behind it: `count` times from `data` of an array of strings.
GgufText gguf_next_text(const uint8_t **at);
// Element i of an array of GGUF_F32, and of GGUF_I32 or GGUF_U32 (as its bits).
float gguf_element_f32(const GgufValue *array, uint64_t i);
uint32_t gguf_element_u32(const GgufValue *array, uint64_t i);
// Whether the text is that string.
bool gguf_text_is(GgufText text, const char *string);

#endif
