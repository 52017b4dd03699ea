// Reads SentencePiece's model files of the BPE kind. Not its normalizer: files that need one are
// refused. Source: sentencepiece_model.proto. The few fields that count are read from the wire
// format here: a protobuf library would bring a code generator into the build and parse all the
// rest.
#include "base/file.h"
#include "text/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

// A stretch of a message that is being read.
typedef struct {
    const uint8_t *bytes; // (size)
    size_t size, at;
    const char *file;
} Wire;

// One field: its number and its value, a number or (of wire type 2) size bytes.
typedef struct {
    uint32_t number, type;
    uint64_t value;
    const uint8_t *bytes;
    size_t size;
} Field;

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static bool damaged(const Wire *w, Error *err)
{
    return error_set(err, "%s: not a SentencePiece model: a field is damaged or cut off", w->file);
}

static bool take_varint(Wire *w, uint64_t *out, Error *err)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64 && w->at < w->size; shift += 7) {
        uint8_t byte = w->bytes[w->at++];
        *out |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) return true;
    }
    return damaged(w, err);
}

static bool take_fixed(Wire *w, uint64_t *out, size_t size, Error *err)
{
    if (w->size - w->at < size) return damaged(w, err);
    *out = 0;
    for (size_t i = 0; i < size; i++) *out |= (uint64_t)w->bytes[w->at++] << 8 * i;
    return true;
}

static int failed(const Wire *w, Error *err)
{
    damaged(w, err);
    return -1;
}

// The next field into *f; 0 at the end, -1 where the message is damaged.
static int next_field(Wire *w, Field *f, Error *err)
{
    uint64_t tag, size;
    if (w->at == w->size) return 0;
    if (!take_varint(w, &tag, err)) return -1;
    *f = (Field){.number = (uint32_t)(tag >> 3), .type = (uint32_t)(tag & 7)};
    if (tag >> 3 > UINT32_MAX || !f->number) return failed(w, err);
    switch (f->type) {
    case VARINT:
        return take_varint(w, &f->value, err) ? 1 : -1;
    case FIXED64:
        return take_fixed(w, &f->value, 8, err) ? 1 : -1;
    case FIXED32:
        return take_fixed(w, &f->value, 4, err) ? 1 : -1;
    case BYTES:
        if (!take_varint(w, &size, err)) return -1;
        if (size > w->size - w->at) return failed(w, err);
        f->bytes = w->bytes + w->at;
        f->size = (size_t)size;
        w->at += f->size;
        return 1;
    default:
        return failed(w, err);
    }
}

// What the file says, with the defaults of the .proto.
typedef struct {
    const char **pieces; // (capacity), into the file
    size_t *sizes;       // (capacity)
    float *scores;       // (capacity)
    int32_t *types;      // (capacity)
    uint32_t count, capacity;
    uint64_t model_type; // 1 unigram, 2 BPE, 3 word, 4 char
    uint64_t unk, bos, eos;
    bool suffix, has_charsmap, dummy_prefix, trims, escapes;
    bool denormalizes;
} Model;

// Room for one piece more.
static bool grow(Model *m, const Wire *w, Error *err)
{
    if (m->count < m->capacity) return true;
    if (m->count >= VOCAB_LIMIT)
        return error_set(err, "%s: has more than %d pieces", w->file, VOCAB_LIMIT);
    uint32_t larger = m->capacity ? 2 * m->capacity : 1024;
    const char **pieces = realloc(m->pieces, larger * sizeof *pieces);
    if (pieces) m->pieces = pieces;
    size_t *sizes = realloc(m->sizes, larger * sizeof *sizes);
    if (sizes) m->sizes = sizes;
    float *scores = realloc(m->scores, larger * sizeof *scores);
    if (scores) m->scores = scores;
    int32_t *types = realloc(m->types, larger * sizeof *types);
    if (types) m->types = types;
    if (!pieces || !sizes || !scores || !types)
        return error_set(err, "%s: out of memory for %u pieces", w->file, larger);
    m->capacity = larger;
    return true;
}

static Wire inside(const Wire *w, const Field *f)
{
    return (Wire){f->bytes, f->size, 0, w->file};
}

// SentencePiece: 1 piece, 2 score, 3 type.
static bool read_piece(Model *m, const Wire *file, const Field *message, Error *err)
{
    Wire w = inside(file, message);
    Field f;
    int more;
    if (!grow(m, file, err)) return false;
    uint32_t id = m->count++;
    m->pieces[id] = "";
    m->sizes[id] = 0;
    m->scores[id] = 0;
    m->types[id] = TOKEN_NORMAL;
    while ((more = next_field(&w, &f, err)) > 0) {
        uint32_t bits = (uint32_t)f.value;
        if (f.number == 1 && f.type == BYTES) m->pieces[id] = (const char *)f.bytes;
        if (f.number == 1 && f.type == BYTES) m->sizes[id] = f.size;
        if (f.number == 2 && f.type == FIXED32) memcpy(&m->scores[id], &bits, sizeof bits);
        if (f.number == 3 && f.type == VARINT)
            m->types[id] = f.value <= TOKEN_BYTE ? (int32_t)f.value : -1;
    }
    return more == 0;
}

// TrainerSpec: 3 model_type, 24 treat_whitespace_as_suffix, 40 to 42 ids.
static bool read_trainer(Model *m, const Wire *file, const Field *message, Error *err)
{
    Wire w = inside(file, message);
    Field f;
    int more;
    while ((more = next_field(&w, &f, err)) > 0) {
        if (f.type != VARINT) continue;
        if (f.number == 3) m->model_type = f.value;
        if (f.number == 24) m->suffix = f.value != 0;
        if (f.number == 40) m->unk = f.value;
        if (f.number == 41) m->bos = f.value;
        if (f.number == 42) m->eos = f.value;
    }
    return more == 0;
}

// NormalizerSpec: 2 precompiled_charsmap, 3 add_dummy_prefix, 4 remove_extra_whitespaces,
// 5 escape_whitespaces.
static bool read_normalizer(Model *m, const Wire *file, const Field *message, Error *err)
{
    Wire w = inside(file, message);
    Field f;
    int more;
    while ((more = next_field(&w, &f, err)) > 0) {
        if (f.number == 2 && f.type == BYTES) m->has_charsmap = f.size > 0;
        if (f.type != VARINT) continue;
        if (f.number == 3) m->dummy_prefix = f.value != 0;
        if (f.number == 4) m->trims = f.value != 0;
        if (f.number == 5) m->escapes = f.value != 0;
    }
    return more == 0;
}

// ModelProto: 1 pieces, 2 trainer_spec, 3 normalizer_spec, 5 denormalizer_spec.
static bool read_model(Model *m, Wire *w, Error *err)
{
    Field f;
    int more;
    while ((more = next_field(w, &f, err)) > 0) {
        if (f.type != BYTES) continue;
        if (f.number == 1 && !read_piece(m, w, &f, err)) return false;
        if (f.number == 2 && !read_trainer(m, w, &f, err)) return false;
        if (f.number == 3 && !read_normalizer(m, w, &f, err)) return false;
        if (f.number == 5) {
            Model other = {0};
            if (!read_normalizer(&other, w, &f, err)) return false;
            m->denormalizes = other.has_charsmap;
        }
    }
    return more == 0;
}

// What changes the tokens and is not done here.
static bool check_model(const Model *m, const char *file, Error *err)
{
    static const char *const TYPES[] = {"0", "unigram", "BPE", "word", "char"};
    const char *type = m->model_type < 5 ? TYPES[m->model_type] : "unknown";
    if (!m->count) return error_set(err, "%s: not a SentencePiece model: has no pieces", file);
    if (m->model_type != 2)
        return error_set(err, "%s: model_type %s is not supported, expected BPE", file, type);
    if (m->has_charsmap)
        return error_set(err, "%s: precompiled_charsmap is not supported, expected none", file);
    if (m->denormalizes)
        return error_set(err, "%s: denormalizer_spec is not supported, expected none", file);
    if (m->trims) return error_set(err, "%s: remove_extra_whitespaces must be false", file);
    if (!m->escapes) return error_set(err, "%s: escape_whitespaces must be true", file);
    if (m->suffix) return error_set(err, "%s: treat_whitespace_as_suffix must be false", file);
    return true;
}

// -1, written as a 64-bit number, means none.
static uint32_t id_of(uint64_t value)
{
    return value < TOKEN_NONE ? (uint32_t)value : TOKEN_NONE;
}

static Tokenizer *make(const Model *m, const char *file, Error *err)
{
    if (!check_model(m, file, err)) return NULL;
    const TokenizerParts parts = {.kind = TOKENIZER_LLAMA,
                                  .vocab_size = m->count,
                                  .pieces = m->pieces,
                                  .piece_sizes = m->sizes,
                                  .scores = m->scores,
                                  .types = m->types,
                                  .bos = id_of(m->bos),
                                  .eos = id_of(m->eos),
                                  .unknown = id_of(m->unk),
                                  .add_bos = true,
                                  .add_space_prefix = m->dummy_prefix};
    return tokenizer_from_parts(&parts, file, err);
}

Tokenizer *tokenizer_load_sentencepiece(const char *path, Error *err)
{
    FileMap map;
    if (!file_map(&map, path, err)) return NULL;
    Model m = {
        .model_type = 1, .bos = 1, .eos = 2, .dummy_prefix = true, .trims = true, .escapes = true};
    Wire w = {map.bytes, map.size, 0, path};
    Tokenizer *t = read_model(&m, &w, err) ? make(&m, path, err) : NULL;
    free(m.pieces);
    free(m.sizes);
    free(m.scores);
    free(m.types);
    file_unmap(&map);
    return t;
}
