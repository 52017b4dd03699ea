// Sequences laid end to end as rows on the GPU: see batch.h.
#include "train/batch.h"

#include "../shaders/args.h"

#include <stdlib.h>

enum { SLOT_ROWS, SLOT_SUPERVISED, SLOT_DISTINCT };

bool batch_make(Batch *batch, Gpu *gpu, uint32_t capacity, uint32_t window, Error *err)
{
    *batch = (Batch){.gpu = gpu, .capacity = capacity, .window = window};
    const struct {
        Tensor *tensor;
        uint32_t rows, cols;
    } all[] = {{&batch->tokens, capacity, 1},   {&batch->row_table, capacity, ROW_WORDS},
               {&batch->uses, capacity + 1, 2}, {&batch->order, capacity, 1},
               {&batch->index, capacity, 1},    {&batch->targets, capacity, 1}};
    batch->sorted = malloc(capacity * sizeof *batch->sorted);
    bool ok = batch->sorted || error_set(err, "out of memory");
    ok = ok && (batch->counts = counts_open(gpu, err)) != NULL;
    for (size_t i = 0; ok && i < sizeof all / sizeof *all; i++) {
        *all[i].tensor = tensor_make(gpu, MEMORY_HOST, all[i].rows, all[i].cols, err);
        ok = all[i].tensor->span != NULL;
    }
    if (!ok) batch_free(batch);
    return ok;
}

void batch_free(Batch *batch)
{
    if (!batch->gpu) return;
    Tensor *const tensors[] = {&batch->tokens, &batch->row_table, &batch->uses,
                               &batch->order,  &batch->index,     &batch->targets};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        tensor_free(batch->gpu, tensors[i]);
    counts_close(batch->counts);
    free(batch->sorted);
    *batch = (Batch){0};
}

void batch_begin(Batch *batch)
{
    batch->used = batch->supervised = 0;
}

// One sequence. marks may be NULL: then all but the leading `prompt` tokens are targets.
static void add_sequence(Batch *batch, const uint32_t *tokens, const uint8_t *marks,
                         uint32_t length, uint32_t prompt)
{
    uint32_t rows = length - 1, first = batch->used, end = first + rows;
    uint32_t window = batch->window && batch->window < rows ? batch->window : rows;
    uint32_t *inputs = tensor_host(batch->tokens), *table = tensor_host(batch->row_table);
    uint32_t *index = tensor_host(batch->index), *targets = tensor_host(batch->targets);
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t row = first + i, *words = table + ROW_WORDS * (size_t)row;
        inputs[row] = tokens[i];
        words[ROW_POSITION] = i;
        words[ROW_FIRST_KEY] = i < window ? first : row + 1 - window;
        words[ROW_LAST_KEY] = row + 1;
        words[ROW_UNTIL] = end - row < window ? end : row + window;
        if (marks ? !(marks[i + 1] & MARK_LOSS) : i + 1 < prompt) continue;
        index[batch->supervised] = row;
        targets[batch->supervised++] = tokens[i + 1];
    }
    batch->used += rows;
}

bool batch_add(Batch *batch, const uint32_t *tokens, uint32_t length, uint32_t prompt)
{
    if (length - 1 > batch->capacity - batch->used) return false;
    add_sequence(batch, tokens, NULL, length, prompt);
    return true;
}

bool batch_add_example(Batch *batch, const Dataset *set, const Example *example)
{
    const uint32_t *tokens = set->tokens + example->first, length = example->length;
    const uint8_t *marks = dataset_marks(set, example);
    if (example_rows(example) > batch->capacity - batch->used) return false;
    for (uint32_t begin = 0, end; begin < length; begin = end) {
        end = begin + 1;
        while (end < length && !(marks[end] & MARK_BEGIN)) end++;
        add_sequence(batch, tokens + begin, marks + begin, end - begin, 1);
    }
    return true;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// Rows by token for the embedding's backward; returns how many tokens are distinct.
static uint32_t sort_tokens(Batch *batch)
{
    const uint32_t *inputs = tensor_host(batch->tokens);
    uint32_t *uses = tensor_host(batch->uses), *order = tensor_host(batch->order);
    uint32_t distinct = 0;
    for (uint32_t r = 0; r < batch->used; r++) batch->sorted[r] = (uint64_t)inputs[r] << 32 | r;
    qsort(batch->sorted, batch->used, sizeof *batch->sorted, compare);
    for (uint32_t i = 0; i < batch->used; i++) {
        uint32_t token = (uint32_t)(batch->sorted[i] >> 32);
        order[i] = (uint32_t)batch->sorted[i];
        if (i && token == uses[2 * distinct - 2]) continue;
        uses[2 * distinct] = token;
        uses[2 * distinct + 1] = i;
        distinct++;
    }
    uses[2 * distinct + 1] = batch->used;
    return distinct;
}

void batch_end(Batch *batch)
{
    uint32_t distinct = sort_tokens(batch);
    counts_set(batch->counts, SLOT_ROWS, batch->used);
    counts_set(batch->counts, SLOT_SUPERVISED, batch->supervised);
    counts_set(batch->counts, SLOT_DISTINCT, distinct);
}

Rows batch_rows(const Batch *batch)
{
    return (Rows){batch->counts, SLOT_ROWS, 0, batch->capacity};
}

Rows batch_supervised(const Batch *batch, uint32_t first, uint32_t max)
{
    return (Rows){batch->counts, SLOT_SUPERVISED, first, max};
}

Rows batch_distinct(const Batch *batch)
{
    return (Rows){batch->counts, SLOT_DISTINCT, 0, batch->capacity};
}
