// Writing GGUF files: see gguf_write.h. How many keys and tensors there are is known only at the
// end of each, hence the seek back to the header.
#define _POSIX_C_SOURCE 200809L
#include "model/gguf_write.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are written as they lie");

enum { VERSION = 3, COUNTS_AT = 8 };

typedef struct {
    char name[GGUF_NAME_LIMIT + 1];
    uint64_t bytes; // of data
} Declared;

struct GgufWriter {
    FileWriter file;
    Declared *tensors; // (tensor_count)
    size_t tensor_count, capacity;
    uint64_t value_count;
    char *infos; // (infos_size) the list of tensors, as it will lie in the file
    size_t infos_size;
    FILE *info_stream; // writes infos
    uint64_t offset;   // of the next tensor that is declared
    size_t current;    // the tensor whose data are put
    uint64_t put;      // its bytes so far
};

static void put_u32(FILE *out, uint32_t value)
{
    fwrite(&value, sizeof value, 1, out);
}

static void put_u64(FILE *out, uint64_t value)
{
    fwrite(&value, sizeof value, 1, out);
}

static void put_string(FILE *out, const char *text, size_t size)
{
    put_u64(out, size);
    fwrite(text, 1, size, out);
}

GgufWriter *gguf_create(const char *path, Error *err)
{
    GgufWriter *writer = calloc(1, sizeof *writer);
    if (!writer) {
        error_set(err, "%s: out of memory", path);
        return NULL;
    }
    if (!file_writer_open(&writer->file, path, err)) {
        free(writer);
        return NULL;
    }
    writer->info_stream = open_memstream(&writer->infos, &writer->infos_size);
    if (!writer->info_stream) {
        error_set(err, "%s: out of memory", path);
        gguf_abort(writer);
        return NULL;
    }
    FILE *out = writer->file.stream;
    fwrite("GGUF", 1, 4, out);
    put_u32(out, VERSION);
    put_u64(out, 0); // tensors and keys: see gguf_begin_data
    put_u64(out, 0);
    return writer;
}

// ---- keys --------------------------------------------------------------------------------------

static FILE *begin_value(GgufWriter *writer, const char *key, GgufType type)
{
    put_string(writer->file.stream, key, strlen(key));
    put_u32(writer->file.stream, type);
    writer->value_count++;
    return writer->file.stream;
}

void gguf_put_u32(GgufWriter *writer, const char *key, uint32_t value)
{
    put_u32(begin_value(writer, key, GGUF_U32), value);
}

void gguf_put_f32(GgufWriter *writer, const char *key, float value)
{
    fwrite(&value, sizeof value, 1, begin_value(writer, key, GGUF_F32));
}

void gguf_put_bool(GgufWriter *writer, const char *key, bool value)
{
    fputc(value, begin_value(writer, key, GGUF_BOOL));
}

void gguf_put_text(GgufWriter *writer, const char *key, const char *text, size_t size)
{
    put_string(begin_value(writer, key, GGUF_STRING), text, size);
}

void gguf_put_array(GgufWriter *writer, const char *key, GgufType type, uint64_t count)
{
    FILE *out = begin_value(writer, key, GGUF_ARRAY);
    put_u32(out, type);
    put_u64(out, count);
}

void gguf_put_element(GgufWriter *writer, const char *text, size_t size)
{
    put_string(writer->file.stream, text, size);
}

void gguf_put_elements(GgufWriter *writer, const void *values, size_t bytes)
{
    file_writer_put(&writer->file, values, bytes);
}

// ---- tensors -----------------------------------------------------------------------------------

static uint64_t padding(uint64_t at)
{
    return (GGUF_ALIGNMENT - at % GGUF_ALIGNMENT) % GGUF_ALIGNMENT;
}

static bool push(GgufWriter *writer, const char *name, uint64_t bytes, Error *err)
{
    if (writer->tensor_count == writer->capacity) {
        size_t larger = writer->capacity ? 2 * writer->capacity : 256;
        Declared *moved = realloc(writer->tensors, larger * sizeof *moved);
        if (!moved) return error_set(err, "%s: out of memory", writer->file.path);
        writer->tensors = moved;
        writer->capacity = larger;
    }
    Declared *d = &writer->tensors[writer->tensor_count++];
    *d = (Declared){.bytes = bytes};
    memcpy(d->name, name, strlen(name));
    return true;
}

bool gguf_declare(GgufWriter *writer, const char *name, Dtype dtype, uint32_t rank,
                  const uint64_t *shape, Error *err)
{
    uint64_t bytes;
    size_t length = strlen(name);
    if (!length || length > GGUF_NAME_LIMIT)
        return error_set(err, "%s: tensor '%.100s' has a name of %zu bytes, expected 1 to %d",
                         writer->file.path, name, length, GGUF_NAME_LIMIT);
    if (!gguf_tensor_bytes(&bytes, dtype, rank, shape) ||
        bytes > (UINT64_MAX >> 8) - writer->offset)
        return error_set(err, "%s: tensor '%.100s' has a shape that %s cannot have",
                         writer->file.path, name, dtype_name(dtype));
    FILE *out = writer->info_stream;
    put_string(out, name, length);
    put_u32(out, rank);
    for (uint32_t i = rank; i-- > 0;) put_u64(out, shape[i]);
    put_u32(out, gguf_tensor_type(dtype));
    put_u64(out, writer->offset);
    writer->offset += bytes + padding(bytes);
    return push(writer, name, bytes, err);
}

static void pad(FILE *out, uint64_t count)
{
    while (count--) fputc(0, out);
}

bool gguf_begin_data(GgufWriter *writer, Error *err)
{
    FILE *out = writer->file.stream;
    bool ok = fflush(writer->info_stream) == 0;
    if (ok) fwrite(writer->infos, 1, writer->infos_size, out);
    long end = ftell(out);
    ok = ok && end > 0 && !fseek(out, COUNTS_AT, SEEK_SET);
    if (ok) {
        put_u64(out, writer->tensor_count);
        put_u64(out, writer->value_count);
        ok = !fseek(out, end, SEEK_SET);
    }
    if (ok) pad(out, padding((uint64_t)end));
    return (ok && !ferror(out)) || error_set(err, "%s: cannot write its header", writer->file.path);
}

void gguf_put_data(GgufWriter *writer, const void *bytes, uint64_t size)
{
    const uint8_t *at = bytes;
    while (size) {
        if (writer->current == writer->tensor_count) {
            writer->put += size; // more than was declared: gguf_commit says so
            return;
        }
        uint64_t left = writer->tensors[writer->current].bytes - writer->put;
        uint64_t part = size < left ? size : left;
        file_writer_put(&writer->file, at, (size_t)part);
        at += part;
        size -= part;
        writer->put += part;
        if (part < left) continue;
        pad(writer->file.stream, padding(writer->put));
        writer->current++;
        writer->put = 0;
    }
}

static void free_writer(GgufWriter *writer)
{
    if (writer->info_stream) fclose(writer->info_stream);
    free(writer->infos);
    free(writer->tensors);
    free(writer);
}

bool gguf_commit(GgufWriter *writer, Error *err)
{
    bool ok = writer->current == writer->tensor_count && !writer->put;
    if (ok) {
        if (ferror(writer->file.stream)) writer->file.failed = true;
        ok = file_writer_commit(&writer->file, err);
    } else {
        bool more = writer->current == writer->tensor_count;
        error_set(err, "%s: %s data were put than declared, at tensor '%.100s'", writer->file.path,
                  more ? "more" : "less", more ? "" : writer->tensors[writer->current].name);
        file_writer_abort(&writer->file);
    }
    free_writer(writer);
    return ok;
}

void gguf_abort(GgufWriter *writer)
{
    if (!writer) return;
    file_writer_abort(&writer->file);
    free_writer(writer);
}
