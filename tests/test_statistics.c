// The arithmetic of strata bench, without a device: medians and spread against hand values, the
// bounds of a ratio against published tables of the Mann-Whitney test, bytes that a pass reads.
#include "base/statistics.h"
#include "infer/cost.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#define NEAR(a, b) assert_true(fabs((a) - (b)) <= 1e-12 * fabs(b))

static void summaries(void **state)
{
    (void)state;
    static const struct {
        double values[6];
        size_t count;
        double median, lowest, highest, deviation;
    } cases[] = {
        {{5}, 1, 5, 5, 5, 0},
        {{3, 1, 2}, 3, 2, 1, 3, 1.4826},
        {{1, 3}, 2, 2, 1, 3, 1.4826},
        {{100, 2, 4, 1, 3}, 5, 3, 1, 100, 1.4826}, // one far off moves neither middle nor spread
        {{8, 1, 2, 4}, 4, 3, 1, 8, 1.5 * 1.4826},  // distances 1, 1, 2, 5
        {{7, 7, 7, 7, 7, 9}, 6, 7, 7, 9, 0},
        {{0}, 0, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Summary s = statistics_summarize(cases[i].values, cases[i].count);
        NEAR(s.median, cases[i].median);
        NEAR(s.lowest, cases[i].lowest);
        NEAR(s.highest, cases[i].highest);
        NEAR(s.deviation, cases[i].deviation);
    }
}

static void medians_of_any_number(void **state)
{
    (void)state;
    double none[1], odd[] = {3, 9, 1}, even[] = {4, 1, 8, 2}, many[5001];
    assert_true(statistics_median(none, 0) == 0);
    assert_true(statistics_median(odd, 3) == 3);
    assert_true(statistics_median(even, 4) == 3);
    for (int i = 0; i < 5001; i++) many[i] = i * 7 % 5001;
    assert_true(statistics_median(many, 5001) == 2500);
    assert_true(many[0] == 0 && many[5000] == 5000); // sorted
}

static void changes(void **state)
{
    (void)state;
    static const struct {
        SeriesRatio ratio;
        Change of_speed, of_time;
    } cases[] = {
        {{1.2, 1.1, 1.3, true}, CHANGE_FASTER, CHANGE_SLOWER},
        {{.8, .7, .9, true}, CHANGE_SLOWER, CHANGE_FASTER},
        {{1.2, .9, 1.3, true}, CHANGE_SAME, CHANGE_SAME},
        {{1.2, 1, 1.3, true}, CHANGE_SAME, CHANGE_SAME}, // a bound of 1 does not exclude it
        {{.8, .7, 1, true}, CHANGE_SAME, CHANGE_SAME},
        {{1.2, 1.1, 1.3, false}, CHANGE_UNKNOWN, CHANGE_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(statistics_change_of_speed(&cases[i].ratio), cases[i].of_speed);
        assert_int_equal(statistics_change_of_time(&cases[i].ratio), cases[i].of_time);
    }
    assert_string_equal(CHANGE_NAMES[CHANGE_NONE], "new");
    assert_string_equal(CHANGE_NAMES[CHANGE_GONE], "gone");
}

// a holds 2^(n i) and b 2^j, so that the ratios of all pairs are the powers of two from 2^(1 - n)
// on, each once: the exponent of a bound tells how many of them were cut off.
static void check_cut(size_t m, size_t n, int cut)
{
    double a[32], b[32];
    for (size_t i = 0; i < m; i++) a[i] = ldexp(1, (int)(n * (m - 1 - i)));
    for (size_t j = 0; j < n; j++) b[j] = ldexp(1, (int)j);
    SeriesRatio r;
    assert_true(statistics_compare(&r, a, m, b, n));
    int first = 1 - (int)n, last = (int)(n * (m - 1));
    assert_true(r.known == (cut > 0));
    if (cut) cut--;
    assert_true(r.low == ldexp(1, first + cut));
    assert_true(r.high == ldexp(1, last - cut));
}

static void bounds_are_those_of_the_tables(void **state)
{
    (void)state;
    // Critical values of U at 5 %, two-sided, and one more; 0: the tables have none.
    static const struct {
        size_t m, n;
        int cut;
    } known[] = {{1, 1, 0}, {1, 9, 0}, {2, 7, 0}, {2, 8, 1},    {3, 3, 0},    {3, 5, 1},
                 {4, 4, 1}, {5, 5, 3}, {8, 6, 9}, {10, 10, 24}, {20, 20, 128}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        check_cut(known[i].m, known[i].n, known[i].cut);
        check_cut(known[i].n, known[i].m, known[i].cut);
    }
    check_cut(21, 21, 142); // 220.5 - 1.96 * 39.752
}

static void ratios(void **state)
{
    (void)state;
    const double a[] = {22, 20, 21, 23}, b[] = {10, 11.5, 10.5, 11}, *same = b;
    SeriesRatio r;
    assert_true(statistics_compare(&r, a, 4, b, 4));
    // 16 pairs; those in the middle are 23 / 11.5 and 21 / 10.5, 22 / 11, 20 / 10.
    NEAR(r.ratio, 2.0);
    NEAR(r.low, 20 / 11.5);
    NEAR(r.high, 2.3);
    assert_true(r.known && r.low > 1);
    assert_true(statistics_compare(&r, b, 4, same, 4));
    NEAR(r.ratio, 1.0);
    assert_true(r.low < 1 && r.high > 1);
    // Three each can lie apart as far as they like: it happens by chance in one of ten cases.
    assert_true(statistics_compare(&r, a, 3, b, 3));
    assert_false(r.known);
}

// Bounds of the median by the sign test: the first and the last of the ordered values whose rank
// the tables of the binomial distribution give for 95 %.
static void pairs(void **state)
{
    (void)state;
    static const struct {
        size_t count, rank; // from 1; 0: too few
    } known[] = {{5, 0}, {6, 1}, {9, 2}, {12, 3}, {15, 4}, {20, 6}, {25, 8}, {50, 18}, {100, 40}};
    double a[100], b[100];
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t n = known[i].count, rank = known[i].rank;
        for (size_t k = 0; k < n; k++) { // ratios 1 .. n in another order, while both slow down
            b[k] = 1 + (double)k;
            a[k] = b[k] * (double)(1 + k * 7 % n);
        }
        assert_true(n % 7); // else ratios repeat
        SeriesRatio r = statistics_compare_pairs(a, b, n);
        NEAR(r.ratio, (double)(n + 1) / 2);
        assert_int_equal(r.known, rank > 0);
        NEAR(r.low, rank ? (double)rank : 1);
        NEAR(r.high, (double)(n + 1) - (rank ? (double)rank : 1));
    }
}

// Tensors of a model without memory behind them.
static void shape(Llama *model, const LlamaConfig *config)
{
    *model = (Llama){.config = *config, .blocks = calloc(config->blocks, sizeof(BlockWeights))};
    assert_non_null(model->blocks);
    for (size_t i = 0; i < llama_parameter_count(config); i++) {
        LlamaParameter p = llama_parameter(model, i);
        *p.tensor = (Tensor){.rows = p.rows ? p.rows : 1, .cols = p.cols};
    }
    if (config->tied) model->head = model->embed;
}

static void bytes_read(void **state)
{
    (void)state;
    const LlamaConfig config = {.blocks = 3,
                                .width = 8,
                                .hidden = 12,
                                .heads = 2,
                                .kv_heads = 1,
                                .head_size = 4,
                                .vocab_size = 10,
                                .context = 16,
                                .tied = true};
    // A block: q, o 8 x 8, k, v 4 x 8, gate, up, down 12 x 8, two norms of 8.
    const uint64_t block = 4 * (2 * 64 + 2 * 32 + 3 * 96 + 2 * 8), exit = 4 * (8 + 80), row = 32;
    Llama model;
    shape(&model, &config);
    assert_int_equal(cost_model_bytes(&model), 3 * block + exit);
    assert_int_equal(cost_read_bytes(&model, 1, 1, 1, 1), row + block + exit);
    assert_int_equal(cost_read_bytes(&model, 3, 1, 1, 1), row + 3 * block + exit);
    assert_int_equal(cost_read_bytes(&model, 2, 100, 2, 0), 100 * row + 2 * 2 * block);
    free(model.blocks);
    // Heads of their own are read in the place of the model's.
    LlamaConfig own = config;
    own.exit_count = 1;
    own.exits[0] = 1;
    own.separate_heads = true;
    shape(&model, &own);
    assert_int_equal(cost_model_bytes(&model), 3 * block + exit + 4 * 80);
    assert_int_equal(cost_read_bytes(&model, 1, 1, 1, 1), row + block + exit);
    free(model.blocks);
}

static void passes_and_predictions(void **state)
{
    (void)state;
    assert_int_equal(cost_prompt_passes(1), 1);
    assert_int_equal(cost_prompt_passes(64), 1);
    assert_int_equal(cost_prompt_passes(65), 2);
    NEAR(cost_share_reached(2.0, 50, 100), 1.0);
    NEAR(cost_share_reached(1.8, 50, 100), 0.9);
    NEAR(cost_share_reached(1.0, 100, 100), 1.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(summaries),  cmocka_unit_test(medians_of_any_number),
        cmocka_unit_test(changes),    cmocka_unit_test(bounds_are_those_of_the_tables),
        cmocka_unit_test(ratios),     cmocka_unit_test(pairs),
        cmocka_unit_test(bytes_read), cmocka_unit_test(passes_and_predictions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
