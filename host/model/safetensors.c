// Reading safetensors files: see safetensors.h. Writing is in safetensors_write.c.
#include "model/safetensors.h"
#include "base/json.h"
#include "base/values.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_LIMIT 100000000u // bytes, by the specification
enum { LENGTH_BYTES = 8, LABEL_SIZE = 1280 };

// Every dtype of the format. Bits, because the newest ones are smaller than a byte.
static const struct {
    char name[8];
    uint32_t bits;
} DTYPES[] = {
    {"F32", 32},    {"F16", 16},    {"BF16", 16}, {"F64", 64},    {"I64", 64},
    {"I32", 32},    {"I16", 16},    {"I8", 8},    {"U64", 64},    {"U32", 32},
    {"U16", 16},    {"U8", 8},      {"BOOL", 8},  {"C64", 64},    {"F8_E5M2", 8},
    {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F4", 4},    {"F6_E2M3", 6}, {"F6_E3M2", 6},
};

static uint32_t dtype_bits(const char *name)
{
    for (size_t i = 0; i < sizeof DTYPES / sizeof DTYPES[0]; i++)
        if (!strcmp(DTYPES[i].name, name)) return DTYPES[i].bits;
    return 0;
}

// cJSON keeps numbers as doubles: from 2^53 on, two different texts may give the same value.
static bool whole_number(uint64_t *out, const cJSON *item)
{
    double value = item->valuedouble;
    if (!cJSON_IsNumber(item) || !(value >= 0 && value < 9007199254740992.0)) return false;
    if (value != floor(value)) return false;
    *out = (uint64_t)value;
    return true;
}

static bool read_dtype(SafetensorsEntry *entry, const cJSON *item, const char *label, Error *err)
{
    const char *dtype;
    if (!json_string(&dtype, item, "dtype", label, err)) return false;
    if (!dtype_bits(dtype)) return error_set(err, "%s: unknown dtype '%.40s'", label, dtype);
    snprintf(entry->dtype, sizeof entry->dtype, "%s", dtype);
    return true;
}

static bool read_shape(SafetensorsEntry *entry, const cJSON *item, const char *label, Error *err)
{
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(item, "shape");
    if (!cJSON_IsArray(shape)) return error_set(err, "%s: 'shape' must be a list", label);
    for (const cJSON *size = shape->child; size; size = size->next) {
        if (entry->rank == SAFETENSORS_MAX_RANK)
            return error_set(err, "%s: 'shape' has more than %d dimensions", label,
                             SAFETENSORS_MAX_RANK);
        if (!whole_number(&entry->shape[entry->rank++], size))
            return error_set(err, "%s: 'shape' must hold whole numbers from 0 to below 2^53",
                             label);
    }
    return true;
}

// Bytes that dtype and shape ask for. A zero anywhere makes the product 0, but the sizes before it
// must not overflow either: the specification wants the product checked at each step.
static bool count_bytes(uint64_t *bytes, const SafetensorsEntry *entry, const char *label,
                        Error *err)
{
    uint64_t bits = dtype_bits(entry->dtype);
    for (uint32_t i = 0; i < entry->rank; i++) {
        if (entry->shape[i] && bits > UINT64_MAX / entry->shape[i])
            return error_set(err, "%s: the product of its shape overflows", label);
        bits *= entry->shape[i];
    }
    if (bits % 8) return error_set(err, "%s: its data is not a whole number of bytes", label);
    *bytes = bits / 8;
    return true;
}

// data_offsets against the size that dtype and shape ask for, and against the data's own size.
static bool read_range(SafetensorsEntry *entry, const cJSON *item, const uint8_t *data,
                       uint64_t data_size, const char *label, Error *err)
{
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
    const cJSON *first = cJSON_IsArray(offsets) ? offsets->child : NULL;
    uint64_t begin, end, bytes = 0;
    if (!first || !first->next || first->next->next || !whole_number(&begin, first) ||
        !whole_number(&end, first->next))
        return error_set(err, "%s: 'data_offsets' must be a list of two whole numbers below 2^53",
                         label);
    if (begin > end || end > data_size)
        return error_set(err,
                         "%s: 'data_offsets' are [%" PRIu64 ", %" PRIu64 "], outside the %" PRIu64
                         " bytes of data",
                         label, begin, end, data_size);
    if (!count_bytes(&bytes, entry, label, err)) return false;
    if (end - begin != bytes)
        return error_set(err,
                         "%s: 'data_offsets' span %" PRIu64 " bytes, expected %" PRIu64
                         " from dtype and shape",
                         label, end - begin, bytes);
    entry->data = data + begin;
    entry->size = bytes;
    return true;
}

static bool read_entry(SafetensorsEntry *entry, const cJSON *item, const char *path,
                       const uint8_t *data, uint64_t data_size, Error *err)
{
    char label[LABEL_SIZE];
    snprintf(label, sizeof label, "%s: tensor '%.100s'", path, item->string);
    if (!cJSON_IsObject(item)) return error_set(err, "%s: its entry is not an object", label);
    size_t length = strlen(item->string) + 1;
    entry->name = malloc(length);
    if (!entry->name) return error_set(err, "%s: out of memory", label);
    memcpy(entry->name, item->string, length);
    return read_dtype(entry, item, label, err) && read_shape(entry, item, label, err) &&
           read_range(entry, item, data, data_size, label, err);
}

static bool check_metadata(const cJSON *item, const char *path, Error *err)
{
    bool ok = cJSON_IsObject(item);
    for (const cJSON *field = item->child; field && ok; field = field->next)
        ok = cJSON_IsString(field);
    return ok || error_set(err, "%s: '__metadata__' must map strings to strings", path);
}

static bool read_entries(Safetensors *file, const cJSON *header, const uint8_t *data,
                         uint64_t data_size, Error *err)
{
    size_t most = (size_t)cJSON_GetArraySize(header);
    file->entries = calloc(most + 1, sizeof *file->entries);
    if (!file->entries) return error_set(err, "%s: out of memory", file->path);
    for (const cJSON *item = header->child; item; item = item->next) {
        if (!strcmp(item->string, "__metadata__")) {
            if (!check_metadata(item, file->path, err)) return false;
            continue;
        }
        SafetensorsEntry *entry = &file->entries[file->count++];
        if (!read_entry(entry, item, file->path, data, data_size, err)) return false;
    }
    return true;
}

// By offset; an empty tensor before the one that begins at the same byte.
static int compare_offsets(const void *a, const void *b)
{
    const SafetensorsEntry *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return (x->size > y->size) - (x->size < y->size);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const SafetensorsEntry *)a)->name, ((const SafetensorsEntry *)b)->name);
}

// Each tensor begins where the one before ends, and the last ends with the file.
static bool check_layout(Safetensors *file, const uint8_t *data, uint64_t data_size, Error *err)
{
    const uint8_t *end = data;
    qsort(file->entries, file->count, sizeof *file->entries, compare_offsets);
    for (size_t i = 0; i < file->count; i++) {
        const SafetensorsEntry *entry = &file->entries[i];
        if (entry->data != end)
            return error_set(err, "%s: tensor '%.100s' begins at byte %td of the data, %s %td",
                             file->path, entry->name, entry->data - data,
                             entry->data < end ? "overlapping the one that ends at"
                                               : "leaving a hole behind",
                             end - data);
        end += entry->size;
    }
    uint64_t used = (uint64_t)(end - data);
    if (used == data_size) return true;
    return error_set(err, "%s: tensors end at byte %" PRIu64 " of %" PRIu64 " bytes of data",
                     file->path, used, data_size);
}

// The parsed header; *size is its length N.
static cJSON *read_header(const Safetensors *file, uint64_t *size, Error *err)
{
    const uint8_t *bytes = file->map.bytes;
    if (file->map.size < LENGTH_BYTES) {
        error_set(err, "%s: %zu bytes are too few for a safetensors file", file->path,
                  file->map.size);
        return NULL;
    }
    uint64_t length = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--) length = length << 8 | bytes[i];
    *size = length;
    if (length > HEADER_LIMIT) {
        error_set(err, "%s: header of %" PRIu64 " bytes, expected at most %u", file->path, length,
                  HEADER_LIMIT);
        return NULL;
    }
    if (length > file->map.size - LENGTH_BYTES) {
        error_set(err, "%s: header of %" PRIu64 " bytes passes the end of the file (%zu bytes)",
                  file->path, length, file->map.size);
        return NULL;
    }
    if (!length || bytes[LENGTH_BYTES] != '{') {
        error_set(err, "%s: header does not start with '{'", file->path);
        return NULL;
    }
    return json_parse((const char *)bytes + LENGTH_BYTES, (size_t)length, file->path, err);
}

bool safetensors_open(Safetensors *file, const char *path, Error *err)
{
    *file = (Safetensors){0};
    int length = snprintf(file->path, sizeof file->path, "%s", path);
    if (length < 0 || (size_t)length >= sizeof file->path)
        return error_set(err, "%.80s...: path is too long", path);
    if (!file_map(&file->map, path, err)) return false;
    uint64_t header_size = 0;
    cJSON *header = read_header(file, &header_size, err);
    bool ok = header != NULL;
    if (ok) {
        const uint8_t *data = file->map.bytes + LENGTH_BYTES + header_size;
        uint64_t data_size = file->map.size - LENGTH_BYTES - header_size;
        ok = read_entries(file, header, data, data_size, err) &&
             check_layout(file, data, data_size, err);
    }
    cJSON_Delete(header);
    if (ok)
        qsort(file->entries, file->count, sizeof *file->entries, compare_names);
    else
        safetensors_close(file);
    return ok;
}

void safetensors_close(Safetensors *file)
{
    for (size_t i = 0; i < file->count; i++) free(file->entries[i].name);
    free(file->entries);
    file_unmap(&file->map);
    *file = (Safetensors){0};
}

const SafetensorsEntry *safetensors_find(const Safetensors *file, const char *name)
{
    if (!file->count) return NULL;
    const SafetensorsEntry key = {.name = (char *)(uintptr_t)name};
    return bsearch(&key, file->entries, file->count, sizeof key, compare_names);
}

static bool shape_matches(const SafetensorsEntry *entry, uint64_t rows, uint64_t cols)
{
    if (entry->rank == 2) return entry->shape[0] == rows && entry->shape[1] == cols;
    return entry->rank == 1 && rows == 1 && entry->shape[0] == cols;
}

static bool refuse_shape(const char *path, const SafetensorsEntry *entry, uint64_t rows,
                         uint64_t cols, Error *err)
{
    char found[SAFETENSORS_MAX_RANK * 22 + 1] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < entry->rank; i++)
        used += (size_t)snprintf(found + used, sizeof found - used, "%s%" PRIu64, i ? ", " : "",
                                 entry->shape[i]);
    char rows_text[24] = "";
    if (rows != 1) snprintf(rows_text, sizeof rows_text, "%" PRIu64 ", ", rows);
    return error_set(err, "%s: tensor '%.100s' has shape [%s], expected [%s%" PRIu64 "]", path,
                     entry->name, found, rows_text, cols);
}

// The entry of that name and shape, of any dtype.
static const SafetensorsEntry *expect(const Safetensors *file, const char *name, uint64_t rows,
                                      uint64_t cols, Error *err)
{
    const SafetensorsEntry *entry = safetensors_find(file, name);
    if (!entry)
        error_set(err, "%s: tensor '%.100s' is missing", file->path, name);
    else if (!shape_matches(entry, rows, cols))
        refuse_shape(file->path, entry, rows, cols, err);
    else
        return entry;
    return NULL;
}

static const SafetensorsEntry *refuse_dtype(const Safetensors *file, const SafetensorsEntry *entry,
                                            const char *expected, Error *err)
{
    error_set(err, "%s: tensor '%.100s' is %s, expected %s", file->path, entry->name, entry->dtype,
              expected);
    return NULL;
}

const SafetensorsEntry *safetensors_expect(const Safetensors *file, const char *name, uint64_t rows,
                                           uint64_t cols, Error *err)
{
    const SafetensorsEntry *entry = expect(file, name, rows, cols, err);
    bool known = entry && safetensors_dtype(entry) != DTYPE_COUNT;
    return known || !entry ? entry : refuse_dtype(file, entry, "F32, F16 or BF16", err);
}

const SafetensorsEntry *safetensors_expect_as(const Safetensors *file, const char *name,
                                              Dtype dtype, uint64_t rows, uint64_t cols, Error *err)
{
    const SafetensorsEntry *entry = expect(file, name, rows, cols, err);
    bool same = entry && !strcmp(entry->dtype, dtype_name(dtype));
    return same || !entry ? entry : refuse_dtype(file, entry, dtype_name(dtype), err);
}

Dtype safetensors_dtype(const SafetensorsEntry *entry)
{
    static const Dtype floats[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        if (!strcmp(entry->dtype, dtype_name(floats[i]))) return floats[i];
    return DTYPE_COUNT;
}

void safetensors_values(const SafetensorsEntry *entry, uint64_t first, uint64_t count, float *out)
{
    values_widen(safetensors_dtype(entry), entry->data, first, count, out);
}

bool safetensors_read(const Safetensors *file, const char *name, uint64_t rows, uint64_t cols,
                      float *out, Error *err)
{
    const SafetensorsEntry *entry = safetensors_expect(file, name, rows, cols, err);
    if (!entry) return false;
    // The header's check of the entry's size is what bounds rows * cols here.
    safetensors_values(entry, 0, rows * cols, out);
    return true;
}
