// Writing safetensors files: see safetensors.h. Data lies in the order of declaration, so the
// header's offsets increase as the format wants; no tensor is ever held in memory here.
#include "model/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are written as they lie");

struct SafetensorsWriter {
    FileWriter file;
    uint64_t declared; // bytes of data that the header promises
    uint64_t put;      // bytes of data so far
};

// Names go into the header as they are, so they must not need escapes.
static bool name_is_plain(const char *name)
{
    for (const char *c = name; *c; c++)
        if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\') return false;
    return *name && strcmp(name, "__metadata__") != 0;
}

static bool count_bytes(uint64_t *bytes, const SafetensorsTensor *tensor, const char *path,
                        Error *err)
{
    *bytes = dtype_size(tensor->dtype);
    bool ok = tensor->rank <= SAFETENSORS_MAX_RANK;
    for (uint32_t i = 0; i < tensor->rank && ok; i++) {
        ok = !tensor->shape[i] || *bytes <= (UINT64_MAX >> 8) / tensor->shape[i];
        *bytes *= tensor->shape[i];
    }
    return ok ||
           error_set(err, "%s: tensor '%.100s' has a shape that is too large", path, tensor->name);
}

static void write_entry(FILE *out, const SafetensorsTensor *tensor, uint64_t begin, uint64_t end)
{
    fprintf(out, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", tensor->name, dtype_name(tensor->dtype));
    for (uint32_t i = 0; i < tensor->rank; i++)
        fprintf(out, "%s%" PRIu64, i ? "," : "", tensor->shape[i]);
    fprintf(out, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin, end);
}

// The length, the JSON, and spaces to a multiple of 8. The length is known only at the end, hence
// the seek; what fails on the way is seen by ferror.
static bool write_header(SafetensorsWriter *writer, const SafetensorsTensor *tensors, size_t count,
                         Error *err)
{
    FILE *out = writer->file.stream;
    const char zeros[8] = {0};
    fwrite(zeros, 1, sizeof zeros, out);
    fputs("{\"__metadata__\":{\"format\":\"pt\"}", out);
    for (size_t i = 0; i < count; i++) {
        uint64_t bytes;
        if (!name_is_plain(tensors[i].name))
            return error_set(err, "%s: '%.100s' cannot be the name of a tensor", writer->file.path,
                             tensors[i].name);
        if (!count_bytes(&bytes, &tensors[i], writer->file.path, err)) return false;
        if (bytes > (UINT64_MAX >> 8) - writer->declared)
            return error_set(err, "%s: tensors are too large in all", writer->file.path);
        write_entry(out, &tensors[i], writer->declared, writer->declared + bytes);
        writer->declared += bytes;
    }
    fputs("}", out);
    long end = ftell(out);
    bool ok = end > 8;
    for (; ok && end % 8; end++) fputc(' ', out);
    ok = ok && !fseek(out, 0, SEEK_SET);
    for (int i = 0; i < 8 && ok; i++) fputc((int)((uint64_t)(end - 8) >> 8 * i & 0xFF), out);
    ok = ok && !fseek(out, end, SEEK_SET) && !ferror(out);
    return ok || error_set(err, "%s: cannot write its header", writer->file.path);
}

SafetensorsWriter *safetensors_create(const char *path, const SafetensorsTensor *tensors,
                                      size_t count, Error *err)
{
    SafetensorsWriter *writer = calloc(1, sizeof *writer);
    if (!writer) {
        error_set(err, "%s: out of memory", path);
        return NULL;
    }
    if (!file_writer_open(&writer->file, path, err)) {
        free(writer);
        return NULL;
    }
    if (write_header(writer, tensors, count, err)) return writer;
    safetensors_abort(writer);
    return NULL;
}

static void put(SafetensorsWriter *writer, const void *values, uint64_t bytes)
{
    file_writer_put(&writer->file, values, (size_t)bytes);
    writer->put += bytes;
}

void safetensors_put(SafetensorsWriter *writer, const float *values, uint64_t count)
{
    put(writer, values, count * sizeof *values);
}

void safetensors_put_halves(SafetensorsWriter *writer, const uint16_t *patterns, uint64_t count)
{
    put(writer, patterns, count * sizeof *patterns);
}

void safetensors_put_bytes(SafetensorsWriter *writer, const void *bytes, uint64_t count)
{
    put(writer, bytes, count);
}

bool safetensors_commit(SafetensorsWriter *writer, Error *err)
{
    bool ok = writer->put == writer->declared;
    if (ok) {
        ok = file_writer_commit(&writer->file, err);
    } else {
        error_set(err, "%s: %" PRIu64 " bytes of data were put, %" PRIu64 " were declared",
                  writer->file.path, writer->put, writer->declared);
        file_writer_abort(&writer->file);
    }
    free(writer);
    return ok;
}

void safetensors_abort(SafetensorsWriter *writer)
{
    if (!writer) return;
    file_writer_abort(&writer->file);
    free(writer);
}
