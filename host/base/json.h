// JSON files through cJSON, with checked fields: every failure names the file and the key. The
// whole program reads its JSON through here.
#ifndef STRATA_BASE_JSON_H
#define STRATA_BASE_JSON_H

#include "base/error.h"

#include <cjson/cJSON.h>
#include <stdint.h>

// Parses size bytes that came from `file` (used in messages only): valid UTF-8, one JSON value,
// no key twice in one object, no control characters and no \u0000 in its strings, nothing but white
// space behind it. The caller frees with cJSON_Delete. NULL and a message on failure.
cJSON *json_parse(const char *text, size_t size, const char *file, Error *err);
cJSON *json_read(const char *path, Error *err);
// Writes `value` indented, atomically.
bool json_write(const char *path, const cJSON *value, Error *err);

// One field of an object. The *_or forms take `fallback` where the key is absent or null; a value
// of another type, or outside [low, high], is an error that names file and key.
bool json_int(int64_t *out, const cJSON *object, const char *key, int64_t low, int64_t high,
              const char *file, Error *err);
bool json_int_or(int64_t *out, const cJSON *object, const char *key, int64_t fallback, int64_t low,
                 int64_t high, const char *file, Error *err);
bool json_number_or(double *out, const cJSON *object, const char *key, double fallback, double low,
                    double high, const char *file, Error *err);
bool json_bool_or(bool *out, const cJSON *object, const char *key, bool fallback, const char *file,
                  Error *err);
// A list of at most `most` finite numbers, each `low` or more, into out; it must be there.
bool json_numbers(double *out, size_t *count, size_t most, const cJSON *object, const char *key,
                  double low, const char *file, Error *err);
// *out points into object; NULL where absent or null for the _or form.
bool json_string(const char **out, const cJSON *object, const char *key, const char *file,
                 Error *err);
bool json_string_or(const char **out, const cJSON *object, const char *key, const char *fallback,
                    const char *file, Error *err);
// One of `words`, which end with NULL: its index; the first is the fallback.
bool json_word_or(int *out, const cJSON *object, const char *key, const char *const *words,
                  const char *file, Error *err);

#endif
