// The inside of Tokenizer, shared by the files of this folder that read, write and apply it. Not an
// interface: everybody else uses tokenizer.h.
#ifndef STRATA_TEXT_TOKENIZER_INTERNAL_H
#define STRATA_TEXT_TOKENIZER_INTERNAL_H

#include "text/tokenizer.h"

#define SPACE_MARK "\xE2\x96\x81" // U+2581, the visible stand-in for a space

enum {
    SPACE_MARK_SIZE = 3,
    VOCAB_LIMIT = 4000000, // ids are below
    PIECE_LIMIT = 1000,    // bytes of a piece: a TokenStream returns any piece from its own buffer
};

#define NO_PIECE UINT32_MAX

typedef enum {
    PIECE_HOLE, // an id that no piece has
    PIECE_NORMAL,
    PIECE_BYTE,    // <0xHH>
    PIECE_SPECIAL, // left out of decoded text
} PieceKind;

typedef struct {
    size_t offset; // into Tokenizer.arena
    uint32_t size; // bytes
    uint8_t kind;  // PieceKind
    uint8_t byte;  // of a PIECE_BYTE
} Piece;

typedef struct {
    uint32_t left, right, result; // ids
    bool dead;                    // the same pair stands again further down, and that one counts
} Merge;

// Where and when a token that is written out in the text is taken as a token.
typedef struct {
    uint32_t id;
    bool lstrip, rstrip; // white space on that side belongs to the token
    bool normalized;     // looked for after normalizing, in its own normalized form
    bool special;
    char *text;    // (size) what is looked for; owned
    uint32_t size; // at least 1
} AddedToken;

// How text becomes pieces' text: spaces are replaced by U+2581 and one more goes in front.
typedef enum {
    PREFIX_NONE,
    PREFIX_ALWAYS,     // normalizer Prepend: every stretch between added tokens
    PREFIX_IF_MISSING, // pre-tokenizer Metaspace "always": unless it begins with one
    PREFIX_FIRST,      // pre-tokenizer Metaspace "first": likewise, at the start of the text only
} Prefix;

struct Tokenizer {
    Piece *pieces;       // (vocab_size), by id
    uint32_t *by_text;   // (by_text_size), open hashing of pieces by text, NO_PIECE where empty
    Merge *merges;       // (merge_count), best first
    uint32_t *by_pair;   // (by_pair_size), open hashing of live merges, NO_PIECE where empty
    AddedToken *added;   // (added_count): first those looked for in raw text, then the normalized
                         // ones, each part sorted by text
    char *arena;         // (arena_size) bytes of all pieces
    size_t by_text_size; // powers of two
    size_t by_pair_size;
    size_t merge_count, merge_capacity;
    size_t added_count, added_capacity;
    size_t added_raw; // how many of `added` are looked for in raw text
    size_t arena_size, arena_capacity;
    uint32_t vocab_size;
    uint32_t bytes[256]; // id of each <0xHH>, or NO_PIECE
    uint32_t unk, bos, eos;
    Prefix prefix;
    bool metaspace;   // the replacement is a pre-tokenizer's, after added tokens were cut out
    bool fuse_unk;    // a run of unknown characters is one <unk>
    bool strip_space; // decoding drops one leading space
    bool adds_bos, adds_eos;
};

// Building goes in this order: new, prefix and flags, pieces, added tokens, merges, seal. `file` is
// for messages.

// An empty tokenizer of the LLaMA-2 defaults; vocab_size is 1 to VOCAB_LIMIT.
Tokenizer *tokenizer_new(uint32_t vocab_size, const char *file, Error *err);
// Gives `id` its text, valid UTF-8 of at most PIECE_LIMIT bytes; an id or text given twice fails.
bool tokenizer_add_piece(Tokenizer *t, uint32_t id, const char *text, size_t size, const char *file,
                         Error *err);
// The token's id must be a piece already; text and size of `token` are filled here.
bool tokenizer_add_token(Tokenizer *t, AddedToken token, const char *file, Error *err);
// Appends a merge whose result must be a piece.
bool tokenizer_add_merge(Tokenizer *t, uint32_t left, uint32_t right, const char *file, Error *err);
// Finds the pieces named unk, bos and eos and the bytes, and makes the tokenizer ready to encode.
bool tokenizer_seal(Tokenizer *t, const char *unk, const char *bos, const char *eos,
                    const char *file, Error *err);

// The id of a piece, or NO_PIECE.
uint32_t tokenizer_find(const Tokenizer *t, const char *text, size_t size);
static inline const char *tokenizer_piece(const Tokenizer *t, uint32_t id) // not NUL-terminated
{
    return t->arena + t->pieces[id].offset;
}
// The rank of the merge of two pieces, or NO_PIECE.
uint32_t tokenizer_find_merge(const Tokenizer *t, uint32_t left, uint32_t right);

// A growing byte buffer. Start from {0}; free(bytes).
typedef struct {
    char *bytes; // (size)
    size_t size, capacity;
} Buffer;

bool buffer_put(Buffer *buffer, const char *bytes, size_t size); // false: out of memory
// Appends text with each space as U+2581.
bool buffer_put_marked(Buffer *buffer, const char *text, size_t size);

// One token found in a text: bytes begin to end, white space that it takes included.
typedef struct {
    const AddedToken *token;
    size_t begin, end;
} AddedMatch;

// Sorts the added tokens into their two parts.
void added_seal(Tokenizer *t);
// The leftmost, longest added token of tokens[count] in text at or after `from`; token is NULL
// where there is none.
AddedMatch added_next(const AddedToken *tokens, size_t count, const char *text, size_t size,
                      size_t from);

// Merges ids[count] in place, best merge first and leftmost first; *count shrinks. n log n.
bool bpe_merge(const Tokenizer *t, uint32_t *ids, size_t *count);

#endif
