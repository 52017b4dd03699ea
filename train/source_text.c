// Plain text, a line or a part of a long line at a time: see data_source.h.
#include "base/utf8.h"
#include "train/source_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Bytes of a document that are encoded at once, and of a part of a line. Where a document or a line
// is longer, the next stretch begins like a text of its own.
enum { STRETCH = 1 << 20 };

typedef struct {
    FILE *in;
    const char *path;
    char *bytes; // (STRETCH) what was read and is not used up
    size_t at, used;
    uint64_t line; // number of the line at hand, from 1
    bool inside;   // of a line: a part of it is behind us
    bool ended;
} Reader;

typedef struct {
    ExampleBuilder *builder;
    char *text; // (2 * STRETCH) of the document at hand, not encoded yet
    size_t size;
    bool begun; // something of the document was encoded
} Document;

// ---- lines -------------------------------------------------------------------------------------

static bool refill(Reader *r, Error *err)
{
    r->used -= r->at;
    memmove(r->bytes, r->bytes + r->at, r->used);
    r->at = 0;
    size_t wanted = STRETCH - r->used, got = fread(r->bytes + r->used, 1, wanted, r->in);
    r->used += got;
    r->ended = got < wanted;
    return !ferror(r->in) || error_set(err, "%s: cannot read: %s", r->path, strerror(errno));
}

// A byte order mark, as some editors put in front of UTF-8, is no text.
static void skip_mark(Reader *r)
{
    r->used = fread(r->bytes, 1, 3, r->in);
    if (r->used == 3 && !memcmp(r->bytes, "\xEF\xBB\xBF", 3)) r->used = 0;
}

// Bytes of a part of a line, cut behind its last space.
static size_t cut(const char *text, size_t size)
{
    for (size_t i = size; i > size / 2; i--)
        if (text[i - 1] == ' ') return i;
    while (size > 1 && ((unsigned char)text[size] & 0xC0) == 0x80) size--; // not within a character
    return size;
}

// The next line with its newline, or a part of it; *size 0: the end. *whole: it is a line by
// itself.
static bool next_line(Reader *r, const char **text, size_t *size, bool *whole, Error *err)
{
    const char *newline = memchr(r->bytes + r->at, '\n', r->used - r->at);
    if (!newline && !r->ended && r->used - r->at < STRETCH) {
        if (!refill(r, err)) return false;
        newline = memchr(r->bytes, '\n', r->used);
    }
    *text = r->bytes + r->at;
    *size = newline ? (size_t)(newline + 1 - *text) : r->used - r->at;
    bool part = !newline && !r->ended;
    if (part) *size = cut(*text, *size - 1);
    *whole = !r->inside && !part;
    r->line += !r->inside && *size;
    r->inside = part;
    r->at += *size;
    size_t valid = utf8_check(*text, *size);
    return valid == *size ||
           error_set(err, "%s:%" PRIu64 ": invalid UTF-8 at byte %zu", r->path, r->line, valid);
}

// ---- documents ---------------------------------------------------------------------------------

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_blank(const char *text, size_t size)
{
    while (size && is_space(text[size - 1])) size--;
    return !size;
}

static bool encode(Document *d, Error *err)
{
    size_t size = d->size;
    d->size = 0;
    d->begun = true;
    return example_builder_text(d->builder, d->text, size, err);
}

// Blank lines in front of a document are no part of it.
static bool add_line(Document *d, const char *line, size_t size, Error *err)
{
    if (!d->size && !d->begun && is_blank(line, size)) return true;
    if (d->size >= STRETCH && !encode(d, err)) return false;
    memcpy(d->text + d->size, line, size);
    d->size += size;
    return true;
}

// Nor are line ends and blank lines behind it.
static bool end_document(Document *d, Error *err)
{
    while (d->size && is_space(d->text[d->size - 1])) d->size--;
    if (d->size && !encode(d, err)) return false;
    d->begun = false;
    return example_builder_text_end(d->builder, err);
}

static bool is_separator(const char *line, size_t size, const char *separator)
{
    while (size && (line[size - 1] == '\n' || line[size - 1] == '\r')) size--;
    return separator && size == strlen(separator) && !memcmp(line, separator, size);
}

static bool read_all(Reader *r, Document *d, const char *separator, Error *err)
{
    for (;;) {
        const char *line;
        size_t size;
        bool whole;
        Error inner;
        if (!next_line(r, &line, &size, &whole, err)) return false;
        bool marks_end = !size || (whole && is_separator(line, size, separator));
        if (!(marks_end ? end_document(d, &inner) : add_line(d, line, size, &inner)))
            return error_set(err, "%s:%" PRIu64 ": %.300s", r->path, r->line, inner.text);
        if (!size) return true;
    }
}

bool source_read_text(const char *path, const char *separator, ExampleBuilder *builder, Error *err)
{
    Reader reader = {.in = fopen(path, "rb"), .path = path};
    if (!reader.in) return error_set(err, "%s: cannot open: %s", path, strerror(errno));
    Document document = {.builder = builder, .text = malloc(2 * STRETCH)};
    reader.bytes = malloc(STRETCH);
    bool ok = (document.text && reader.bytes) || error_set(err, "%s: out of memory", path);
    if (ok) skip_mark(&reader);
    ok = ok && read_all(&reader, &document, separator, err);
    free(reader.bytes);
    free(document.text);
    fclose(reader.in);
    return ok;
}
