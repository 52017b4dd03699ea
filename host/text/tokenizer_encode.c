// Text to ids: cutting out the added tokens, normalizing what is between them, cutting that into
// words, and splitting these into the pieces that merging starts from. Source: Hugging Face's
// tokenizers, whose order of steps and corner cases this follows.
#include "base/utf8.h"
#include "text/pre_tokenizer.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_LIMIT = 1 << 30 }; // bytes; positions are 32-bit and U+2581 is three times a space

typedef struct {
    const Tokenizer *tokenizer;
    TokenList *out;
    Buffer text, spare;       // a stretch, normalized
    Buffer steps[STEP_LIMIT]; // as a step of the pre-tokenizer changes it
    Buffer word;              // in GPT-2's alphabet
    TokenList ids;            // of a word, before and while merging
    BpeScratch scratch;
    PatternSearch *searches[STEP_LIMIT]; // of each step that has a pattern
    Error *err;
    bool explained; // err says what failed; else it was memory
} Encoder;

// Does something with a stretch of text; at_start: it begins where the whole text begins.
typedef bool StretchAction(Encoder *e, const char *text, size_t size, bool at_start);

// Appends each of tokens[count] that is found in text, with `action` for what is between them.
static bool split(Encoder *e, const AddedToken *tokens, size_t count, const char *text, size_t size,
                  bool at_start, StretchAction *action)
{
    for (size_t from = 0;;) {
        AddedMatch match = added_next(tokens, count, text, size, from);
        size_t end = match.token ? match.begin : size;
        if (end > from && !action(e, text + from, end - from, at_start && !from)) return false;
        if (!match.token) return true;
        if (!token_list_push(e->out, match.token->id)) return false;
        from = match.end;
    }
}

// Appends the byte pieces of a character; false where one is missing.
static bool push_bytes(Encoder *e, const char *text, size_t size, bool *memory)
{
    const uint32_t *bytes = e->tokenizer->bytes;
    if (!e->tokenizer->byte_fallback) return false;
    for (size_t i = 0; i < size; i++)
        if (bytes[(unsigned char)text[i]] == NO_PIECE) return false;
    for (size_t i = 0; i < size; i++)
        *memory = *memory && token_list_push(&e->ids, bytes[(unsigned char)text[i]]);
    return true;
}

// Splits a word into characters and bytes. A run of characters that are neither is held back until
// the next character of the vocabulary, even behind bytes: so does Hugging Face.
static bool push_characters(Encoder *e, const char *text, size_t size)
{
    const Tokenizer *t = e->tokenizer;
    bool waiting = false, memory = true;
    for (size_t at = 0, length; at < size && memory; at += length) {
        length = utf8_sequence(text + at, size - at);
        uint32_t id = tokenizer_find_known(t, text + at, length);
        if (id == NO_PIECE && push_bytes(e, text + at, length, &memory)) continue;
        if (waiting && (id != NO_PIECE || !t->fuse_unk))
            memory = memory && token_list_push(&e->ids, t->unk);
        waiting = id == NO_PIECE && t->unk != TOKEN_NONE;
        if (id != NO_PIECE) memory = memory && token_list_push(&e->ids, id);
    }
    return memory && (!waiting || token_list_push(&e->ids, t->unk));
}

// The same for bytes that are all pieces; false where one is not, with none pushed.
static bool push_byte_characters(Encoder *e, const char *text, size_t size, bool *memory)
{
    const uint32_t *characters = e->tokenizer->characters;
    for (size_t i = 0; i < size; i++)
        if (characters[(unsigned char)text[i]] == NO_PIECE) return false;
    for (size_t i = 0; i < size; i++)
        *memory = *memory && token_list_push(&e->ids, characters[(unsigned char)text[i]]);
    return true;
}

static bool merge_word(Encoder *e)
{
    if (!bpe_merge(e->tokenizer, &e->scratch, e->ids.ids, &e->ids.count)) return false;
    for (size_t i = 0; i < e->ids.count; i++)
        if (!token_list_push(e->out, e->ids.ids[i])) return false;
    return true;
}

// Words longer than any piece are not looked for whole.
static uint32_t whole_word(const Tokenizer *t, const char *text, size_t size)
{
    return t->ignore_merges && size <= PIECE_LIMIT ? tokenizer_find_known(t, text, size) : NO_PIECE;
}

static bool encode_word(Encoder *e, const char *text, size_t size)
{
    const Tokenizer *t = e->tokenizer;
    bool memory = true;
    e->ids.count = 0;
    if (t->byte_level && !t->ignore_merges && push_byte_characters(e, text, size, &memory))
        return memory && merge_word(e);
    if (t->byte_level) {
        e->word.size = 0;
        if (!byte_level_put(&e->word, text, size)) return false;
        uint32_t id = whole_word(t, e->word.bytes, e->word.size);
        if (id != NO_PIECE) return token_list_push(e->out, id);
        if (push_byte_characters(e, text, size, &memory)) return memory && merge_word(e);
        return push_characters(e, e->word.bytes, e->word.size) && merge_word(e);
    }
    uint32_t id = whole_word(t, text, size);
    if (id != NO_PIECE) return token_list_push(e->out, id);
    return push_characters(e, text, size) && merge_word(e);
}

// out = text with the spaces marked and, where the step asks for it, one more in front.
static bool mark_spaces(Buffer *out, Prefix prefix, const char *text, size_t size, bool at_start)
{
    bool has = *text == ' ' || (size >= SPACE_MARK_SIZE && !memcmp(text, SPACE_MARK, 3));
    bool wanted = !has && (prefix == PREFIX_ALWAYS || (prefix == PREFIX_FIRST && at_start));
    out->size = 0;
    if (wanted && !buffer_put(out, SPACE_MARK, SPACE_MARK_SIZE)) return false;
    return buffer_put_marked(out, text, size);
}

// What a step makes of the text, before it is cut, in `room` where that is something else.
static bool change(Buffer *room, const PreStep *step, const char **text, size_t *size,
                   bool at_start)
{
    if (step->kind == PRE_METASPACE) {
        if (!mark_spaces(room, step->prefix, *text, *size, at_start)) return false;
    } else if (step->kind == PRE_BYTE_LEVEL && step->add_space && **text != ' ') {
        room->size = 0;
        if (!buffer_put(room, " ", 1) || !buffer_put(room, *text, *size)) return false;
    } else {
        return true;
    }
    *text = room->bytes;
    *size = room->size;
    return true;
}

static bool run_step(Encoder *e, size_t index, const char *text, size_t size, bool at_start)
{
    if (index == e->tokenizer->pre_count) return encode_word(e, text, size);
    const PreStep *step = &e->tokenizer->pre[index];
    if (!change(&e->steps[index], step, &text, &size, at_start)) return false;
    if (!step->pattern) return run_step(e, index + 1, text, size, at_start);
    Splitter splitter;
    size_t begin, end;
    int more;
    splitter_begin(&splitter, e->searches[index], step->behavior, step->invert, text, size);
    while ((more = splitter_next(&splitter, &begin, &end, e->err)) > 0)
        if (!run_step(e, index + 1, text + begin, end - begin, at_start && !begin)) return false;
    if (more < 0) e->explained = true;
    return more == 0;
}

static bool encode_stretch(Encoder *e, const char *text, size_t size, bool at_start)
{
    return run_step(e, 0, text, size, at_start);
}

static bool normalize_stretch(Encoder *e, const char *text, size_t size, bool at_start)
{
    const Tokenizer *t = e->tokenizer;
    if (t->normal_count) {
        if (!normalizer_run(t, &e->text, &e->spare, text, size)) return false;
        text = e->text.bytes;
        size = e->text.size;
    }
    size_t count = t->added_count - t->added_raw;
    const AddedToken *normalized = count ? t->added + t->added_raw : NULL;
    return split(e, normalized, count, text, size, at_start, encode_stretch);
}

static bool searches_new(Encoder *e)
{
    const Tokenizer *t = e->tokenizer;
    for (size_t i = 0; i < t->pre_count; i++) {
        if (!t->pre[i].pattern) continue;
        e->searches[i] = pattern_search_new(t->pre[i].pattern);
        if (!e->searches[i]) return false;
    }
    return true;
}

static void encoder_free(Encoder *e)
{
    for (size_t i = 0; i < STEP_LIMIT; i++) {
        pattern_search_free(e->searches[i]);
        free(e->steps[i].bytes);
    }
    free(e->text.bytes);
    free(e->spare.bytes);
    free(e->word.bytes);
    token_list_free(&e->ids);
    bpe_scratch_free(&e->scratch);
}

bool tokenizer_encode(const Tokenizer *t, const char *text, size_t size, TokenList *out, Error *err)
{
    size_t valid = utf8_check(text, size);
    if (valid < size) return error_set(err, "text: invalid UTF-8 at byte %zu", valid);
    if (size > TEXT_LIMIT)
        return error_set(err, "text: %zu bytes, expected at most %d", size, TEXT_LIMIT);
    Encoder e = {.tokenizer = t, .out = out, .err = err};
    size_t before = out->count;
    bool ok =
        searches_new(&e) && split(&e, t->added, t->added_raw, text, size, true, normalize_stretch);
    encoder_free(&e);
    if (ok) return true;
    out->count = before;
    return e.explained ? false
                       : error_set(err, "text: out of memory while encoding %zu bytes", size);
}
