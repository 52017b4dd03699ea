// Getters for the values of GGUF files: see gguf.h.
#include "model/gguf.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char *const TYPE_NAMES[GGUF_TYPES] = {
    "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"};

static bool refuse(const Gguf *file, const GgufValue *value, const char *expected, Error *err)
{
    return error_set(err, "%s: key '%.100s' is %s%s, expected %s", file->path, value->key,
                     value->is_array ? "an array of " : "", TYPE_NAMES[value->type], expected);
}

// Whether the value is an integer of any width; *negative where it is below 0.
static bool integer(uint64_t *out, bool *negative, const GgufValue *value)
{
    int64_t wide = 0;
    *negative = false;
    if (value->is_array) return false;
    switch (value->type) {
    case GGUF_U8:
        *out = value->data[0];
        return true;
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64:
        *out = 0;
        memcpy(out, value->data, (size_t)value->size); // little endian
        return true;
    case GGUF_I8:
        wide = (int8_t)value->data[0];
        break;
    case GGUF_I16:
        wide = (int16_t)(value->data[0] | value->data[1] << 8);
        break;
    case GGUF_I32:
        wide = (int32_t)gguf_element_u32(value, 0);
        break;
    case GGUF_I64:
        memcpy(&wide, value->data, sizeof wide);
        break;
    default:
        return false;
    }
    *negative = wide < 0;
    *out = (uint64_t)wide;
    return true;
}

bool gguf_int(uint64_t *out, const Gguf *file, const char *key, uint64_t low, uint64_t high,
              Error *err)
{
    if (!gguf_find(file, key)) return error_set(err, "%s: key '%s' is missing", file->path, key);
    return gguf_int_or(out, file, key, 0, low, high, err);
}

bool gguf_int_or(uint64_t *out, const Gguf *file, const char *key, uint64_t fallback, uint64_t low,
                 uint64_t high, Error *err)
{
    const GgufValue *value = gguf_find(file, key);
    bool negative;
    *out = fallback;
    if (!value) return true;
    if (!integer(out, &negative, value)) return refuse(file, value, "an integer", err);
    if (!negative && *out >= low && *out <= high) return true;
    return error_set(err, "%s: key '%s' is %s%" PRIu64 ", expected %" PRIu64 " to %" PRIu64,
                     file->path, key, negative ? "-" : "", negative ? 0 - *out : *out, low, high);
}

bool gguf_number_or(double *out, const Gguf *file, const char *key, double fallback, Error *err)
{
    const GgufValue *value = gguf_find(file, key);
    *out = fallback;
    if (!value) return true;
    if (value->is_array || (value->type != GGUF_F32 && value->type != GGUF_F64))
        return refuse(file, value, "f32 or f64", err);
    if (value->type == GGUF_F32)
        *out = (double)gguf_element_f32(value, 0);
    else
        memcpy(out, value->data, sizeof *out);
    return isfinite(*out) || error_set(err, "%s: key '%s' is not a finite number", file->path, key);
}

bool gguf_bool_or(bool *out, const Gguf *file, const char *key, bool fallback, Error *err)
{
    const GgufValue *value = gguf_find(file, key);
    *out = fallback;
    if (!value) return true;
    if (value->is_array || value->type != GGUF_BOOL) return refuse(file, value, "bool", err);
    *out = value->data[0] == 1;
    return true;
}

bool gguf_text_or(GgufText *out, const Gguf *file, const char *key, Error *err)
{
    const GgufValue *value = gguf_find(file, key);
    *out = (GgufText){0};
    if (!value) return true;
    if (value->is_array || value->type != GGUF_STRING) return refuse(file, value, "string", err);
    const uint8_t *at = value->data;
    *out = gguf_next_text(&at);
    return true;
}

bool gguf_array_or(const GgufValue **out, const Gguf *file, const char *key, GgufType type,
                   Error *err)
{
    const GgufValue *value = gguf_find(file, key);
    *out = value;
    if (!value || (value->is_array && value->type == type)) return true;
    return error_set(err, "%s: key '%s' is %s%s, expected an array of %s", file->path, key,
                     value->is_array ? "an array of " : "", TYPE_NAMES[value->type],
                     TYPE_NAMES[type]);
}

GgufText gguf_next_text(const uint8_t **at)
{
    uint64_t size;
    memcpy(&size, *at, sizeof size);
    GgufText text = {(const char *)*at + sizeof size, (size_t)size};
    *at += sizeof size + size;
    return text;
}

float gguf_element_f32(const GgufValue *array, uint64_t i)
{
    float value;
    memcpy(&value, array->data + i * sizeof value, sizeof value);
    return value;
}

uint32_t gguf_element_u32(const GgufValue *array, uint64_t i)
{
    uint32_t value;
    memcpy(&value, array->data + i * sizeof value, sizeof value);
    return value;
}

bool gguf_text_is(GgufText text, const char *string)
{
    return text.size == strlen(string) && !memcmp(text.text, string, text.size);
}
