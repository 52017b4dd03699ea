// Merges from the scores of SentencePiece's BPE, which keeps no list of them: a pair of pieces
// merges where what it makes is a piece, the best score first.
#include "text/tokenizer_internal.h"

#include <stdlib.h>

// Bytes of a piece that merges make: trying all its splits costs the square of its length.
enum { MADE_LIMIT = 256 };

// A way to make a piece out of two.
typedef struct {
    float score; // of the result
    uint32_t result, left, right;
} Split;

typedef struct {
    Split *items; // (count)
    size_t count, capacity;
} SplitList;

static bool split_push(SplitList *list, Split item)
{
    if (list->count == list->capacity) {
        size_t larger = list->capacity ? 2 * list->capacity : 1024;
        Split *moved = realloc(list->items, larger * sizeof *moved);
        if (!moved) return false;
        list->items = moved;
        list->capacity = larger;
    }
    list->items[list->count++] = item;
    return true;
}

static bool push_splits(SplitList *list, const Tokenizer *t, uint32_t id, float score)
{
    const char *text = tokenizer_piece(t, id);
    size_t size = t->pieces[id].size;
    for (size_t cut = 1; cut < size; cut++) {
        uint32_t left = tokenizer_find(t, text, cut);
        uint32_t right = left == NO_PIECE ? NO_PIECE : tokenizer_find(t, text + cut, size - cut);
        if (right != NO_PIECE && !split_push(list, (Split){score, id, left, right})) return false;
    }
    return true;
}

// Best score first; then by result, left and right, which is the order Hugging Face's converter
// gives to merges that SentencePiece does not tell apart.
static int compare_splits(const void *a, const void *b)
{
    const Split *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->result != y->result) return x->result < y->result ? -1 : 1;
    if (x->left != y->left) return x->left < y->left ? -1 : 1;
    return x->right < y->right ? -1 : x->right > y->right;
}

bool tokenizer_derive_merges(Tokenizer *t, const float *scores, uint32_t first, const bool *skip,
                             const char *file, Error *err)
{
    SplitList list = {0};
    bool ok = true;
    for (uint32_t id = first; id < t->vocab_size && ok; id++) {
        if (skip && skip[id]) continue;
        if (t->pieces[id].size > MADE_LIMIT)
            ok = error_set(err, "%s: piece %u is %u bytes long, expected at most %d", file, id,
                           t->pieces[id].size, MADE_LIMIT);
        else
            ok = push_splits(&list, t, id, scores[id]) ||
                 error_set(err, "%s: out of memory for the merges", file);
    }
    if (ok && list.count) qsort(list.items, list.count, sizeof *list.items, compare_splits);
    for (size_t i = 0; i < list.count && ok; i++)
        ok = tokenizer_add_merge(t, list.items[i].left, list.items[i].right, file, err);
    free(list.items);
    return ok;
}
