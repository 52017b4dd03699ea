// One text and its pages: see sequence.h.
#include "infer/sequence.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool sequence_make(Sequence *sequence, PagePool *pool, uint32_t context, Error *err)
{
    *sequence = (Sequence){.pool = pool, .context = context};
    sequence->tokens = malloc(context * sizeof *sequence->tokens);
    sequence->depths = malloc(context * sizeof *sequence->depths);
    sequence->pages = malloc(pages_for(context) * sizeof *sequence->pages);
    if (sequence->tokens && sequence->depths && sequence->pages) return true;
    sequence_free(sequence);
    return error_set(err, "out of memory");
}

void sequence_free(Sequence *sequence)
{
    if (sequence->pages) sequence_truncate(sequence, 0);
    free(sequence->tokens);
    free(sequence->depths);
    free(sequence->pages);
    *sequence = (Sequence){0};
}

bool sequence_append(Sequence *s, const uint32_t *tokens, uint32_t count, Error *err)
{
    if (count > s->context - s->count)
        return error_set(err, "%u tokens behind %u: the context is %u tokens", count, s->count,
                         s->context);
    uint32_t wanted = pages_for(s->count + count);
    if (wanted - s->page_count > s->pool->free_count)
        return error_set(err,
                         "KV cache: %u tokens more need %u pages of %d positions, %u of %u are "
                         "free",
                         count, wanted - s->page_count, PAGE_POSITIONS, s->pool->free_count,
                         s->pool->pages);
    while (s->page_count < wanted) page_take(s->pool, &s->pages[s->page_count++]);
    memcpy(s->tokens + s->count, tokens, count * sizeof *tokens);
    memset(s->depths + s->count, 0, count * sizeof *s->depths);
    s->count += count;
    return true;
}

void sequence_truncate(Sequence *s, uint32_t count)
{
    assert(count <= s->count);
    s->count = count;
    while (s->page_count > pages_for(count)) page_give(s->pool, s->pages[--s->page_count]);
}

uint32_t sequence_slot(const Sequence *s, uint32_t position)
{
    assert(position < s->count);
    return s->pages[position / PAGE_POSITIONS] * PAGE_POSITIONS + position % PAGE_POSITIONS;
}

uint32_t sequence_pending(const Sequence *s, uint32_t end, uint32_t depth)
{
    uint32_t first = end;
    while (first > 0 && s->depths[first - 1] < depth) first--;
    return first;
}
