// The steps of a pre-tokenizer: cutting a stretch of text at the matches of a pattern. What a step
// does besides (U+2581, GPT-2's alphabet) is the encoder's. Source: Hugging Face's tokenizers,
// whose split behaviours these are.
#include "text/pre_tokenizer.h"
#include "base/utf8.h"

#include <assert.h>

void pre_add(Tokenizer *t, PreStep step)
{
    assert(t->pre_count < STEP_LIMIT);
    t->pre[t->pre_count++] = step;
}

void pre_clear(Tokenizer *t)
{
    for (size_t i = 0; i < t->pre_count; i++) pattern_free(t->pre[i].pattern);
    t->pre_count = 0;
}

void splitter_begin(Splitter *s, PatternSearch *search, SplitBehavior behavior, bool invert,
                    const char *text, size_t size)
{
    *s = (Splitter){
        .search = search, .behavior = behavior, .invert = invert, .text = text, .size = size};
}

// The stretches between the matches and the matches, in turn; 1: there is one, 0: the end,
// -1: failed. An empty match divides what is around it.
static int next_stretch(Splitter *s, Stretch *out, Error *err)
{
    if (!s->has_found && s->at < s->size && s->from <= s->size) {
        PatternResult result = pattern_search_next(s->search, &s->found.begin, &s->found.end,
                                                   s->text, s->size, s->from, err);
        if (result == PATTERN_FAILED) return -1;
        s->has_found = result == PATTERN_FOUND;
        if (!s->has_found) s->from = s->size + 1;
    }
    size_t gap_end = s->has_found ? s->found.begin : s->size;
    if (s->at < gap_end) {
        *out = (Stretch){s->at, gap_end, s->invert};
        s->at = gap_end;
        return 1;
    }
    if (!s->has_found) return 0;
    *out = (Stretch){s->found.begin, s->found.end, !s->invert};
    s->has_found = false;
    s->at = s->from = s->found.end;
    if (s->found.begin == s->found.end)
        s->from += s->at < s->size ? utf8_sequence(s->text + s->at, s->size - s->at) : 1;
    return 1;
}

static bool joins(SplitBehavior behavior, const Stretch *a, const Stretch *b)
{
    switch (behavior) {
    case SPLIT_CONTIGUOUS:
        return a->match == b->match;
    case SPLIT_MERGED_PREVIOUS:
        return !a->match && b->match;
    case SPLIT_MERGED_NEXT:
        return a->match && !b->match;
    default:
        return false;
    }
}

static bool is_word(const Splitter *s, const Stretch *stretch)
{
    return stretch->begin < stretch->end && !(s->behavior == SPLIT_REMOVED && stretch->match);
}

int splitter_next(Splitter *s, size_t *begin, size_t *end, Error *err)
{
    for (;;) {
        Stretch next, done = s->held;
        int more = next_stretch(s, &next, err);
        if (more < 0) return -1;
        if (more && s->holds && joins(s->behavior, &s->held, &next)) {
            s->held.end = next.end;
            s->held.match = next.match;
            continue;
        }
        bool ready = s->holds && is_word(s, &done);
        s->holds = more > 0;
        if (more) s->held = next;
        if (ready) {
            *begin = done.begin;
            *end = done.end;
            return 1;
        }
        if (!more) return 0;
    }
}
