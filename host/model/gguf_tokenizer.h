// The tokenizer that a GGUF file carries in its keys tokenizer.*, read and written. What a
// tokenizer does is in text/. Source: the GGUF specification; llama.cpp for what absent keys mean.
#ifndef STRATA_MODEL_GGUF_TOKENIZER_H
#define STRATA_MODEL_GGUF_TOKENIZER_H

#include "model/gguf_write.h"
#include "text/tokenizer.h"

// The tokenizer of a file: kinds llama and gpt2. The caller frees it; it does not need the file any
// more. Errors name file and key.
Tokenizer *gguf_tokenizer_read(const Gguf *file, Error *err);
// The same of the file at `path`, with nothing else of it.
Tokenizer *gguf_tokenizer_load(const char *path, Error *err);
// tokenizer.chat_template, a Jinja text within the mapping; text is NULL where there is none.
bool gguf_chat_template(GgufText *out, const Gguf *file, Error *err);
// The tokenizer.json from which the file's tokenizer was made, where it has that: likewise.
bool gguf_tokenizer_json(GgufText *out, const Gguf *file, Error *err);
// The text of token `id`; text is NULL where there is none.
bool gguf_token_text(GgufText *out, const Gguf *file, uint64_t id, Error *err);

// Writes the keys. merges are written of both kinds: llama.cpp derives them from the scores where
// the kind is llama, but a vocabulary that SentencePiece did not make may have others.
void gguf_put_tokenizer(GgufWriter *writer, const TokenizerParts *parts);

// The parts of the tokenizer.json in a folder, for gguf_put_tokenizer. They live until
// hf_tokenizer_close.
typedef struct {
    TokenizerParts parts;
    struct cJSON *json;
    char *text; // (text_size) tokenizer.json itself
    size_t text_size;
    const char **pieces; // (vocab_size)
    size_t *piece_sizes; // (vocab_size)
    float *scores;       // (vocab_size)
    int32_t *types;      // (vocab_size)
    char **merges;       // (merge_count), owned
    size_t *merge_sizes; // (merge_count)
    char (*holes)[24];   // (vocab_size) names of ids that have no piece
} HfTokenizer;

// Reads FOLDER/tokenizer.json for a model of vocab_size tokens: the ids that it does not name
// become unused ones. bos and eos are left TOKEN_NONE. What GGUF has no name for (other
// pre-tokenizers, other kinds than BPE) is refused by the key's name.
bool hf_tokenizer_open(HfTokenizer *tokenizer, const char *folder, uint32_t vocab_size, Error *err);
void hf_tokenizer_close(HfTokenizer *tokenizer);

#endif
