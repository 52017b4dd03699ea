// The operations of a training step, counted by hand for a shape small enough for that.
#include "train/step_cost.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

static const LlamaConfig TINY = {.blocks = 3,
                                 .width = 4,
                                 .hidden = 5,
                                 .heads = 2,
                                 .kv_heads = 1,
                                 .head_size = 2,
                                 .vocab_size = 7};

static void counts_rows_and_pairs(void **state)
{
    (void)state;
    StepRows rows = {0};
    step_rows_add(&rows, &TINY, 3, 2); // its rows see 1, 2 and 3 keys
    step_rows_add(&rows, &TINY, 1, 1);
    assert_true(rows.rows == 4 && rows.supervised == 3 && rows.pairs == 7);
    const LlamaConfig window = {.window = 2};
    rows = (StepRows){0};
    step_rows_add(&rows, &window, 5, 1); // 1, 2, 2, 2 and 2
    step_rows_add(&rows, &window, 1, 1);
    assert_true(rows.rows == 6 && rows.pairs == 10);
}

// Matrices of a block: q 4x4, k 2x4, v 2x4, o 4x4, gate 5x4, up 5x4, down 4x5: 108 values.
// 4 rows through it: 2 * 108 * 4 = 864. Attention: 7 pairs, 2 heads of 2, two products: 2 * 2 * 4 *
// 7 = 112. A head: 2 * 7 * 4 * 3 supervised = 168. Backward is twice forward.
static void counts_as_by_hand(void **state)
{
    (void)state;
    const StepRows rows = {.rows = 4, .supervised = 3, .pairs = 7};
    static const uint32_t last[] = {3}, both[] = {1, 2};
    assert_true(step_operations(&TINY, last, 1, &rows) == 3 * (3 * (864 + 112) + 168));
    // Blocks behind the deepest exit do not run; every exit has its head.
    assert_true(step_operations(&TINY, both, 2, &rows) == 3 * (2 * (864 + 112) + 2 * 168));
}

// The rule of thumb, 6 operations a parameter and token, holds where attention is small.
static void agrees_with_the_rule_of_thumb(void **state)
{
    (void)state;
    const LlamaConfig llama = {.blocks = 32,
                               .width = 4096,
                               .hidden = 11008,
                               .heads = 32,
                               .kv_heads = 32,
                               .head_size = 128,
                               .vocab_size = 32000};
    static const uint32_t exits[] = {32};
    StepRows rows = {0};
    step_rows_add(&rows, &llama, 128, 128);
    double ratio = step_operations(&llama, exits, 1, &rows) / (6.0 * 6.738e9 * 128);
    assert_true(ratio > 0.97 && ratio < 1.01); // the embedding's parameters multiply nothing
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_rows_and_pairs),
        cmocka_unit_test(counts_as_by_hand),
        cmocka_unit_test(agrees_with_the_rule_of_thumb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
