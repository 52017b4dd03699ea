// The tokenizer in a GGUF file: see gguf_tokenizer.h.
#include "model/gguf_tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VOCAB_LIMIT = 4000000, PRE_SIZE = 64 };

#define GGML "tokenizer.ggml."

static const char TOKENS[] = GGML "tokens", SCORES[] = GGML "scores", TYPES[] = GGML "token_type",
                  MERGES[] = GGML "merges", TEMPLATE[] = "tokenizer.chat_template",
                  WHOLE[] = "tokenizer.huggingface.json";

// An array of strings as pointers into the mapping.
typedef struct {
    const char **texts; // (count)
    size_t *sizes;      // (count)
    size_t count;
} Texts;

static bool read_texts(Texts *out, const Gguf *file, const char *key, Error *err)
{
    const GgufValue *array;
    if (!gguf_array_or(&array, file, key, GGUF_STRING, err)) return false;
    if (!array) return true;
    out->texts = calloc((size_t)array->count + 1, sizeof *out->texts);
    out->sizes = calloc((size_t)array->count + 1, sizeof *out->sizes);
    if (!out->texts || !out->sizes) return error_set(err, "%s: out of memory", file->path);
    out->count = (size_t)array->count;
    const uint8_t *at = array->data;
    for (size_t i = 0; i < out->count; i++) {
        GgufText text = gguf_next_text(&at);
        out->texts[i] = text.text;
        out->sizes[i] = text.size;
    }
    return true;
}

static void free_texts(Texts *texts)
{
    free(texts->texts);
    free(texts->sizes);
}

static bool read_kind(TokenizerParts *parts, char *pre, const Gguf *file, Error *err)
{
    GgufText kind, name;
    if (!gguf_text_or(&kind, file, GGML "model", err) ||
        !gguf_text_or(&name, file, GGML "pre", err))
        return false;
    if (!kind.text) return error_set(err, "%s: key '" GGML "model' is missing", file->path);
    if (gguf_text_is(kind, "llama"))
        parts->kind = TOKENIZER_LLAMA;
    else if (gguf_text_is(kind, "gpt2"))
        parts->kind = TOKENIZER_GPT2;
    else
        return error_set(err, "%s: key '" GGML "model' is '%.*s', expected 'llama' or 'gpt2'",
                         file->path, (int)(kind.size < 40 ? kind.size : 40), kind.text);
    if (!name.text) return true;
    if (name.size >= PRE_SIZE || memchr(name.text, 0, name.size))
        return error_set(err, "%s: key '" GGML "pre' is no name of a pre-tokenizer", file->path);
    memcpy(pre, name.text, name.size);
    pre[name.size] = 0;
    parts->pre = pre;
    return true;
}

static bool read_id(uint32_t *out, const Gguf *file, const char *key, uint32_t fallback,
                    const TokenizerParts *parts, Error *err)
{
    uint64_t id;
    if (fallback >= parts->vocab_size) fallback = TOKEN_NONE;
    if (!gguf_int_or(&id, file, key, fallback, 0, parts->vocab_size - 1, err)) return false;
    *out = (uint32_t)id;
    return true;
}

// What absent keys mean is llama.cpp's.
static bool read_ids(TokenizerParts *parts, const Gguf *file, Error *err)
{
    bool llama = parts->kind == TOKENIZER_LLAMA;
    bool llama3 = parts->pre && !strcmp(parts->pre, "llama-bpe");
    return read_id(&parts->bos, file, GGML "bos_token_id", llama ? 1 : TOKEN_NONE, parts, err) &&
           read_id(&parts->eos, file, GGML "eos_token_id", llama ? 2 : TOKEN_NONE, parts, err) &&
           read_id(&parts->unknown, file, GGML "unknown_token_id", llama ? 0 : TOKEN_NONE, parts,
                   err) &&
           gguf_bool_or(&parts->add_bos, file, GGML "add_bos_token", llama || llama3, err) &&
           gguf_bool_or(&parts->add_eos, file, GGML "add_eos_token", false, err) &&
           gguf_bool_or(&parts->add_space_prefix, file, GGML "add_space_prefix", llama, err);
}

// An array with one element for each token, or NULL.
static bool read_column(const GgufValue **out, const Gguf *file, const char *key, GgufType type,
                        uint32_t vocab_size, Error *err)
{
    if (!gguf_array_or(out, file, key, type, err)) return false;
    return !*out || (*out)->count == vocab_size ||
           error_set(err,
                     "%s: key '%s' has %" PRIu64 " elements, expected one for each of %" PRIu32
                     " tokens",
                     file->path, key, (*out)->count, vocab_size);
}

// Scores and types, copied for their alignment: scores (vocab_size) and then types.
static bool read_columns(TokenizerParts *parts, uint32_t **copies, const Gguf *file, Error *err)
{
    const GgufValue *scores, *types;
    size_t bytes = parts->vocab_size * sizeof **copies;
    if (!read_column(&scores, file, SCORES, GGUF_F32, parts->vocab_size, err)) return false;
    const GgufValue *any = gguf_find(file, TYPES); // some writers have it unsigned
    GgufType kind = any && any->is_array && any->type == GGUF_U32 ? GGUF_U32 : GGUF_I32;
    if (!read_column(&types, file, TYPES, kind, parts->vocab_size, err)) return false;
    *copies = malloc(2 * bytes);
    if (!*copies) return error_set(err, "%s: out of memory", file->path);
    if (scores) memcpy(*copies, scores->data, bytes);
    if (types) memcpy(*copies + parts->vocab_size, types->data, bytes);
    parts->scores = scores ? (const float *)(const void *)*copies : NULL;
    parts->types = types ? (const int32_t *)(const void *)(*copies + parts->vocab_size) : NULL;
    return true;
}

static bool read_tokens(TokenizerParts *parts, Texts *tokens, const Gguf *file, Error *err)
{
    if (!read_texts(tokens, file, TOKENS, err)) return false;
    if (!tokens->count || tokens->count > VOCAB_LIMIT)
        return error_set(err, "%s: key '%s' has %zu tokens, expected 1 to %d", file->path, TOKENS,
                         tokens->count, VOCAB_LIMIT);
    parts->vocab_size = (uint32_t)tokens->count;
    parts->pieces = tokens->texts;
    parts->piece_sizes = tokens->sizes;
    return true;
}

Tokenizer *gguf_tokenizer_read(const Gguf *file, Error *err)
{
    char pre[PRE_SIZE];
    TokenizerParts parts = {0};
    Texts tokens = {0}, merges = {0};
    uint32_t *columns = NULL;
    Tokenizer *tokenizer = NULL;
    if (read_kind(&parts, pre, file, err) && read_tokens(&parts, &tokens, file, err) &&
        read_columns(&parts, &columns, file, err) && read_texts(&merges, file, MERGES, err) &&
        read_ids(&parts, file, err)) {
        parts.merges = merges.texts;
        parts.merge_sizes = merges.sizes;
        parts.merge_count = merges.count;
        tokenizer = tokenizer_from_parts(&parts, file->path, err);
    }
    free(columns);
    free_texts(&tokens);
    free_texts(&merges);
    return tokenizer;
}

Tokenizer *gguf_tokenizer_load(const char *path, Error *err)
{
    Gguf file;
    if (!gguf_open(&file, path, err)) return NULL;
    Tokenizer *tokenizer = gguf_tokenizer_read(&file, err);
    gguf_close(&file);
    return tokenizer;
}

bool gguf_chat_template(GgufText *out, const Gguf *file, Error *err)
{
    return gguf_text_or(out, file, TEMPLATE, err);
}

bool gguf_tokenizer_json(GgufText *out, const Gguf *file, Error *err)
{
    return gguf_text_or(out, file, WHOLE, err);
}

bool gguf_token_text(GgufText *out, const Gguf *file, uint64_t id, Error *err)
{
    const GgufValue *array;
    *out = (GgufText){0};
    if (!gguf_array_or(&array, file, TOKENS, GGUF_STRING, err)) return false;
    if (!array || id >= array->count) return true;
    const uint8_t *at = array->data;
    for (uint64_t i = 0; i <= id; i++) *out = gguf_next_text(&at);
    return true;
}

// ---- writing -----------------------------------------------------------------------------------

static void put_word(GgufWriter *writer, const char *key, const char *text)
{
    gguf_put_text(writer, key, text, strlen(text));
}

static void put_texts(GgufWriter *writer, const char *key, const char *const *texts,
                      const size_t *sizes, size_t count)
{
    gguf_put_array(writer, key, GGUF_STRING, count);
    for (size_t i = 0; i < count; i++) gguf_put_element(writer, texts[i], sizes[i]);
}

static void put_id(GgufWriter *writer, const char *key, uint32_t id)
{
    if (id != TOKEN_NONE) gguf_put_u32(writer, key, id);
}

void gguf_put_tokenizer(GgufWriter *writer, const TokenizerParts *p)
{
    bool llama = p->kind == TOKENIZER_LLAMA;
    put_word(writer, GGML "model", llama ? "llama" : "gpt2");
    put_word(writer, GGML "pre", p->pre ? p->pre : "default");
    put_texts(writer, TOKENS, p->pieces, p->piece_sizes, p->vocab_size);
    if (p->scores) {
        gguf_put_array(writer, SCORES, GGUF_F32, p->vocab_size);
        gguf_put_elements(writer, p->scores, p->vocab_size * sizeof *p->scores);
    }
    if (p->types) {
        gguf_put_array(writer, TYPES, GGUF_I32, p->vocab_size);
        gguf_put_elements(writer, p->types, p->vocab_size * sizeof *p->types);
    }
    put_texts(writer, MERGES, p->merges, p->merge_sizes, p->merge_count);
    put_id(writer, GGML "bos_token_id", p->bos);
    put_id(writer, GGML "eos_token_id", p->eos);
    put_id(writer, GGML "unknown_token_id", p->unknown);
    gguf_put_bool(writer, GGML "add_bos_token", p->add_bos);
    gguf_put_bool(writer, GGML "add_eos_token", p->add_eos);
    if (llama) gguf_put_bool(writer, GGML "add_space_prefix", p->add_space_prefix);
}
