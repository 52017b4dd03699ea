// A folder's tokenizer.json as the parts that GGUF holds: see gguf_tokenizer.h. It reads what GGUF
// has a name for and leaves the checking of the rest to text/, which loads the same file. Source:
// the tokenizer.json format of Hugging Face tokenizers.
#include "base/file.h"
#include "base/json.h"
#include "model/gguf_tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_LIMIT = 1 << 28 };

#define SPACE_MARK "\xE2\x96\x81" // U+2581

// Patterns of pre-tokenizers and GGUF's names of them, as the models' own files have them.
#define WORDS_BEGIN "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define WORDS_END "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
static const struct {
    const char *regex;
    bool ignore_merges;
    const char *name;
} PRES[] = {
    {WORDS_BEGIN "\\p{N}{1,3}" WORDS_END, true, "llama-bpe"},
    {WORDS_BEGIN "\\p{N}{1,3}" WORDS_END, false, "smaug-bpe"},
    {WORDS_BEGIN "\\p{N}" WORDS_END, false, "qwen2"},
};

typedef struct {
    HfTokenizer *out;
    const char *path;
    const cJSON *model;
    Error *err;
} Reader;

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

static bool flag_of(const cJSON *object, const char *key, bool fallback)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsBool(item) ? cJSON_IsTrue(item) : fallback;
}

// ---- steps -------------------------------------------------------------------------------------

// The steps of a normalizer or pre-tokenizer, which is one or a Sequence: the first, then by
// `next`.
static const cJSON *first_step(const cJSON *json, const char *key, const char *list)
{
    const cJSON *step = cJSON_GetObjectItemCaseSensitive(json, key);
    if (!cJSON_IsObject(step)) return NULL;
    if (strcmp(text_of(step, "type"), "Sequence") != 0) return step;
    const cJSON *steps = cJSON_GetObjectItemCaseSensitive(step, list);
    return steps ? steps->child : NULL;
}

static const cJSON *next_step(const cJSON *step)
{
    return step->string ? NULL : step->next; // a lone step is a field and not an element
}

static bool refuse_step(const Reader *r, const char *what, const char *type)
{
    return error_set(r->err, "%s: %s '%.40s' has no counterpart in a GGUF file", r->path, what,
                     type);
}

// SentencePiece's kind: Prepend and Replace as normalizers, or Metaspace as pre-tokenizer.
static bool read_llama_steps(const Reader *r)
{
    TokenizerParts *parts = &r->out->parts;
    for (const cJSON *step = first_step(r->out->json, "normalizer", "normalizers"); step;
         step = next_step(step)) {
        const char *type = text_of(step, "type");
        if (!strcmp(type, "Prepend") && !strcmp(text_of(step, "prepend"), SPACE_MARK))
            parts->add_space_prefix = true;
        else if (strcmp(type, "Replace") != 0)
            return refuse_step(r, "normalizer", type);
    }
    for (const cJSON *step = first_step(r->out->json, "pre_tokenizer", "pretokenizers"); step;
         step = next_step(step)) {
        const char *type = text_of(step, "type");
        if (strcmp(type, "Metaspace") != 0) return refuse_step(r, "pre_tokenizer", type);
        const char *scheme = text_of(step, "prepend_scheme");
        parts->add_space_prefix =
            *scheme ? strcmp(scheme, "never") != 0 : flag_of(step, "add_prefix_space", true);
    }
    return true;
}

static bool name_pattern(const Reader *r, const char *regex)
{
    bool ignore_merges = flag_of(r->model, "ignore_merges", false);
    for (size_t i = 0; i < sizeof PRES / sizeof *PRES; i++)
        if (!strcmp(regex, PRES[i].regex) && ignore_merges == PRES[i].ignore_merges) {
            r->out->parts.pre = PRES[i].name;
            return true;
        }
    return refuse_step(r, "the pattern", *regex ? regex : "of Split");
}

static bool read_byte_level_steps(const Reader *r)
{
    bool bytes = false;
    for (const cJSON *step = first_step(r->out->json, "normalizer", "normalizers"); step;
         step = next_step(step))
        if (strcmp(text_of(step, "type"), "NFC") != 0) // which those of Qwen's kind have
            return refuse_step(r, "normalizer", text_of(step, "type"));
    for (const cJSON *step = first_step(r->out->json, "pre_tokenizer", "pretokenizers"); step;
         step = next_step(step)) {
        const char *type = text_of(step, "type");
        if (!strcmp(type, "Split")) {
            const cJSON *pattern = cJSON_GetObjectItemCaseSensitive(step, "pattern");
            if (!name_pattern(r, text_of(pattern, "Regex"))) return false;
        } else if (!strcmp(type, "Digits") && flag_of(step, "individual_digits", false)) {
            r->out->parts.pre = "smollm";
        } else if (!strcmp(type, "ByteLevel") && !flag_of(step, "add_prefix_space", true)) {
            bytes = true;
            if (!r->out->parts.pre && flag_of(step, "use_regex", true)) r->out->parts.pre = "gpt-2";
        } else {
            return refuse_step(r, "pre_tokenizer", type);
        }
    }
    return (bytes && r->out->parts.pre) || refuse_step(r, "pre_tokenizer", "without a pattern");
}

// ---- pieces ------------------------------------------------------------------------------------

static bool set_piece(const Reader *r, const cJSON *id, const char *text)
{
    HfTokenizer *t = r->out;
    double value = cJSON_IsNumber(id) ? id->valuedouble : -1;
    if (!(value >= 0 && value < t->parts.vocab_size))
        return error_set(
            r->err, "%s: token '%.100s' has an id that is not below the model's %" PRIu32 " tokens",
            r->path, text, t->parts.vocab_size);
    t->pieces[(uint32_t)value] = text;
    t->piece_sizes[(uint32_t)value] = strlen(text);
    t->types[(uint32_t)value] = TOKEN_NORMAL;
    return true;
}

static bool read_added(const Reader *r)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(r->out->json, "added_tokens");
    for (const cJSON *item = list ? list->child : NULL; item; item = item->next) {
        const cJSON *id = cJSON_GetObjectItemCaseSensitive(item, "id");
        if (!set_piece(r, id, text_of(item, "content"))) return false;
        r->out->types[(uint32_t)id->valuedouble] =
            flag_of(item, "special", false) ? TOKEN_CONTROL : TOKEN_USER;
    }
    return true;
}

// <0xHH> are the bytes of SentencePiece's kind.
static bool is_byte(const char *text)
{
    return strlen(text) == 6 && !strncmp(text, "<0x", 3) && text[5] == '>' &&
           strspn(text + 3, "0123456789ABCDEF") == 2;
}

static bool read_pieces(const Reader *r)
{
    HfTokenizer *t = r->out;
    const cJSON *vocab = cJSON_GetObjectItemCaseSensitive(r->model, "vocab");
    if (!cJSON_IsObject(vocab))
        return error_set(r->err, "%s: key 'model.vocab' must be an object", r->path);
    for (const cJSON *item = vocab->child; item; item = item->next)
        if (!set_piece(r, item, item->string)) return false;
    if (!read_added(r)) return false;
    bool llama = t->parts.kind == TOKENIZER_LLAMA;
    const char *unknown = text_of(r->model, "unk_token");
    for (uint32_t i = 0; i < t->parts.vocab_size; i++) {
        if (!t->pieces[i]) { // as llama.cpp's converter calls them
            t->piece_sizes[i] = (size_t)snprintf(t->holes[i], sizeof *t->holes, "[PAD%u]", i);
            t->pieces[i] = t->holes[i];
            t->types[i] = TOKEN_UNUSED;
        } else if (llama && is_byte(t->pieces[i])) {
            t->types[i] = TOKEN_BYTE;
        } else if (llama && *unknown && !strcmp(t->pieces[i], unknown)) {
            t->types[i] = TOKEN_UNKNOWN;
            t->parts.unknown = i;
        }
    }
    return true;
}

// ---- merges ------------------------------------------------------------------------------------

// "left right", or a list of the two.
static char *merge_text(const cJSON *item)
{
    const cJSON *left = cJSON_IsArray(item) ? item->child : NULL, *right = left ? left->next : NULL;
    if (cJSON_IsString(item)) {
        char *copy = malloc(strlen(item->valuestring) + 1);
        return copy ? strcpy(copy, item->valuestring) : NULL;
    }
    if (!cJSON_IsString(left) || !cJSON_IsString(right)) return NULL;
    size_t size = strlen(left->valuestring) + strlen(right->valuestring) + 2;
    char *joined = malloc(size);
    if (joined) snprintf(joined, size, "%s %s", left->valuestring, right->valuestring);
    return joined;
}

static bool read_merges(const Reader *r)
{
    HfTokenizer *t = r->out;
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(r->model, "merges");
    if (!cJSON_IsArray(list))
        return error_set(r->err, "%s: key 'model.merges' must be a list", r->path);
    size_t count = (size_t)cJSON_GetArraySize(list);
    t->merges = calloc(count + 1, sizeof *t->merges);
    t->merge_sizes = calloc(count + 1, sizeof *t->merge_sizes);
    if (!t->merges || !t->merge_sizes) return error_set(r->err, "%s: out of memory", r->path);
    for (const cJSON *item = list->child; item; item = item->next) {
        char *text = merge_text(item);
        if (!text)
            return error_set(r->err, "%s: merge %zu is not a pair of pieces", r->path,
                             t->parts.merge_count);
        t->merge_sizes[t->parts.merge_count] = strlen(text);
        t->merges[t->parts.merge_count++] = text;
    }
    return true;
}

typedef struct {
    const char *text;
    uint32_t id;
} Named;

static int compare_named(const void *a, const void *b)
{
    return strcmp(((const Named *)a)->text, ((const Named *)b)->text);
}

// The score of a piece is minus the rank of the first merge that makes it, so that SentencePiece's
// rule, best score first, merges in the same order. Those that no merge makes come last.
static bool score_pieces(const Reader *r)
{
    HfTokenizer *t = r->out;
    uint32_t count = t->parts.vocab_size;
    Named *names = calloc(count, sizeof *names);
    char *joined = malloc(t->text_size + 1); // longer than any merge
    bool ok = (names && joined) || error_set(r->err, "%s: out of memory", r->path);
    for (uint32_t i = 0; ok && i < count; i++) {
        bool normal = t->types[i] == TOKEN_NORMAL;
        names[i] = (Named){t->pieces[i], i};
        t->scores[i] = normal ? -(float)(t->parts.merge_count + i) : 0;
    }
    if (ok) qsort(names, count, sizeof *names, compare_named);
    for (size_t i = t->parts.merge_count; ok && i-- > 0;) {
        const char *space = strchr(t->merges[i], ' ');
        if (!space) continue; // text/ refuses it
        sprintf(joined, "%.*s%s", (int)(space - t->merges[i]), t->merges[i], space + 1);
        const Named *found =
            bsearch(&(Named){joined, 0}, names, count, sizeof *names, compare_named);
        if (found && t->types[found->id] == TOKEN_NORMAL) t->scores[found->id] = -(float)i;
    }
    free(names);
    free(joined);
    return ok;
}

// ---- all ---------------------------------------------------------------------------------------

static bool make_room(const Reader *r)
{
    HfTokenizer *t = r->out;
    size_t count = t->parts.vocab_size;
    t->pieces = calloc(count, sizeof *t->pieces);
    t->piece_sizes = calloc(count, sizeof *t->piece_sizes);
    t->scores = calloc(count, sizeof *t->scores);
    t->types = calloc(count, sizeof *t->types);
    t->holes = calloc(count, sizeof *t->holes);
    return (t->pieces && t->piece_sizes && t->scores && t->types && t->holes) ||
           error_set(r->err, "%s: out of memory", r->path);
}

static bool read_all(Reader *r)
{
    HfTokenizer *t = r->out;
    r->model = cJSON_GetObjectItemCaseSensitive(t->json, "model");
    if (strcmp(text_of(r->model, "type"), "BPE") != 0)
        return error_set(r->err, "%s: key 'model.type' is '%.40s', expected 'BPE'", r->path,
                         text_of(r->model, "type"));
    bool llama = flag_of(r->model, "byte_fallback", false);
    t->parts.kind = llama ? TOKENIZER_LLAMA : TOKENIZER_GPT2;
    return (llama ? read_llama_steps(r) : read_byte_level_steps(r)) && make_room(r) &&
           read_pieces(r) && read_merges(r) && (!llama || score_pieces(r));
}

bool hf_tokenizer_open(HfTokenizer *t, const char *folder, uint32_t vocab_size, Error *err)
{
    char path[1024];
    *t = (HfTokenizer){
        .parts = {
            .vocab_size = vocab_size, .bos = TOKEN_NONE, .eos = TOKEN_NONE, .unknown = TOKEN_NONE}};
    if (!path_join(path, sizeof path, folder, "tokenizer.json", err) ||
        !file_read(&t->text, &t->text_size, path, FILE_LIMIT, err))
        return false;
    t->json = json_parse(t->text, t->text_size, path, err);
    if (t->json && read_all(&(Reader){t, path, NULL, err})) {
        t->parts.pieces = t->pieces;
        t->parts.piece_sizes = t->piece_sizes;
        t->parts.types = t->types;
        t->parts.scores = t->parts.kind == TOKENIZER_LLAMA ? t->scores : NULL;
        t->parts.merges = (const char *const *)t->merges;
        t->parts.merge_sizes = t->merge_sizes;
        return true;
    }
    hf_tokenizer_close(t);
    return false;
}

void hf_tokenizer_close(HfTokenizer *t)
{
    for (size_t i = 0; i < t->parts.merge_count; i++) free(t->merges[i]);
    free(t->merges);
    free(t->merge_sizes);
    free(t->pieces);
    free(t->piece_sizes);
    free(t->scores);
    free(t->types);
    free(t->holes);
    free(t->text);
    cJSON_Delete(t->json);
    *t = (HfTokenizer){0};
}
