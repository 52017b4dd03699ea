// Ids to text, token by token or all at once. Bytes that form no UTF-8 become U+FFFD each, as in
// SentencePiece.
#include "text/tokenizer_internal.h"
#include "base/utf8.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD" // U+FFFD

_Static_assert(sizeof((TokenStream *)0)->text > PIECE_LIMIT + 3 * 3 + 1,
               "a push returns a piece behind up to three replaced bytes");

void token_stream_begin(TokenStream *stream, const Tokenizer *tokenizer)
{
    *stream = (TokenStream){.tokenizer = tokenizer};
}

// Writes text behind out[used], without the one leading space of the whole; returns the new end.
static size_t put(TokenStream *s, size_t used, const char *text, size_t size)
{
    if (size && !s->started) {
        s->started = true;
        if (s->tokenizer->strip_space && *text == ' ') text++, size--;
    }
    assert(used + size < sizeof s->text);
    memcpy(s->text + used, text, size);
    return used + size;
}

static size_t put_replacements(TokenStream *s, size_t used)
{
    for (; s->waiting; s->waiting--) used = put(s, used, REPLACEMENT, 3);
    return used;
}

// Whether the bytes, which are no whole sequence, may become one.
static bool is_prefix(const char *bytes, size_t size)
{
    static const char LOW[] = "\x80\x80\x80", HIGH[] = "\xBF\xBF\xBF";
    char low[4], high[4];
    if (size > 3) return false;
    memcpy(low, bytes, size);
    memcpy(high, bytes, size);
    memcpy(low + size, LOW, 4 - size);
    memcpy(high + size, HIGH, 4 - size);
    return utf8_sequence(low, 4) > size || utf8_sequence(high, 4) > size;
}

// Adds a byte to what is pending and writes out what is decided by it.
static size_t put_byte(TokenStream *s, size_t used, uint8_t byte)
{
    s->pending[s->waiting++] = (char)byte;
    while (s->waiting) {
        size_t length = utf8_sequence(s->pending, s->waiting);
        if (!length && is_prefix(s->pending, s->waiting)) break;
        used = length ? put(s, used, s->pending, length) : put(s, used, REPLACEMENT, 3);
        length = length ? length : 1;
        s->waiting -= length;
        memmove(s->pending, s->pending + length, s->waiting);
    }
    return used;
}

// A piece's text with U+2581 as spaces.
static size_t put_piece(TokenStream *s, size_t used, const char *text, size_t size)
{
    size_t at = 0;
    while (at < size) {
        bool mark = size - at >= SPACE_MARK_SIZE && !memcmp(text + at, SPACE_MARK, SPACE_MARK_SIZE);
        used = mark ? put(s, used, " ", 1) : put(s, used, text + at, 1);
        at += mark ? SPACE_MARK_SIZE : 1;
    }
    return used;
}

const char *token_stream_push(TokenStream *s, uint32_t id)
{
    const Tokenizer *t = s->tokenizer;
    const Piece *piece = id < t->vocab_size ? &t->pieces[id] : NULL;
    size_t used = 0;
    if (piece && piece->kind == PIECE_BYTE) {
        used = put_byte(s, 0, piece->byte);
    } else if (piece && piece->kind == PIECE_NORMAL) {
        used = put_replacements(s, 0);
        used = put_piece(s, used, tokenizer_piece(t, id), piece->size);
    }
    s->text[used] = 0;
    return s->text;
}

const char *token_stream_end(TokenStream *s)
{
    s->text[put_replacements(s, 0)] = 0;
    return s->text;
}

char *tokenizer_decode(const Tokenizer *t, const uint32_t *ids, size_t count)
{
    TokenStream stream;
    Buffer out = {0};
    token_stream_begin(&stream, t);
    bool ok = buffer_put(&out, "", 0);
    for (size_t i = 0; i < count && ok; i++) {
        const char *text = token_stream_push(&stream, ids[i]);
        ok = buffer_put(&out, text, strlen(text));
    }
    const char *rest = token_stream_end(&stream);
    ok = ok && buffer_put(&out, rest, strlen(rest));
    if (ok) {
        out.bytes[out.size] = 0;
        return out.bytes;
    }
    free(out.bytes);
    return NULL;
}
