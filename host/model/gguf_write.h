// Writing GGUF files (version 3): keys first, then the list of tensors, then their data in the same
// order. No tensor is ever held in memory here. Source: as gguf.h.
#ifndef STRATA_MODEL_GGUF_WRITE_H
#define STRATA_MODEL_GGUF_WRITE_H

#include "model/gguf.h"

typedef struct GgufWriter GgufWriter;

// Begins the file at path (see FileWriter). NULL and a message on failure.
GgufWriter *gguf_create(const char *path, Error *err);

// One key each. Whoever calls gives no key twice.
void gguf_put_u32(GgufWriter *writer, const char *key, uint32_t value);
void gguf_put_f32(GgufWriter *writer, const char *key, float value);
void gguf_put_bool(GgufWriter *writer, const char *key, bool value);
void gguf_put_text(GgufWriter *writer, const char *key, const char *text, size_t size);
// Begins an array: exactly `count` elements follow.
void gguf_put_array(GgufWriter *writer, const char *key, GgufType type, uint64_t count);
void gguf_put_element(GgufWriter *writer, const char *text, size_t size);     // of GGUF_STRING
void gguf_put_elements(GgufWriter *writer, const void *values, size_t bytes); // of other types

// Declares a tensor; shape (rank) row-major, as in GgufTensor. The last dimension is a multiple of
// the dtype's block.
bool gguf_declare(GgufWriter *writer, const char *name, Dtype dtype, uint32_t rank,
                  const uint64_t *shape, Error *err);
// Ends keys and declarations.
bool gguf_begin_data(GgufWriter *writer, Error *err);
// The next bytes of data, in the order of declaration; any division into calls will do.
void gguf_put_data(GgufWriter *writer, const void *bytes, uint64_t size);
// Renames into place; checks that exactly the declared bytes were put. Frees the writer.
bool gguf_commit(GgufWriter *writer, Error *err);
// Drops the file and frees the writer, which may be NULL.
void gguf_abort(GgufWriter *writer);

#endif
