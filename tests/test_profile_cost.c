// What kernels move and compute, against counts by hand: every shaders/*.comp, as the ops record
// it and as it ran. A count names what moves (or is computed) in the order of the op's declaration;
// it is not the formula of host/profile. Where rows or keys repeat, or a slice is hit by some rows
// only, the comment says which count. Kernels that share a rule (variants, _shuffle) are held to
// one count.
#define _POSIX_C_SOURCE 200809L
#include "ops/ops.h"
#include "profile/cost.h"
#include "support/profiled.h"

#include "../shaders/args.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANY = 999 }; // the rows of a fixed grid, which nobody may look at

// ---- counts by hand ----------------------------------------------------------------------------

static size_t stem(const char *file)
{
    const char *suffix = strstr(file, "_shuffle");
    return suffix ? (size_t)(suffix - file) : strlen(file);
}

// Whether two kernels share a rule by their names: all of a file, and those that shuffle.
static bool alike(Kernel a, Kernel b)
{
    const char *left = kernel_sources[a].file, *right = kernel_sources[b].file;
    return stem(left) == stem(right) && !strncmp(left, right, stem(left));
}

static bool seen[KERNEL_COUNT];

static void check_kernel(Kernel kernel, Dispatch dispatch, uint32_t rows, double bytes,
                         double operations, const char *shape)
{
    char text[80];
    dispatch.kernel = kernel;
    Cost cost = cost_of(&dispatch, rows);
    cost_shape(text, sizeof text, &dispatch, rows);
    if (cost.bytes != bytes || cost.operations != operations || strcmp(text, shape))
        fail_msg("%s: %s: %.0f bytes, %.0f operations; by hand %s: %.0f, %.0f",
                 kernel_sources[kernel].name, text, cost.bytes, cost.operations, shape, bytes,
                 operations);
    seen[kernel] = true;
}

// Holds what ran as number `which`, in every kernel that does the same, to a count.
static void check(uint32_t which, uint32_t rows, double bytes, double operations, const char *shape)
{
    const Dispatch ran = run_dispatch(which);
    for (Kernel k = 0; k < KERNEL_COUNT; k++)
        if (alike(k, ran.kernel)) check_kernel(k, ran, rows, bytes, operations, shape);
}

// ---- value by value ----------------------------------------------------------------------------

// 3 of 5 rows of 7: 21 values, 84 bytes.
static void test_sums(void **state)
{
    (void)state;
    Tensor x = f32_of(5, 7), y = f32_of(5, 7), z = f32_of(5, 7), b = f32_of(1, 7);
    Rows rows = five_rows(0);
    Tape *tape = run_begin(3);
    op_add(tape, z, x, y, rows);
    op_bias(tape, y, b, rows);
    op_bias_back(tape, b, y, rows);
    op_bias_back(tape, b, y, five_rows(1)); // the 2 rows from the second on
    op_bias_back(tape, b, y, five_rows(3)); // none
    run_end(tape);
    check(0, 3, 84 + 84 + 84, 21, "3 x 7");
    check(1, 3, 84 + 84 + 28, 21, "3 x 7");       // y twice, a bias of 7
    check(2, ANY, 84 + 28 + 28, 21, "max 5 x 7"); // dy, dbias twice
    check(3, ANY, 56 + 28 + 28, 14, "max 5 x 7");
    check(4, ANY, 0, 0, "max 5 x 7");
    set_rows(9); // more than the tape holds
    check(2, ANY, 140 + 28 + 28, 35, "max 5 x 7");
    check(0, 5, 140 + 140 + 140, 35, "5 x 7");
    check(0, 0, 0, 0, "0 x 7");
}

// 3 rows of 5: 15 values, 60 bytes.
static void test_swiglu(void **state)
{
    (void)state;
    Tensor gate = f32_of(5, 5), up = f32_of(5, 5), h = f32_of(5, 5), dgate = f32_of(5, 5),
           dup = f32_of(5, 5);
    Rows rows = five_rows(0);
    Tape *tape = run_begin(3);
    op_swiglu(tape, h, gate, up, rows);
    op_swiglu_back(tape, dgate, dup, h, gate, up, rows);
    run_end(tape);
    check(0, 3, 60 + 60 + 60, 15 + 15 + 15 + 15, "3 x 5"); // exp, 1 +, /, * up
    // dh, gate, up read, dgate, dup written; s = exp, 1 +, /; dup = dh gate s;
    // dgate = dh up s (1 + gate (1 - s)).
    check(1, 3, 60 * 3 + 60 * 2, 15 * 3 + 15 * 2 + 15 * (3 + 1 + 1 + 1), "3 x 5");
}

// 3 rows of 8: 24 values, 96 bytes, or 48 in 16 bits.
static void test_storage(void **state)
{
    (void)state;
    Tensor x = f32_of(5, 8), halves = tensor_of(DTYPE_F16, 5, 8),
           brains = tensor_of(DTYPE_BF16, 5, 8);
    Rows rows = five_rows(0);
    Tape *tape = run_begin(3);
    op_keep(tape, brains, x, DTYPE_BF16, rows);
    op_keep(tape, (Tensor){0}, x, DTYPE_F16, rows);
    op_keep(tape, (Tensor){0}, x, DTYPE_BF16, rows);
    op_widen(tape, x, halves, rows);
    op_narrow(tape, brains, x); // all 40
    run_end(tape);
    check(0, 3, 96 + 96 + 48, 0, "3 x 8 BF16");
    check(1, 3, 96 + 96, 0, "3 x 8 F16");
    check(2, 3, 96 + 96, 0, "3 x 8 BF16");
    check(3, 3, 48 + 96, 0, "3 x 8 F16");
    check(4, ANY, 160 + 80, 0, "40 BF16");
}

// ---- rows that are named -----------------------------------------------------------------------

static void test_moves(void **state)
{
    (void)state;
    Tensor x = f32_of(6, 7), y = f32_of(5, 7);
    Tensor index = table_of(6, 1, (uint32_t[]){9, 1, 4, 4, 2, 0}), unseen = f32_of(6, 1);
    Tape *tape = run_begin(5);
    op_gather(tape, y, x, index, five_rows(2)); // rows 4, 4 and 2
    op_scatter(tape, x, y, index, false, five_rows(3));
    op_scatter(tape, x, y, index, true, five_rows(3));
    op_gather(tape, y, x, unseen, five_rows(0)); // names that the host does not see
    run_end(tape);
    check(0, 3, 3 * 4 + 2 * 28 + 3 * 28, 0, "3 x 7"); // 2 rows are read, 3 written
    check(1, 2, 2 * 4 + 56 + 56, 0, "2 x 7");         // 2 rows
    check(2, 2, 2 * 4 + 56 + 56 + 56, 14, "2 x 7");   // y is read, too, and added to
    check(3, 4, 4 * 4 + 4 * 28 + 4 * 28, 0, "4 x 7"); // as many as there are names
}

// The first 4 of tokens 5, 2, 5, 7, 0: three rows of the table.
static void test_embed(void **state)
{
    (void)state;
    static const struct {
        Dtype dtype;
        uint32_t cols;
        double row; // bytes of a row of the table
        const char *shape;
    } tables[] = {
        {DTYPE_F32, 6, 24, "4 x 6"},
        {DTYPE_BF16, 8, 16, "4 x 8 BF16"},
        {DTYPE_Q8_0, 64, 64 + 16, "4 x 64 Q8_0"}, // codes, a vector of 2 scales
        {DTYPE_Q4_0, 64, 32 + 16, "4 x 64 Q4_0"},
        {DTYPE_Q4_K, 256, 128 + 16, "4 x 256 Q4_K"},
        {DTYPE_Q6_K, 256, 128 + 64 + 16 + 16, "4 x 256 Q6_K"}, // low, high bits, scales, factor
    };
    Tensor tokens = table_of(5, 1, (uint32_t[]){5, 2, 5, 7, 0});
    enum { TABLES = sizeof tables / sizeof *tables };
    Tensor y[TABLES], weights[TABLES];
    for (uint32_t i = 0; i < TABLES; i++) {
        y[i] = f32_of(5, tables[i].cols);
        weights[i] = tensor_of(tables[i].dtype, 9, tables[i].cols);
    }
    Tape *tape = run_begin(4);
    for (uint32_t i = 0; i < TABLES; i++) op_embed(tape, y[i], tokens, weights[i], five_rows(0));
    run_end(tape);
    for (uint32_t i = 0; i < TABLES; i++)
        check(i, 4, 4 * 4 + 3 * tables[i].row + 4 * 4.0 * tables[i].cols, 0, tables[i].shape);
}

// Rows 0 to 4 with tokens 5, 2, 5, 7, 5.
static void test_embed_back(void **state)
{
    (void)state;
    Tensor uses = table_of(6, 2, (uint32_t[]){2, 0, 5, 1, 7, 4, 0, 5, 0, 0, 0, 0});
    Tensor order = table_of(5, 1, (uint32_t[]){1, 0, 2, 4, 3});
    Tensor floats = f32_of(9, 6), halves = tensor_of(DTYPE_F16, 9, 8), six = f32_of(5, 6),
           eight = f32_of(5, 8);
    Tape *tape = run_begin(3);
    op_embed_back(tape, floats, six, uses, order, five_rows(0));
    op_embed_back(tape, halves, eight, uses, order, five_rows(0));
    run_end(tape);
    // 3 tokens and 4 places where rows begin, 5 rows in order, dy, 3 rows of dtable twice.
    check(0, 3, (3 + 4) * 4 + 5 * 4 + 5 * 24 + 3 * 24 * 2, 5 * 6, "3 x 6");
    check(1, 3, (3 + 4) * 4 + 5 * 4 + 5 * 32 + 3 * 16 * 2, 5 * 8, "3 x 8 F16");
    // Tokens 2 and 5 alone: 4 rows.
    check(0, 2, (2 + 3) * 4 + 4 * 4 + 4 * 24 + 2 * 24 * 2, 4 * 6, "2 x 6");
}

// ---- rows that are reduced ---------------------------------------------------------------------

static void test_rmsnorm(void **state)
{
    (void)state;
    Tensor x = f32_of(5, 7), y = f32_of(5, 7), gain = f32_of(1, 7), dgain = f32_of(1, 7),
           inverse = f32_of(5, 3);
    Tensor heads = f32_of(5, 15), normed = f32_of(5, 15), head_gain = f32_of(1, 5);
    Tape *tape = run_begin(3);
    Rows rows = five_rows(0);
    op_rmsnorm(tape, y, x, gain, 1e-5f, rows);
    op_rmsnorm(tape, normed, heads, head_gain, 1e-5f, rows);
    op_rmsnorm_back(tape, x, dgain, inverse, y, x, gain, 1e-5f, false, rows);
    op_rmsnorm_back(tape, heads, (Tensor){0}, inverse, normed, heads, head_gain, 1e-5f, true, rows);
    op_rmsnorm_back(tape, heads, head_gain, inverse, normed, heads, head_gain, 1e-5f, true, rows);
    run_end(tape);
    // A row: 7 squares, 7 sums; / 7, + epsilon, sqrt, 1 /; 7 times it, 7 times the gain.
    check(0, 3, 84 + 28 + 84, 3 * (7 + 7 + 4 + 7 + 7), "3 x 7");
    // 2 rows of 3 heads of 5: 30 values.
    check(1, 2, 120 + 20 + 120, 6 * (5 + 5 + 4 + 5 + 5), "2 x 3 x 5");
    // x, dy, dx, gain, 3 inverses. A row: 14 for squares; gain dy 7, its products with x 14; n 4;
    // / 7, n, n; x times that, -, n.
    check(2, 3, 84 + 84 + 84 + 28 + 12, 3 * (14 + 7 + 14 + 4 + 3 + 7 * 3), "3 x 7");
    // x, dy, inverse, dgain twice; x inverse, dy times it, +.
    check(3, ANY, 84 + 84 + 12 + 28 + 28, 21 * 3, "max 5 x 7");
    // dx twice and another sum a value.
    check(4, 2, 120 + 120 + 120 + 120 + 20 + 24, 6 * (10 + 5 + 10 + 4 + 3 + 5 * 4), "2 x 3 x 5");
    // 3 rows: 45 values, 9 inverses.
    check(6, ANY, 180 + 180 + 36 + 20 + 20, 45 * 3, "max 5 x 3 x 5");
}

static void test_losses(void **state)
{
    (void)state;
    Tensor logits = f32_of(5, 5), teacher = f32_of(5, 5),
           targets = table_of(6, 1, (uint32_t[6]){0});
    Tensor losses = f32_of(6, 2), divergences = f32_of(6, 1), step = f32_of(1, STEP_VALUES);
    Tape *tape = run_begin(3);
    Rows rows = five_rows(1);
    op_cross_entropy(tape, losses, logits, targets, step, 0, false, rows);
    op_cross_entropy(tape, losses, logits, targets, step, 0, true, rows);
    op_distill(tape, divergences, teacher, logits, step, 0, rows);
    run_end(tape);
    // 2 rows of 5: targets, logits, loss and hit. A row: - max, exp, + of 5; log, -, +.
    check(0, 2, 8 + 40 + 16, 2 * (5 * 3 + 3), "2 x 5");
    // Logits are written; / sum, * weight of 5, - 1 of one.
    check(1, 2, 8 + 40 + 40 + 16, 2 * (5 * 3 + 3 + 5 * 2 + 1), "2 x 5");
    // logits, teacher twice, losses. A row: - max, / T, exp, + of both; - log of both; exp of both;
    // their difference, times p, +; gradient -, *; 2 logs, T T.
    check(2, 2, 40 + 40 + 40 + 8, 2 * (5 * (4 * 2 + 2 + 2 + 3 + 2) + 2 + 2), "2 x 5");
}

// ---- rotary embedding and attention ------------------------------------------------------------

static void test_rope(void **state)
{
    (void)state;
    // Positions 4, 0, 4, 5: three rows of turns with the last one.
    Tensor rows_at = table_of(5, 4, (uint32_t[20]){[0] = 4, [4] = 0, [8] = 4, [12] = 5});
    Tensor slots = table_of(5, 1, (uint32_t[]){3, 1, 2, 0, 4});
    Tensor q = f32_of(5, 12), k = f32_of(5, 4), v = f32_of(5, 4), keys = f32_of(9, 4),
           values = f32_of(9, 4);
    Tensor six = f32_of(9, 6), four = f32_of(9, 4);
    Tape *tape = run_begin(4);
    op_rope(tape, q, rows_at, six, five_rows(0));
    op_rope_back(tape, q, rows_at, six, five_rows(0));
    op_rope_cache(tape, q, keys, values, k, v, slots, rows_at, four, (Heads){3, 1, 4},
                  five_rows(0));
    run_end(tape);
    // 3 rows of 12 twice, 3 positions, 2 rows of turns; 18 pairs of 4 products and 2 sums.
    check(0, 3, 144 + 144 + 12 + 2 * 24, 18 * 6, "3 x 2 heads x 6");
    check(1, 3, 144 + 144 + 12 + 2 * 24, 18 * 6, "3 x 2 heads x 6");
    // 4 rows: q 192 twice, k and v 64 read and 64 written, 4 positions, slots, 3 rows of turns;
    // pairs of q 24, of k 8.
    check(2, 4, 192 + 192 + 64 * 4 + 16 + 16 + 3 * 16, (24 + 8) * 6, "4 x 3/1 heads x 4");
}

// Two sequences, rows 0 to 2 and 3 to 4: position, first key, last key + 1, last row + 1.
static const uint32_t TWO[20] = {0, 0, 1, 3, 1, 0, 2, 3, 2, 0, 3, 3, 0, 3, 4, 5, 1, 3, 5, 5};

// 4 heads on 2 of 6 values: a row of q has 96 bytes, one of k 48.
static void test_attention(void **state)
{
    (void)state;
    Heads heads = {4, 2, 6};
    Tensor q = f32_of(5, 24), y = f32_of(5, 24), k = f32_of(5, 12), v = f32_of(5, 12),
           stats = f32_of(5, 8);
    Tensor more_k = f32_of(9, 12), more_v = f32_of(9, 12), two = table_of(5, 4, TWO),
           unseen = f32_of(5, 4);
    // Keys 5 to 7, 1 to 2, 2 to 5 of 9: 9 pairs, 7 keys.
    Tensor apart = table_of(5, 4, (uint32_t[20]){0, 5, 8, 0, 0, 1, 3, 0, 0, 2, 6, 0});
    Tape *tape = run_begin(4);
    op_attention(tape, y, stats, q, k, v, two, heads, five_rows(0));
    op_attention(tape, y, stats, q, more_k, more_v, apart, heads, five_rows(0));
    op_attention(tape, y, stats, q, k, v, unseen, heads, five_rows(0)); // a causal sequence
    run_end(tape);
    // 4 rows: first and last key, q, y, keys 0 to 3 of k and v, a sum for each head. 1 + 2 + 3 + 1
    // pairs: q k 12, scale, - max, exp, +, p v 12. A row: 6 divisions, log, +.
    check(0, 4, 32 + 4 * 96 * 2 + 4 * 48 * 2 + 4 * 4 * 4,
          4 * (7 * (12 + 1 + 1 + 1 + 1 + 12) + 4 * (6 + 2)), "4 x 4/2 heads x 6");
    check(1, 3, 24 + 3 * 96 * 2 + 7 * 48 * 2 + 3 * 4 * 4, 4 * (9 * 28 + 3 * 8),
          "3 x 4/2 heads x 6");
    check(2, 3, 24 + 3 * 96 * 2 + 3 * 48 * 2 + 3 * 4 * 4, 4 * (6 * 28 + 3 * 8),
          "3 x 4/2 heads x 6");
}

static void test_attention_back(void **state)
{
    (void)state;
    Heads heads = {4, 2, 6};
    Tensor q = f32_of(5, 24), y = f32_of(5, 24), k = f32_of(5, 12), v = f32_of(5, 12),
           stats = f32_of(5, 8);
    Tensor dq = f32_of(5, 24), dk = f32_of(5, 12), dv = f32_of(5, 12), dy = f32_of(5, 24);
    Tensor rows_at = table_of(5, 4, TWO);
    Tape *tape = run_begin(5);
    op_attention_back(tape, dq, dk, dv, dy, y, stats, q, k, v, rows_at, heads, five_rows(0));
    run_end(tape);
    // 5 rows: table, q, y, dy, dq, k, v, a sum read and a delta written for each head. 9 pairs:
    // q k, dy v, dq 12 each; scale, - sum, exp; - delta, p, scale. A row: dy y 12.
    check(0, 5, 40 + 5 * 96 * 4 + 5 * 48 * 2 + 5 * 4 * 4 * 2, 4 * (9 * (12 * 3 + 3 + 3) + 5 * 12),
          "5 x 4/2 heads x 6");
    // 5 keys: table, q, dy, k, v, dk, dv, sum and delta. q k, dy v, dv, dk.
    check(1, 5, 20 + 5 * 96 * 2 + 5 * 48 * 4 + 5 * 4 * 8, 4 * 9 * (12 * 4 + 3 + 3),
          "5 x 4/2 heads x 6");
    // Which rows attend is a column of its own: to key 0 row 0, to 1 and 2 none, to 3 and 4 one.
    uint32_t *words = tensor_host(rows_at);
    words[3] = 1, words[7] = 1, words[11] = 2, words[15] = 4;
    check(1, 5, 20 + 3 * 96 * 2 + 5 * 48 * 4 + 3 * 4 * 8, 4 * 3 * 54, "5 x 4/2 heads x 6");
}

// 2 heads on 1 of 4 values: a row of q has 32 bytes, one of k 16.
static void test_attention_paged(void **state)
{
    (void)state;
    // A sequence in pages 3 and 1 with keys 30 to 33 and 31 to 34, another in page 0 with 0 to 1:
    // slots 126, 127, 32, 33; 127, 32, 33, 34; 0, 1. 10 pairs, 7 slots.
    const uint32_t words[20] = {33, 30, 34, 0, 34, 31, 35, 0, 1, 0, 2, 2};
    Tensor rows_at = table_of(5, 4, words), unseen = f32_of(5, 4);
    Tensor pages = table_of(3, 1, (uint32_t[]){3, 1, 0});
    Heads heads = {2, 1, 4};
    Tensor q = f32_of(5, 8), y = f32_of(5, 8), k = f32_of(128, 4), v = f32_of(128, 4);
    Tape *tape = run_begin(3);
    op_attention_paged(tape, y, q, k, v, rows_at, pages, heads, five_rows(0));
    op_attention_paged(tape, y, q, k, v, unseen, pages, heads, five_rows(0));
    run_end(tape);
    // 3 words of the table, 3 pages; q, y; k, v. A pair: 8, scale, - max, exp, +, 8. A row: 4.
    check(0, 3, 3 * 12 + 3 * 4 + 3 * 32 * 2 + 7 * 16 * 2, 2 * (10 * 20 + 3 * 4),
          "3 x 2/1 heads x 4");
    // One row: 4 pairs, as many slots, in 2 pages.
    check(0, 1, 12 + 2 * 4 + 32 * 2 + 4 * 16 * 2, 2 * (4 * 20 + 4), "1 x 2/1 heads x 4");
    // All 128 slots in 4 pages for each row.
    check(1, 3, 3 * 12 + 4 * 4 + 3 * 32 * 2 + 128 * 16 * 2, 2 * (3 * 128 * 20 + 3 * 4),
          "3 x 2/1 heads x 4");
}

// ---- products ----------------------------------------------------------------------------------

// 3 rows, n 5, k 7: x 84 bytes, w 140, y 60; 105 products with their sums.
static void test_matmul(void **state)
{
    (void)state;
    Tensor x = f32_of(5, 7), w = f32_of(5, 7), y = f32_of(5, 5);
    Rows rows = five_rows(0);
    Tape *tape = run_begin(3);
    op_matmul(tape, y, x, w, rows);
    op_matmul_add(tape, y, x, w, rows);
    op_matmul_back_x(tape, x, y, w, false, rows);
    op_matmul_back_x(tape, x, y, w, true, rows);
    op_matmul_back_w(tape, w, y, x, five_rows(1)); // the last 2 of 3 rows
    run_end(tape);
    check(0, 3, 84 + 140 + 60, 105 * 2, "3 x 5 x 7");
    check(1, 3, 84 + 140 + 60 + 60, 105 * 2, "3 x 5 x 7");
    check(2, 3, 60 + 140 + 84, 105 * 2, "3 x 5 x 7");
    check(3, 3, 60 + 140 + 84 + 84, 105 * 2, "3 x 5 x 7");
    check(4, ANY, 40 + 56 + 140 + 140, 70 * 2, "max 5 x 5 x 7");
    check(0, 0, 0, 0, "0 x 5 x 7");
}

// n 8, k 12 in 16 bits: w 192 bytes; 3 rows: x 144, y 96; 288 products. Then n 5 and rows of
// blocks, which have the bytes of test_embed.
static void test_matmul_storage(void **state)
{
    (void)state;
    Tensor x = f32_of(5, 12), y = f32_of(5, 8), x64 = f32_of(5, 64), x256 = f32_of(5, 256),
           y5 = f32_of(5, 5);
    Tensor f16 = tensor_of(DTYPE_F16, 8, 12), bf16 = tensor_of(DTYPE_BF16, 8, 12);
    Tensor q8_0 = tensor_of(DTYPE_Q8_0, 5, 64), q4_0 = tensor_of(DTYPE_Q4_0, 5, 64);
    Tensor q4_k = tensor_of(DTYPE_Q4_K, 5, 256), q6_k = tensor_of(DTYPE_Q6_K, 5, 256);
    Rows rows = five_rows(0);
    Tape *tape = run_begin(3);
    op_matmul(tape, y, x, f16, rows);
    op_matmul_back_x(tape, x, y, bf16, true, rows);
    op_matmul_back_w(tape, f16, y, x, rows);
    op_matmul(tape, y5, x64, q8_0, rows);
    op_matmul_add(tape, y5, x64, q4_0, rows);
    op_matmul(tape, y5, x256, q4_k, rows);
    op_matmul(tape, y5, x256, q6_k, rows);
    run_end(tape);
    check(0, 3, 144 + 192 + 96, 288 * 2, "3 x 8 x 12 F16");
    check(1, 3, 96 + 192 + 144 + 144, 288 * 2, "3 x 8 x 12 BF16");
    check(2, ANY, 96 + 144 + 192 + 192, 288 * 2, "max 5 x 8 x 12 F16");
    check(3, 2, 512 + 5 * 80 + 40, 640 * 2, "2 x 5 x 64 Q8_0");
    check(4, 2, 512 + 5 * 48 + 40 + 40, 640 * 2, "2 x 5 x 64 Q4_0");
    check(5, 2, 2048 + 5 * 144 + 40, 2560 * 2, "2 x 5 x 256 Q4_K");
    check(6, 2, 2048 + 5 * 224 + 40, 2560 * 2, "2 x 5 x 256 Q6_K");
}

// ---- parameters --------------------------------------------------------------------------------

static void test_norm_of_gradients(void **state)
{
    (void)state;
    Tensor floats = f32_of(5, 1001), halves = tensor_of(DTYPE_BF16, 4, 1028);
    Tensor partials = f32_of(9, 1), step = f32_of(1, STEP_VALUES), result = f32_of(1, 2);
    Tape *tape = run_begin(0);
    op_sum_squares(tape, partials, 0, floats);
    op_sum_squares(tape, partials, 2, halves);
    op_clip(tape, result, partials, 7, step);
    run_end(tape);
    check(0, ANY, 20020 + 2 * 4, 5005 * 2, "5005");     // chunks of 4096 and 909
    check(1, ANY, 8224 + 2 * 4, 4112 * 2, "4112 BF16"); // 4096 and 16
    check(2, ANY, 28 + 8, 7 + 5, "7"); // 7 sums; sqrt, unscale; + 1e-6, clip /, unscale
}

// Moments in f32: 21 values, 84 bytes; g, then m 3, v 4, decay 2, p 6 operations each.
static void test_adamw(void **state)
{
    (void)state;
    const Moments moments = {.mean = f32_of(3, 7), .square = f32_of(3, 7)};
    const Moments wide = {.mean = f32_of(4, 8), .square = f32_of(4, 8)};
    Tensor step = table_of(1, STEP_VALUES, (uint32_t[STEP_VALUES]){0});
    Tensor norm = table_of(1, 2, (uint32_t[2]){0}), weight = f32_of(3, 7), gradient = f32_of(3, 7);
    Tensor wide_weight = f32_of(4, 8), half = tensor_of(DTYPE_F16, 4, 8);
    Tape *tape = run_begin(0);
    op_adamw(tape, weight, &moments, gradient, step, norm, true, 0);
    op_adamw(tape, weight, &moments, gradient, step, norm, false, 0);
    op_adamw(tape, wide_weight, &wide, half, step, norm, true, 0);
    run_end(tape);
    // gradient; weight, mean, square twice
    check(0, ANY, 84 + 84 * 6, 21 * (1 + 3 + 4 + 2 + 6), "21");
    check(1, ANY, 84 + 84 * 6, 21 * (1 + 3 + 4 + 6), "21");
    check(2, ANY, 64 + 128 * 6, 32 * (1 + 3 + 4 + 2 + 6), "32 F16");
    ((float *)tensor_host(norm))[CLIP_NORM] = INFINITY; // the step is skipped
    check(0, ANY, 0, 0, "21");
    ((float *)tensor_host(norm))[CLIP_NORM] = 2;
    check(1, ANY, 84 + 84 * 6, 21 * (1 + 3 + 4 + 6), "21");
    ((float *)tensor_host(step))[STEP_LIMIT] = 1;
    check(1, ANY, 0, 0, "21");
}

// Moments of 8 bits: 400 values in 2 blocks.
static void test_adamw_q8(void **state)
{
    (void)state;
    const Moments moments = {tensor_of(DTYPE_U8, 4, 100), tensor_of(DTYPE_U8, 4, 100), f32_of(1, 2),
                             f32_of(1, 2)};
    Tensor step = f32_of(1, STEP_VALUES), norm = f32_of(1, 2), weight = f32_of(4, 100);
    Tensor gradient = f32_of(4, 100), half = tensor_of(DTYPE_BF16, 4, 100);
    Tape *tape = run_begin(0);
    op_adamw(tape, weight, &moments, gradient, step, norm, true, 1);
    op_adamw(tape, weight, &moments, half, step, norm, false, 2);
    run_end(tape);
    // gradient; weight twice; codes of mean and square twice; 2 scales of both twice
    check(0, ANY, 1600 + 1600 * 2 + 400 * 4 + 2 * 4 * 4, 400 * 16, "400");
    check(1, ANY, 800 + 1600 * 2 + 400 * 4 + 2 * 4 * 4, 400 * 14, "400 BF16");
}

// ---- slices ------------------------------------------------------------------------------------

// A parameter of 3 rows of 4096 values, 16384 bytes each, of which a binding sees one.
static void test_slices(void **state)
{
    (void)state;
    Tensor w = f32_of(3, 4096), x = f32_of(5, 4096), y = f32_of(5, 3), partials = f32_of(3, 1);
    Tensor tokens = table_of(5, 1, (uint32_t[]){2, 0, 2, 0, 2});
    Tensor uses = table_of(6, 2, (uint32_t[12]){0, 0, 2, 2, 0, 5});
    Tensor order = table_of(5, 1, (uint32_t[]){1, 3, 0, 2, 4});
    Rows rows = five_rows(0);
    assert_int_equal(setenv("STRATA_SLICE_BYTES", "16384", 1), 0);
    Tape *tape = run_begin(2);
    op_embed(tape, x, tokens, w, rows);
    op_embed_back(tape, w, x, uses, order, rows);
    run_end(tape);
    assert_int_equal(run_count(), 6);
    // Each slice looks at all tokens. Rows 1 and 3 take its one row, none, the other three.
    check(0, 5, 20 + 16384 + 2 * 16384, 0, "5 x 4096");
    check(1, 5, 20, 0, "5 x 4096");
    check(2, 5, 20 + 16384 + 3 * 16384, 0, "5 x 4096");
    check(3, 2, (2 + 3) * 4 + 2 * 4 + 2 * 16384 + 2 * 16384, 2 * 4096, "2 x 4096");
    check(4, 2, (2 + 3) * 4, 0, "2 x 4096");
    check(5, 2, (2 + 3) * 4 + 3 * 4 + 3 * 16384 + 2 * 16384, 3 * 4096, "2 x 4096");

    tape = run_begin(2);
    op_matmul(tape, y, x, w, rows);
    op_matmul_back_x(tape, x, y, w, false, rows);
    run_end(tape);
    assert_int_equal(run_count(), 6);
    // 2 rows: x, a row of w, a column of y; dx is added to from the second slice on.
    for (uint32_t i = 0; i < 3; i++) check(i, 2, 32768 + 16384 + 8, 8192 * 2, "2 x 1 x 4096");
    check(3, 2, 8 + 16384 + 32768, 8192 * 2, "2 x 1 x 4096");
    check(4, 2, 8 + 16384 + 32768 + 32768, 8192 * 2, "2 x 1 x 4096");

    tape = run_begin(5);
    op_matmul_back_w(tape, w, y, x, rows);
    op_sum_squares(tape, partials, 0, w);
    run_end(tape);
    unsetenv("STRATA_SLICE_BYTES");
    check(1, ANY, 20 + 5 * 16384 + 16384 * 2, 5 * 4096 * 2, "max 5 x 1 x 4096");
    check(5, ANY, 16384 + 4, 4096 * 2, "4096");
}

// ---- probes ------------------------------------------------------------------------------------

// 3 groups of 5 invocations, 7 steps. Not run: a device may lack what some need.
static void test_probes(void **state)
{
    (void)state;
    const PeakArgs args = {.steps = 7, .blocks = 4};
    Dispatch d = {
        .args = &args, .args_bytes = sizeof args, .grid = {.x = 3, .y = 1}, .constants = {5, 1}};
    const char *shape = "3 x 5 x 7 steps";
    // 15 x 7 times 8 vectors: 840 of 16 bytes, read and written; or read, and 4 values added.
    check_kernel(K_peak_copy, d, ANY, 13440 + 13440, 0, shape);
    check_kernel(K_peak_copy_texel, d, ANY, 13440 + 13440, 0, shape);
    check_kernel(K_peak_copy_read, d, ANY, 13440, 3360, shape);
    check_kernel(K_peak_copy_read_texel, d, ANY, 13440, 3360, shape);
    // Two factors, a result each. 15 x 7 times 16 links of each chain: 1680.
    check_kernel(K_peak_arithmetic, d, ANY, 8 + 60, 1680 * 8 * 2, shape);
    check_kernel(K_peak_arithmetic_wide, d, ANY, 8 + 60, 1680 * 12 * 2, shape);
    check_kernel(K_peak_arithmetic_half, d, ANY, 8 + 60, 1680 * 8 * 4, shape);
    check_kernel(K_peak_arithmetic_half_wide, d, ANY, 8 + 60, 1680 * 12 * 4, shape);
    check_kernel(K_peak_arithmetic_dot, d, ANY, 8 + 60, 1680 * 8 * 8, shape);
    check_kernel(K_peak_arithmetic_dot_wide, d, ANY, 8 + 60, 1680 * 12 * 8, shape);
    check_kernel(K_peak_empty_ordered, d, ANY, 0, 0, shape);
    d.args_bytes = 0;
    check_kernel(K_peak_empty, d, ANY, 0, 0, "3 x 5 x 1 steps");
}

// ---- all kernels -------------------------------------------------------------------------------

// The last: every kernel has a rule, and the tests above held it to a count.
static void test_all(void **state)
{
    (void)state;
    for (Kernel k = 0; k < KERNEL_COUNT; k++) {
        if (!cost_known(k)) fail_msg("%s: no rule", kernel_sources[k].name);
        if (!seen[k]) fail_msg("%s: nobody counted it by hand", kernel_sources[k].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_storage),
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_embed),
        cmocka_unit_test(test_embed_back),
        cmocka_unit_test(test_rmsnorm),
        cmocka_unit_test(test_losses),
        cmocka_unit_test(test_rope),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_attention_back),
        cmocka_unit_test(test_attention_paged),
        cmocka_unit_test(test_matmul),
        cmocka_unit_test(test_matmul_storage),
        cmocka_unit_test(test_norm_of_gradients),
        cmocka_unit_test(test_adamw),
        cmocka_unit_test(test_adamw_q8),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_probes),
        cmocka_unit_test(test_all),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, profiled_open, profiled_close);
}
