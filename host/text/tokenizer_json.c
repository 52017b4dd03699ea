// Reads Hugging Face's tokenizer.json of the LLaMA-2 kind. What changes the tokens and is not
// understood is refused by the name of its key; truncation, padding and the post-processor (which
// adds BOS) are the caller's business and are passed over.
#include "text/tokenizer_internal.h"
#include "base/file.h"
#include "base/json.h"

#include <string.h>

static const cJSON *find(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return item && !cJSON_IsNull(item) ? item : NULL;
}

static bool is_text(const cJSON *item, const char *text)
{
    return cJSON_IsString(item) && !strcmp(item->valuestring, text);
}

// Whether object[key] is this string.
static bool has_text(const cJSON *object, const char *key, const char *text)
{
    return is_text(find(object, key), text);
}

// The "type" of a part of the file, for messages.
static const char *type_name(const cJSON *part)
{
    const cJSON *type = find(part, "type");
    return cJSON_IsString(type) ? type->valuestring : "without type";
}

// The part itself, or the parts of a Sequence one after the other: part_next(NULL) is the first.
static const cJSON *part_next(const cJSON *part, const char *list_key, const cJSON *last)
{
    if (!has_text(part, "type", "Sequence")) return last ? NULL : part;
    if (last) return last->next;
    const cJSON *list = find(part, list_key);
    return cJSON_IsArray(list) ? list->child : NULL;
}

// {"type": "Replace", "pattern": {"String": from}, "content": to}
static bool is_replace(const cJSON *part, const char *from, const char *to)
{
    return has_text(part, "type", "Replace") && has_text(find(part, "pattern"), "String", from) &&
           has_text(part, "content", to);
}

// Prepend and Replace commute, so their order does not matter.
static bool read_normalizer(Tokenizer *t, const cJSON *root, bool *replaces, const char *file,
                            Error *err)
{
    const cJSON *normalizer = find(root, "normalizer"), *part = NULL;
    t->prefix = PREFIX_NONE;
    *replaces = false;
    while (normalizer && (part = part_next(normalizer, "normalizers", part)) != NULL) {
        if (is_replace(part, " ", SPACE_MARK))
            *replaces = true;
        else if (has_text(part, "type", "Prepend") && has_text(part, "prepend", SPACE_MARK) &&
                 t->prefix == PREFIX_NONE)
            t->prefix = PREFIX_ALWAYS;
        else
            return error_set(err,
                             "%s: key 'normalizer': %.40s is not supported, expected Prepend "
                             "U+2581 and Replace ' ' by U+2581",
                             file, type_name(part));
    }
    if (t->prefix == PREFIX_NONE || *replaces) return true;
    return error_set(err, "%s: key 'normalizer': Prepend without Replace is not supported", file);
}

static bool read_scheme(Tokenizer *t, const cJSON *part, const char *file, Error *err)
{
    static const struct {
        const char *name;
        Prefix prefix;
    } SCHEMES[] = {{"always", PREFIX_IF_MISSING}, {"first", PREFIX_FIRST}, {"never", PREFIX_NONE}};
    const char *name;
    if (!json_string(&name, part, "prepend_scheme", file, err)) return false;
    for (size_t i = 0; i < sizeof SCHEMES / sizeof *SCHEMES; i++) {
        t->prefix = SCHEMES[i].prefix;
        if (!strcmp(name, SCHEMES[i].name)) return true;
    }
    return error_set(err, "%s: key 'prepend_scheme' is '%.40s', expected always, first or never",
                     file, name);
}

static bool read_pre_tokenizer(Tokenizer *t, const cJSON *root, bool replaces, const char *file,
                               Error *err)
{
    const cJSON *part = find(root, "pre_tokenizer");
    if (!part && replaces) return true;
    if (!part) return error_set(err, "%s: key 'normalizer': nothing replaces ' ' by U+2581", file);
    if (replaces || !has_text(part, "type", "Metaspace") ||
        !has_text(part, "replacement", SPACE_MARK))
        return error_set(err,
                         "%s: key 'pre_tokenizer': %.40s is not supported, expected null or, "
                         "without a normalizer, Metaspace with U+2581",
                         file, type_name(part));
    if (!cJSON_IsFalse(find(part, "split")))
        return error_set(err, "%s: key 'pre_tokenizer': 'split' must be false", file);
    t->metaspace = true;
    return read_scheme(t, part, file, err);
}

// Replace, ByteFallback, Fuse and at the end perhaps Strip, in this order.
static bool read_decoder(Tokenizer *t, const cJSON *root, const char *file, Error *err)
{
    const cJSON *decoder = find(root, "decoder"), *part = NULL;
    int step = 0;
    t->strip_space = false;
    if (!decoder) return error_set(err, "%s: key 'decoder' is missing", file);
    while ((part = part_next(decoder, "decoders", part)) != NULL) {
        const cJSON *start = find(part, "start"), *stop = find(part, "stop");
        bool known = (step == 0 && is_replace(part, SPACE_MARK, " ")) ||
                     (step == 1 && has_text(part, "type", "ByteFallback")) ||
                     (step == 2 && has_text(part, "type", "Fuse"));
        if (step == 3 && has_text(part, "type", "Strip") && has_text(part, "content", " ") &&
            cJSON_IsNumber(start) && start->valueint == 1 && cJSON_IsNumber(stop) &&
            stop->valueint == 0)
            known = t->strip_space = true;
        if (!known) break;
        step++;
    }
    if (!part && step >= 3) return true;
    return error_set(err,
                     "%s: key 'decoder': %.40s is not supported here, expected Replace U+2581 by "
                     "' ', ByteFallback, Fuse, Strip",
                     file, part ? type_name(part) : "a shorter list");
}

// The parts of the model that would change the tokens.
static bool read_model(Tokenizer *t, const cJSON *model, const char *file, Error *err)
{
    static const char *const AFFIXES[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    bool bytes, whole;
    double dropout;
    if (!json_bool_or(&t->fuse_unk, model, "fuse_unk", false, file, err) ||
        !json_bool_or(&bytes, model, "byte_fallback", false, file, err) ||
        !json_bool_or(&whole, model, "ignore_merges", false, file, err) ||
        !json_number_or(&dropout, model, "dropout", 0, 0, 0, file, err))
        return false;
    if (!bytes) return error_set(err, "%s: key 'byte_fallback' must be true", file);
    if (whole) return error_set(err, "%s: key 'ignore_merges' must be false", file);
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
           read_id(id, find(item, "id"), *content, file, err);
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
    bool single;
    if (!read_added_head(&token.id, &content, item, file, err)) return false;
    if (!json_bool_or(&single, item, "single_word", false, file, err) ||
        !json_bool_or(&token.lstrip, item, "lstrip", false, file, err) ||
        !json_bool_or(&token.rstrip, item, "rstrip", false, file, err) ||
        !json_bool_or(&token.normalized, item, "normalized", true, file, err) ||
        !json_bool_or(&token.special, item, "special", false, file, err))
        return false;
    if (single)
        return error_set(err, "%s: added token '%.60s': 'single_word' is not supported", file,
                         content);
    uint32_t known = tokenizer_find(t, content, strlen(content));
    if (known != NO_PIECE && known != token.id)
        return error_set(err, "%s: added token '%.60s' has id %u, but the vocabulary says %u", file,
                         content, token.id, known);
    if (known == NO_PIECE && !tokenizer_add_piece(t, token.id, content, strlen(content), file, err))
        return false;
    return tokenizer_add_token(t, token, file, err);
}

// Finds the two pieces of a merge: "a b", or ["a", "b"] where pieces may hold spaces.
static bool read_merge(Tokenizer *t, const cJSON *item, const char *file, Error *err)
{
    const char *left = NULL, *right = NULL;
    size_t left_size = 0;
    if (cJSON_IsString(item)) {
        const char *space = strchr(item->valuestring, ' ');
        if (space && !strchr(space + 1, ' ')) {
            left = item->valuestring;
            left_size = (size_t)(space - left);
            right = space + 1;
        }
    } else if (cJSON_IsArray(item) && cJSON_GetArraySize(item) == 2 &&
               cJSON_IsString(item->child) && cJSON_IsString(item->child->next)) {
        left = item->child->valuestring;
        left_size = strlen(left);
        right = item->child->next->valuestring;
    }
    if (!left)
        return error_set(err, "%s: merge %zu must be \"a b\" or [\"a\", \"b\"]", file,
                         t->merge_count);
    uint32_t a = tokenizer_find(t, left, left_size), b = tokenizer_find(t, right, strlen(right));
    if (a == NO_PIECE)
        return error_set(err, "%s: merge %zu names '%.*s', which is not in the vocabulary", file,
                         t->merge_count, (int)(left_size < 60 ? left_size : 60), left);
    if (b == NO_PIECE)
        return error_set(err, "%s: merge %zu names '%.60s', which is not in the vocabulary", file,
                         t->merge_count, right);
    return tokenizer_add_merge(t, a, b, file, err);
}

static bool fill(Tokenizer *t, const cJSON *model, const cJSON *added, const char *file, Error *err)
{
    const cJSON *item, *merges = find(model, "merges");
    cJSON_ArrayForEach(item, find(model, "vocab"))
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

// bos_token or eos_token of tokenizer_config.json, a string or an object with "content", into
// name[size]; as it was where the key is absent.
static bool read_name(char *name, size_t size, const cJSON *config, const char *key,
                      const char *file, Error *err)
{
    const cJSON *item = find(config, key);
    if (cJSON_IsObject(item)) item = find(item, "content");
    if (!item) return true;
    if (!cJSON_IsString(item) || strlen(item->valuestring) >= size)
        return error_set(err, "%s: key '%s' must name a token", file, key);
    strcpy(name, item->valuestring);
    return true;
}

// What the tokenizer_config.json beside `file` says, if there is one.
static bool read_config(char *bos, char *eos, size_t size, const char *file, Error *err)
{
    char folder[1024], path[1100];
    const char *slash = strrchr(file, '/');
    size_t length = slash ? (size_t)(slash - file) : 1;
    if (length >= sizeof folder) return error_set(err, "%.80s...: path is too long", file);
    memcpy(folder, slash ? file : ".", length);
    folder[length] = 0;
    if (!path_join(path, sizeof path, folder, "tokenizer_config.json", err)) return false;
    if (!file_exists(path)) return true;
    cJSON *config = json_read(path, err);
    bool ok = config && read_name(bos, size, config, "bos_token", path, err) &&
              read_name(eos, size, config, "eos_token", path, err);
    cJSON_Delete(config);
    return ok;
}

static bool read_all(Tokenizer *t, const cJSON *root, const char *file, Error *err)
{
    const cJSON *model = find(root, "model");
    char bos[PIECE_LIMIT + 1] = "<s>", eos[PIECE_LIMIT + 1] = "</s>";
    const char *unk;
    bool replaces;
    return read_normalizer(t, root, &replaces, file, err) &&
           read_pre_tokenizer(t, root, replaces, file, err) && read_decoder(t, root, file, err) &&
           read_model(t, model, file, err) &&
           fill(t, model, find(root, "added_tokens"), file, err) &&
           json_string(&unk, model, "unk_token", file, err) &&
           read_config(bos, eos, sizeof bos, file, err) &&
           tokenizer_seal(t, unk, bos, eos, file, err);
}

static Tokenizer *parse(const cJSON *root, const char *file, Error *err)
{
    const cJSON *model = find(root, "model");
    const cJSON *type = find(model, "type"), *vocab = find(model, "vocab");
    uint32_t vocab_size;
    // Old files leave the type out; those with merges are BPE.
    if (!cJSON_IsObject(model)) {
        error_set(err, "%s: key 'model' must be an object", file);
    } else if (type ? !is_text(type, "BPE") : !find(model, "merges")) {
        error_set(err, "%s: key 'model': type %.40s is not supported, expected BPE", file,
                  type_name(model));
    } else if (!cJSON_IsObject(vocab)) {
        error_set(err, "%s: key 'vocab' must be an object", file);
    } else if (count_ids(&vocab_size, vocab, find(root, "added_tokens"), file, err)) {
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
