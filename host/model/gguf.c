// Reading GGUF files: see gguf.h. The getters are in gguf_values.c.
#include "model/gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are read as they lie");

enum { MAGIC_SIZE = 4, ALIGNMENT_LIMIT = 1 << 20, LABEL_SIZE = 1280 };
// The least bytes of a value (key of one byte, type, one byte) and of a tensor (name of one byte,
// rank, one dimension, type, offset): what bounds counts before anything is allocated.
enum { LEAST_VALUE = 8 + 1 + 4 + 1, LEAST_TENSOR = 8 + 1 + 4 + 8 + 4 + 8 };

static const uint8_t VALUE_SIZES[GGUF_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

// The types of tensors by number. Those that are not read have a name, for messages.
static const struct {
    const char *name;
    bool known;
    Dtype dtype;
} TENSOR_TYPES[] = {
    {"F32", true, DTYPE_F32},
    {"F16", true, DTYPE_F16},
    {"Q4_0", true, DTYPE_Q4_0},
    {"Q4_1"},
    {"Q4_2"},
    {"Q4_3"},
    {"Q5_0"},
    {"Q5_1"},
    {"Q8_0", true, DTYPE_Q8_0},
    {"Q8_1"},
    {"Q2_K"},
    {"Q3_K"},
    {"Q4_K", true, DTYPE_Q4_K},
    {"Q5_K"},
    {"Q6_K", true, DTYPE_Q6_K},
    {"Q8_K"},
    {"IQ2_XXS"},
    {"IQ2_XS"},
    {"IQ3_XXS"},
    {"IQ1_S"},
    {"IQ4_NL"},
    {"IQ3_S"},
    {"IQ2_S"},
    {"IQ4_XS"},
    {"I8"},
    {"I16"},
    {"I32"},
    {"I64"},
    {"F64"},
    {"IQ1_M"},
    {"BF16", true, DTYPE_BF16},
};
enum { TENSOR_TYPE_COUNT = sizeof TENSOR_TYPES / sizeof *TENSOR_TYPES };

uint32_t gguf_tensor_type(Dtype dtype)
{
    for (uint32_t i = 0; i < TENSOR_TYPE_COUNT; i++)
        if (TENSOR_TYPES[i].known && TENSOR_TYPES[i].dtype == dtype) return i;
    return UINT32_MAX;
}

bool gguf_tensor_bytes(uint64_t *bytes, Dtype dtype, uint32_t rank, const uint64_t *shape)
{
    uint64_t values = 1;
    if (!rank || rank > GGUF_MAX_RANK || shape[rank - 1] % dtype_block(dtype)) return false;
    for (uint32_t i = 0; i < rank; i++) {
        if (!shape[i] || shape[i] > UINT64_MAX / values) return false;
        values *= shape[i];
    }
    *bytes = dtype_bytes(dtype, values);
    return *bytes != UINT64_MAX;
}

// ---- reading in order --------------------------------------------------------------------------

// Where reading stands. `what` names the part that is being read.
typedef struct {
    const Gguf *file;
    const uint8_t *bytes; // (size)
    uint64_t size, at;
    char what[LABEL_SIZE];
} Cursor;

static const uint8_t *take(Cursor *c, uint64_t size, Error *err)
{
    if (size > c->size - c->at) {
        error_set(err, "%s: ends at byte %" PRIu64 ", within %s", c->file->path, c->size, c->what);
        return NULL;
    }
    const uint8_t *at = c->bytes + c->at;
    c->at += size;
    return at;
}

static bool take_u32(Cursor *c, uint32_t *out, Error *err)
{
    const uint8_t *at = take(c, sizeof *out, err);
    if (at) memcpy(out, at, sizeof *out);
    return at != NULL;
}

static bool take_u64(Cursor *c, uint64_t *out, Error *err)
{
    const uint8_t *at = take(c, sizeof *out, err);
    if (at) memcpy(out, at, sizeof *out);
    return at != NULL;
}

// A key or a name of 1 to `limit` bytes without control characters, malloc'ed.
static char *take_name(Cursor *c, uint64_t limit, Error *err)
{
    uint64_t size;
    if (!take_u64(c, &size, err)) return NULL;
    if (!size || size > limit) {
        error_set(err, "%s: %s has a name of %" PRIu64 " bytes, expected 1 to %" PRIu64,
                  c->file->path, c->what, size, limit);
        return NULL;
    }
    const uint8_t *at = take(c, size, err);
    for (uint64_t i = 0; at && i < size; i++) {
        if (at[i] >= ' ' && at[i] != 0x7F) continue;
        error_set(err, "%s: %s has a control character in its name", c->file->path, c->what);
        return NULL;
    }
    char *name = at ? malloc((size_t)size + 1) : NULL;
    if (at && !name) error_set(err, "%s: out of memory", c->file->path);
    if (name) {
        memcpy(name, at, (size_t)size);
        name[size] = 0;
    }
    return name;
}

// ---- values ------------------------------------------------------------------------------------

static bool take_elements(Cursor *c, GgufValue *value, Error *err)
{
    uint64_t size = VALUE_SIZES[value->type], begin = c->at;
    value->data = c->bytes + begin;
    if (size) {
        if (value->count > (c->size - c->at) / size)
            return error_set(err, "%s: %s has %" PRIu64 " elements, which pass the end of the file",
                             c->file->path, c->what, value->count);
        take(c, value->count * size, err);
    } else {
        for (uint64_t i = 0; i < value->count; i++) {
            uint64_t length; // each string takes its length's bytes at least: the loop is bounded
            if (!take_u64(c, &length, err) || !take(c, length, err)) return false;
        }
    }
    value->size = c->at - begin;
    for (uint64_t i = 0; value->type == GGUF_BOOL && i < value->count; i++)
        if (value->data[i] > 1)
            return error_set(err, "%s: %s is a bool of value %d, expected 0 or 1", c->file->path,
                             c->what, value->data[i]);
    return true;
}

static bool take_type(Cursor *c, uint32_t *type, Error *err)
{
    if (!take_u32(c, type, err)) return false;
    return *type < GGUF_TYPES ||
           error_set(err, "%s: %s has the unknown type %" PRIu32, c->file->path, c->what, *type);
}

static bool take_value(Cursor *c, GgufValue *value, Error *err)
{
    uint32_t type;
    value->key = take_name(c, GGUF_KEY_LIMIT, err);
    if (!value->key) return false;
    snprintf(c->what, sizeof c->what, "key '%.100s'", value->key);
    if (!take_type(c, &type, err)) return false;
    value->count = 1;
    value->is_array = type == GGUF_ARRAY;
    if (value->is_array && (!take_type(c, &type, err) || !take_u64(c, &value->count, err)))
        return false;
    if (type == GGUF_ARRAY)
        return error_set(err, "%s: %s is an array of arrays, which is not supported", c->file->path,
                         c->what);
    value->type = (GgufType)type;
    return take_elements(c, value, err);
}

// Both GgufValue and GgufTensor begin with their name.
static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

_Static_assert(offsetof(GgufValue, key) == 0 && offsetof(GgufTensor, name) == 0, "names first");

static bool take_values(Gguf *file, Cursor *c, uint64_t count, Error *err)
{
    file->values = calloc((size_t)count + 1, sizeof *file->values);
    if (!file->values) return error_set(err, "%s: out of memory", file->path);
    for (uint64_t i = 0; i < count; i++) {
        snprintf(c->what, sizeof c->what, "key %" PRIu64 " of %" PRIu64, i + 1, count);
        file->value_count++;
        if (!take_value(c, &file->values[i], err)) return false;
    }
    qsort(file->values, file->value_count, sizeof *file->values, compare_names);
    for (size_t i = 1; i < file->value_count; i++)
        if (!strcmp(file->values[i - 1].key, file->values[i].key))
            return error_set(err, "%s: key '%.100s' stands twice", file->path, file->values[i].key);
    return true;
}

// ---- tensors -----------------------------------------------------------------------------------

static bool take_shape(Cursor *c, GgufTensor *t, Error *err)
{
    if (!take_u32(c, &t->rank, err)) return false;
    if (!t->rank || t->rank > GGUF_MAX_RANK)
        return error_set(err, "%s: %s has %" PRIu32 " dimensions, expected 1 to %d", c->file->path,
                         c->what, t->rank, GGUF_MAX_RANK);
    for (uint32_t i = t->rank; i-- > 0;) {
        if (!take_u64(c, &t->shape[i], err)) return false;
        if (!t->shape[i])
            return error_set(err, "%s: %s has a dimension of 0", c->file->path, c->what);
    }
    return true;
}

// The bytes that shape and type ask for.
static bool count_bytes(const Cursor *c, GgufTensor *t, Error *err)
{
    if (gguf_tensor_bytes(&t->size, t->dtype, t->rank, t->shape)) return true;
    uint32_t block = dtype_block(t->dtype);
    uint64_t row = t->shape[t->rank - 1];
    if (row % block == 0)
        return error_set(err, "%s: %s: the product of its shape overflows", c->file->path, c->what);
    return error_set(
        err, "%s: %s has rows of %" PRIu64 " values, expected a multiple of %" PRIu32 " for %s",
        c->file->path, c->what, row, block, dtype_name(t->dtype));
}

static bool take_tensor(Cursor *c, GgufTensor *t, uint64_t *offset, Error *err)
{
    uint32_t type;
    t->name = take_name(c, GGUF_NAME_LIMIT, err);
    if (!t->name) return false;
    snprintf(c->what, sizeof c->what, "tensor '%.100s'", t->name);
    if (!take_shape(c, t, err) || !take_u32(c, &type, err) || !take_u64(c, offset, err))
        return false;
    if (type >= TENSOR_TYPE_COUNT || !TENSOR_TYPES[type].known)
        return error_set(err,
                         "%s: %s is of type %" PRIu32 " (%s), expected F32, F16, BF16, Q8_0, Q4_0, "
                         "Q4_K or Q6_K",
                         c->file->path, c->what, type,
                         type < TENSOR_TYPE_COUNT ? TENSOR_TYPES[type].name : "unknown");
    t->dtype = TENSOR_TYPES[type].dtype;
    return count_bytes(c, t, err);
}

static int compare_data(const void *a, const void *b)
{
    const GgufTensor *x = a, *y = b;
    return (x->data > y->data) - (x->data < y->data);
}

// Puts the tensors where their offsets say, within the data and apart from each other.
static bool place_tensors(Gguf *file, const uint64_t *offsets, const uint8_t *data, uint64_t size,
                          Error *err)
{
    for (size_t i = 0; i < file->tensor_count; i++) {
        GgufTensor *t = &file->tensors[i];
        if (offsets[i] % file->alignment)
            return error_set(err,
                             "%s: tensor '%.100s' begins at byte %" PRIu64
                             " of the data, expected a multiple of %" PRIu64,
                             file->path, t->name, offsets[i], file->alignment);
        if (offsets[i] > size || t->size > size - offsets[i])
            return error_set(err,
                             "%s: tensor '%.100s' of %" PRIu64 " bytes at byte %" PRIu64
                             " passes the end of the %" PRIu64 " bytes of data",
                             file->path, t->name, t->size, offsets[i], size);
        t->data = data + offsets[i];
    }
    qsort(file->tensors, file->tensor_count, sizeof *file->tensors, compare_data);
    for (size_t i = 1; i < file->tensor_count; i++) {
        const GgufTensor *a = &file->tensors[i - 1], *b = &file->tensors[i];
        if (b->data < a->data + a->size)
            return error_set(err, "%s: tensors '%.100s' and '%.100s' overlap", file->path, a->name,
                             b->name);
    }
    return true;
}

static bool sort_tensors(Gguf *file, Error *err)
{
    qsort(file->tensors, file->tensor_count, sizeof *file->tensors, compare_names);
    for (size_t i = 1; i < file->tensor_count; i++)
        if (!strcmp(file->tensors[i - 1].name, file->tensors[i].name))
            return error_set(err, "%s: tensor '%.100s' stands twice", file->path,
                             file->tensors[i].name);
    return true;
}

static bool take_tensors(Gguf *file, Cursor *c, uint64_t count, Error *err)
{
    file->tensors = calloc((size_t)count + 1, sizeof *file->tensors);
    uint64_t *offsets = calloc((size_t)count + 1, sizeof *offsets);
    bool ok = (file->tensors && offsets) || error_set(err, "%s: out of memory", file->path);
    for (uint64_t i = 0; ok && i < count; i++) {
        snprintf(c->what, sizeof c->what, "tensor %" PRIu64 " of %" PRIu64, i + 1, count);
        file->tensor_count++;
        ok = take_tensor(c, &file->tensors[i], &offsets[i], err);
    }
    if (ok && count) { // a file of keys alone may end with them
        uint64_t gap = (file->alignment - c->at % file->alignment) % file->alignment;
        snprintf(c->what, sizeof c->what, "the gap before its data");
        ok = take(c, gap, err) &&
             place_tensors(file, offsets, c->bytes + c->at, c->size - c->at, err) &&
             sort_tensors(file, err);
    }
    free(offsets);
    return ok;
}

// ---- file --------------------------------------------------------------------------------------

static bool check_version(const Gguf *file, uint32_t version, Error *err)
{
    if (version == 2 || version == 3) return true;
    if ((version & 0xFFFF) == 0 && version)
        return error_set(err, "%s: a big-endian GGUF file, expected little endian", file->path);
    return error_set(err, "%s: GGUF version %" PRIu32 ", expected 2 or 3", file->path, version);
}

static bool read_alignment(Gguf *file, Error *err)
{
    const uint64_t most = ALIGNMENT_LIMIT;
    if (!gguf_int_or(&file->alignment, file, "general.alignment", GGUF_ALIGNMENT, 8, most, err))
        return false;
    return !(file->alignment & (file->alignment - 1)) ||
           error_set(err, "%s: key 'general.alignment' is %" PRIu64 ", expected a power of two",
                     file->path, file->alignment);
}

static bool read_file(Gguf *file, Error *err)
{
    Cursor c = {file, file->map.bytes, file->map.size, 0, "its header"};
    uint32_t version;
    uint64_t tensors, values;
    if (c.size < MAGIC_SIZE || memcmp(c.bytes, "GGUF", MAGIC_SIZE) != 0)
        return error_set(err, "%s: does not begin with 'GGUF'", file->path);
    c.at = MAGIC_SIZE;
    if (!take_u32(&c, &version, err) || !check_version(file, version, err)) return false;
    if (!take_u64(&c, &tensors, err) || !take_u64(&c, &values, err)) return false;
    uint64_t left = c.size - c.at;
    if (values > left / LEAST_VALUE || tensors > (left - values * LEAST_VALUE) / LEAST_TENSOR)
        return error_set(err,
                         "%s: %" PRIu64 " keys and %" PRIu64 " tensors do not fit the file's %zu "
                         "bytes",
                         file->path, values, tensors, file->map.size);
    return take_values(file, &c, values, err) && read_alignment(file, err) &&
           take_tensors(file, &c, tensors, err);
}

bool gguf_open(Gguf *file, const char *path, Error *err)
{
    *file = (Gguf){0};
    int length = snprintf(file->path, sizeof file->path, "%s", path);
    if (length < 0 || (size_t)length >= sizeof file->path)
        return error_set(err, "%.80s...: path is too long", path);
    if (!file_map(&file->map, path, err)) return false;
    if (read_file(file, err)) return true;
    gguf_close(file);
    return false;
}

void gguf_close(Gguf *file)
{
    for (size_t i = 0; i < file->value_count; i++) free(file->values[i].key);
    for (size_t i = 0; i < file->tensor_count; i++) free(file->tensors[i].name);
    free(file->values);
    free(file->tensors);
    file_unmap(&file->map);
    *file = (Gguf){0};
}

const GgufValue *gguf_find(const Gguf *file, const char *key)
{
    if (!file->value_count) return NULL;
    return bsearch(&key, file->values, file->value_count, sizeof *file->values, compare_names);
}

const GgufTensor *gguf_find_tensor(const Gguf *file, const char *name)
{
    if (!file->tensor_count) return NULL;
    return bsearch(&name, file->tensors, file->tensor_count, sizeof *file->tensors, compare_names);
}
