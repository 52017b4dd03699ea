// Reads Hugging Face's tokenizer.json: the model and the added tokens, which are the vocabulary.
// The steps around the model are tokenizer_json_steps.c's. What changes the tokens and is not
// understood is refused by the name of its key; truncation and padding are the caller's business
// and are passed over.
#include "base/file.h"
#include "text/tokenizer_json.h"

#include <string.h>

// The parts of the model that would change the tokens.
static bool read_model(Tokenizer *t, const cJSON *model, const char *file, Error *err)
{
    static const char *const AFFIXES[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    double dropout;
    if (!json_bool_or(&t->fuse_unk, model, "fuse_unk", false, file, err) ||
        !json_bool_or(&t->byte_fallback, model, "byte_fallback", false, file, err) ||
        !json_bool_or(&t->ignore_merges, model, "ignore_merges", false, file, err) ||
        !json_number_or(&dropout, model, "dropout", 0, 0, 0, file, err))
        return false;
    for (size_t i = 0; i < sizeof AFFIXES / sizeof *AFFIXES; i++) {
        const char *affix;
        if (!json_string_or(&affix, model, AFFIXES[i], "", file, err)) return false;
        if (*affix) return error_set(err, "%s: key '%s' must be empty", file, AFFIXES[i]);
    }
    return true;
}

// An id of the vocabulary or of an added token.
static bool read_id(uint32_t *id, const cJSON *item, const char *name, const char *file, Error *err)
{
    double value = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!(value >= 0 && value < VOCAB_LIMIT) || value != (double)(uint32_t)value)
        return error_set(err,
                         "%s: the id of '%.60s' is out of range, expected a whole number below %d",
                         file, name, VOCAB_LIMIT);
    *id = (uint32_t)value;
    return true;
}

static bool read_added_head(uint32_t *id, const char **content, const cJSON *item, const char *file,
                            Error *err)
{
    return json_string(content, item, "content", file, err) &&
           read_id(id, json_find(item, "id"), *content, file, err);
}

// The largest id + 1 over vocabulary and added tokens.
static bool count_ids(uint32_t *vocab_size, const cJSON *vocab, const cJSON *added,
                      const char *file, Error *err)
{
    const cJSON *item;
    const char *content;
    uint32_t id = 0;
    *vocab_size = 0;
    cJSON_ArrayForEach(item, vocab)
    {
        if (!read_id(&id, item, item->string, file, err)) return false;
        if (id >= *vocab_size) *vocab_size = id + 1;
    }
    cJSON_ArrayForEach(item, added)
    {
        if (!read_added_head(&id, &content, item, file, err)) return false;
        if (id >= *vocab_size) *vocab_size = id + 1;
    }
    return *vocab_size > 0 || error_set(err, "%s: key 'vocab' is empty", file);
}

static bool read_added_token(Tokenizer *t, const cJSON *item, const char *file, Error *err)
{
    AddedToken token = {0};
    const char *content;
    if (!read_added_head(&token.id, &content, item, file, err)) return false;
    if (!json_bool_or(&token.single_word, item, "single_word", false, file, err) ||
        !json_bool_or(&token.lstrip, item, "lstrip", false, file, err) ||
        !json_bool_or(&token.rstrip, item, "rstrip", false, file, err) ||
        !json_bool_or(&token.normalized, item, "normalized", true, file, err) ||
        !json_bool_or(&token.special, item, "special", false, file, err))
        return false;
    uint32_t known = tokenizer_find(t, content, strlen(content));
    if (known != NO_PIECE && known != token.id)
        return error_set(err, "%s: added token '%.60s' has id %u, but the vocabulary says %u", file,
                         content, token.id, known);
    if (known == NO_PIECE) {
        if (!tokenizer_add_piece(t, token.id, content, strlen(content), file, err)) return false;
        t->pieces[token.id].outside = true;
    }
    return tokenizer_add_token(t, token, file, err);
}

// Finds the two pieces of a merge: "a b", or ["a", "b"] where pieces may hold spaces.
static bool read_merge(Tokenizer *t, const cJSON *item, const char *file, Error *err)
{
    if (cJSON_IsString(item))
        return tokenizer_add_written_merge(t, item->valuestring, strlen(item->valuestring), file,
                                           err);
    if (cJSON_IsArray(item) && cJSON_GetArraySize(item) == 2 && cJSON_IsString(item->child) &&
        cJSON_IsString(item->child->next)) {
        const char *left = item->child->valuestring, *right = item->child->next->valuestring;
        return tokenizer_add_named_merge(t, left, strlen(left), right, strlen(right), file, err);
    }
    return error_set(err, "%s: merge %zu must be \"a b\" or [\"a\", \"b\"]", file, t->merge_count);
}

static bool fill(Tokenizer *t, const cJSON *model, const cJSON *added, const char *file, Error *err)
{
    const cJSON *item, *merges = json_find(model, "merges");
    cJSON_ArrayForEach(item, json_find(model, "vocab"))
    {
        uint32_t id = 0;
        if (!read_id(&id, item, item->string, file, err) ||
            !tokenizer_add_piece(t, id, item->string, strlen(item->string), file, err))
            return false;
    }
    cJSON_ArrayForEach(item, added) if (!read_added_token(t, item, file, err)) return false;
    if (!cJSON_IsArray(merges)) return error_set(err, "%s: key 'merges' must be an array", file);
    cJSON_ArrayForEach(item, merges) if (!read_merge(t, item, file, err)) return false;
    return true;
}

// bos_token or eos_token of tokenizer_config.json, a string or an object with "content", sets *id;
// where it is absent, so does `usual` if that is a piece.
static bool read_name(Tokenizer *t, uint32_t *id, const cJSON *config, const char *key,
                      const char *usual, const char *what, const char *file, Error *err)
{
    const cJSON *item = config ? json_find(config, key) : NULL;
    if (cJSON_IsObject(item)) item = json_find(item, "content");
    if (item && !cJSON_IsString(item))
        return error_set(err, "%s: key '%s' must name a token", file, key);
    if (item) return tokenizer_name_special(t, id, item->valuestring, what, file, err);
    if (*id != TOKEN_NONE || tokenizer_find(t, usual, strlen(usual)) == NO_PIECE) return true;
    return tokenizer_name_special(t, id, usual, what, file, err);
}

static bool use_config(Tokenizer *t, const cJSON *config, const char *file, Error *err)
{
    return read_name(t, &t->bos, config, "bos_token", "<s>", "the beginning of a text", file,
                     err) &&
           read_name(t, &t->eos, config, "eos_token", "</s>", "the end of a text", file, err) &&
           (!config ||
            (json_bool_or(&t->adds_bos, config, "add_bos_token", t->adds_bos, file, err) &&
             json_bool_or(&t->adds_eos, config, "add_eos_token", t->adds_eos, file, err)));
}

// What the tokenizer_config.json beside `file` says, if there is one.
static bool read_config(Tokenizer *t, const char *file, Error *err)
{
    char folder[1024], path[1100];
    const char *slash = strrchr(file, '/');
    size_t length = slash ? (size_t)(slash - file) : 1;
    if (length >= sizeof folder) return error_set(err, "%.80s...: path is too long", file);
    memcpy(folder, slash ? file : ".", length);
    folder[length] = 0;
    if (!path_join(path, sizeof path, folder, "tokenizer_config.json", err)) return false;
    if (!file_exists(path)) return use_config(t, NULL, file, err);
    cJSON *config = json_read(path, err);
    bool ok = config && use_config(t, config, path, err);
    cJSON_Delete(config);
    return ok;
}

static bool read_all(Tokenizer *t, const cJSON *root, const char *file, Error *err)
{
    const cJSON *model = json_find(root, "model");
    const char *unk;
    normalizer_clear(t);
    if (!tokenizer_read_steps(t, root, file, err) || !read_model(t, model, file, err) ||
        !fill(t, model, json_find(root, "added_tokens"), file, err) ||
        !json_string_or(&unk, model, "unk_token", NULL, file, err) ||
        (unk && !tokenizer_name_special(t, &t->unk, unk, "the unknown token", file, err)) ||
        !tokenizer_read_template(t, root, file, err) || !read_config(t, file, err))
        return false;
    t->adds_bos = t->adds_bos && t->bos != TOKEN_NONE;
    t->adds_eos = t->adds_eos && t->eos != TOKEN_NONE;
    return tokenizer_seal(t, file, err);
}

static Tokenizer *parse(const cJSON *root, const char *file, Error *err)
{
    const cJSON *model = json_find(root, "model");
    const cJSON *type = json_find(model, "type"), *vocab = json_find(model, "vocab");
    uint32_t vocab_size;
    // Old files leave the type out; those with merges are BPE.
    if (!cJSON_IsObject(model)) {
        error_set(err, "%s: key 'model' must be an object", file);
    } else if (type ? !json_is_text(type, "BPE") : !json_find(model, "merges")) {
        error_set(err, "%s: key 'model': type %.40s is not supported, expected BPE", file,
                  json_type(model));
    } else if (!cJSON_IsObject(vocab)) {
        error_set(err, "%s: key 'vocab' must be an object", file);
    } else if (count_ids(&vocab_size, vocab, json_find(root, "added_tokens"), file, err)) {
        Tokenizer *t = tokenizer_new(vocab_size, file, err);
        if (!t || read_all(t, root, file, err)) return t;
        tokenizer_free(t);
    }
    return NULL;
}

Tokenizer *tokenizer_load(const char *path, Error *err)
{
    cJSON *root = json_read(path, err);
    Tokenizer *t = root ? parse(root, path, err) : NULL;
    cJSON_Delete(root);
    return t;
}
