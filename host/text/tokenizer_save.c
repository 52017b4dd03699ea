// Writes a Tokenizer as a tokenizer.json that Hugging Face's tokenizers reads. Not
// tokenizer_config.json, which says nothing that changes the tokens.
#include "text/tokenizer_internal.h"
#include "base/json.h"
#include "text/pattern.h"

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

static cJSON *normal_step(Writer *w, const NormalStep *step)
{
    static const char *const FORMS[] = {
        [NORMAL_NFC] = "NFC", [NORMAL_NFD] = "NFD", [NORMAL_NFKC] = "NFKC", [NORMAL_NFKD] = "NFKD"};
    if (step->kind == NORMAL_REPLACE) return replace(w, step->from, step->to);
    if (step->kind != NORMAL_PREPEND) return object(w, FORMS[step->kind]);
    cJSON *part = object(w, "Prepend");
    set_text(w, part, "prepend", step->to);
    return part;
}

static cJSON *normalizer(Writer *w)
{
    const Tokenizer *t = w->tokenizer;
    if (!t->normal_count) return cJSON_CreateNull();
    cJSON *all = object(w, "Sequence"), *list = cJSON_CreateArray();
    for (size_t i = 0; i < t->normal_count; i++) append(w, list, normal_step(w, &t->normal[i]));
    set(w, all, "normalizers", list);
    return all;
}

static const char *const SCHEMES[] = {
    [PREFIX_NEVER] = "never", [PREFIX_ALWAYS] = "always", [PREFIX_FIRST] = "first"};

static cJSON *metaspace(Writer *w, Prefix prefix, bool splits)
{
    cJSON *part = object(w, "Metaspace");
    set_text(w, part, "replacement", SPACE_MARK);
    set_text(w, part, "prepend_scheme", SCHEMES[prefix]);
    set_bool(w, part, "split", splits);
    return part;
}

static cJSON *byte_level(Writer *w, bool add_space, bool regex)
{
    cJSON *part = object(w, "ByteLevel");
    set_bool(w, part, "add_prefix_space", add_space);
    set_bool(w, part, "trim_offsets", true);
    set_bool(w, part, "use_regex", regex);
    return part;
}

static cJSON *pre_step(Writer *w, const PreStep *step)
{
    static const char *const BEHAVIORS[] = {[SPLIT_ISOLATED] = "Isolated",
                                            [SPLIT_REMOVED] = "Removed",
                                            [SPLIT_CONTIGUOUS] = "Contiguous",
                                            [SPLIT_MERGED_PREVIOUS] = "MergedWithPrevious",
                                            [SPLIT_MERGED_NEXT] = "MergedWithNext"};
    if (step->kind == PRE_METASPACE) return metaspace(w, step->prefix, step->pattern != NULL);
    if (step->kind == PRE_BYTE_LEVEL) return byte_level(w, step->add_space, step->pattern != NULL);
    cJSON *part = object(w, "Split"), *pattern = object(w, NULL);
    set_text(w, pattern, pattern_is_regex(step->pattern) ? "Regex" : "String",
             pattern_text(step->pattern));
    set(w, part, "pattern", pattern);
    set_text(w, part, "behavior", BEHAVIORS[step->behavior]);
    set_bool(w, part, "invert", step->invert);
    return part;
}

static cJSON *pre_tokenizer(Writer *w)
{
    const Tokenizer *t = w->tokenizer;
    if (!t->pre_count) return cJSON_CreateNull();
    if (t->pre_count == 1) return pre_step(w, t->pre);
    cJSON *all = object(w, "Sequence"), *list = cJSON_CreateArray();
    for (size_t i = 0; i < t->pre_count; i++) append(w, list, pre_step(w, &t->pre[i]));
    set(w, all, "pretokenizers", list);
    return all;
}

static cJSON *decoder(Writer *w)
{
    const Tokenizer *t = w->tokenizer;
    if (t->decode == DECODE_BYTE_LEVEL) return byte_level(w, true, true);
    if (t->decode == DECODE_METASPACE)
        return metaspace(w, t->drop_marks ? PREFIX_ALWAYS : PREFIX_NEVER, true);
    cJSON *all = object(w, "Sequence"), *list = cJSON_CreateArray();
    append(w, list, replace(w, SPACE_MARK, " "));
    append(w, list, object(w, "ByteFallback"));
    append(w, list, object(w, "Fuse"));
    if (t->strip_space) {
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

// special_tokens of a template: {NAME: {"id": NAME, "ids": [id], "tokens": [NAME]}}
static void name_template_token(Writer *w, cJSON *special, uint32_t id)
{
    char name[PIECE_LIMIT + 1];
    cJSON *entry = object(w, NULL), *ids = cJSON_CreateArray(), *tokens = cJSON_CreateArray();
    piece_string(w->tokenizer, id, name);
    append(w, ids, cJSON_CreateNumber(id));
    append(w, tokens, cJSON_CreateString(name));
    set_text(w, entry, "id", name);
    set(w, entry, "ids", ids);
    set(w, entry, "tokens", tokens);
    set(w, special, name, entry);
}

// Appends a text of type `type` (0 or 1) with what a text is given.
static void append_template(Writer *w, cJSON *list, int type)
{
    const Tokenizer *t = w->tokenizer;
    char name[PIECE_LIMIT + 1];
    if (t->adds_bos)
        append(w, list, template_part(w, "SpecialToken", piece_string(t, t->bos, name), type));
    append(w, list, template_part(w, "Sequence", type ? "B" : "A", type));
    if (t->adds_eos)
        append(w, list, template_part(w, "SpecialToken", piece_string(t, t->eos, name), type));
}

// BOS in front of each text and EOS behind it, where that is so.
static cJSON *post_processor(Writer *w)
{
    const Tokenizer *t = w->tokenizer;
    if (!t->adds_bos && !t->adds_eos) return cJSON_CreateNull();
    cJSON *all = object(w, "TemplateProcessing"), *single = cJSON_CreateArray();
    cJSON *pair = cJSON_CreateArray(), *special = object(w, NULL);
    append_template(w, single, 0);
    append_template(w, pair, 0);
    append_template(w, pair, 1);
    if (t->adds_bos) name_template_token(w, special, t->bos);
    if (t->adds_eos && !(t->adds_bos && t->eos == t->bos)) name_template_token(w, special, t->eos);
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
    set_bool(w, item, "single_word", token->single_word);
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
        if (t->pieces[i].kind != PIECE_HOLE && !t->pieces[i].outside)
            set(w, vocab, piece_string(t, i, text), cJSON_CreateNumber(i));
    for (size_t i = 0; i < t->merge_count; i++)
        if (!t->merges[i].dead) append(w, merges, merge_item(w, &t->merges[i], as_arrays));
    set(w, item, "dropout", cJSON_CreateNull());
    set(w, item, "unk_token",
        t->unk == TOKEN_NONE ? cJSON_CreateNull()
                             : cJSON_CreateString(piece_string(t, t->unk, text)));
    set(w, item, "continuing_subword_prefix", cJSON_CreateNull());
    set(w, item, "end_of_word_suffix", cJSON_CreateNull());
    set_bool(w, item, "fuse_unk", t->fuse_unk);
    set_bool(w, item, "byte_fallback", t->byte_fallback);
    set_bool(w, item, "ignore_merges", t->ignore_merges);
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
