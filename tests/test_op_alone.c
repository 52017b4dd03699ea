// A row's result never depends on the rows beside it, nor on how many a tape allows (which chooses
// tiles): every op of inference, in every variant, for every type of weights, gives the same bits
// for 1 row as for n. What speculation, late keys and batches rest on. Values are in test_ops.c.
#define _POSIX_C_SOURCE 200809L
#include "reference/blocks.h"
#include "support/device.h"
#include "support/halves.h"
#include "support/op_check.h"

#include "../shaders/args.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALL = 100 }; // rows of which some run alone
static const uint32_t COUNTS[] = {1, 2, 3, 4, 5, 8, 9, 16, 17, 33, 64};
enum { COUNT_COUNT = sizeof COUNTS / sizeof *COUNTS };

static void same_rows(const float *all, const float *part, uint32_t rows, uint32_t cols,
                      const char *what)
{
    if (memcmp(all, part, 4 * (size_t)rows * cols))
        fail_msg("%s: %u rows are not the same to the bit", what, rows);
}

// Some rows of ALL, another place for each count.
static uint32_t first_row(uint32_t rows)
{
    return (rows * 29 + 7) % (ALL - rows);
}

// ---- the table of ops --------------------------------------------------------------------------

// Rows first .. first + rows - 1 of a problem as a problem of its own.
static void slice(OpProblem *part, const OpCase *op, const OpProblem *whole, uint32_t first,
                  uint32_t rows)
{
    OpShape shape = whole->shape;
    shape.rows = rows;
    assert_true(op_problem_make(part, op, &shape, 5));
    for (uint32_t i = 0; i < op->inputs; i++) {
        OpSize size = op->size(&shape, (int)i);
        uint64_t skip = size.per_row ? (uint64_t)first * size.cols : 0;
        memcpy(part->in[i], whole->in[i] + skip, 8 * (size_t)size.rows * size.cols);
    }
    if (op->table_cols)
        memcpy(part->table, whole->table + first * op->table_cols,
               4 * (size_t)rows * op->table_cols);
}

// Rows first .. first + rows - 1 alone, with `spare` more that could be there, give the bits that
// they have among all rows.
static void check_slice(const OpTrial *whole, uint32_t first, uint32_t rows, uint32_t spare)
{
    OpTrial part;
    OpProblem problem;
    OpWay way = whole->way;
    way.spare = spare;
    slice(&problem, whole->op, &whole->problem, first, rows);
    op_trial_open(&part, device, whole->op, &problem, &way, false);
    guards_run(&part.guards, part.tape);
    same_rows(guard_row(whole->y, first), guard_row(part.y, 0), rows, part.y->view.cols,
              part.label);
    op_trial_close(&part);
}

static void check_op(const char *name, const OpShape *shape, const OpWay *way)
{
    OpTrial whole;
    OpProblem problem;
    assert_true(op_problem_make(&problem, op_case(name), shape, 5));
    op_trial_open(&whole, device, op_case(name), &problem, way, false);
    guards_run(&whole.guards, whole.tape);
    for (int i = 0; i < COUNT_COUNT; i++) {
        uint32_t rows = COUNTS[i], first = first_row(rows);
        check_slice(&whole, first, rows, 0);
        if (rows < 64)
            check_slice(&whole, first + 1 + rows < ALL ? first + 1 : first, rows, 64 - rows);
    }
    op_trial_close(&whole);
}

static const OpWay PLAIN = {0}, ANY = {.variable = "STRATA_VARIANT", .value = "any"};

static void ops_without_reduction(void **state)
{
    (void)state;
    static const char *const names[] = {"swiglu", "add", "bias", "gather and scatter", "embed"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (uint32_t cols = 64; cols <= 65; cols++) {
            const OpShape shape = {.rows = ALL, .cols = cols, .others = 120};
            check_op(names[i], &shape, &PLAIN);
            if (cols % 4 == 0) check_op(names[i], &shape, &ANY);
        }
    const OpShape turned = {.rows = ALL, .cols = 48, .heads = 2, .size = 24},
                  odd = {.rows = ALL, .cols = 24, .heads = 2, .size = 12};
    check_op("rope", &turned, &PLAIN);
    check_op("rope", &turned, &ANY);
    check_op("rope", &odd, &PLAIN);
}

static void ops_that_reduce(void **state)
{
    (void)state;
    static const char *const names[] = {"rmsnorm", "cross_entropy"}, *const lanes[] = {"1", "4",
                                                                                       "32"};
    for (int i = 0; i < 2; i++)
        for (uint32_t cols = 64; cols <= 65; cols++) {
            const OpShape shape = {.rows = ALL, .cols = cols};
            check_op(names[i], &shape, &ANY);
            for (int l = 0; l < 3; l++)
                check_op(names[i], &shape, &(OpWay){.variable = "STRATA_LANES", .value = lanes[l]});
        }
    const OpShape parts = {.rows = ALL, .cols = 64, .heads = 4};
    check_op("rmsnorm", &parts, &PLAIN);
    check_op("rmsnorm", &parts, &(OpWay){.variable = "STRATA_LANES", .value = "32"});
}

// No whole vectors: the only matrix kernel for that; the others follow below.
static void products_of_odd_rows(void **state)
{
    (void)state;
    check_op("matmul", &(OpShape){.rows = ALL, .cols = 35, .others = 12}, &PLAIN);
    check_op("matmul", &(OpShape){.rows = ALL, .cols = 260, .others = 33}, &PLAIN);
}

// ---- matrices of every type --------------------------------------------------------------------

enum { N = 68, K = 512 };
static const Dtype TYPES[] = {DTYPE_F32,  DTYPE_F16,  DTYPE_BF16, DTYPE_Q8_0,
                              DTYPE_Q4_0, DTYPE_Q4_K, DTYPE_Q6_K};
enum { TYPE_COUNT = sizeof TYPES / sizeof *TYPES };

// Weights of a type, rows that are multiplied with them, and what comes out.
typedef struct {
    Dtype dtype;
    Tensor w, x, tokens, y; // (N, K), (ALL, K), (ALL, 64) of which the first counts, (ALL, K)
    float *all, *some;      // (ALL, K): y of all rows, y of a run
    Counts *counts;
} Bed;

static Tensor make(Dtype dtype, uint32_t rows, uint32_t cols)
{
    Error err;
    Tensor tensor = tensor_make_as(device, MEMORY_DEVICE, dtype, rows, cols, &err);
    if (!tensor.span) fail_msg("%s", err.text);
    return tensor;
}

static void put_weights(Tensor w)
{
    static float values[N * K];
    static uint16_t halves[N * K];
    static uint8_t blocks[2 * N * K];
    Error err;
    bool ok;
    blocks_random_floats(values, N * K, 3, 1);
    for (int i = 0; i < N * K; i++)
        halves[i] = half_narrow(w.dtype == DTYPE_F16 ? DTYPE_F16 : DTYPE_BF16, values[i]);
    if (dtype_blocked(w.dtype)) {
        blocks_random_small(w.dtype, blocks, N * K, 4);
        ok = tensor_upload_blocks(device, w, blocks, &err);
    } else {
        const void *from = w.dtype == DTYPE_F32 ? (const void *)values : halves;
        ok = tensor_upload(device, w, from, &err);
    }
    if (!ok) fail_msg("%s", err.text);
}

static void bed_open(Bed *bed, Dtype dtype)
{
    static float values[ALL * K];
    static uint32_t ids[ALL * 64];
    Error err;
    *bed = (Bed){dtype, .w = make(dtype, N, K), .x = make(DTYPE_F32, ALL, K)};
    bed->tokens = make(DTYPE_F32, 1, ALL);
    bed->y = make(DTYPE_F32, ALL, K);
    bed->all = calloc(ALL * K, sizeof(float));
    bed->some = calloc(ALL * K, sizeof(float));
    bed->counts = half_counts(ALL);
    assert_true(bed->all && bed->some);
    put_weights(bed->w);
    blocks_random_floats(values, ALL * K, 9, 1);
    for (uint32_t i = 0; i < ALL; i++) ids[i] = i * 31 % N;
    if (!tensor_upload(device, bed->x, values, &err) ||
        !tensor_upload(device, bed->tokens, ids, &err))
        fail_msg("%s", err.text);
}

static void bed_close(Bed *bed)
{
    tensor_free(device, &bed->w);
    tensor_free(device, &bed->x);
    tensor_free(device, &bed->tokens);
    tensor_free(device, &bed->y);
    counts_close(bed->counts);
    free(bed->all);
    free(bed->some);
}

// The product of rows first .. of x, at most `most` of them.
static Tape *record_product(const Bed *bed, uint32_t first, uint32_t most)
{
    Error err;
    Tensor y = bed->y;
    y.cols = N;
    Tape *tape = half_begin();
    op_matmul(tape, y, tensor_rows(bed->x, first, most), bed->w,
              (Rows){bed->counts, HALF_SLOT, 0, most});
    if (!tape_end(tape, &err)) fail_msg("%s", err.text);
    return tape;
}

static void run_rows(const Bed *bed, Tape *tape, uint32_t rows, float *out)
{
    Error err;
    counts_set(bed->counts, HALF_SLOT, rows);
    if (!gpu_run(device, &tape, 1, &err) || !tensor_download(device, bed->y, out, &err))
        fail_msg("%s", err.text);
}

// Rows of a tape that allows `most` of them, from `first` on, in every count.
static void check_tape(const Bed *bed, uint32_t first, uint32_t most)
{
    char what[64];
    Tape *tape = record_product(bed, first, most);
    for (int i = 0; i < COUNT_COUNT && COUNTS[i] <= most; i++) {
        snprintf(what, sizeof what, "%s, %u of at most %u", dtype_name(bed->dtype), COUNTS[i],
                 most);
        run_rows(bed, tape, COUNTS[i], bed->some);
        same_rows(bed->all + first * N, bed->some, COUNTS[i], N, what);
    }
    tape_free(tape);
}

static void products_of_every_type(void **state)
{
    (void)state;
    static const char *const variants[] = {"any", "vec4", "shuffle", "texel"};
    for (int t = 0; t < TYPE_COUNT; t++) {
        Bed bed;
        bed_open(&bed, TYPES[t]);
        Tape *all = record_product(&bed, 0, ALL);
        run_rows(&bed, all, ALL, bed.all);
        tape_free(all);
        for (int v = 0; v < 4; v++) {
            setenv("STRATA_VARIANT", variants[v], 1);
            for (int i = 0; i < COUNT_COUNT; i++) check_tape(&bed, first_row(COUNTS[i]), COUNTS[i]);
            unsetenv("STRATA_VARIANT");
        }
        bed_close(&bed);
    }
}

static void embeddings_of_every_type(void **state)
{
    (void)state;
    Error err;
    for (int t = 0; t < TYPE_COUNT; t++) {
        Bed bed;
        bed_open(&bed, TYPES[t]);
        float *out = bed.all;
        for (int i = COUNT_COUNT; i >= 0; i--) {
            uint32_t most = i == COUNT_COUNT ? ALL : COUNTS[i];
            Tape *tape = half_begin();
            op_embed(tape, bed.y, bed.tokens, bed.w, (Rows){bed.counts, HALF_SLOT, 0, most});
            if (!tape_end(tape, &err)) fail_msg("%s", err.text);
            run_rows(&bed, tape, most, out);
            same_rows(bed.all, out, most, K, dtype_name(TYPES[t]));
            tape_free(tape);
            out = bed.some;
        }
        bed_close(&bed);
    }
}

// ---- attention over a cache --------------------------------------------------------------------

enum { CACHE = 2 * PAGE_POSITIONS, CAPACITY = 5 * PAGE_POSITIONS, QUERIES = 70, LIST = 3 };

// How attention runs, and where keys lie: in a row, or in pages of that list.
typedef struct {
    uint32_t size; // of a head
    const char *variable, *value;
    const uint32_t *pages; // (2), or NULL
} CacheWay;

typedef struct {
    Guards guards;
    Guard *y;
    Counts *counts;
    Tape *tape;
} CacheRun;

static void put_keys(Guard *guard, const double *values, const uint32_t *pages)
{
    if (!pages) guard_put_doubles(guard, 0, CACHE, values);
    for (uint32_t i = 0; pages && i < 2; i++)
        guard_put_doubles(guard, pages[i] * PAGE_POSITIONS, PAGE_POSITIONS,
                          values + i * PAGE_POSITIONS * guard->view.cols);
}

static void record_attention(CacheRun *run, const OpShape *s, const uint32_t *pages, uint32_t rows,
                             uint32_t most, const Guard *q, const Guard *k, const Guard *v,
                             const Guard *table)
{
    Error err;
    const Heads heads = {s->heads, s->kv_heads, s->size};
    const Rows wanted = {run->counts, 0, 0, most};
    Guard *stats = guards_add(&run->guards, most, 2 * s->heads);
    Guard *list = guards_add(&run->guards, LIST + 2, 1);
    if (pages) {
        memcpy(list->image + list->first + LIST, pages, 2 * sizeof *pages);
    } else {
        guard_open(stats, 0, rows);
    }
    run->tape = half_begin();
    if (pages)
        op_attention_paged(run->tape, run->y->view, q->view, k->view, v->view, table->view,
                           list->view, heads, wanted);
    else
        op_attention(run->tape, run->y->view, stats->view, q->view, k->view, v->view, table->view,
                     heads, wanted);
    if (!tape_end(run->tape, &err)) fail_msg("%s", err.text);
}

// Query rows first .. first + rows - 1 of the problem against all keys of the cache.
static void cache_run(CacheRun *run, const OpProblem *p, const uint32_t *pages, uint32_t first,
                      uint32_t rows, uint32_t most)
{
    const OpShape *s = &p->shape;
    *run = (CacheRun){.guards = {.gpu = device}, .counts = half_counts(rows)};
    Guard *q = guards_add(&run->guards, most, s->heads * s->size);
    Guard *k = guards_add(&run->guards, CAPACITY, s->kv_heads * s->size);
    Guard *v = guards_add(&run->guards, CAPACITY, s->kv_heads * s->size);
    Guard *table = guards_add(&run->guards, most, ROW_WORDS);
    run->y = guards_add(&run->guards, most, s->heads * s->size);
    guard_put_doubles(q, 0, rows, p->in[0] + first * q->view.cols);
    put_keys(k, p->in[1], pages);
    put_keys(v, p->in[2], pages);
    guard_put(table, 0, rows, p->table + ROW_WORDS * first);
    guard_open(run->y, 0, rows);
    record_attention(run, s, pages, rows, most, q, k, v, table);
    guards_run(&run->guards, run->tape);
    guards_check(&run->guards, "attention over a cache");
}

static void cache_free(CacheRun *run)
{
    tape_free(run->tape);
    counts_close(run->counts);
    guards_free(&run->guards);
}

// Late rows of one sequence: each stands at a position and sees keys 0 to there.
static void make_cache_problem(OpProblem *p, uint32_t size)
{
    static const uint32_t positions[] = {0, 1, 31, 32, 33, 50, CACHE - 1};
    const OpCase *op = op_case("attention");
    assert_true(op_problem_make(
        p, op, &(OpShape){.rows = QUERIES, .heads = 4, .kv_heads = 2, .size = size}, 9));
    for (uint32_t r = 0; r < QUERIES; r++) {
        uint32_t position = r < 7 ? positions[r] : r * 37 % CACHE;
        // The last word is where the list of pages begins; without pages nothing reads it.
        const uint32_t row[ROW_WORDS] = {position, 0, position + 1, LIST};
        memcpy(p->table + ROW_WORDS * r, row, sizeof row);
    }
}

static void check_reference(const OpProblem *p, const CacheRun *all)
{
    uint32_t count = QUERIES * p->shape.heads * p->shape.size;
    double *want = calloc(count, sizeof *want);
    assert_non_null(want);
    reference_attention(want, p);
    for (uint32_t i = 0; i < count; i++) {
        double got = guard_row(all->y, 0)[i];
        if (!(fabs(got - want[i]) <= 2e-6)) fail_msg("%.9g, expected %.9g", got, want[i]);
    }
    free(want);
}

static void check_some(const OpProblem *p, const CacheRun *all, const uint32_t *pages,
                       uint32_t first, uint32_t rows, uint32_t most)
{
    CacheRun part;
    cache_run(&part, p, pages, first, rows, most);
    same_rows(guard_row(all->y, first), guard_row(part.y, 0), rows, all->y->view.cols,
              pages ? "attention over pages" : "attention");
    cache_free(&part);
}

static void check_cache(const CacheWay *way)
{
    static const uint32_t elsewhere[] = {0, 4};
    OpProblem p;
    CacheRun all;
    make_cache_problem(&p, way->size);
    if (way->variable) setenv(way->variable, way->value, 1);
    cache_run(&all, &p, way->pages, 0, QUERIES, QUERIES + 2);
    check_reference(&p, &all);
    for (int i = 0; i < COUNT_COUNT; i++) {
        uint32_t rows = COUNTS[i], first = (rows * 29 + 7) % (QUERIES - rows);
        check_some(&p, &all, way->pages, first, rows, rows);
        check_some(&p, &all, way->pages, first, rows, QUERIES);
    }
    for (uint32_t r = 0; r < QUERIES; r++) check_some(&p, &all, way->pages, r, 1, 1);
    // Nor does it depend on where pages lie.
    if (way->pages) check_some(&p, &all, elsewhere, 0, QUERIES, QUERIES);
    cache_free(&all);
    if (way->variable) unsetenv(way->variable);
    op_problem_free(&p);
}

static void attention_reads_a_cache(void **state)
{
    (void)state;
    static const uint32_t pages[] = {3, 1};
    static const CacheWay ways[] = {{.size = 12},
                                    {.size = 6}, // no whole vectors
                                    {.size = 64},
                                    {12, "STRATA_VARIANT", "any", NULL},
                                    {12, "STRATA_LANES", "1", NULL},
                                    {12, "STRATA_LANES", "4", NULL},
                                    {12, "STRATA_LANES", "32", NULL}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        CacheWay way = ways[i];
        check_cache(&way);
        way.pages = pages;
        check_cache(&way);
    }
}

// ---- scatter -----------------------------------------------------------------------------------

// Row r of x goes where the index says, whatever else does; added once where it accumulates.
static void check_scatter(uint32_t cols, uint32_t first, uint32_t rows, uint32_t most,
                          bool accumulate)
{
    enum { ROOM = 128 };
    Guards guards = {.gpu = device};
    Error err;
    Counts *counts = counts_open(device, &err);
    uint32_t index[ROOM];
    for (uint32_t r = 0; r < ROOM; r++) index[r] = (r * 37 + 5) % ROOM; // a permutation
    Guard *x = guards_add(&guards, most, cols), *y = guards_add(&guards, ROOM, cols);
    Guard *table = guards_add(&guards, ROOM, 1);
    half_random(x, 1);
    half_random(y, 2);
    guard_put(table, 0, ROOM, index);
    guard_open(y, 0, ROOM);
    Tape *tape = half_begin();
    op_scatter(tape, y->view, x->view, table->view, accumulate, (Rows){counts, 0, first, most});
    counts_set(counts, 0, first + rows);
    half_finish(&guards, tape, "scatter");
    const float *from = half_bytes(x, false), *before = half_bytes(y, false);
    float *want = calloc(ROOM * cols, sizeof *want);
    assert_non_null(want);
    memcpy(want, before, ROOM * cols * sizeof *want);
    for (uint32_t i = 0; i < rows * cols; i++) {
        uint32_t to = index[first + i / cols] * cols + i % cols;
        want[to] = accumulate ? before[to] + from[i] : from[i];
    }
    same_rows(want, guard_row(y, 0), ROOM, cols, "scatter");
    free(want);
    counts_close(counts);
    guards_free(&guards);
}

static void scattered_rows(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT_COUNT; i++)
        for (uint32_t cols = 64; cols <= 65; cols++)
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                check_scatter(cols, 3, COUNTS[i], COUNTS[i], accumulate);
                check_scatter(cols, 0, COUNTS[i], 64, accumulate);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ops_without_reduction),    cmocka_unit_test(ops_that_reduce),
        cmocka_unit_test(products_of_odd_rows),     cmocka_unit_test(products_of_every_type),
        cmocka_unit_test(embeddings_of_every_type), cmocka_unit_test(attention_reads_a_cache),
        cmocka_unit_test(scattered_rows),           cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests_name("rows alone", tests, device_open, device_close);
}
