// JSON files through cJSON, with checked fields: see json.h.
#include "base/json.h"
#include "base/file.h"
#include "base/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_LIMIT = 1 << 30 }; // cJSON counts bytes in int: no file past 1 GiB

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// A key that stands twice in `object`, or NULL. Sorting keeps this n log n: files are untrusted.
static const char *find_duplicate(const cJSON *object)
{
    size_t count = (size_t)cJSON_GetArraySize(object);
    const char **names = malloc((count + 1) * sizeof *names);
    const char *twice = NULL;
    if (!names) return NULL;
    size_t n = 0;
    for (const cJSON *item = object->child; item; item = item->next) names[n++] = item->string;
    qsort(names, n, sizeof *names, compare_names);
    for (size_t i = 1; i < n && !twice; i++)
        if (!strcmp(names[i - 1], names[i])) twice = names[i];
    free(names);
    return twice;
}

// Depth is bounded by cJSON's own nesting limit.
static bool check_duplicates(const cJSON *value, const char *file, Error *err)
{
    const char *twice = cJSON_IsObject(value) ? find_duplicate(value) : NULL;
    if (twice) return error_set(err, "%s: key '%.100s' stands twice in one object", file, twice);
    for (const cJSON *item = value->child; item; item = item->next)
        if ((item->type & (cJSON_Object | cJSON_Array)) && !check_duplicates(item, file, err))
            return false;
    return true;
}

// The offset of the first byte that must not be there, or size: a control character, which JSON
// allows nowhere but as white space, or the escape \u0000, behind which cJSON's strings would end
// and so pass for a shorter one.
static size_t find_forbidden(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < ' ' && c != '\t' && c != '\n' && c != '\r') return i;
        if (c != '\\') continue;
        if (size - i >= 6 && !memcmp(text + i, "\\u0000", 6)) return i;
        i++; // the escaped character, which may be a backslash itself
    }
    return size;
}

cJSON *json_parse(const char *text, size_t size, const char *file, Error *err)
{
    size_t valid = utf8_check(text, size);
    if (valid < size) {
        error_set(err, "%s: invalid UTF-8 at byte %zu", file, valid);
        return NULL;
    }
    size_t allowed = find_forbidden(text, size);
    if (allowed < size) {
        error_set(err, "%s: not JSON that is read here: control character at byte %zu", file,
                  allowed);
        return NULL;
    }
    const char *end = NULL;
    cJSON *value = cJSON_ParseWithLengthOpts(text, size, &end, false);
    if (!value) {
        error_set(err, "%s: not JSON: syntax error at byte %zu of %zu", file,
                  end ? (size_t)(end - text) : 0, size);
        return NULL;
    }
    size_t used = (size_t)(end - text);
    while (used < size && strchr(" \t\r\n", text[used]) && text[used]) used++;
    if (used < size) {
        error_set(err, "%s: not JSON: unexpected text behind the value at byte %zu", file, used);
    } else if (check_duplicates(value, file, err)) {
        return value;
    }
    cJSON_Delete(value);
    return NULL;
}

cJSON *json_read(const char *path, Error *err)
{
    char *text;
    size_t size;
    if (!file_read(&text, &size, path, JSON_LIMIT, err)) return NULL;
    cJSON *value = json_parse(text, size, path, err);
    free(text);
    return value;
}

bool json_write(const char *path, const cJSON *value, Error *err)
{
    char *text = cJSON_Print(value);
    if (!text) return error_set(err, "%s: out of memory while writing", path);
    FileWriter writer;
    bool ok = file_writer_open(&writer, path, err);
    if (ok) {
        file_writer_put(&writer, text, strlen(text));
        file_writer_put(&writer, "\n", 1);
        ok = file_writer_commit(&writer, err);
    }
    free(text);
    return ok;
}

// The field, or NULL where it is absent or null.
static const cJSON *find(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return item && !cJSON_IsNull(item) ? item : NULL;
}

static bool missing(const char *key, const char *file, Error *err)
{
    return error_set(err, "%s: key '%s' is missing", file, key);
}

bool json_int(int64_t *out, const cJSON *object, const char *key, int64_t low, int64_t high,
              const char *file, Error *err)
{
    if (!find(object, key)) return missing(key, file, err);
    return json_int_or(out, object, key, low, low, high, file, err);
}

bool json_int_or(int64_t *out, const cJSON *object, const char *key, int64_t fallback, int64_t low,
                 int64_t high, const char *file, Error *err)
{
    const cJSON *item = find(object, key);
    *out = fallback;
    if (!item) return true;
    double value = item->valuedouble;
    if (!cJSON_IsNumber(item) || !(fabs(value) <= 9007199254740992.0) || value != floor(value))
        return error_set(err, "%s: key '%s' must be a whole number", file, key);
    if (value < (double)low || value > (double)high)
        return error_set(err, "%s: key '%s' is %.0f, expected %lld to %lld", file, key, value,
                         (long long)low, (long long)high);
    *out = (int64_t)value;
    return true;
}

bool json_number_or(double *out, const cJSON *object, const char *key, double fallback, double low,
                    double high, const char *file, Error *err)
{
    const cJSON *item = find(object, key);
    *out = fallback;
    if (!item) return true;
    if (!cJSON_IsNumber(item)) return error_set(err, "%s: key '%s' must be a number", file, key);
    if (!(item->valuedouble >= low && item->valuedouble <= high))
        return error_set(err, "%s: key '%s' is %g, expected %g to %g", file, key, item->valuedouble,
                         low, high);
    *out = item->valuedouble;
    return true;
}

bool json_numbers(double *out, size_t *count, size_t most, const cJSON *object, const char *key,
                  double low, const char *file, Error *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(object, key), *item;
    *count = 0;
    if (!cJSON_IsArray(list))
        return error_set(err, "%s: key '%s': a list of numbers is expected", file, key);
    cJSON_ArrayForEach(item, list)
    {
        if (*count == most)
            return error_set(err, "%s: key '%s': more than %zu values", file, key, most);
        double value = cJSON_IsNumber(item) ? item->valuedouble : NAN;
        if (!isfinite(value) || value < low)
            return error_set(err, "%s: key '%s': value %zu: a number of %g or more is expected",
                             file, key, *count, low);
        out[(*count)++] = value;
    }
    return true;
}

bool json_bool_or(bool *out, const cJSON *object, const char *key, bool fallback, const char *file,
                  Error *err)
{
    const cJSON *item = find(object, key);
    *out = fallback;
    if (!item) return true;
    if (!cJSON_IsBool(item)) return error_set(err, "%s: key '%s' must be true or false", file, key);
    *out = cJSON_IsTrue(item);
    return true;
}

bool json_string(const char **out, const cJSON *object, const char *key, const char *file,
                 Error *err)
{
    if (!find(object, key)) return missing(key, file, err);
    return json_string_or(out, object, key, NULL, file, err);
}

bool json_string_or(const char **out, const cJSON *object, const char *key, const char *fallback,
                    const char *file, Error *err)
{
    const cJSON *item = find(object, key);
    *out = fallback;
    if (!item) return true;
    if (!cJSON_IsString(item)) return error_set(err, "%s: key '%s' must be a string", file, key);
    *out = item->valuestring;
    return true;
}

// "'a', 'b' or 'c'"
static void list_words(char *out, size_t size, const char *const *words)
{
    size_t length = 0;
    *out = 0;
    for (int i = 0; words[i] && length < size; i++) {
        const char *before = !i ? "" : words[i + 1] ? ", " : " or ";
        length += (size_t)snprintf(out + length, size - length, "%s'%s'", before, words[i]);
    }
}

bool json_word_or(int *out, const cJSON *object, const char *key, const char *const *words,
                  const char *file, Error *err)
{
    const char *text;
    char all[200];
    if (!json_string_or(&text, object, key, words[0], file, err)) return false;
    for (*out = 0; words[*out]; ++*out)
        if (!strcmp(text, words[*out])) return true;
    list_words(all, sizeof all, words);
    return error_set(err, "%s: key '%s' is '%.40s', expected %s", file, key, text, all);
}
