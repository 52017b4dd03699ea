// Byte-pair merging: the best merge anywhere in a sequence, then the next best, until none applies.
// A heap of candidates over a linked list, so a long text without a break costs n log n.
#include "text/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

// A candidate is rank << 32 | position, so the smallest is the best merge, leftmost first.
typedef struct {
    const Tokenizer *tokenizer;
    uint32_t *ids;  // (count), NO_PIECE where merged into the left neighbour
    uint32_t *prev; // (count), positions; NO_PIECE at the ends
    uint32_t *next; // (count)
    uint64_t *heap; // (2 count): a merge takes one candidate out and puts at most two in
    size_t waiting; // candidates in the heap
} Merging;

static void heap_push(Merging *m, uint64_t item)
{
    size_t at = m->waiting++;
    while (at && m->heap[(at - 1) / 2] > item) {
        m->heap[at] = m->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    m->heap[at] = item;
}

static uint64_t heap_pop(Merging *m)
{
    uint64_t top = m->heap[0], last = m->heap[--m->waiting];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= m->waiting) break;
        if (child + 1 < m->waiting && m->heap[child + 1] < m->heap[child]) child++;
        if (m->heap[child] >= last) break;
        m->heap[at] = m->heap[child];
        at = child;
    }
    m->heap[at] = last;
    return top;
}

// Notes the merge of the pair that begins at `at`, if there is one.
static void propose(Merging *m, uint32_t at)
{
    if (at == NO_PIECE || m->next[at] == NO_PIECE) return;
    uint32_t rank = tokenizer_find_merge(m->tokenizer, m->ids[at], m->ids[m->next[at]]);
    if (rank != NO_PIECE) heap_push(m, (uint64_t)rank << 32 | at);
}

// Joins the pair at `at` unless it has changed since the candidate was noted.
static void join(Merging *m, const Merge *merge, uint32_t at)
{
    uint32_t right = m->next[at];
    if (m->ids[at] != merge->left || right == NO_PIECE || m->ids[right] != merge->right) return;
    m->ids[at] = merge->result;
    m->ids[right] = NO_PIECE;
    m->next[at] = m->next[right];
    if (m->next[at] != NO_PIECE) m->prev[m->next[at]] = at;
    propose(m, m->prev[at]);
    propose(m, at);
}

static void merge_all(Merging *m, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        m->prev[i] = i ? (uint32_t)i - 1 : NO_PIECE;
        m->next[i] = i + 1 < count ? (uint32_t)i + 1 : NO_PIECE;
    }
    for (size_t i = 0; i < count; i++) propose(m, (uint32_t)i);
    while (m->waiting) {
        uint64_t best = heap_pop(m);
        join(m, &m->tokenizer->merges[best >> 32], (uint32_t)best);
    }
}

static bool reserve(BpeScratch *s, size_t count)
{
    if (count <= s->capacity) return true;
    bpe_scratch_free(s);
    s->prev = malloc(count * sizeof *s->prev);
    s->next = malloc(count * sizeof *s->next);
    s->heap = malloc(2 * count * sizeof *s->heap);
    s->capacity = s->prev && s->next && s->heap ? count : 0;
    return s->capacity > 0;
}

void bpe_scratch_free(BpeScratch *s)
{
    free(s->prev);
    free(s->next);
    free(s->heap);
    *s = (BpeScratch){0};
}

// A bit for the two characters between which `left` and `right` meet.
static size_t joint(const Piece *left, const Piece *right)
{
    uint64_t x = ((uint64_t)left->last << 32 | right->first) * 0x9E3779B97F4A7C15u;
    return (size_t)(x >> 44);
}

_Static_assert(JOINT_BITS == 1 << (64 - 44), "joint() keeps the upper bits");

void bpe_note_joint(Tokenizer *t, const Piece *left, const Piece *right)
{
    size_t bit = joint(left, right);
    t->joints[bit / 64] |= (uint64_t)1 << bit % 64;
}

// No merge ever joins these neighbours, or what they become.
static bool is_cut(const Tokenizer *t, uint32_t left, uint32_t right)
{
    size_t bit = joint(&t->pieces[left], &t->pieces[right]);
    return !(t->joints[bit / 64] >> bit % 64 & 1);
}

static size_t merge_part(Merging *m, uint32_t *ids, size_t count)
{
    size_t kept = 0;
    m->ids = ids;
    merge_all(m, count);
    for (size_t i = 0; i < count; i++)
        if (ids[i] != NO_PIECE) ids[kept++] = ids[i];
    return kept;
}

// A text without words (LLaMA 2) is merged in the parts between characters that no piece has side
// by side. They are short, so that merging stays in the processor's caches.
bool bpe_merge(const Tokenizer *t, BpeScratch *scratch, uint32_t *ids, size_t *count)
{
    size_t kept = 0;
    for (size_t from = 0, end; from < *count; from = end) {
        for (end = from + 1; end < *count && !is_cut(t, ids[end - 1], ids[end]);) end++;
        size_t part = end - from;
        if (part > 1) {
            if (!reserve(scratch, part < 64 ? 64 : part)) return false;
            Merging m = {t, NULL, scratch->prev, scratch->next, scratch->heap, 0};
            part = merge_part(&m, ids + from, part);
        }
        memmove(ids + kept, ids + from, part * sizeof *ids);
        kept += part;
    }
    *count = kept;
    return true;
}
