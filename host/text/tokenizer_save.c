// Writes a Tokenizer as a tokenizer.json that Hugging Face's tokenizers reads. Not
// tokenizer_config.json, which says nothing that changes the tokens.
#include "text/tokenizer_internal.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

// The first failure to allocate is kept in `failed`, so that the functions below read as the file.
typedef struct {
    const Tokenizer *tokenizer;
    bool failed;
} Writer;

static cJSON *made(Writer *w, cJSON *item)
{
    if (!item) w->failed = true;
    return item;
}

static cJSON *object(Writer *w, const char *type)
{
    cJSON *item = made(w, cJSON_CreateObject());
    if (type && item) made(w, cJSON_AddStringToObject(item, "type", type));
    return item;
}

// Adds `value`, which it takes over, to an object.
static void set(Writer *w, cJSON *to, const char *key, cJSON *value)
{
    if (made(w, value) && !cJSON_AddItemToObject(to, key, value)) {
        cJSON_Delete(value);
        w->failed = true;
    }
}

static void set_text(Writer *w, cJSON *to, const char *key, const char *text)
{
    set(w, to, key, cJSON_CreateString(text));
}

static void set_bool(Writer *w, cJSON *to, const char *key, bool value)
{
    set(w, to, key, cJSON_CreateBool(value));
}

static void append(Writer *w, cJSON *list, cJSON *value)
{
    if (made(w, value) && !cJSON_AddItemToArray(list, value)) {
        cJSON_Delete(value);
        w->failed = true;
    }
}

// The text of a piece, NUL-terminated in text[PIECE_LIMIT + 1].
static const char *piece_string(const Tokenizer *t, uint32_t id, char *text)
{
    memcpy(text, tokenizer_piece(t, id), t->pieces[id].size);
    text[t->pieces[id].size] = 0;
    return text;
}

static cJSON *replace(Writer *w, const char *from, const char *to)
{
    cJSON *part = object(w, "Replace"), *pattern = object(w, NULL);
    set_text(w, pattern, "String", from);
    set(w, part, "pattern", pattern);
    set_text(w, part, "content", to);
    return part;
}

static cJSON *normalizer(Writer *w)
{
    if (w->tokenizer->metaspace) return cJSON_CreateNull();
    cJSON *all = object(w, "Sequence"), *list = cJSON_CreateArray();
    if (w->tokenizer->prefix == PREFIX_ALWAYS) {
        cJSON *prepend = object(w, "Prepend");
        set_text(w, prepend, "prepend", SPACE_MARK);
        append(w, list, prepend);
    }
    append(w, list, replace(w, " ", SPACE_MARK));
    set(w, all, "normalizers", list);
    return all;
}

static cJSON *pre_tokenizer(Writer *w)
{
    static const char *const SCHEMES[] = {
        [PREFIX_NONE] = "never", [PREFIX_IF_MISSING] = "always", [PREFIX_FIRST] = "first"};
    if (!w->tokenizer->metaspace) return cJSON_CreateNull();
    cJSON *part = object(w, "Metaspace");
    set_text(w, part, "replacement", SPACE_MARK);
    set_text(w, part, "prepend_scheme", SCHEMES[w->tokenizer->prefix]);
    set_bool(w, part, "split", false);
    return part;
}

static cJSON *decoder(Writer *w)
{
    cJSON *all = object(w, "Sequence"), *list = cJSON_CreateArray();
    append(w, list, replace(w, SPACE_MARK, " "));
    append(w, list, object(w, "ByteFallback"));
    append(w, list, object(w, "Fuse"));
    if (w->tokenizer->strip_space) {
        cJSON *strip = object(w, "Strip");
        set_text(w, strip, "content", " ");
        set(w, strip, "start", cJSON_CreateNumber(1));
        set(w, strip, "stop", cJSON_CreateNumber(0));
        append(w, list, strip);
    }
    set(w, all, "decoders", list);
    return all;
}

// {kind: {"id": id, "type_id": type}}
static cJSON *template_part(Writer *w, const char *kind, const char *id, int type)
{
    cJSON *part = object(w, NULL), *body = object(w, NULL);
    set_text(w, body, "id", id);
    set(w, body, "type_id", cJSON_CreateNumber(type));
    set(w, part, kind, body);
    return part;
}

// BOS in front of each text.
static cJSON *post_processor(Writer *w)
{
    char bos[PIECE_LIMIT + 1];
    piece_string(w->tokenizer, w->tokenizer->bos, bos);
    cJSON *all = object(w, "TemplateProcessing"), *single = cJSON_CreateArray();
    cJSON *pair = cJSON_CreateArray(), *special = object(w, NULL), *entry = object(w, NULL);
    cJSON *ids = cJSON_CreateArray(), *tokens = cJSON_CreateArray();
    append(w, single, template_part(w, "SpecialToken", bos, 0));
    append(w, single, template_part(w, "Sequence", "A", 0));
    for (int i = 0; i < 2; i++) {
        append(w, pair, template_part(w, "SpecialToken", bos, i));
        append(w, pair, template_part(w, "Sequence", i ? "B" : "A", i));
    }
    append(w, ids, cJSON_CreateNumber(w->tokenizer->bos));
    append(w, tokens, cJSON_CreateString(bos));
    set_text(w, entry, "id", bos);
    set(w, entry, "ids", ids);
    set(w, entry, "tokens", tokens);
    set(w, special, bos, entry);
    set(w, all, "single", single);
    set(w, all, "pair", pair);
    set(w, all, "special_tokens", special);
    return all;
}

static int compare_ids(const void *a, const void *b)
{
    uint32_t x = (*(const AddedToken *const *)a)->id, y = (*(const AddedToken *const *)b)->id;
    return (x > y) - (x < y);
}

static cJSON *added_token(Writer *w, const AddedToken *token)
{
    char text[PIECE_LIMIT + 1];
    cJSON *item = object(w, NULL);
    set(w, item, "id", cJSON_CreateNumber(token->id));
    set_text(w, item, "content", piece_string(w->tokenizer, token->id, text));
    set_bool(w, item, "single_word", false);
    set_bool(w, item, "lstrip", token->lstrip);
    set_bool(w, item, "rstrip", token->rstrip);
    set_bool(w, item, "normalized", token->normalized);
    set_bool(w, item, "special", token->special);
    return item;
}

static cJSON *added_tokens(Writer *w)
{
    const Tokenizer *t = w->tokenizer;
    cJSON *list = cJSON_CreateArray();
    const AddedToken **order = malloc((t->added_count + 1) * sizeof *order);
    if (!order) {
        w->failed = true;
        return list;
    }
    for (size_t i = 0; i < t->added_count; i++) order[i] = &t->added[i];
    qsort(order, t->added_count, sizeof *order, compare_ids);
    for (size_t i = 0; i < t->added_count; i++) append(w, list, added_token(w, order[i]));
    free(order);
    return list;
}

// Merges are written "a b", which every version reads, unless a piece holds a space itself.
static bool needs_arrays(const Tokenizer *t)
{
    for (uint32_t i = 0; i < t->vocab_size; i++)
        if (t->pieces[i].size && memchr(tokenizer_piece(t, i), ' ', t->pieces[i].size)) return true;
    return false;
}

static cJSON *merge_item(Writer *w, const Merge *merge, bool as_array)
{
    char left[2 * PIECE_LIMIT + 2], right[PIECE_LIMIT + 1];
    piece_string(w->tokenizer, merge->left, left);
    piece_string(w->tokenizer, merge->right, right);
    if (!as_array) {
        strcat(strcat(left, " "), right);
        return cJSON_CreateString(left);
    }
    cJSON *pair = cJSON_CreateArray();
    append(w, pair, cJSON_CreateString(left));
    append(w, pair, cJSON_CreateString(right));
    return pair;
}

static cJSON *model(Writer *w)
{
    const Tokenizer *t = w->tokenizer;
    char text[PIECE_LIMIT + 1];
    cJSON *item = object(w, "BPE"), *vocab = object(w, NULL), *merges = cJSON_CreateArray();
    bool as_arrays = needs_arrays(t);
    for (uint32_t i = 0; i < t->vocab_size; i++)
        if (t->pieces[i].kind != PIECE_HOLE)
            set(w, vocab, piece_string(t, i, text), cJSON_CreateNumber(i));
    for (size_t i = 0; i < t->merge_count; i++)
        if (!t->merges[i].dead) append(w, merges, merge_item(w, &t->merges[i], as_arrays));
    set(w, item, "dropout", cJSON_CreateNull());
    set_text(w, item, "unk_token", piece_string(t, t->unk, text));
    set(w, item, "continuing_subword_prefix", cJSON_CreateNull());
    set(w, item, "end_of_word_suffix", cJSON_CreateNull());
    set_bool(w, item, "fuse_unk", t->fuse_unk);
    set_bool(w, item, "byte_fallback", true);
    set_bool(w, item, "ignore_merges", false);
    set(w, item, "vocab", vocab);
    set(w, item, "merges", merges);
    return item;
}

bool tokenizer_save(const Tokenizer *t, const char *path, Error *err)
{
    Writer w = {.tokenizer = t};
    cJSON *root = object(&w, NULL);
    set_text(&w, root, "version", "1.0");
    set(&w, root, "truncation", cJSON_CreateNull());
    set(&w, root, "padding", cJSON_CreateNull());
    set(&w, root, "added_tokens", added_tokens(&w));
    set(&w, root, "normalizer", normalizer(&w));
    set(&w, root, "pre_tokenizer", pre_tokenizer(&w));
    set(&w, root, "post_processor", post_processor(&w));
    set(&w, root, "decoder", decoder(&w));
    set(&w, root, "model", model(&w));
    bool ok = w.failed ? error_set(err, "%s: out of memory while writing", path)
                       : json_write(path, root, err);
    cJSON_Delete(root);
    return ok;
}
