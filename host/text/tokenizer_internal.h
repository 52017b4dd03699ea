// The inside of Tokenizer, shared by the files of this folder that read, write and apply it. Not an
// interface: everybody else uses tokenizer.h.
#ifndef STRATA_TEXT_TOKENIZER_INTERNAL_H
#define STRATA_TEXT_TOKENIZER_INTERNAL_H

#include "text/tokenizer.h"

#define SPACE_MARK "\xE2\x96\x81" // U+2581, the visible stand-in for a space

enum {
    SPACE_MARK_SIZE = 3,
    VOCAB_LIMIT = 4000000, // ids are below
    JOINT_BITS = 1 << 20,
    PIECE_LIMIT = 1000, // bytes of a piece: a TokenStream returns any piece from its own buffer
};

#define NO_PIECE UINT32_MAX

typedef enum {
    PIECE_HOLE, // an id that no piece has
    PIECE_NORMAL,
    PIECE_BYTE,    // <0xHH>
    PIECE_SPECIAL, // left out of decoded text
} PieceKind;

typedef struct {
    size_t offset;        // into Tokenizer.arena
    uint32_t first, last; // its first and last character, as the bytes of their UTF-8
    uint32_t size;        // bytes
    uint8_t kind;         // PieceKind
    uint8_t byte;         // of a PIECE_BYTE
    bool outside;         // an added token that the model itself does not know
} Piece;

typedef struct {
    uint32_t left, right, result; // ids
    bool dead;                    // the same pair stands again further down, and that one counts
} Merge;

// Where and when a token that is written out in the text is taken as a token.
typedef struct {
    uint32_t id;
    bool lstrip, rstrip; // white space on that side belongs to the token
    bool single_word;    // counts only where no word character stands beside it
    bool normalized;     // looked for after normalizing, in its own normalized form
    bool special;
    char *text;    // (size) what is looked for; owned
    uint32_t size; // at least 1
} AddedToken;

// One step of a normalizer: what is done to a stretch of text before anything else.
typedef enum {
    NORMAL_PREPEND, // `to` in front
    NORMAL_REPLACE, // each `from` by `to`
    NORMAL_NFC,     // Unicode's normalization forms
    NORMAL_NFD,
    NORMAL_NFKC,
    NORMAL_NFKD,
} NormalKind;

typedef struct {
    NormalKind kind;
    char *from, *to; // NUL-terminated, owned, at most STEP_TEXT bytes; NULL where not used
} NormalStep;

// When a pre-tokenizer Metaspace puts U+2581 in front of a stretch that does not begin with it.
typedef enum {
    PREFIX_NEVER,
    PREFIX_ALWAYS,
    PREFIX_FIRST, // at the start of the whole text only
} Prefix;

// What becomes of the matches of a pattern.
typedef enum {
    SPLIT_ISOLATED,
    SPLIT_REMOVED,
    SPLIT_CONTIGUOUS,      // matches side by side are one piece
    SPLIT_MERGED_PREVIOUS, // a match ends the piece before it
    SPLIT_MERGED_NEXT,     // a match begins the piece behind it
} SplitBehavior;

typedef struct Pattern Pattern; // see pattern.h

// One step of a pre-tokenizer: how text is cut into words, across which nothing merges.
typedef enum { PRE_SPLIT, PRE_METASPACE, PRE_BYTE_LEVEL } PreKind;

typedef struct {
    PreKind kind;
    Pattern *pattern;       // SPLIT, METASPACE that splits, BYTE_LEVEL with use_regex; owned
    SplitBehavior behavior; // of SPLIT
    bool invert;            // of SPLIT: what is between the matches counts as the matches
    Prefix prefix;          // of METASPACE
    bool add_space;         // of BYTE_LEVEL: a space in front where there is none
} PreStep;

enum {
    STEP_LIMIT = 8, // steps of a normalizer, of a pre-tokenizer
    STEP_TEXT = 64, // bytes of a step's text
};

// How pieces become text.
typedef enum {
    DECODE_MARKS,      // U+2581 is a space, <0xHH> a byte
    DECODE_METASPACE,  // U+2581 is a space
    DECODE_BYTE_LEVEL, // GPT-2's alphabet of bytes
} DecodeKind;

struct Tokenizer {
    Piece *pieces;       // (vocab_size), by id
    uint32_t *by_text;   // (by_text_size), open hashing of pieces by text, NO_PIECE where empty
    Merge *merges;       // (merge_count), best first
    uint64_t *joints;    // (JOINT_BITS / 64) which characters a merge may join, see bpe_merge.c
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
    uint32_t bytes[256];           // id of each <0xHH>, or NO_PIECE
    uint32_t characters[256];      // id of each character of GPT-2's alphabet, or NO_PIECE
    uint32_t unk, bos, eos;        // TOKEN_NONE where there is none
    NormalStep normal[STEP_LIMIT]; // (normal_count)
    PreStep pre[STEP_LIMIT];       // (pre_count); BYTE_LEVEL is the last where it is there
    size_t normal_count, pre_count;
    DecodeKind decode;
    bool byte_level;    // words are spelled in GPT-2's alphabet
    bool byte_fallback; // a character that is no piece is spelled in bytes
    bool ignore_merges; // a word that is a piece is that piece, whatever the merges say
    bool fuse_unk;      // a run of unknown characters is one <unk>
    bool strip_space;   // decoding drops one leading space
    bool drop_marks;    // DECODE_METASPACE: each U+2581 of the first token is dropped
    bool adds_bos, adds_eos;
};

// Building goes in this order: new, steps and flags, pieces, added tokens, merges, seal. `file` is
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
// The same by the texts of two pieces, and by "left right", the form in which files write them.
bool tokenizer_add_named_merge(Tokenizer *t, const char *left, size_t left_size, const char *right,
                               size_t right_size, const char *file, Error *err);
bool tokenizer_add_written_merge(Tokenizer *t, const char *text, size_t size, const char *file,
                                 Error *err);
// Finds the bytes and makes the tokenizer ready to encode. unk, bos and eos are set by now.
bool tokenizer_seal(Tokenizer *t, const char *file, Error *err);
// The same, where LLaMA-2's <unk>, <s> and </s> must be there and are these three.
bool tokenizer_seal_llama(Tokenizer *t, const char *file, Error *err);
// Sets *id, which is &t->unk, &t->bos or &t->eos, to the piece of that name, which becomes special.
bool tokenizer_name_special(Tokenizer *t, uint32_t *id, const char *name, const char *what,
                            const char *file, Error *err);
// Appends the merges that the scores (vocab_size) of SentencePiece's pieces imply: every way to
// make a piece with id >= first out of two, the best score first. skip (vocab_size) may be NULL;
// pieces with skip[id] are not made. Scores are finite.
bool tokenizer_derive_merges(Tokenizer *t, const float *scores, uint32_t first, const bool *skip,
                             const char *file, Error *err);

// The id of a piece, or NO_PIECE. The second leaves out what the model itself does not know.
uint32_t tokenizer_find(const Tokenizer *t, const char *text, size_t size);
uint32_t tokenizer_find_known(const Tokenizer *t, const char *text, size_t size);
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

// Appends a step; from and to are copied. False: out of memory.
bool normalizer_add(Tokenizer *t, NormalKind kind, const char *from, const char *to);
void normalizer_clear(Tokenizer *t);
// out = text as the steps leave it; spare is scratch. False: out of memory, or past 2 GiB.
bool normalizer_run(const Tokenizer *t, Buffer *out, Buffer *spare, const char *text, size_t size);

// Appends a step, which takes over its pattern.
void pre_add(Tokenizer *t, PreStep step);
void pre_clear(Tokenizer *t);

// GPT-2's alphabet: the character (code point below 512) that stands for a byte, and back; -1
// where a code point stands for none.
unsigned byte_level_character(uint8_t byte);
int byte_level_byte(unsigned character);
// Appends size bytes spelled in that alphabet as UTF-8.
bool byte_level_put(Buffer *out, const char *bytes, size_t size);

// Notes a merge, so that bpe_merge knows where it may cut.
void bpe_note_joint(Tokenizer *t, const Piece *left, const Piece *right);

// What merging works in, kept from word to word. Start from {0}; bpe_scratch_free.
typedef struct {
    uint32_t *prev, *next; // (capacity)
    uint64_t *heap;        // (2 capacity)
    size_t capacity;
} BpeScratch;

void bpe_scratch_free(BpeScratch *scratch);
// Merges ids[count] in place, best merge first and leftmost first; *count shrinks. n log n.
bool bpe_merge(const Tokenizer *t, BpeScratch *scratch, uint32_t *ids, size_t *count);

#endif
