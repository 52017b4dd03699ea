// Costs of kernels whose rows are named by tables: lookups, rotary embedding, attention. The
// formulas are in cost.c.
#include "profile/cost_internal.h"

#include <stdlib.h>

// ---- marks -------------------------------------------------------------------------------------

Marks marks_make(uint32_t below)
{
    return (Marks){calloc((size_t)below / 32 + 1, sizeof(uint32_t)), below};
}

// Bits first .. last - 1 of a word.
static uint32_t bits(uint32_t first, uint32_t last)
{
    return (last < 32 ? (UINT32_C(1) << last) - 1 : UINT32_MAX) & ~((UINT32_C(1) << first) - 1);
}

void marks_add(Marks *marks, uint32_t first, uint32_t last)
{
    if (last > marks->below) last = marks->below;
    while (first < last) {
        uint32_t word = first / 32, begin = first % 32;
        uint32_t end = last - 32 * word < 32 ? last - 32 * word : 32;
        marks->words[word] |= bits(begin, end);
        first = 32 * word + end;
    }
}

static uint32_t count_bits(uint32_t word)
{
    uint32_t count = 0;
    for (; word; word &= word - 1) count++;
    return count;
}

uint32_t marks_count(const Marks *marks)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i <= marks->below / 32; i++) count += count_bits(marks->words[i]);
    return count;
}

void marks_free(Marks *marks)
{
    free(marks->words);
}

// ---- names -------------------------------------------------------------------------------------

static double least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

Named cost_named(Tensor table, size_t at, size_t stride, uint32_t rows, uint32_t from,
                 uint32_t below)
{
    const uint32_t *words = cost_words(table);
    Marks marks = words ? marks_make(below) : (Marks){0};
    if (!marks.words) return (Named){rows, least(rows, below)};
    Named named = {0};
    size_t end = (size_t)table.rows * table.cols;
    for (size_t r = 0; r < rows && at + r * stride < end; r++) {
        uint32_t name = words[at + r * stride] - from;
        if (name >= below) continue;
        named.hits++;
        marks_add(&marks, name, name + 1);
    }
    named.distinct = marks_count(&marks);
    marks_free(&marks);
    return named;
}

// ---- lookups -----------------------------------------------------------------------------------

static double row_bytes(Tensor tensor)
{
    return (double)tensor_bytes(tensor) / tensor.rows;
}

Cost cost_embed(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(EmbedArgs, args, dispatch);
    Named named = cost_named(dispatch->tensors[1], 0, 1, rows, args.first, args.count);
    double table = named.distinct * row_bytes(dispatch->tensors[2]);
    return (Cost){4.0 * rows + table + 4.0 * named.hits * args.cols, 0};
}

// `rows` distinct tokens, no one twice.
Cost cost_embed_back(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(EmbedArgs, args, dispatch);
    const Tensor uses = dispatch->tensors[1], order = dispatch->tensors[2];
    const uint32_t *words = cost_words(uses);
    double hits = 0, summed = 0;
    for (uint32_t u = 0; words && u < rows && u + 1 < uses.rows; u++) {
        if (words[2 * u] - args.first >= args.count) continue;
        hits++;
        summed += words[2 * u + 3] - words[2 * u + 1];
    }
    if (!words) {
        hits = least(rows, args.count);
        summed = (double)order.rows * order.cols;
    }
    double tables = 4 * (2.0 * rows + 1) + 4 * summed;
    return (Cost){tables + 4 * summed * args.cols + 2 * hits * row_bytes(dispatch->tensors[4]),
                  summed * args.cols};
}

Cost cost_gather(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(ElementArgs, args, dispatch);
    Named named =
        cost_named(dispatch->tensors[1], args.rows.first, 1, rows, 0, dispatch->tensors[2].rows);
    return (Cost){4.0 * rows + 4.0 * args.cols * (named.distinct + rows), 0};
}

Cost cost_scatter(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(ElementArgs, args, dispatch);
    bool add = dispatch->constants[COST_ADD];
    double values = (double)rows * args.cols;
    return (Cost){4.0 * rows + (add ? 12 : 8) * values, add ? values : 0};
}

// ---- rotary embedding --------------------------------------------------------------------------

// Of the row table a position for each row, of the turns the rows of these positions.
static double turn_bytes(const Dispatch *dispatch, uint32_t rows)
{
    const Tensor table = dispatch->tensors[1], turns = dispatch->tensors[2];
    Named named = cost_named(table, ROW_POSITION, ROW_WORDS, rows, 0, turns.rows);
    return 4.0 * rows + named.distinct * row_bytes(turns);
}

Cost cost_rope(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(RopeArgs, args, dispatch);
    double values = (double)rows * args.cols;
    return (Cost){turn_bytes(dispatch, rows) + 8 * values, 3 * values};
}

Cost cost_rope_cache(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(RopeCacheArgs, args, dispatch);
    double head = (double)rows * dispatch->constants[COST_SIZE]; // values of one head
    double moved = head * (args.heads + 2.0 * args.kv_heads);
    return (Cost){turn_bytes(dispatch, rows) + 4.0 * rows + 8 * moved,
                  3 * head * ((double)args.heads + args.kv_heads)};
}

// ---- attention ---------------------------------------------------------------------------------

// Pairs of a query and a key, and how many rows of keys (or of queries) and pages they lie in.
typedef struct {
    double pairs, different, pages;
} Seen;

// Rows `first` .. `last` - 1 of what a row sees.
typedef struct {
    uint32_t first, last;
} Range;

static Range keys_of(const uint32_t *row, uint32_t r)
{
    (void)r;
    return (Range){row[ROW_FIRST_KEY], row[ROW_LAST_KEY]};
}

static Range queries_of(const uint32_t *row, uint32_t r)
{
    return (Range){r, row[ROW_UNTIL]};
}

// Of rows that see each other; below: how many rows there are to see.
static Seen see(Tensor table, uint32_t rows, uint32_t below,
                Range (*range_of)(const uint32_t *row, uint32_t r))
{
    const uint32_t *words = cost_words(table);
    Marks marks = words ? marks_make(below) : (Marks){0};
    if (!marks.words) return (Seen){rows * (rows + 1.0) / 2, least(rows, below), 0};
    Seen seen = {0};
    for (uint32_t r = 0; r < rows && r < table.rows; r++) {
        Range range = range_of(words + ROW_WORDS * (size_t)r, r);
        if (range.last > range.first) seen.pairs += range.last - range.first;
        marks_add(&marks, range.first, range.last);
    }
    seen.different = marks_count(&marks);
    marks_free(&marks);
    return seen;
}

// The keys of a row where they lie in pages.
static void mark_paged(Marks *slots, Tensor pages, const uint32_t *row)
{
    const uint32_t *list = cost_words(pages);
    for (uint32_t j = row[ROW_FIRST_KEY]; j < row[ROW_LAST_KEY];) {
        uint32_t page = j / PAGE_POSITIONS, end = PAGE_POSITIONS * (page + 1);
        uint32_t last = end < row[ROW_LAST_KEY] ? end : row[ROW_LAST_KEY];
        uint64_t entry = (uint64_t)row[ROW_PAGES] + page;
        if (entry >= (uint64_t)pages.rows * pages.cols) return;
        if (list[entry] < slots->below / PAGE_POSITIONS) {
            uint32_t begin = list[entry] * PAGE_POSITIONS;
            marks_add(slots, begin + j % PAGE_POSITIONS, begin + (last - 1) % PAGE_POSITIONS + 1);
        }
        j = last;
    }
}

// A page is a word of the marks.
static double count_pages(const Marks *slots)
{
    _Static_assert(PAGE_POSITIONS == 32, "a page is a word of marks");
    double count = 0;
    for (uint32_t i = 0; i <= slots->below / 32; i++) count += slots->words[i] != 0;
    return count;
}

static Seen see_paged(Tensor table, Tensor pages, uint32_t rows, uint32_t slots)
{
    const uint32_t *words = cost_words(table);
    Marks marks = words && cost_words(pages) ? marks_make(slots) : (Marks){0};
    if (!marks.words) return (Seen){(double)rows * slots, slots, slots / PAGE_POSITIONS};
    Seen seen = {0};
    for (uint32_t r = 0; r < rows && r < table.rows; r++) {
        const uint32_t *row = words + ROW_WORDS * (size_t)r;
        if (row[ROW_LAST_KEY] > row[ROW_FIRST_KEY])
            seen.pairs += row[ROW_LAST_KEY] - row[ROW_FIRST_KEY];
        mark_paged(&marks, pages, row);
    }
    seen.different = marks_count(&marks);
    seen.pages = count_pages(&marks);
    marks_free(&marks);
    return seen;
}

// Values of all heads of one row.
typedef struct {
    double size, heads, q, k; // size, heads; of q, of k
} HeadValues;

static HeadValues head_values(const Dispatch *dispatch, const AttentionArgs *args)
{
    double size = dispatch->constants[COST_SIZE];
    return (HeadValues){size, args->heads, args->heads * size, args->kv_heads * size};
}

Cost cost_attention(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(AttentionArgs, args, dispatch);
    HeadValues w = head_values(dispatch, &args);
    Seen seen = see(dispatch->tensors[1], rows, dispatch->tensors[3].rows, keys_of);
    double tables = 8.0 * rows, stats = 4 * rows * w.heads;
    return (Cost){tables + 8 * rows * w.q + 8 * seen.different * w.k + stats,
                  w.heads * (seen.pairs * (4 * w.size + 4) + rows * (w.size + 2))};
}

Cost cost_attention_paged(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(AttentionArgs, args, dispatch);
    HeadValues w = head_values(dispatch, &args);
    Seen seen =
        see_paged(dispatch->tensors[1], dispatch->tensors[2], rows, dispatch->tensors[4].rows);
    double tables = 12.0 * rows + 4 * seen.pages;
    return (Cost){tables + 8 * rows * w.q + 8 * seen.different * w.k,
                  w.heads * (seen.pairs * (4 * w.size + 4) + rows * w.size)};
}

Cost cost_attention_back_q(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(AttentionArgs, args, dispatch);
    HeadValues w = head_values(dispatch, &args);
    Seen seen = see(dispatch->tensors[1], rows, dispatch->tensors[3].rows, keys_of);
    double tables = 8.0 * rows, stats = 8 * rows * w.heads;
    return (Cost){tables + 16 * rows * w.q + 8 * seen.different * w.k + stats,
                  w.heads * (seen.pairs * (6 * w.size + 6) + rows * 2 * w.size)};
}

Cost cost_attention_back_kv(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(AttentionArgs, args, dispatch);
    HeadValues w = head_values(dispatch, &args);
    Seen seen = see(dispatch->tensors[1], rows, dispatch->tensors[2].rows, queries_of);
    double tables = 4.0 * rows, stats = 8 * seen.different * w.heads;
    return (Cost){tables + 8 * seen.different * w.q + 16 * rows * w.k + stats,
                  w.heads * seen.pairs * (8 * w.size + 6)};
}
