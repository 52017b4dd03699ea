// Reads the steps around the model of a tokenizer.json: normalizer, pre_tokenizer, decoder and
// post_processor. What is not understood is refused by the name of its key.
#include "text/pattern.h"
#include "text/tokenizer_json.h"

#include <string.h>

const cJSON *json_find(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return item && !cJSON_IsNull(item) ? item : NULL;
}

bool json_is_text(const cJSON *item, const char *text)
{
    return cJSON_IsString(item) && !strcmp(item->valuestring, text);
}

// Whether object[key] is this string.
static bool has_text(const cJSON *object, const char *key, const char *text)
{
    return json_is_text(json_find(object, key), text);
}

const char *json_type(const cJSON *part)
{
    const cJSON *type = json_find(part, "type");
    return cJSON_IsString(type) ? type->valuestring : "without type";
}

// The part itself, or the parts of a Sequence one after the other: part_next(NULL) is the first.
static const cJSON *part_next(const cJSON *part, const char *list_key, const cJSON *last)
{
    if (!part) return NULL;
    if (!has_text(part, "type", "Sequence")) return last ? NULL : part;
    if (last) return last->next;
    const cJSON *list = json_find(part, list_key);
    return cJSON_IsArray(list) ? list->child : NULL;
}

static bool unsupported(const cJSON *part, const char *key, const char *file, Error *err)
{
    return error_set(err, "%s: key '%s': %.40s is not supported", file, key, json_type(part));
}

// A text of a step of a normalizer, which is not empty.
static bool read_step_text(const char **text, const cJSON *part, const char *key, const char *file,
                           Error *err)
{
    if (!json_string(text, part, key, file, err)) return false;
    size_t size = strlen(*text);
    return size <= STEP_TEXT ||
           error_set(err, "%s: key '%s' is %zu bytes long, expected at most %d", file, key, size,
                     STEP_TEXT);
}

static bool read_replace(const char **from, const char **to, const cJSON *part, const char *file,
                         Error *err)
{
    const cJSON *pattern = json_find(part, "pattern");
    if (!cJSON_IsString(json_find(pattern, "String")))
        return error_set(err, "%s: key 'normalizer': Replace needs a String as its pattern", file);
    if (!read_step_text(from, pattern, "String", file, err) ||
        !read_step_text(to, part, "content", file, err))
        return false;
    return **from || error_set(err, "%s: key 'normalizer': Replace of an empty String", file);
}

static bool read_normal_step(Tokenizer *t, const cJSON *part, const char *file, Error *err)
{
    static const char *const KINDS[] = {
        [NORMAL_PREPEND] = "Prepend", [NORMAL_REPLACE] = "Replace", [NORMAL_NFC] = "NFC",
        [NORMAL_NFD] = "NFD",         [NORMAL_NFKC] = "NFKC",       [NORMAL_NFKD] = "NFKD"};
    enum { KIND_COUNT = sizeof KINDS / sizeof *KINDS };
    const char *from = NULL, *to = NULL;
    int kind = 0;
    while (kind < KIND_COUNT && !has_text(part, "type", KINDS[kind])) kind++;
    if (kind == KIND_COUNT) return unsupported(part, "normalizer", file, err);
    if (kind == NORMAL_PREPEND && !read_step_text(&to, part, "prepend", file, err)) return false;
    if (kind == NORMAL_REPLACE && !read_replace(&from, &to, part, file, err)) return false;
    if (t->normal_count == STEP_LIMIT)
        return error_set(err, "%s: key 'normalizer' has more than %d steps", file, STEP_LIMIT);
    return normalizer_add(t, (NormalKind)kind, from, to) ||
           error_set(err, "%s: out of memory for the normalizer", file);
}

// What a step of the pre-tokenizer begins its messages with.
typedef struct {
    char text[300];
} What;

static What what_of(const char *file)
{
    What what;
    size_t size = strlen(file), shown = size < 200 ? size : 200;
    memcpy(what.text, file + size - shown, shown);
    strcpy(what.text + shown, ": key 'pre_tokenizer'");
    return what;
}

static bool add_pattern(Tokenizer *t, PreStep step, const char *text, bool is_regex,
                        const char *file, Error *err)
{
    step.pattern = pattern_new(text, is_regex, what_of(file).text, err);
    if (!step.pattern) return false;
    pre_add(t, step);
    return true;
}

static bool read_split(Tokenizer *t, const cJSON *part, const char *file, Error *err)
{
    static const char *const BEHAVIORS[] = {
        [SPLIT_ISOLATED] = "Isolated",          [SPLIT_REMOVED] = "Removed",
        [SPLIT_CONTIGUOUS] = "Contiguous",      [SPLIT_MERGED_PREVIOUS] = "MergedWithPrevious",
        [SPLIT_MERGED_NEXT] = "MergedWithNext", NULL};
    const cJSON *pattern = json_find(part, "pattern");
    const char *key = cJSON_IsString(json_find(pattern, "Regex")) ? "Regex" : "String", *text;
    PreStep step = {PRE_SPLIT};
    int behavior;
    if (!cJSON_IsString(json_find(part, "behavior")))
        return error_set(err, "%s: key 'behavior' is missing", file);
    if (!json_word_or(&behavior, part, "behavior", BEHAVIORS, file, err) ||
        !json_bool_or(&step.invert, part, "invert", false, file, err) ||
        !json_string(&text, pattern, key, file, err))
        return false;
    step.behavior = (SplitBehavior)behavior;
    return add_pattern(t, step, text, *key == 'R', file, err);
}

static bool read_digits(Tokenizer *t, const cJSON *part, const char *file, Error *err)
{
    bool single;
    if (!json_bool_or(&single, part, "individual_digits", false, file, err)) return false;
    PreStep step = {PRE_SPLIT, .behavior = single ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS};
    return add_pattern(t, step, "\\p{N}", true, file, err);
}

// prepend_scheme, or what older files say with add_prefix_space.
static bool read_scheme(Prefix *prefix, const cJSON *part, const char *file, Error *err)
{
    static const char *const SCHEMES[] = {
        [PREFIX_NEVER] = "never", [PREFIX_ALWAYS] = "always", [PREFIX_FIRST] = "first", NULL};
    bool space;
    int word;
    if (!json_bool_or(&space, part, "add_prefix_space", true, file, err)) return false;
    *prefix = space ? PREFIX_ALWAYS : PREFIX_NEVER;
    if (!json_find(part, "prepend_scheme")) return true;
    if (!json_word_or(&word, part, "prepend_scheme", SCHEMES, file, err)) return false;
    *prefix = (Prefix)word;
    return true;
}

static bool read_metaspace(Tokenizer *t, const cJSON *part, const char *file, Error *err)
{
    PreStep step = {PRE_METASPACE, .behavior = SPLIT_MERGED_NEXT};
    bool splits;
    if (!has_text(part, "replacement", SPACE_MARK))
        return error_set(err, "%s: key 'replacement' must be U+2581", file);
    if (!read_scheme(&step.prefix, part, file, err) ||
        !json_bool_or(&splits, part, "split", true, file, err))
        return false;
    if (splits) return add_pattern(t, step, SPACE_MARK, false, file, err);
    pre_add(t, step);
    return true;
}

static bool read_byte_level(Tokenizer *t, const cJSON *part, const char *file, Error *err)
{
    PreStep step = {PRE_BYTE_LEVEL};
    bool regex;
    if (!json_bool_or(&step.add_space, part, "add_prefix_space", true, file, err) ||
        !json_bool_or(&regex, part, "use_regex", true, file, err))
        return false;
    t->byte_level = true;
    if (regex) return add_pattern(t, step, PATTERN_GPT2, true, file, err);
    pre_add(t, step);
    return true;
}

static bool read_pre_step(Tokenizer *t, const cJSON *part, const char *file, Error *err)
{
    static const struct {
        const char *type;
        bool (*read)(Tokenizer *t, const cJSON *part, const char *file, Error *err);
    } KINDS[] = {{"Split", read_split},
                 {"Digits", read_digits},
                 {"Metaspace", read_metaspace},
                 {"ByteLevel", read_byte_level}};
    if (t->byte_level)
        return error_set(err, "%s: key 'pre_tokenizer': %.40s behind ByteLevel is not supported",
                         file, json_type(part));
    if (t->pre_count == STEP_LIMIT)
        return error_set(err, "%s: key 'pre_tokenizer' has more than %d steps", file, STEP_LIMIT);
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        if (has_text(part, "type", KINDS[i].type)) return KINDS[i].read(t, part, file, err);
    return unsupported(part, "pre_tokenizer", file, err);
}

// {"type": "Replace", "pattern": {"String": from}, "content": to}
static bool is_replace(const cJSON *part, const char *from, const char *to)
{
    return has_text(part, "type", "Replace") &&
           has_text(json_find(part, "pattern"), "String", from) && has_text(part, "content", to);
}

static bool is_strip(const cJSON *part)
{
    const cJSON *start = json_find(part, "start"), *stop = json_find(part, "stop");
    return has_text(part, "type", "Strip") && has_text(part, "content", " ") &&
           cJSON_IsNumber(start) && start->valuedouble == 1 && cJSON_IsNumber(stop) &&
           stop->valuedouble == 0;
}

// Replace, ByteFallback, Fuse and at the end perhaps Strip, in this order.
static bool read_marks_decoder(Tokenizer *t, const cJSON *decoder, const char *file, Error *err)
{
    const cJSON *part = NULL;
    int step = 0;
    while ((part = part_next(decoder, "decoders", part)) != NULL) {
        bool known = (step == 0 && is_replace(part, SPACE_MARK, " ")) ||
                     (step == 1 && has_text(part, "type", "ByteFallback")) ||
                     (step == 2 && has_text(part, "type", "Fuse"));
        if (step == 3 && is_strip(part)) known = t->strip_space = true;
        if (!known) break;
        step++;
    }
    if (!part && step >= 3) return true;
    return error_set(err,
                     "%s: key 'decoder': %.40s is not supported here, expected ByteLevel, "
                     "Metaspace, or Replace U+2581 by ' ', ByteFallback, Fuse, Strip",
                     file, part ? json_type(part) : "a shorter list");
}

static bool read_decoder(Tokenizer *t, const cJSON *root, const char *file, Error *err)
{
    const cJSON *decoder = json_find(root, "decoder");
    const cJSON *first = part_next(decoder, "decoders", NULL);
    Prefix prefix;
    t->strip_space = false;
    if (!decoder) return error_set(err, "%s: key 'decoder' is missing", file);
    bool alone = first && !part_next(decoder, "decoders", first);
    if (alone && has_text(first, "type", "ByteLevel")) {
        t->decode = DECODE_BYTE_LEVEL;
        return true;
    }
    if (alone && has_text(first, "type", "Metaspace")) {
        t->decode = DECODE_METASPACE;
        if (!has_text(first, "replacement", SPACE_MARK))
            return error_set(err, "%s: key 'replacement' must be U+2581", file);
        if (!read_scheme(&prefix, first, file, err)) return false;
        t->drop_marks = prefix != PREFIX_NEVER;
        return true;
    }
    t->decode = DECODE_MARKS;
    return read_marks_decoder(t, decoder, file, err);
}

bool tokenizer_read_steps(Tokenizer *t, const cJSON *root, const char *file, Error *err)
{
    const cJSON *normalizer = json_find(root, "normalizer"), *part = NULL;
    while ((part = part_next(normalizer, "normalizers", part)) != NULL)
        if (!read_normal_step(t, part, file, err)) return false;
    const cJSON *pre = json_find(root, "pre_tokenizer");
    while ((part = part_next(pre, "pretokenizers", part)) != NULL)
        if (!read_pre_step(t, part, file, err)) return false;
    return read_decoder(t, root, file, err);
}

// The one token of a {"SpecialToken": {"id": NAME}} of a template.
static bool read_template_token(Tokenizer *t, uint32_t *id, const cJSON *item, const char *file,
                                Error *err)
{
    const char *name;
    if (!json_string(&name, json_find(item, "SpecialToken"), "id", file, err)) return false;
    *id = tokenizer_find(t, name, strlen(name));
    return *id != NO_PIECE ||
           error_set(err, "%s: key 'post_processor' names '%.60s', which is not in the vocabulary",
                     file, name);
}

// "single": perhaps a token, the text, perhaps a token.
static bool read_single(Tokenizer *t, const cJSON *single, const char *file, Error *err)
{
    const cJSON *item;
    bool text = false;
    cJSON_ArrayForEach(item, single)
    {
        bool is_token = json_find(item, "SpecialToken") != NULL;
        bool *adds = text ? &t->adds_eos : &t->adds_bos;
        if (!is_token && !text && json_find(item, "Sequence")) {
            text = true;
            continue;
        }
        if (!is_token || *adds)
            return error_set(err,
                             "%s: key 'post_processor': expected at most one token on each side of "
                             "the text",
                             file);
        *adds = true;
        if (!read_template_token(t, text ? &t->eos : &t->bos, item, file, err)) return false;
    }
    return true;
}

bool tokenizer_read_template(Tokenizer *t, const cJSON *root, const char *file, Error *err)
{
    const cJSON *processor = json_find(root, "post_processor"), *part = NULL;
    t->adds_bos = t->adds_eos = false;
    while ((part = part_next(processor, "processors", part)) != NULL) {
        if (has_text(part, "type", "ByteLevel")) continue; // moves offsets only
        if (!has_text(part, "type", "TemplateProcessing") || t->adds_bos || t->adds_eos)
            return unsupported(part, "post_processor", file, err);
        if (!read_single(t, json_find(part, "single"), file, err)) return false;
    }
    return true;
}
