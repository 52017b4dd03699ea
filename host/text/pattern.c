// Patterns through PCRE2: see pattern.h.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pattern.h"

#include <pcre2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

const char PATTERN_GPT2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+"
                            "|\\s+(?!\\S)|\\s+";

// Patterns come with files from strangers, so that their appetite is bounded: steps of a match (an
// honest one needs a few per byte that it passes over), and memory.
enum {
    REGEX_SIZE = 16384, // bytes of pattern text
    STRING_SIZE = 64,   // short, so that looking at each of its first bytes is linear
    BASE_STEPS = 1000000,
    STEPS_PER_BYTE = 16,
    HEAP_KIB = 1 << 18,
    STACK_START = 32 * 1024,
    STACK_MOST = 1024 * 1024,
};

struct Pattern {
    char *text; // as it was given, NUL-terminated
    size_t size;
    pcre2_code *code; // NULL: a fixed string
};

struct PatternSearch {
    const Pattern *pattern;
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

typedef struct {
    char *out; // what PCRE2 compiles
    size_t used;
    bool in_class;
} Translation;

// Oniguruma's Unicode white space and word characters, which are not quite PCRE2's: U+180E is no
// white space, marks belong to words. The name that stands in for \x, or NULL where both agree.
static const char *stand_in(const Translation *t, char escape)
{
    switch (escape) {
    case 's':
        return "\\p{White_Space}";
    case 'S':
        return "\\P{White_Space}";
    case 'w':
        return t->in_class ? "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
                           : "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]";
    case 'W':
        return t->in_class ? NULL : "[^\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]";
    default:
        return NULL;
    }
}

static void put(Translation *t, const char *text, size_t size)
{
    memcpy(t->out + t->used, text, size);
    t->used += size;
}

// What stands at text, in Oniguruma's syntax, and PCRE2 takes for something else; NULL: nothing.
static const char *foreign(const Translation *t, const char *text)
{
    if (*text == '\\') {
        if (text[1] && strchr("hHbBGKROXyYZ", text[1])) return "an escape";
        if (text[1] == 'W' && t->in_class) return "\\W in a class";
        return NULL;
    }
    if (t->in_class)
        return !strncmp(text, "&&", 2)          ? "an intersection"
               : *text == '[' && text[1] != ':' ? "a class in a class"
                                                : NULL;
    if (*text == '}' && (text[1] == '+')) return "a repeated interval";
    if (!strncmp(text, "(*", 2)) return "a verb";
    if (!strncmp(text, "(?", 2)) {
        const char *at = text + 2;
        if (*at && strchr("#R&P|0123456789+(C", *at)) return "a group";
        for (; *at && strchr("imxsUJn-^a", *at); at++)
            if (*at != 'i' && *at != '-') return "an option";
    }
    return NULL;
}

// Bytes of an escape, with what it has in braces, or of anything else.
static size_t unit_size(const char *text)
{
    if (*text != '\\' || !text[1]) return 1;
    const char *end = text[2] == '{' && strchr("pPx", text[1]) ? strchr(text, '}') : NULL;
    return end ? (size_t)(end - text) + 1 : 2;
}

// The pattern as PCRE2 reads it, malloc'ed; NULL and a message.
static char *translate(const char *text, const char *what, Error *err)
{
    enum { LONGEST = 48 }; // of stand_in
    Translation t = {.out = malloc(LONGEST * strlen(text) + 1)};
    if (!t.out) {
        error_set(err, "%s: out of memory for the pattern", what);
        return NULL;
    }
    for (size_t at = 0; text[at];) {
        const char *found = foreign(&t, text + at);
        if (found) {
            error_set(err, "%s: %s in the pattern ('%.20s') is not supported", what, found,
                      text + at);
            free(t.out);
            return NULL;
        }
        size_t length = unit_size(text + at);
        const char *other = text[at] == '\\' && length == 2 ? stand_in(&t, text[at + 1]) : NULL;
        if (t.in_class && !strncmp(text + at, "[:", 2))
            length = 2;
        else if (!t.in_class && text[at] == '[') {
            t.in_class = true;
            if (text[at + 1] == '^') length = 2;
        } else if (t.in_class && text[at] == ']' && !(at >= 2 && text[at - 1] == ':'))
            t.in_class = false;
        put(&t, other ? other : text + at, other ? strlen(other) : length);
        at += length;
    }
    t.out[t.used] = 0;
    return t.out;
}

static bool compile(Pattern *p, const char *what, Error *err)
{
    char *text = translate(p->text, what, err);
    if (!text) return false;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    int code = PCRE2_ERROR_NOMEMORY;
    PCRE2_SIZE at = 0;
    if (context) {
        pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        p->code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
                                PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                                &code, &at, context);
    }
    pcre2_compile_context_free(context);
    free(text);
    if (p->code) {
        pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); // where there is no JIT, it is slower
        return true;
    }
    char message[128] = "";
    pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof message);
    return error_set(err, "%s: the pattern cannot be compiled: %s", what, message);
}

Pattern *pattern_new(const char *text, bool is_regex, const char *what, Error *err)
{
    size_t size = strlen(text), most = is_regex ? REGEX_SIZE : STRING_SIZE;
    if (!size || size > most) {
        error_set(err, "%s: a pattern of %zu bytes, expected 1 to %zu", what, size, most);
        return NULL;
    }
    Pattern *p = calloc(1, sizeof *p);
    if (p) p->text = malloc(size + 1);
    bool ok = p && p->text;
    if (!ok) error_set(err, "%s: out of memory for the pattern", what);
    if (ok) {
        memcpy(p->text, text, size + 1);
        p->size = size;
        ok = !is_regex || compile(p, what, err);
    }
    if (ok) return p;
    pattern_free(p);
    return NULL;
}

void pattern_free(Pattern *p)
{
    if (!p) return;
    pcre2_code_free(p->code);
    free(p->text);
    free(p);
}

const char *pattern_text(const Pattern *p)
{
    return p->text;
}

bool pattern_is_regex(const Pattern *p)
{
    return p->code != NULL;
}

PatternSearch *pattern_search_new(const Pattern *p)
{
    PatternSearch *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->pattern = p;
    if (!p->code) return s;
    s->data = pcre2_match_data_create(1, NULL); // the ends of the whole match
    s->context = pcre2_match_context_create(NULL);
    s->stack = pcre2_jit_stack_create(STACK_START, STACK_MOST, NULL);
    if (s->data && s->context && s->stack) {
        pcre2_jit_stack_assign(s->context, NULL, s->stack);
        pcre2_set_heap_limit(s->context, HEAP_KIB);
        return s;
    }
    pattern_search_free(s);
    return NULL;
}

void pattern_search_free(PatternSearch *s)
{
    if (!s) return;
    pcre2_match_data_free(s->data);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->stack);
    free(s);
}

static PatternResult find_string(const Pattern *p, size_t *begin, size_t *end, const char *text,
                                 size_t size, size_t from)
{
    while (size - from >= p->size) {
        const char *at = memchr(text + from, *p->text, size - from - p->size + 1);
        if (!at) break;
        *begin = (size_t)(at - text);
        *end = *begin + p->size;
        if (!memcmp(at, p->text, p->size)) return PATTERN_FOUND;
        from = *begin + 1;
    }
    return PATTERN_NONE;
}

PatternResult pattern_search_next(PatternSearch *s, size_t *begin, size_t *end, const char *text,
                                  size_t size, size_t from, Error *err)
{
    const Pattern *p = s->pattern;
    if (!p->code) return find_string(p, begin, end, text, size, from);
    uint64_t steps = BASE_STEPS + (uint64_t)STEPS_PER_BYTE * (size - from);
    pcre2_set_match_limit(s->context, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
    int rc =
        pcre2_match(p->code, (PCRE2_SPTR)text, size, from, PCRE2_NO_UTF_CHECK, s->data, s->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(p->code, (PCRE2_SPTR)text, size, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                         s->data, s->context);
    if (rc == PCRE2_ERROR_NOMATCH) return PATTERN_NONE;
    if (rc >= 0) {
        const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(s->data);
        *begin = ends[0];
        *end = ends[1];
        if (*begin >= from && *end >= *begin) return PATTERN_FOUND;
        error_set(err, "text: the tokenizer's pattern matches backwards at byte %zu", from);
        return PATTERN_FAILED;
    }
    char message[128] = "";
    pcre2_get_error_message(rc, (PCRE2_UCHAR *)message, sizeof message);
    error_set(err, "text: the tokenizer's pattern fails at byte %zu: %s", from, message);
    return PATTERN_FAILED;
}
