// Text to ids: cutting out the added tokens, normalizing what is between them, and splitting that
// into the pieces that merging starts from. Source: Hugging Face's tokenizers, whose order of steps
// and corner cases this follows.
#include "text/tokenizer_internal.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_LIMIT = 1 << 30 }; // bytes; positions are 32-bit and U+2581 is three times a space

typedef struct {
    const Tokenizer *tokenizer;
    TokenList *out;
    Buffer text;   // a stretch in the form of the pieces
    TokenList ids; // of a stretch, before and while merging
} Encoder;

// Does something with a stretch of text; at_start: it begins where the whole text begins.
typedef bool StretchAction(Encoder *e, const char *text, size_t size, bool at_start);

// Appends each of tokens[count] that is found in text, with `action` for what is between them.
static bool split(Encoder *e, const AddedToken *tokens, size_t count, const char *text, size_t size,
                  bool at_start, StretchAction *action)
{
    for (size_t from = 0;;) {
        AddedMatch match = added_next(tokens, count, text, size, from);
        size_t end = match.token ? match.begin : size;
        if (end > from && !action(e, text + from, end - from, at_start && !from)) return false;
        if (!match.token) return true;
        if (!token_list_push(e->out, match.token->id)) return false;
        from = match.end;
    }
}

// Appends the byte pieces of a character; false where one is missing.
static bool push_bytes(Encoder *e, const char *text, size_t size, bool *memory)
{
    const uint32_t *bytes = e->tokenizer->bytes;
    for (size_t i = 0; i < size; i++)
        if (bytes[(unsigned char)text[i]] == NO_PIECE) return false;
    for (size_t i = 0; i < size; i++)
        *memory = *memory && token_list_push(&e->ids, bytes[(unsigned char)text[i]]);
    return true;
}

// Splits a stretch into characters and bytes. A run of characters that are neither is held back
// until the next character of the vocabulary, even behind bytes: so does Hugging Face.
static bool push_characters(Encoder *e, const char *text, size_t size)
{
    const Tokenizer *t = e->tokenizer;
    bool waiting = false, memory = true;
    for (size_t at = 0, length; at < size && memory; at += length) {
        length = utf8_sequence(text + at, size - at);
        uint32_t id = tokenizer_find(t, text + at, length);
        if (id == NO_PIECE && push_bytes(e, text + at, length, &memory)) continue;
        if (waiting && (id != NO_PIECE || !t->fuse_unk))
            memory = memory && token_list_push(&e->ids, t->unk);
        waiting = id == NO_PIECE;
        if (!waiting) memory = memory && token_list_push(&e->ids, id);
    }
    return memory && (!waiting || token_list_push(&e->ids, t->unk));
}

static bool encode_pieces(Encoder *e, const char *text, size_t size)
{
    e->ids.count = 0;
    if (!push_characters(e, text, size) || !bpe_merge(e->tokenizer, e->ids.ids, &e->ids.count))
        return false;
    for (size_t i = 0; i < e->ids.count; i++)
        if (!token_list_push(e->out, e->ids.ids[i])) return false;
    return true;
}

// e->text = text with the spaces marked and the prefix in front.
static bool mark_spaces(Encoder *e, const char *text, size_t size, bool at_start)
{
    Prefix prefix = e->tokenizer->prefix;
    bool has = *text == ' ' || (size >= SPACE_MARK_SIZE && !memcmp(text, SPACE_MARK, 3));
    bool wanted = prefix == PREFIX_ALWAYS || (prefix == PREFIX_IF_MISSING && !has) ||
                  (prefix == PREFIX_FIRST && !has && at_start);
    e->text.size = 0;
    if (wanted && !buffer_put(&e->text, SPACE_MARK, SPACE_MARK_SIZE)) return false;
    return buffer_put_marked(&e->text, text, size);
}

static bool encode_stretch(Encoder *e, const char *text, size_t size, bool at_start)
{
    if (!e->tokenizer->metaspace) return encode_pieces(e, text, size);
    if (!mark_spaces(e, text, size, at_start)) return false;
    return encode_pieces(e, e->text.bytes, e->text.size);
}

static bool normalize_stretch(Encoder *e, const char *text, size_t size, bool at_start)
{
    const Tokenizer *t = e->tokenizer;
    const AddedToken *normalized = t->added + t->added_raw;
    size_t count = t->added_count - t->added_raw;
    if (t->metaspace) return split(e, normalized, count, text, size, at_start, encode_stretch);
    if (!mark_spaces(e, text, size, at_start)) return false;
    return split(e, normalized, count, e->text.bytes, e->text.size, at_start, encode_stretch);
}

bool tokenizer_encode(const Tokenizer *t, const char *text, size_t size, TokenList *out, Error *err)
{
    size_t valid = utf8_check(text, size);
    if (valid < size) return error_set(err, "text: invalid UTF-8 at byte %zu", valid);
    if (size > TEXT_LIMIT)
        return error_set(err, "text: %zu bytes, expected at most %d", size, TEXT_LIMIT);
    Encoder e = {.tokenizer = t, .out = out};
    size_t before = out->count;
    bool ok = split(&e, t->added, t->added_raw, text, size, true, normalize_stretch);
    free(e.text.bytes);
    token_list_free(&e.ids);
    if (ok) return true;
    out->count = before;
    return error_set(err, "text: out of memory while encoding %zu bytes", size);
}
