// Tokenizers from the parts that GGUF and SentencePiece files carry. Not the reading of such files.
// Sources: GGUF's tokenizer.ggml.* keys; SentencePiece's types of pieces; the tokenizer.json files
// of the models whose pre-tokenizers GGUF names.
#include "text/pattern.h"
#include "text/tokenizer_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_BEGIN "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define WORDS_END "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const char LLAMA3[] = WORDS_BEGIN "\\p{N}{1,3}" WORDS_END;
static const char QWEN2[] = WORDS_BEGIN "\\p{N}" WORDS_END;

// The pre-tokenizers by GGUF's names. GPT-2's own pattern is ByteLevel's.
static const struct {
    const char *name, *regex; // NULL: GPT-2's
    bool digits;              // each digit is a word, before that
    bool ignore_merges, nfc;
} PRES[] = {
    {"default", NULL, false, false, false},
    {"gpt-2", NULL, false, false, false},
    {"gpt2", NULL, false, false, false},
    {"llama-bpe", LLAMA3, false, true, false},
    {"llama3", LLAMA3, false, true, false},
    {"llama-v3", LLAMA3, false, true, false},
    {"dbrx", LLAMA3, false, false, false},
    {"smaug-bpe", LLAMA3, false, false, false},
    {"qwen2", QWEN2, false, false, true},
    {"stablelm2", QWEN2, false, false, true},
    {"deepseek-r1-qwen", QWEN2, false, false, true},
    {"smollm", NULL, true, false, false},
    {"starcoder", NULL, true, false, false},
    {"refact", NULL, true, false, false},
};
enum { PRE_COUNT = sizeof PRES / sizeof *PRES };

static bool add_split(Tokenizer *t, const char *regex, const char *source, Error *err)
{
    PreStep step = {PRE_SPLIT, .pattern = pattern_new(regex, true, source, err)};
    if (!step.pattern) return false;
    pre_add(t, step);
    return true;
}

static bool set_byte_level(Tokenizer *t, const char *name, const char *source, Error *err)
{
    size_t i = 0;
    while (name && i < PRE_COUNT && strcmp(name, PRES[i].name) != 0) i++;
    if (i == PRE_COUNT)
        return error_set(err, "%s: the pre-tokenizer '%.60s' is not supported", source, name);
    PreStep bytes = {PRE_BYTE_LEVEL};
    if (PRES[i].nfc && !normalizer_add(t, NORMAL_NFC, NULL, NULL))
        return error_set(err, "%s: out of memory for the normalizer", source);
    if (PRES[i].digits && !add_split(t, "\\p{N}", source, err)) return false;
    if (PRES[i].regex && !add_split(t, PRES[i].regex, source, err)) return false;
    if (!PRES[i].regex && !(bytes.pattern = pattern_new(PATTERN_GPT2, true, source, err)))
        return false;
    pre_add(t, bytes);
    t->byte_level = true;
    t->byte_fallback = t->fuse_unk = t->strip_space = false;
    t->ignore_merges = PRES[i].ignore_merges;
    t->decode = DECODE_BYTE_LEVEL;
    return true;
}

static bool set_kind(Tokenizer *t, const TokenizerParts *parts, const char *source, Error *err)
{
    normalizer_clear(t);
    if (parts->kind == TOKENIZER_GPT2) return set_byte_level(t, parts->pre, source, err);
    t->strip_space = parts->add_space_prefix;
    if ((parts->add_space_prefix && !normalizer_add(t, NORMAL_PREPEND, NULL, SPACE_MARK)) ||
        !normalizer_add(t, NORMAL_REPLACE, " ", SPACE_MARK))
        return error_set(err, "%s: out of memory for the normalizer", source);
    return true;
}

static int32_t type_of(const TokenizerParts *parts, uint32_t id)
{
    return parts->types ? parts->types[id] : TOKEN_NORMAL;
}

static bool add_pieces(Tokenizer *t, const TokenizerParts *parts, const char *source, Error *err)
{
    for (uint32_t i = 0; i < parts->vocab_size; i++) {
        int32_t type = type_of(parts, i);
        if (type < TOKEN_NORMAL || type > TOKEN_BYTE)
            return error_set(err, "%s: the type of token %u is %d, expected %d to %d", source, i,
                             (int)type, TOKEN_NORMAL, TOKEN_BYTE);
        if (!tokenizer_add_piece(t, i, parts->pieces[i], parts->piece_sizes[i], source, err))
            return false;
        bool special = type == TOKEN_CONTROL || type == TOKEN_UNKNOWN;
        if (!special && type != TOKEN_USER) continue;
        AddedToken token = {.id = i, .special = special};
        if (!tokenizer_add_token(t, token, source, err)) return false;
    }
    return true;
}

static bool add_merges(Tokenizer *t, const TokenizerParts *parts, const char *source, Error *err)
{
    for (size_t i = 0; i < parts->merge_count; i++)
        if (!tokenizer_add_written_merge(t, parts->merges[i], parts->merge_sizes[i], source, err))
            return false;
    return true;
}

// Only normal pieces are made by merging.
static bool derive(Tokenizer *t, const TokenizerParts *parts, const char *source, Error *err)
{
    if (!parts->scores) return error_set(err, "%s: the tokenizer has no scores", source);
    bool *skip = malloc(parts->vocab_size * sizeof *skip);
    bool ok = skip || error_set(err, "%s: out of memory for the merges", source);
    for (uint32_t i = 0; i < parts->vocab_size && ok; i++) {
        skip[i] = type_of(parts, i) != TOKEN_NORMAL;
        ok = isfinite(parts->scores[i]) ||
             error_set(err, "%s: the score of token %u is not a finite number", source, i);
    }
    ok = ok && tokenizer_derive_merges(t, parts->scores, 0, skip, source, err);
    free(skip);
    return ok;
}

static bool set_special(uint32_t *out, Tokenizer *t, uint32_t id, const char *what,
                        const char *source, Error *err)
{
    *out = id;
    if (id == TOKEN_NONE) return true;
    if (id >= t->vocab_size)
        return error_set(err, "%s: %s is token %u, expected less than %u", source, what, id,
                         t->vocab_size);
    t->pieces[id].kind = PIECE_SPECIAL;
    return true;
}

static bool fill(Tokenizer *t, const TokenizerParts *parts, const char *source, Error *err)
{
    bool llama = parts->kind == TOKENIZER_LLAMA;
    if (!set_kind(t, parts, source, err) || !add_pieces(t, parts, source, err) ||
        !(llama && !parts->merge_count ? derive(t, parts, source, err)
                                       : add_merges(t, parts, source, err)) ||
        !set_special(&t->unk, t, parts->unknown, "the unknown token", source, err) ||
        !set_special(&t->bos, t, parts->bos, "the beginning of a text", source, err) ||
        !set_special(&t->eos, t, parts->eos, "the end of a text", source, err))
        return false;
    if (!llama) t->unk = TOKEN_NONE; // every byte is a piece
    t->adds_bos = parts->add_bos && t->bos != TOKEN_NONE;
    t->adds_eos = parts->add_eos && t->eos != TOKEN_NONE;
    return tokenizer_seal(t, source, err);
}

Tokenizer *tokenizer_from_parts(const TokenizerParts *parts, const char *source, Error *err)
{
    if (!parts->vocab_size || parts->vocab_size > VOCAB_LIMIT) {
        error_set(err, "%s: a vocabulary of %u tokens, expected 1 to %d", source, parts->vocab_size,
                  VOCAB_LIMIT);
        return NULL;
    }
    Tokenizer *t = tokenizer_new(parts->vocab_size, source, err);
    if (!t || fill(t, parts, source, err)) return t;
    tokenizer_free(t);
    return NULL;
}
