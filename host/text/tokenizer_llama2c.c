// Reads llama2.c's tokenizer files: pieces with plain spaces and SentencePiece scores, from which
// the merges are derived. Source: tokenizer.bin as llama2.c exports it.
#include "text/tokenizer_internal.h"
#include "base/file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_NORMAL = 259,  // ids 0 to 2 are control tokens, the next 256 the bytes
    LLAMA2C_PIECE = 256, // bytes; SentencePiece makes pieces of 16 characters
};

typedef struct {
    const uint8_t *bytes; // (size)
    size_t size, at;
    const char *file;
    float *scores; // (vocab_size)
} Reader;

static bool take(Reader *r, void *out, size_t size, uint32_t id, Error *err)
{
    if (size > r->size - r->at)
        return error_set(err, "%s: ends at byte %zu, within token %u", r->file, r->size, id);
    memcpy(out, r->bytes + r->at, size);
    r->at += size;
    return true;
}

// BOS and EOS stand as "\n<s>\n" so that llama2.c prints them on lines of their own.
static void trim_control(uint32_t id, const char **text, size_t *size)
{
    if (id >= 3) return;
    while (*size && **text == '\n') ++*text, --*size;
    while (*size && (*text)[*size - 1] == '\n') --*size;
}

static bool read_piece(Tokenizer *t, Reader *r, uint32_t id, Error *err)
{
    int32_t length = 0;
    char bytes[LLAMA2C_PIECE];
    if (!take(r, &r->scores[id], sizeof *r->scores, id, err)) return false;
    if (!take(r, &length, sizeof length, id, err)) return false;
    if (length < 0 || length > LLAMA2C_PIECE)
        return error_set(err, "%s: token %u has a length of %d, expected 0 to %d", r->file, id,
                         (int)length, LLAMA2C_PIECE);
    if (!isfinite(r->scores[id]))
        return error_set(err, "%s: the score of token %u is not a finite number", r->file, id);
    if (!take(r, bytes, (size_t)length, id, err)) return false;
    const char *text = bytes;
    size_t size = (size_t)length;
    trim_control(id, &text, &size);
    Buffer marked = {0};
    bool ok = buffer_put_marked(&marked, text, size)
                  ? tokenizer_add_piece(t, id, marked.bytes, marked.size, r->file, err)
                  : error_set(err, "%s: out of memory for token %u", r->file, id);
    free(marked.bytes);
    return ok;
}

static bool read_pieces(Tokenizer *t, Reader *r, Error *err)
{
    int32_t longest = 0;
    if (!take(r, &longest, sizeof longest, 0, err)) return false;
    for (uint32_t id = 0; id < t->vocab_size; id++)
        if (!read_piece(t, r, id, err)) return false;
    if (r->at == r->size) return true;
    return error_set(err, "%s: %zu bytes follow the %u tokens of the vocabulary", r->file,
                     r->size - r->at, t->vocab_size);
}

static bool read_all(Tokenizer *t, Reader *r, Error *err)
{
    if (!r->scores) return error_set(err, "%s: out of memory for the scores", r->file);
    if (!read_pieces(t, r, err)) return false;
    for (uint32_t id = 0; id < 3; id++)
        if (!tokenizer_add_token(t, (AddedToken){.id = id, .special = true}, r->file, err))
            return false;
    return tokenizer_derive_merges(t, r->scores, FIRST_NORMAL, NULL, r->file, err) &&
           tokenizer_seal_llama(t, r->file, err);
}

Tokenizer *tokenizer_load_llama2c(const char *path, uint32_t vocab_size, Error *err)
{
    FileMap map;
    if (vocab_size < FIRST_NORMAL || vocab_size > VOCAB_LIMIT) {
        error_set(err, "%s: a vocabulary of %u tokens, expected %d to %d", path, vocab_size,
                  FIRST_NORMAL, VOCAB_LIMIT);
        return NULL;
    }
    if (!file_map(&map, path, err)) return NULL;
    Reader r = {.bytes = map.bytes, .size = map.size, .file = path};
    r.scores = malloc(vocab_size * sizeof *r.scores);
    Tokenizer *t = tokenizer_new(vocab_size, path, err);
    if (t && !read_all(t, &r, err)) {
        tokenizer_free(t);
        t = NULL;
    }
    free(r.scores);
    file_unmap(&map);
    return t;
}
