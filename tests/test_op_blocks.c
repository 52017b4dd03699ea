// Ops that read quantised weights: upload, matrix products and embedding, each to the bit what the
// f32 kernels make of the decoded weights, and within tolerance of sums in double. The embedding of
// 16-bit tables, too. Decoding itself is in test_quant.c, weights of 16 bits in test_op_halves.c.
#define _POSIX_C_SOURCE 200809L
#include "base/quant.h"
#include "gpu/blocks.h"
#include "reference/blocks.h"
#include "support/device.h"
#include "support/halves.h"
#include "reference/op_cases.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *take(uint64_t count, size_t size)
{
    void *memory = calloc(count, size);
    assert_non_null(memory);
    return memory;
}

// ---- tensors -----------------------------------------------------------------------------------

// A quantised matrix under guard, and the same values decoded; *w is how ops see the former.
typedef struct {
    Guard *blocks, *floats;
    Tensor w;      // (rows, cols)
    uint8_t *file; // (rows, cols) in blocks
} Twins;

static Twins make_twins(Guards *guards, Dtype dtype, uint32_t rows, uint32_t cols, bool extreme)
{
    Twins t;
    uint64_t each = blocks_row_bytes(dtype, cols), bytes = dtype_bytes(dtype, cols);
    t.blocks = guards_add(guards, rows, (uint32_t)(each / 4));
    t.floats = guards_add(guards, rows, cols);
    t.w = t.blocks->view;
    t.w.cols = cols;
    t.w.dtype = dtype;
    t.file = take(rows, bytes);
    (extreme ? blocks_random : blocks_random_small)(dtype, t.file, (uint64_t)rows * cols, rows + 1);
    for (uint32_t r = 0; r < rows; r++)
        blocks_lay_out(dtype, (uint32_t *)half_bytes(t.blocks, false) + r * (each / 4),
                       t.file + r * bytes, cols);
    quant_decode(dtype, t.file, (uint64_t)rows * cols, half_bytes(t.floats, false));
    return t;
}

// What is uploaded in blocks is what the guards above hold, also where it takes many stagings.
static void uploads_lay_blocks_out(void **state)
{
    (void)state;
    enum { COLS = 4096 + 256 };
    for (int t = 0; t < BLOCK_TYPES; t++) {
        const uint32_t rows = 2600;
        Error err;
        Tensor w = tensor_make_as(device, MEMORY_DEVICE, BLOCKS[t], rows, COLS, &err);
        if (!w.span) fail_msg("%s", err.text);
        uint64_t each = blocks_row_bytes(BLOCKS[t], COLS), bytes = dtype_bytes(BLOCKS[t], COLS);
        assert_int_equal(tensor_bytes(w), rows * each);
        assert_int_equal(tensor_rows(w, 16, 16).offset, 16 * each);
        assert_true(each <= (bytes + 32 + 15) / 16 * 16); // little more than the file
        uint8_t *file = take(rows, bytes), *got = take(rows, each);
        uint32_t *want = take(1, each);
        blocks_random(BLOCKS[t], file, (uint64_t)rows * COLS, 5);
        if (!tensor_upload_blocks(device, w, file, &err)) fail_msg("%s", err.text);
        if (!tensor_download(device, w, got, &err)) fail_msg("%s", err.text);
        for (uint32_t r = 0; r < rows; r++) {
            blocks_lay_out(BLOCKS[t], want, file + r * bytes, COLS);
            assert_memory_equal(got + r * each, want, each);
        }
        free(file);
        free(got);
        free(want);
        tensor_free(device, &w);
    }
}

// ---- products ----------------------------------------------------------------------------------

typedef struct {
    uint32_t rows, n, supers; // K: so many times 256 or, of groups of 32, of 96
    bool extreme;             // scales at the ends of f16
} Product;
static const Product PRODUCTS[] = {{1, 1, 1, false},  {3, 37, 3, true},    {9, 64, 2, false},
                                   {18, 70, 1, true}, {70, 300, 2, false}, {2, 5, 17, true}};
enum { PRODUCT_COUNT = sizeof PRODUCTS / sizeof *PRODUCTS };

static void check_reference(const Product *p, const Twins *w, const Guard *x, const Guard *y,
                            uint32_t k)
{
    for (uint32_t r = 0; r < p->rows; r++)
        for (uint32_t j = 0; j < p->n; j++) {
            const float *row = (const float *)half_bytes(x, false) + (uint64_t)r * k;
            double want = 0, size = 0;
            for (uint32_t i = 0; i < k; i++) {
                double product = row[i] * blocks_value(w->w.dtype, w->file, (uint64_t)j * k + i);
                want += product;
                size += fabs(product);
            }
            double got = guard_row(y, r)[j];
            if (!(fabs(got - want) <= size * k * 0x1p-24))
                fail_msg("%s y[%u][%u]: %.9g, expected %.9g", dtype_name(w->w.dtype), r, j, got,
                         want);
        }
}

static void check_product(const Product *p, Dtype dtype)
{
    Guards guards = {.gpu = device};
    Counts *counts = half_counts(p->rows);
    const Rows rows = {counts, HALF_SLOT, 0, p->rows};
    uint32_t k = p->supers * (dtype_block(dtype) == 32 ? 96 : 256);
    Twins w = make_twins(&guards, dtype, p->n, k, p->extreme);
    Guard *x = guards_add(&guards, p->rows, k), *y[2], *sum[2];
    half_random(x, 2);
    for (int i = 0; i < 2; i++) {
        y[i] = guards_add(&guards, p->rows, p->n);
        guard_open(y[i], 0, p->rows);
        sum[i] = guards_add(&guards, p->rows, p->n);
        half_random(sum[i], 4);
        guard_open(sum[i], 0, p->rows);
    }
    Tape *tape = half_begin();
    for (int i = 0; i < 2; i++) {
        op_matmul(tape, y[i]->view, x->view, i ? w.floats->view : w.w, rows);
        op_matmul_add(tape, sum[i]->view, x->view, i ? w.floats->view : w.w, rows);
    }
    half_finish(&guards, tape, "product");
    assert_memory_equal(half_bytes(y[0], true), half_bytes(y[1], true), 4 * p->rows * p->n);
    assert_memory_equal(half_bytes(sum[0], true), half_bytes(sum[1], true), 4 * p->rows * p->n);
    check_reference(p, &w, x, y[0], k);
    free(w.file);
    counts_close(counts);
    guards_free(&guards);
}

static void products_are_those_of_the_values(void **state)
{
    (void)state;
    static const char *const variants[] = {NULL, "any", "vec4", "shuffle", "texel"};
    for (int v = 0; v < 5; v++) {
        if (variants[v]) setenv("STRATA_VARIANT", variants[v], 1);
        for (int p = 0; p < PRODUCT_COUNT; p++)
            for (int t = 0; t < BLOCK_TYPES; t++) check_product(&PRODUCTS[p], BLOCKS[t]);
        unsetenv("STRATA_VARIANT");
    }
    setenv("STRATA_SLICE_BYTES", "16384", 1);
    for (int t = 0; t < BLOCK_TYPES; t++) check_product(&PRODUCTS[4], BLOCKS[t]);
    unsetenv("STRATA_SLICE_BYTES");
}

// ---- embedding ---------------------------------------------------------------------------------

enum { VOCAB = 75, LOOKUPS = 21, SPARE = 3 };

static void check_embed(Guards *guards, Tensor table, const Guard *floats)
{
    Counts *counts = half_counts(LOOKUPS);
    uint32_t ids[LOOKUPS], cols = floats->view.cols;
    for (uint32_t i = 0; i < LOOKUPS; i++) ids[i] = i * 31 % VOCAB;
    ids[LOOKUPS - 1] = VOCAB - 1;
    Guard *tokens = guards_add(guards, LOOKUPS + SPARE, 1);
    Guard *y = guards_add(guards, LOOKUPS + SPARE, cols);
    guard_put(tokens, 0, LOOKUPS, ids);
    guard_open(y, 0, LOOKUPS);
    Tape *tape = half_begin();
    op_embed(tape, y->view, tokens->view, table, (Rows){counts, HALF_SLOT, 0, LOOKUPS + SPARE});
    half_finish(guards, tape, "embed");
    for (uint32_t i = 0; i < LOOKUPS; i++)
        assert_memory_equal(guard_row(y, i), (float *)half_bytes(floats, false) + ids[i] * cols,
                            4 * cols);
    counts_close(counts);
    guards_free(guards);
}

static void check_embed_blocks(Dtype dtype, uint32_t supers)
{
    Guards guards = {.gpu = device};
    uint32_t cols = supers * (dtype_block(dtype) == 32 ? 96 : 256);
    Twins t = make_twins(&guards, dtype, VOCAB, cols, true);
    check_embed(&guards, t.w, t.floats);
    free(t.file);
}

static void check_embed_halves(Dtype dtype, uint32_t cols)
{
    Guards guards = {.gpu = device};
    Tensor table;
    Guard *halves = half_guard(&guards, &table, dtype, VOCAB, cols);
    Guard *floats = guards_add(&guards, VOCAB, cols);
    half_twins(halves, floats, dtype, 3, 1);
    check_embed(&guards, table, floats);
}

static void embeddings_are_the_values(void **state)
{
    (void)state;
    static const char *const slices[] = {NULL, "16384"};
    for (int s = 0; s < 2; s++) {
        if (slices[s]) setenv("STRATA_SLICE_BYTES", slices[s], 1);
        for (int t = 0; t < BLOCK_TYPES; t++) {
            check_embed_blocks(BLOCKS[t], 1);
            check_embed_blocks(BLOCKS[t], 3);
            check_embed_blocks(BLOCKS[t], 17);
        }
        for (int t = 0; t < HALF_TYPES; t++) {
            check_embed_halves(HALVES[t], 4);
            check_embed_halves(HALVES[t], 260);
        }
        unsetenv("STRATA_SLICE_BYTES");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uploads_lay_blocks_out),
        cmocka_unit_test(products_are_those_of_the_values),
        cmocka_unit_test(embeddings_are_the_values),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests_name("op blocks", tests, device_open, device_close);
}
