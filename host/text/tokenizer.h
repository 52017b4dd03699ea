// BPE tokenizers of the LLaMA-2 kind: space as U+2581, bytes outside the vocabulary as <0xHH>.
// Source: Hugging Face tokenizer.json; llama2.c tokenizer files. Knows nothing of models or GPUs.
#ifndef STRATA_TEXT_TOKENIZER_H
#define STRATA_TEXT_TOKENIZER_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct Tokenizer Tokenizer;

// A growing list of token ids. Start from {0}; the owner frees with token_list_free.
typedef struct {
    uint32_t *ids; // (count)
    size_t count;
    size_t capacity;
} TokenList;

bool token_list_push(TokenList *list, uint32_t id); // false: out of memory
void token_list_free(TokenList *list);

// Reads a tokenizer.json. What the file asks for and this code cannot do (ByteLevel, another model
// than BPE with byte fallback, ...) is refused by name of the key. BOS and EOS are the pieces that
// bos_token and eos_token of the tokenizer_config.json beside it name, else <s> and </s>.
Tokenizer *tokenizer_load(const char *path, Error *err);
// Reads a SentencePiece model (tokenizer.model) of the BPE kind, as Hugging Face converts it.
Tokenizer *tokenizer_load_sentencepiece(const char *path, Error *err);
// Reads the folder's tokenizer.json, or its tokenizer.model where there is none.
Tokenizer *tokenizer_load_folder(const char *folder, Error *err);
// The file that this reads, into path[size].
bool tokenizer_find_file(char *path, size_t size, const char *folder, Error *err);
// Reads a llama2.c tokenizer file of exactly vocab_size tokens (formats: int32 max length, then
// per token float32 score, int32 length, bytes). Merges are derived from the scores.
Tokenizer *tokenizer_load_llama2c(const char *path, uint32_t vocab_size, Error *err);
// From scratch, for a trainer of vocabularies: pieces[i] is the text of id i (with U+2581 for
// space); ids 0,1,2 are <unk>, <s>, </s>, ids 3..258 the bytes. merges: pairs of piece ids, best
// first. Copies all it needs.
Tokenizer *tokenizer_build(const char *const *pieces, uint32_t vocab_size,
                           const uint32_t (*merges)[2], size_t merge_count, Error *err);
void tokenizer_free(Tokenizer *tokenizer);

// What a file of another format says of a tokenizer (GGUF's tokenizer.ggml.*, SentencePiece's
// tokenizer.model). Nothing in it is trusted; all of it may be freed once the tokenizer is there.
typedef enum {
    TOKENIZER_LLAMA, // SentencePiece BPE: space as U+2581, bytes as <0xHH>, merges from the scores
    TOKENIZER_GPT2,  // byte-level BPE: pieces in GPT-2's alphabet of bytes, merges as they stand
} TokenizerKind;

// SentencePiece's types of pieces, which GGUF's token_type uses as well.
enum {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,
    TOKEN_USER = 4, // looked for in the text before all else, and not left out of decoded text
    TOKEN_UNUSED = 5,
    TOKEN_BYTE = 6,
};

#define TOKEN_NONE UINT32_MAX // there is no such token

typedef struct {
    TokenizerKind kind;
    const char *pre;           // GPT2: name of the pre-tokenizer ("llama-bpe", "qwen2", ...), NULL:
                               // "default"
    uint32_t vocab_size;       // 1 to 4,000,000
    const char *const *pieces; // (vocab_size), piece_sizes[i] bytes each, not NUL-terminated
    const size_t *piece_sizes; // (vocab_size)
    const float *scores;       // (vocab_size) or NULL; LLAMA needs it or merges
    const int32_t *types;      // (vocab_size) TOKEN_NORMAL ..., or NULL: all normal
    const char *const *merges; // (merge_count) "left right", best first; GPT2 needs it, and of
                               // LLAMA they count instead of the scores where there are any
    const size_t *merge_sizes; // (merge_count) bytes
    size_t merge_count;
    uint32_t bos, eos, unknown; // ids or TOKEN_NONE
    bool add_bos, add_eos;      // whether a text is given these
    bool add_space_prefix;      // LLAMA: a space goes in front of each text
} TokenizerParts;

// The tokenizer of these parts. A kind of pre-tokenizer that is not known is refused by name; so is
// a vocabulary that contradicts itself. `source` is for messages. Copies all it needs; NULL and a
// message on failure.
Tokenizer *tokenizer_from_parts(const TokenizerParts *parts, const char *source, Error *err);

// Writes path (a tokenizer.json that Hugging Face tokenizers loads and that encodes the same).
bool tokenizer_save(const Tokenizer *tokenizer, const char *path, Error *err);

// Writes path, the tokenizer_config.json to go with it. context: tokens that the model takes.
bool tokenizer_save_config(const Tokenizer *tokenizer, const char *path, uint32_t context,
                           Error *err);
// Whether LLaMA 2's tokenizer_config.json says what is so: <s>, </s>, BOS in front.
bool tokenizer_is_llama(const Tokenizer *tokenizer);

uint32_t tokenizer_vocab_size(const Tokenizer *tokenizer); // the largest id + 1
uint32_t tokenizer_bos(const Tokenizer *tokenizer);        // TOKEN_NONE where there is none
uint32_t tokenizer_eos(const Tokenizer *tokenizer);        // likewise
// Whether a text is given BOS in front, or EOS behind, before a model sees it.
bool tokenizer_adds_bos(const Tokenizer *tokenizer);
bool tokenizer_adds_eos(const Tokenizer *tokenizer);

// Appends BOS where a text is given it. False: out of memory.
bool tokenizer_begin(const Tokenizer *tokenizer, TokenList *out);

// Appends the ids of text (size bytes, valid UTF-8 or an error that gives the byte offset), without
// BOS or EOS. Special tokens written out in the text are taken as special tokens where Hugging Face
// does so: everywhere if the file says "normalized": false, else only behind a space or at the
// start of the text. n log n in the length of the text. An empty text has no tokens; on failure out
// is as it was.
bool tokenizer_encode(const Tokenizer *tokenizer, const char *text, size_t size, TokenList *out,
                      Error *err);

// The text of ids as malloc'ed, NUL-terminated UTF-8 (bytes that are not valid UTF-8 become
// U+FFFD); special tokens, ids without a piece and NUL bytes are left out, and the space that
// encoding puts in front is dropped. NULL: out of memory.
char *tokenizer_decode(const Tokenizer *tokenizer, const uint32_t *ids, size_t count);
// The same with its NUL bytes, and *size the bytes of the text.
char *tokenizer_decode_bytes(const Tokenizer *tokenizer, size_t *size, const uint32_t *ids,
                             size_t count);

// Decoding token by token, for text that streams: each push returns the bytes that are now
// certain (whole UTF-8 sequences), in a buffer that lives until the next push.
typedef struct {
    const Tokenizer *tokenizer;
    char pending[8]; // a UTF-8 sequence that is not whole yet
    size_t waiting;  // bytes in pending
    char text[3072]; // what the last push returned
    size_t size;     // its bytes, for texts with NUL bytes
    bool started;    // the one leading space is behind us
    bool any;        // a token that is text has been pushed
} TokenStream;

void token_stream_begin(TokenStream *stream, const Tokenizer *tokenizer);
const char *token_stream_push(TokenStream *stream, uint32_t id);
const char *token_stream_end(TokenStream *stream); // what is still pending, as U+FFFD

#endif
