// The vocabulary of a Tokenizer: its pieces and merges, how they are found, and its life time.
// Formats, encoding and decoding are in the files beside this one.
#include "text/tokenizer_internal.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The tables stay at most half full, where honest files need a few dozen probes at worst. A file
// made to collide is refused rather than walked through slowly.
enum { PROBE_LIMIT = 1000 };

// At least twice `count`, a power of two.
static size_t table_size(size_t count)
{
    size_t size = 64;
    while (size < 2 * count) size *= 2;
    return size;
}

static uint32_t *table_new(size_t size)
{
    uint32_t *table = malloc(size * sizeof *table);
    if (table) memset(table, 0xFF, size * sizeof *table); // NO_PIECE everywhere
    return table;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 31)) * 0x9E3779B97F4A7C15u;
    return x ^ (x >> 29);
}

static size_t hash_text(const char *text, size_t size)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)text[i]) * 0x100000001B3u;
    return (size_t)mix(hash);
}

static size_t hash_pair(uint32_t left, uint32_t right)
{
    return (size_t)mix(mix((uint64_t)left << 32 | right) + right);
}

// The slot of a piece's text, or the empty one where it would stand; NULL past PROBE_LIMIT.
static uint32_t *text_slot(const Tokenizer *t, const char *text, size_t size)
{
    size_t at = hash_text(text, size);
    for (int i = 0; i < PROBE_LIMIT; i++, at++) {
        uint32_t *slot = &t->by_text[at & (t->by_text_size - 1)];
        if (*slot == NO_PIECE) return slot;
        const Piece *piece = &t->pieces[*slot];
        if (piece->size == size && !memcmp(t->arena + piece->offset, text, size)) return slot;
    }
    return NULL;
}

static uint32_t *pair_slot(const Tokenizer *t, uint32_t left, uint32_t right)
{
    size_t at = hash_pair(left, right);
    for (int i = 0; i < PROBE_LIMIT; i++, at++) {
        uint32_t *slot = &t->by_pair[at & (t->by_pair_size - 1)];
        if (*slot == NO_PIECE) return slot;
        const Merge *merge = &t->merges[*slot];
        if (merge->left == left && merge->right == right) return slot;
    }
    return NULL;
}

uint32_t tokenizer_find(const Tokenizer *t, const char *text, size_t size)
{
    const uint32_t *slot = text_slot(t, text, size);
    return slot ? *slot : NO_PIECE;
}

uint32_t tokenizer_find_known(const Tokenizer *t, const char *text, size_t size)
{
    uint32_t id = tokenizer_find(t, text, size);
    return id != NO_PIECE && t->pieces[id].outside ? NO_PIECE : id;
}

uint32_t tokenizer_find_merge(const Tokenizer *t, uint32_t left, uint32_t right)
{
    const uint32_t *slot = pair_slot(t, left, right);
    return slot ? *slot : NO_PIECE;
}

Tokenizer *tokenizer_new(uint32_t vocab_size, const char *file, Error *err)
{
    Tokenizer *t = calloc(1, sizeof *t);
    if (t) {
        t->vocab_size = vocab_size;
        t->by_text_size = table_size(vocab_size);
        t->pieces = calloc(vocab_size, sizeof *t->pieces);
        t->by_text = table_new(t->by_text_size);
        t->unk = t->bos = t->eos = TOKEN_NONE;
        t->byte_fallback = true;
        t->fuse_unk = true;
        t->strip_space = true;
        t->adds_bos = true;
    }
    if (t && t->pieces && t->by_text && normalizer_add(t, NORMAL_PREPEND, NULL, SPACE_MARK) &&
        normalizer_add(t, NORMAL_REPLACE, " ", SPACE_MARK))
        return t;
    tokenizer_free(t);
    error_set(err, "%s: out of memory for a vocabulary of %u pieces", file, vocab_size);
    return NULL;
}

void tokenizer_free(Tokenizer *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->added_count; i++) free(t->added[i].text);
    normalizer_clear(t);
    pre_clear(t);
    free(t->pieces);
    free(t->by_text);
    free(t->merges);
    free(t->by_pair);
    free(t->joints);
    free(t->added);
    free(t->arena);
    free(t);
}

// `items` moved to where `need` items of item_size bytes have room, and *capacity along with it.
// NULL: out of memory, and items is where it was.
static void *reserve(void *items, size_t need, size_t *capacity, size_t item_size)
{
    if (need <= *capacity) return items;
    size_t larger = *capacity ? 2 * *capacity : 64;
    while (larger < need) larger *= 2;
    void *moved = larger <= SIZE_MAX / item_size ? realloc(items, larger * item_size) : NULL;
    if (moved) *capacity = larger;
    return moved;
}

static bool out_of_memory(const char *file, Error *err)
{
    return error_set(err, "%s: out of memory for the tokenizer", file);
}

static void set_ends(Piece *piece, const char *text, size_t size)
{
    size_t at = size;
    if (!size) return;
    memcpy(&piece->first, text, utf8_sequence(text, size));
    do at--;
    while (((unsigned char)text[at] & 0xC0) == 0x80);
    memcpy(&piece->last, text + at, size - at);
}

bool tokenizer_add_piece(Tokenizer *t, uint32_t id, const char *text, size_t size, const char *file,
                         Error *err)
{
    int shown = size < 60 ? (int)size : 60;
    if (id >= t->vocab_size)
        return error_set(err, "%s: piece '%.*s' has id %u, expected less than %u", file, shown,
                         text, id, t->vocab_size);
    if (size > PIECE_LIMIT)
        return error_set(err, "%s: piece %u is %zu bytes long, expected at most %d", file, id, size,
                         PIECE_LIMIT);
    if (utf8_check(text, size) < size)
        return error_set(err, "%s: piece %u is not valid UTF-8", file, id);
    if (t->pieces[id].kind != PIECE_HOLE)
        return error_set(err, "%s: id %u is given to both '%.*s' and '%.*s'", file, id,
                         (int)(t->pieces[id].size < 60 ? t->pieces[id].size : 60),
                         tokenizer_piece(t, id), shown, text);
    uint32_t *slot = text_slot(t, text, size);
    if (!slot) return error_set(err, "%s: pieces collide in the hash table", file);
    if (*slot != NO_PIECE)
        return error_set(err, "%s: piece '%.*s' stands twice, as id %u and %u", file, shown, text,
                         *slot, id);
    char *arena = reserve(t->arena, t->arena_size + size + 1, &t->arena_capacity, 1);
    if (!arena) return out_of_memory(file, err);
    t->arena = arena;
    if (size) memcpy(t->arena + t->arena_size, text, size);
    t->pieces[id] = (Piece){.offset = t->arena_size, .size = (uint32_t)size, .kind = PIECE_NORMAL};
    set_ends(&t->pieces[id], text, size);
    t->arena_size += size;
    *slot = id;
    return true;
}

// The text that `id` is looked for by: its piece, normalized as texts are where it asks for that.
static bool added_text(const Tokenizer *t, AddedToken *token)
{
    Buffer text = {0}, spare = {0};
    const char *piece = tokenizer_piece(t, token->id);
    uint32_t size = t->pieces[token->id].size;
    bool ok = token->normalized ? normalizer_run(t, &text, &spare, piece, size)
                                : buffer_put(&text, piece, size);
    free(spare.bytes);
    token->text = text.bytes;
    token->size = (uint32_t)text.size;
    return ok;
}

bool tokenizer_add_token(Tokenizer *t, AddedToken token, const char *file, Error *err)
{
    if (!t->pieces[token.id].size)
        return error_set(err, "%s: added token %u has no text", file, token.id);
    AddedToken *added = reserve(t->added, t->added_count + 1, &t->added_capacity, sizeof *added);
    if (!added) return out_of_memory(file, err);
    t->added = added;
    bool ok = added_text(t, &token);
    t->added[t->added_count++] = token;
    if (!ok) return out_of_memory(file, err);
    if (token.special) t->pieces[token.id].kind = PIECE_SPECIAL;
    return true;
}

bool tokenizer_add_merge(Tokenizer *t, uint32_t left, uint32_t right, const char *file, Error *err)
{
    const Piece *a = &t->pieces[left], *b = &t->pieces[right];
    char text[2 * PIECE_LIMIT];
    if (a->size) memcpy(text, tokenizer_piece(t, left), a->size);
    if (b->size) memcpy(text + a->size, tokenizer_piece(t, right), b->size);
    size_t size = a->size + b->size;
    uint32_t result = tokenizer_find(t, text, size);
    if (result == NO_PIECE)
        return error_set(err, "%s: merge %zu makes '%.*s', which is not in the vocabulary", file,
                         t->merge_count, (int)(size < 60 ? size : 60), text);
    Merge *merges = reserve(t->merges, t->merge_count + 1, &t->merge_capacity, sizeof *merges);
    if (!merges) return out_of_memory(file, err);
    t->merges = merges;
    t->merges[t->merge_count++] = (Merge){left, right, result, false};
    return true;
}

bool tokenizer_add_named_merge(Tokenizer *t, const char *left, size_t left_size, const char *right,
                               size_t right_size, const char *file, Error *err)
{
    uint32_t a = tokenizer_find(t, left, left_size), b = tokenizer_find(t, right, right_size);
    if (a != NO_PIECE && b != NO_PIECE) return tokenizer_add_merge(t, a, b, file, err);
    const char *name = a == NO_PIECE ? left : right;
    size_t size = a == NO_PIECE ? left_size : right_size;
    return error_set(err, "%s: merge %zu names '%.*s', which is not in the vocabulary", file,
                     t->merge_count, (int)(size < 60 ? size : 60), name);
}

bool tokenizer_add_written_merge(Tokenizer *t, const char *text, size_t size, const char *file,
                                 Error *err)
{
    const char *space = memchr(text, ' ', size);
    size_t left = space ? (size_t)(space - text) : 0, right = space ? size - left - 1 : 0;
    if (!space || memchr(space + 1, ' ', right))
        return error_set(err, "%s: merge %zu must be \"a b\" or [\"a\", \"b\"]", file,
                         t->merge_count);
    return tokenizer_add_named_merge(t, text, left, space + 1, right, file, err);
}

// Of a pair that stands twice the later one counts, as in Hugging Face's hash map.
static bool index_merges(Tokenizer *t, const char *file, Error *err)
{
    if (t->merge_count >= NO_PIECE)
        return error_set(err, "%s: %zu merges are too many", file, t->merge_count);
    t->by_pair_size = table_size(t->merge_count);
    t->by_pair = table_new(t->by_pair_size);
    t->joints = calloc(JOINT_BITS / 64, sizeof *t->joints);
    if (!t->by_pair || !t->joints) return out_of_memory(file, err);
    for (size_t i = 0; i < t->merge_count; i++) {
        uint32_t *slot = pair_slot(t, t->merges[i].left, t->merges[i].right);
        if (!slot) return error_set(err, "%s: merges collide in the hash table", file);
        if (*slot != NO_PIECE) t->merges[*slot].dead = true;
        *slot = (uint32_t)i;
        bpe_note_joint(t, &t->pieces[t->merges[i].left], &t->pieces[t->merges[i].right]);
    }
    return true;
}

static void find_characters(Tokenizer *t)
{
    for (unsigned i = 0; i < 256; i++) {
        Buffer name = {0};
        char byte = (char)i;
        bool ok = byte_level_put(&name, &byte, 1);
        t->characters[i] = ok ? tokenizer_find_known(t, name.bytes, name.size) : NO_PIECE;
        free(name.bytes);
    }
}

static void find_bytes(Tokenizer *t)
{
    for (unsigned i = 0; i < 256; i++) {
        char name[8];
        int size = snprintf(name, sizeof name, "<0x%02X>", i);
        uint32_t id = tokenizer_find(t, name, (size_t)size);
        t->bytes[i] = id;
        if (id != NO_PIECE && t->pieces[id].kind == PIECE_NORMAL) {
            t->pieces[id].kind = PIECE_BYTE;
            t->pieces[id].byte = (uint8_t)i;
        }
    }
}

bool tokenizer_name_special(Tokenizer *t, uint32_t *id, const char *name, const char *what,
                            const char *file, Error *err)
{
    *id = tokenizer_find(t, name, strlen(name));
    if (*id == NO_PIECE)
        return error_set(err, "%s: the vocabulary has no piece '%.60s' (%s)", file, name, what);
    t->pieces[*id].kind = PIECE_SPECIAL;
    return true;
}

bool tokenizer_seal(Tokenizer *t, const char *file, Error *err)
{
    memset(t->bytes, 0xFF, sizeof t->bytes); // NO_PIECE
    if (t->byte_level) find_characters(t);
    if (t->byte_fallback || t->decode == DECODE_MARKS) find_bytes(t);
    added_seal(t);
    return index_merges(t, file, err);
}

bool tokenizer_seal_llama(Tokenizer *t, const char *file, Error *err)
{
    return tokenizer_name_special(t, &t->unk, "<unk>", "the unknown token", file, err) &&
           tokenizer_name_special(t, &t->bos, "<s>", "the beginning of a text", file, err) &&
           tokenizer_name_special(t, &t->eos, "</s>", "the end of a text", file, err) &&
           tokenizer_seal(t, file, err);
}

static bool build(Tokenizer *t, const char *const *pieces, const uint32_t (*merges)[2],
                  size_t merge_count, const char *file, Error *err)
{
    for (uint32_t i = 0; i < t->vocab_size; i++)
        if (!tokenizer_add_piece(t, i, pieces[i], strlen(pieces[i]), file, err)) return false;
    for (uint32_t i = 0; i < 3 && i < t->vocab_size; i++)
        if (!tokenizer_add_token(t, (AddedToken){.id = i, .special = true}, file, err))
            return false;
    for (size_t i = 0; i < merge_count; i++) {
        uint32_t left = merges[i][0], right = merges[i][1];
        if (left >= t->vocab_size || right >= t->vocab_size)
            return error_set(err, "%s: merge %zu names id %u, expected less than %u", file, i,
                             left >= t->vocab_size ? left : right, t->vocab_size);
        if (!tokenizer_add_merge(t, left, right, file, err)) return false;
    }
    return tokenizer_seal_llama(t, file, err);
}

Tokenizer *tokenizer_build(const char *const *pieces, uint32_t vocab_size,
                           const uint32_t (*merges)[2], size_t merge_count, Error *err)
{
    const char *file = "new tokenizer";
    if (!vocab_size || vocab_size > VOCAB_LIMIT) {
        error_set(err, "%s: %u pieces, expected 1 to %d", file, vocab_size, VOCAB_LIMIT);
        return NULL;
    }
    Tokenizer *t = tokenizer_new(vocab_size, file, err);
    if (!t || build(t, pieces, merges, merge_count, file, err)) return t;
    tokenizer_free(t);
    return NULL;
}

uint32_t tokenizer_vocab_size(const Tokenizer *t)
{
    return t->vocab_size;
}
uint32_t tokenizer_bos(const Tokenizer *t)
{
    return t->bos;
}
uint32_t tokenizer_eos(const Tokenizer *t)
{
    return t->eos;
}

bool tokenizer_adds_bos(const Tokenizer *t)
{
    return t->adds_bos;
}
bool tokenizer_adds_eos(const Tokenizer *t)
{
    return t->adds_eos;
}

bool tokenizer_begin(const Tokenizer *t, TokenList *out)
{
    return !t->adds_bos || token_list_push(out, t->bos);
}

bool token_list_push(TokenList *list, uint32_t id)
{
    uint32_t *ids = reserve(list->ids, list->count + 1, &list->capacity, sizeof *ids);
    if (!ids) return false;
    list->ids = ids;
    list->ids[list->count++] = id;
    return true;
}

void token_list_free(TokenList *list)
{
    free(list->ids);
    *list = (TokenList){0};
}

bool buffer_put(Buffer *buffer, const char *bytes, size_t size)
{
    char *moved = reserve(buffer->bytes, buffer->size + size + 1, &buffer->capacity, 1);
    if (!moved) return false;
    buffer->bytes = moved;
    if (size) memcpy(buffer->bytes + buffer->size, bytes, size);
    buffer->size += size;
    return true;
}

bool buffer_put_marked(Buffer *buffer, const char *text, size_t size)
{
    size_t from = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] != ' ') continue;
        if (!buffer_put(buffer, text + from, i - from) ||
            !buffer_put(buffer, SPACE_MARK, SPACE_MARK_SIZE))
            return false;
        from = i + 1;
    }
    return buffer_put(buffer, text + from, size - from);
}
