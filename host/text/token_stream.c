// Ids to text, token by token or all at once. Bytes that form no UTF-8 become U+FFFD: each of them,
// as in SentencePiece, or in byte-level BPE each longest beginning of a sequence, as in Rust's and
// JavaScript's decoders, which Hugging Face's use.
#include "text/tokenizer_internal.h"
#include "base/utf8.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD" // U+FFFD

_Static_assert(
    sizeof((TokenStream *)0)->text > 3 * (PIECE_LIMIT + 3) + 1,
    "a push returns a piece, or U+FFFD for each byte of it, behind three replaced bytes");

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
    if (s->waiting && s->tokenizer->decode == DECODE_BYTE_LEVEL) s->waiting = 1;
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

// How many of the pending bytes, which begin no sequence, one U+FFFD stands for: in byte-level BPE
// all but the last, which made it so.
static size_t replaced_size(const TokenStream *s)
{
    bool longest = s->tokenizer->decode == DECODE_BYTE_LEVEL;
    return longest && s->waiting > 1 ? s->waiting - 1 : 1;
}

// Adds a byte to what is pending and writes out what is decided by it.
static size_t put_byte(TokenStream *s, size_t used, uint8_t byte)
{
    s->pending[s->waiting++] = (char)byte;
    while (s->waiting) {
        size_t length = utf8_sequence(s->pending, s->waiting);
        if (!length && is_prefix(s->pending, s->waiting)) break;
        used = length ? put(s, used, s->pending, length) : put(s, used, REPLACEMENT, 3);
        length = length ? length : replaced_size(s);
        s->waiting -= length;
        memmove(s->pending, s->pending + length, s->waiting);
    }
    return used;
}

// A piece's text with U+2581 as spaces; Metaspace has none of them in the first token.
static size_t put_piece(TokenStream *s, size_t used, const char *text, size_t size)
{
    bool drop = !s->any && s->tokenizer->decode == DECODE_METASPACE && s->tokenizer->drop_marks;
    size_t at = 0;
    while (at < size) {
        bool mark = size - at >= SPACE_MARK_SIZE && !memcmp(text + at, SPACE_MARK, SPACE_MARK_SIZE);
        if (!mark || !drop) used = put(s, used, mark ? " " : text + at, 1);
        at += mark ? SPACE_MARK_SIZE : 1;
    }
    return used;
}

// The bytes that a piece spells in GPT-2's alphabet into bytes[PIECE_LIMIT]; false where it holds
// another character.
static bool spell(char *bytes, size_t *count, const char *text, size_t size)
{
    *count = 0;
    for (size_t at = 0, length; at < size; at += length) {
        length = utf8_sequence(text + at, size - at);
        unsigned lead = (unsigned char)text[at];
        unsigned rest = length > 1 ? (unsigned char)text[at + 1] & 0x3Fu : 0;
        int byte = length > 2 ? -1 : byte_level_byte(length > 1 ? (lead & 0x1F) << 6 | rest : lead);
        if (byte < 0) return false;
        bytes[(*count)++] = (char)byte;
    }
    return true;
}

// A piece with characters outside the alphabet (an added token) stands for its own bytes.
static size_t put_spelled(TokenStream *s, size_t used, const char *text, size_t size)
{
    char bytes[PIECE_LIMIT];
    size_t count;
    if (spell(bytes, &count, text, size)) text = bytes, size = count;
    for (size_t i = 0; i < size; i++) used = put_byte(s, used, (uint8_t)text[i]);
    return used;
}

const char *token_stream_push(TokenStream *s, uint32_t id)
{
    const Tokenizer *t = s->tokenizer;
    const Piece *piece = id < t->vocab_size ? &t->pieces[id] : NULL;
    size_t used = 0;
    if (piece && piece->kind == PIECE_BYTE) {
        used = put_byte(s, 0, piece->byte);
    } else if (piece && piece->kind == PIECE_NORMAL && t->decode == DECODE_BYTE_LEVEL) {
        used = put_spelled(s, 0, tokenizer_piece(t, id), piece->size);
    } else if (piece && piece->kind == PIECE_NORMAL) {
        used = put_replacements(s, 0);
        used = put_piece(s, used, tokenizer_piece(t, id), piece->size);
    }
    if (piece && (piece->kind == PIECE_BYTE || piece->kind == PIECE_NORMAL)) s->any = true;
    s->text[used] = 0;
    s->size = used;
    return s->text;
}

const char *token_stream_end(TokenStream *s)
{
    s->size = put_replacements(s, 0);
    s->text[s->size] = 0;
    return s->text;
}

char *tokenizer_decode_bytes(const Tokenizer *t, size_t *size, const uint32_t *ids, size_t count)
{
    TokenStream stream;
    Buffer out = {0};
    token_stream_begin(&stream, t);
    bool ok = buffer_put(&out, "", 0);
    for (size_t i = 0; i < count && ok; i++) {
        const char *text = token_stream_push(&stream, ids[i]);
        ok = buffer_put(&out, text, stream.size);
    }
    const char *rest = token_stream_end(&stream);
    ok = ok && buffer_put(&out, rest, stream.size);
    if (ok) {
        out.bytes[out.size] = 0;
        *size = out.size;
        return out.bytes;
    }
    free(out.bytes);
    return NULL;
}

char *tokenizer_decode(const Tokenizer *t, const uint32_t *ids, size_t count)
{
    size_t size, kept = 0;
    char *text = tokenizer_decode_bytes(t, &size, ids, count);
    for (size_t i = 0; text && i < size; i++)
        if (text[i]) text[kept++] = text[i];
    if (text) text[kept] = 0;
    return text;
}
