// Attention over keys and values in pages, every kernel that does it: against a reference in
// double; where pages lie, and which rows run beside a row, change no bit; what a row may not see,
// though it be no number, does not show; nothing but y is written.
#define _POSIX_C_SOURCE 200809L
#include "base/random.h"
#include "ops/ops.h"
#include "support/device.h"
#include "support/guards.h"

#include "../shaders/args.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- problems ----------------------------------------------------------------------------------

enum { ROWS = 70, SEQUENCES = 3, SEQUENCE_PAGES = 3, SPARE = 2 };
enum { PAGES = SEQUENCES * SEQUENCE_PAGES + SPARE, POSITIONS = SEQUENCE_PAGES * PAGE_POSITIONS };

typedef struct {
    uint32_t sequence, first, last; // keys first .. last - 1
} Query;

typedef struct {
    Heads heads;
    float *q;         // (ROWS, heads * size)
    float *k, *v;     // (SEQUENCES * POSITIONS, kv_heads * size)
    Query rows[ROWS]; // (count)
    uint32_t count;
    uint32_t pages[SEQUENCES][SEQUENCE_PAGES]; // where the pages of each sequence lie
} Problem;

static float *random_values(Random *r, size_t count, double scale)
{
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) values[i] = (float)(scale * (2 * random_uniform(r) - 1));
    return values;
}

// Pages one behind the other, or, with a seed, anywhere.
static void lay_out(Problem *p, uint64_t seed)
{
    uint32_t order[PAGES];
    Random r = random_seed(seed);
    for (uint32_t i = 0; i < PAGES; i++) {
        uint32_t at = seed ? (uint32_t)random_below(&r, i + 1) : i;
        order[i] = order[at];
        order[at] = i;
    }
    memcpy(p->pages, order, sizeof p->pages);
}

// Rows of all sequences side by side, from the first key to anywhere; with `windows` from a later
// one, too.
static void make_problem(Problem *p, Heads heads, uint32_t count, bool windows)
{
    Random r = random_seed(heads.size * 100 + heads.heads * 10 + count);
    size_t key = (size_t)heads.kv_heads * heads.size;
    *p = (Problem){.heads = heads, .count = count};
    p->q = random_values(&r, (size_t)ROWS * heads.heads * heads.size, 3);
    p->k = random_values(&r, SEQUENCES * POSITIONS * key, 1);
    p->v = random_values(&r, SEQUENCES * POSITIONS * key, 1);
    static const uint32_t ends[] = {1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 65, POSITIONS};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t sequence = i * SEQUENCES / count;
        uint32_t last = i % 2 ? 1 + (uint32_t)random_below(&r, POSITIONS) : ends[i / 2 % 12];
        uint32_t first = windows ? (uint32_t)random_below(&r, last) : 0;
        p->rows[i] = (Query){sequence, first, last};
    }
    lay_out(p, 1);
}

static void free_problem(Problem *p)
{
    free(p->q);
    free(p->k);
    free(p->v);
}

// ---- the reference -----------------------------------------------------------------------------

// y (size) of one row and head: softmax(q k^T / sqrt(size)) v.
static void reference(double *y, const Problem *p, uint32_t row, uint32_t head)
{
    const Heads h = p->heads;
    const Query *query = &p->rows[row];
    const float *q = p->q + ((size_t)row * h.heads + head) * h.size;
    size_t stride = (size_t)h.kv_heads * h.size;
    size_t from =
        (size_t)query->sequence * POSITIONS * stride + head / (h.heads / h.kv_heads) * h.size;
    double scores[POSITIONS], most = -INFINITY, sum = 0;
    for (uint32_t j = query->first; j < query->last; j++) {
        scores[j] = 0;
        for (uint32_t i = 0; i < h.size; i++)
            scores[j] += (double)q[i] * p->k[from + j * stride + i];
        scores[j] /= sqrt(h.size);
        most = fmax(most, scores[j]);
    }
    memset(y, 0, h.size * sizeof *y);
    for (uint32_t j = query->first; j < query->last; j++) {
        double weight = exp(scores[j] - most);
        sum += weight;
        for (uint32_t i = 0; i < h.size; i++) y[i] += weight * p->v[from + j * stride + i];
    }
    for (uint32_t i = 0; i < h.size; i++) y[i] /= sum;
}

// ---- runs --------------------------------------------------------------------------------------

typedef struct {
    Guards guards;
    Guard *y;
    Counts *counts;
    Tape *tape;
} Run;

// Which keys some row of the run sees: all others stay canaries, which are no numbers.
static void put_keys(Guard *k, Guard *v, const Problem *p, uint32_t first, uint32_t count)
{
    size_t stride = (size_t)p->heads.kv_heads * p->heads.size;
    for (uint32_t row = first; row < first + count; row++) {
        const Query *query = &p->rows[row];
        for (uint32_t j = query->first; j < query->last; j++) {
            uint32_t page = p->pages[query->sequence][j / PAGE_POSITIONS];
            uint32_t slot = page * PAGE_POSITIONS + j % PAGE_POSITIONS;
            size_t at = ((size_t)query->sequence * POSITIONS + j) * stride;
            guard_put(k, slot, 1, p->k + at);
            guard_put(v, slot, 1, p->v + at);
        }
    }
}

// The row table, and one list of pages behind the other, behind one that belongs to nobody.
static void put_tables(Guard *table, Guard *pages, const Problem *p, uint32_t first, uint32_t count)
{
    guard_put(pages, 1, SEQUENCES * SEQUENCE_PAGES, p->pages);
    for (uint32_t i = 0; i < count; i++) {
        const Query *query = &p->rows[first + i];
        const uint32_t row[ROW_WORDS] = {query->last - 1, query->first, query->last,
                                         1 + query->sequence * SEQUENCE_PAGES};
        guard_put(table, i, 1, row);
    }
}

// Rows first .. first + count - 1 of the problem, on a tape for `most`.
static void run(Run *run, const Problem *p, uint32_t first, uint32_t count, uint32_t most)
{
    const Heads h = p->heads;
    uint32_t width = h.heads * h.size, slots = PAGES * PAGE_POSITIONS;
    Error err;
    *run = (Run){.guards = {.gpu = device}, .counts = counts_open(device, &err)};
    assert_non_null(run->counts);
    Guard *q = guards_add(&run->guards, most, width);
    Guard *k = guards_add(&run->guards, slots, h.kv_heads * h.size);
    Guard *v = guards_add(&run->guards, slots, h.kv_heads * h.size);
    Guard *table = guards_add(&run->guards, most, ROW_WORDS);
    Guard *pages = guards_add(&run->guards, 1 + SEQUENCES * SEQUENCE_PAGES, 1);
    run->y = guards_add(&run->guards, most, width);
    guard_put(q, 0, count, p->q + (size_t)first * width);
    put_keys(k, v, p, first, count);
    put_tables(table, pages, p, first, count);
    guard_open(run->y, 0, count);
    run->tape = tape_begin(device, "paged", &err);
    assert_non_null(run->tape);
    op_attention_paged(run->tape, run->y->view, q->view, k->view, v->view, table->view, pages->view,
                       h, (Rows){run->counts, 0, 0, most});
    if (!tape_end(run->tape, &err)) fail_msg("%s", err.text);
    counts_set(run->counts, 0, count);
    guards_run(&run->guards, run->tape);
    guards_check(&run->guards, "attention over pages");
}

static void run_free(Run *run)
{
    tape_free(run->tape);
    counts_close(run->counts);
    guards_free(&run->guards);
}

// Row `at` of the run is row `row` of the other one, to the bit.
static void same_row(const Run *a, uint32_t row, const Run *b, uint32_t at, const char *what,
                     uint32_t which)
{
    if (memcmp(guard_row(a->y, row), guard_row(b->y, at), 4 * (size_t)a->y->view.cols))
        fail_msg("%s %u: row %u is not the same to the bit", what, which, row);
}

// ---- every kernel ------------------------------------------------------------------------------

typedef struct {
    const char *variable, *value;
} Way;

static const Way WAYS[] = {{"STRATA_VARIANT", NULL},
                           {"STRATA_VARIANT", "any"},
                           {"STRATA_VARIANT", "shuffle"},
                           {"STRATA_LANES", "4"},
                           {"STRATA_LANES", "32"}};
enum { WAY_COUNT = sizeof WAYS / sizeof *WAYS };

static void in_every_way(void (*check)(const Problem *p, const Way *way), const Problem *p)
{
    for (int i = 0; i < WAY_COUNT; i++) {
        if (WAYS[i].value) setenv(WAYS[i].variable, WAYS[i].value, 1);
        check(p, &WAYS[i]);
        unsetenv(WAYS[i].variable);
    }
}

static const Heads SHAPES[] = {{3, 1, 2},  {4, 2, 6},  {2, 2, 14},
                               {8, 2, 16}, {2, 2, 64}, {2, 1, 128}};
enum { SHAPE_COUNT = sizeof SHAPES / sizeof *SHAPES };

static void check_reference(const Problem *p, const Way *way)
{
    Run all;
    double want[128];
    run(&all, p, 0, p->count, p->count + 2);
    for (uint32_t row = 0; row < p->count; row++)
        for (uint32_t head = 0; head < p->heads.heads; head++) {
            const float *got = guard_row(all.y, row) + (size_t)head * p->heads.size;
            reference(want, p, row, head);
            for (uint32_t i = 0; i < p->heads.size; i++)
                if (!(fabs(got[i] - want[i]) <= 3e-6)) // NaN is never near
                    fail_msg("%s, heads of %u: row %u (keys %u to %u), head %u, value %u: %.9g, "
                             "expected %.9g",
                             way->value ? way->value : "default", p->heads.size, row,
                             p->rows[row].first, p->rows[row].last, head, i, got[i], want[i]);
        }
    guards_repeat(&all.guards, all.tape, "attention over pages");
    run_free(&all);
}

static void is_attention(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPE_COUNT; i++) {
        Problem p;
        make_problem(&p, SHAPES[i], ROWS, false);
        in_every_way(check_reference, &p);
        free_problem(&p);
    }
}

// Keys before the first one belong to the sequence and may hold anything.
static void is_attention_from_a_later_key(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPE_COUNT; i++) {
        for (uint32_t count = 1; count < ROWS; count = 8 * count + 1) {
            Problem p;
            make_problem(&p, SHAPES[i], count, true);
            in_every_way(check_reference, &p);
            free_problem(&p);
        }
    }
}

// Scores far outside of what exp can hold.
static void with_large_scores(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPE_COUNT; i += 3) {
        Problem p;
        make_problem(&p, SHAPES[i], 20, false);
        for (size_t at = 0; at < (size_t)20 * p.heads.heads * p.heads.size; at++)
            p.q[at] = (at % 2 ? 1024 : -1024) * (1 + (float)(at % 7)); // exact products
        for (size_t at = 0; at < (size_t)SEQUENCES * POSITIONS * p.heads.kv_heads * p.heads.size;
             at++)
            p.k[at] = roundf(p.k[at] * 16) / 16;
        in_every_way(check_reference, &p);
        free_problem(&p);
    }
}

// ---- to the bit --------------------------------------------------------------------------------

static void check_layouts(const Problem *p, const Way *way)
{
    (void)way;
    Run first, other;
    Problem moved = *p;
    lay_out(&moved, 0);
    run(&first, &moved, 0, p->count, p->count);
    for (uint64_t seed = 2; seed < 4; seed++) {
        lay_out(&moved, seed);
        run(&other, &moved, 0, p->count, p->count);
        for (uint32_t row = 0; row < p->count; row++)
            same_row(&first, row, &other, row, "layout", (uint32_t)seed);
        run_free(&other);
    }
    run_free(&first);
}

static void pages_may_lie_anywhere(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPE_COUNT; i++) {
        Problem p;
        make_problem(&p, SHAPES[i], ROWS, i % 2);
        in_every_way(check_layouts, &p);
        free_problem(&p);
    }
}

// Every row alone, where all that it does not see is no number, and some in company, on tapes for
// more rows than there are.
static void check_alone(const Problem *p, const Way *way)
{
    (void)way;
    static const uint32_t parts[][3] = {
        {0, 2, 2}, {5, 3, 4}, {17, 8, 8}, {30, 40, 64}, {3, 13, 70}};
    Run all, part;
    run(&all, p, 0, p->count, p->count);
    for (uint32_t row = 0; row < p->count; row += row < 5 ? 1 : 23) {
        uint32_t most = (const uint32_t[]){1, 2, 4, 8, 64}[row % 5];
        run(&part, p, row, 1, most);
        same_row(&all, row, &part, 0, "alone on a tape for", most);
        run_free(&part);
    }
    for (int i = 0; i < 5; i++) {
        run(&part, p, parts[i][0], parts[i][1], parts[i][2]);
        for (uint32_t r = 0; r < parts[i][1]; r++)
            same_row(&all, parts[i][0] + r, &part, r, "on a tape for", parts[i][2]);
        run_free(&part);
    }
    run_free(&all);
}

static void rows_stand_alone(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPE_COUNT; i++) {
        Problem p;
        make_problem(&p, SHAPES[i], ROWS, i % 2);
        in_every_way(check_alone, &p);
        free_problem(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_attention),      cmocka_unit_test(is_attention_from_a_later_key),
        cmocka_unit_test(with_large_scores), cmocka_unit_test(pages_may_lie_anywhere),
        cmocka_unit_test(rows_stand_alone),  cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests_name("attention over pages", tests, device_open, device_close);
}
