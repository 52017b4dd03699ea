// Lines that are one JSON value: see json_text.h.
#include "base/json_text.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *text; // (size)
    size_t size, at;
    char *out; // (used): never more than the text is long
    size_t used;
    const char *what;
} Reader;

static bool wrong(const Reader *r, const char *expected, Error *err)
{
    return error_set(err, "%s: byte %zu: expected %s", r->what, r->at, expected);
}

static void skip_space(Reader *r)
{
    while (r->at < r->size && strchr(" \t\r\n", r->text[r->at]) && r->text[r->at]) r->at++;
}

static bool at_end(Reader *r, Error *err)
{
    skip_space(r);
    return r->at == r->size || wrong(r, "nothing more on the line", err);
}

// Four hexadecimal digits at text[at], or -1.
static int32_t hex4(const Reader *r, size_t at)
{
    int32_t value = 0;
    if (r->size < 4 || at > r->size - 4) return -1;
    for (size_t i = at; i < at + 4; i++) {
        static const char DIGITS[] = "0123456789abcdef0123456789ABCDEF";
        const char *digit = r->text[i] ? strchr(DIGITS, r->text[i]) : NULL;
        if (!digit) return -1;
        value = value * 16 + (int32_t)((digit - DIGITS) % 16);
    }
    return value;
}

static void put_code_point(Reader *r, uint32_t c)
{
    char *out = r->out + r->used;
    if (c < 0x80) {
        out[0] = (char)c;
        r->used += 1;
    } else if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        r->used += 2;
    } else if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        r->used += 3;
    } else {
        out[0] = (char)(0xF0 | c >> 18);
        out[1] = (char)(0x80 | (c >> 12 & 0x3F));
        out[2] = (char)(0x80 | (c >> 6 & 0x3F));
        out[3] = (char)(0x80 | (c & 0x3F));
        r->used += 4;
    }
}

// \uXXXX, and a second one where the two are a pair.
static bool take_unicode(Reader *r, Error *err)
{
    int32_t c = hex4(r, r->at + 2), low = -1;
    if (c < 0) return wrong(r, "four hexadecimal digits behind \\u", err);
    r->at += 6;
    bool high = c >= 0xD800 && c < 0xDC00;
    if (high && r->size - r->at >= 6 && !memcmp(r->text + r->at, "\\u", 2))
        low = hex4(r, r->at + 2);
    if (low >= 0xDC00 && low < 0xE000) {
        put_code_point(r, 0x10000u + ((uint32_t)(c - 0xD800) << 10) + (uint32_t)(low - 0xDC00));
        r->at += 6;
    } else {
        put_code_point(r, c >= 0xD800 && c < 0xE000 ? 0xFFFDu : (uint32_t)c);
    }
    return true;
}

static bool take_escape(Reader *r, Error *err)
{
    static const char NAMES[] = "\"\\/bfnrt", VALUES[] = "\"\\/\b\f\n\r\t";
    char name = r->at + 1 < r->size ? r->text[r->at + 1] : 0;
    if (name == 'u') return take_unicode(r, err);
    const char *found = name ? strchr(NAMES, name) : NULL;
    if (!found) return wrong(r, "an escape such as \\n", err);
    r->out[r->used++] = VALUES[found - NAMES];
    r->at += 2;
    return true;
}

static bool take_string(Reader *r, Error *err)
{
    skip_space(r);
    if (r->at == r->size || r->text[r->at] != '"') return wrong(r, "a JSON string", err);
    for (r->at++; r->at < r->size && r->text[r->at] != '"';) {
        const char *text = r->text + r->at;
        size_t length = utf8_sequence(text, r->size - r->at);
        if (!length) return wrong(r, "valid UTF-8", err);
        if ((unsigned char)*text < 0x20) return wrong(r, "no bare control character", err);
        if (*text == '\\') {
            if (!take_escape(r, err)) return false;
            continue;
        }
        memcpy(r->out + r->used, text, length);
        r->used += length;
        r->at += length;
    }
    if (r->at == r->size) return wrong(r, "the end of the string", err);
    r->at++;
    return at_end(r, err);
}

char *json_text_string(size_t *out_size, const char *text, size_t size, const char *what,
                       Error *err)
{
    Reader r = {.text = text, .size = size, .out = malloc(size + 1), .what = what};
    if (!r.out) {
        error_set(err, "%s: out of memory for %zu bytes", what, size);
    } else if (take_string(&r, err)) {
        r.out[r.used] = 0;
        *out_size = r.used;
        return r.out;
    }
    free(r.out);
    return NULL;
}

static bool take_number(Reader *r, uint32_t *out, Error *err)
{
    uint64_t value = 0;
    size_t begin = r->at;
    while (r->at < r->size && r->text[r->at] >= '0' && r->text[r->at] <= '9') {
        value = value * 10 + (uint64_t)(r->text[r->at] - '0');
        if (value > UINT32_MAX) return wrong(r, "a number below 4294967296", err);
        r->at++;
    }
    *out = (uint32_t)value;
    return r->at > begin || wrong(r, "a whole number", err);
}

static bool take_numbers(Reader *r, uint32_t *out, size_t *count, Error *err)
{
    *count = 0;
    skip_space(r);
    if (r->at == r->size || r->text[r->at] != '[') return wrong(r, "a JSON array", err);
    r->at++;
    skip_space(r);
    bool empty = r->at < r->size && r->text[r->at] == ']';
    while (!empty) {
        skip_space(r);
        if (!take_number(r, &out[*count], err)) return false;
        ++*count;
        skip_space(r);
        char next = r->at < r->size ? r->text[r->at] : 0;
        if (next == ']') break;
        if (next != ',') return wrong(r, "',' or ']'", err);
        r->at++;
    }
    r->at++;
    return at_end(r, err);
}

// A number and its comma are at least two bytes.
uint32_t *json_text_numbers(size_t *count, const char *text, size_t size, const char *what,
                            Error *err)
{
    Reader r = {.text = text, .size = size, .what = what};
    uint32_t *out = malloc((size / 2 + 1) * sizeof *out);
    if (!out)
        error_set(err, "%s: out of memory for %zu bytes", what, size);
    else if (take_numbers(&r, out, count, err))
        return out;
    free(out);
    return NULL;
}

char *json_text_quote(const char *text, size_t size)
{
    static const char NAMED[] = "\"\\\b\f\n\r\t", NAMES[] = "\"\\bfnrt", HEX[] = "0123456789abcdef";
    char *out = size < SIZE_MAX / 8 ? malloc(6 * size + 3) : NULL, *at = out;
    if (!out) return NULL;
    *at++ = '"';
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        const char *named = c ? strchr(NAMED, c) : NULL;
        if (named) {
            *at++ = '\\';
            *at++ = NAMES[named - NAMED];
        } else if (c < 0x20) {
            memcpy(at, "\\u00", 4);
            at[4] = HEX[c >> 4];
            at[5] = HEX[c & 15];
            at += 6;
        } else {
            *at++ = text[i];
        }
    }
    *at++ = '"';
    *at = 0;
    return out;
}
