// The order of records: epochs, shares of files by weight, seeds, and that a saved order continues
// as if it had never stopped.
#include "train/data_order.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static DataOrder *open_order(const uint64_t *counts, const double *weights, uint32_t files,
                             uint64_t seed)
{
    Error err;
    DataOrder *order = data_order_open(counts, weights, files, seed, &err);
    if (!order) fail_msg("%s", err.text);
    return order;
}

// One file: each epoch takes every record once, in an order of its own.
static void epochs_are_shuffles(void **state)
{
    (void)state;
    enum { COUNT = 50, EPOCHS = 6 };
    DataOrder *order = open_order((const uint64_t[]){COUNT}, (const double[]){2.5}, 1, 7);
    uint32_t drawn[EPOCHS][COUNT];
    for (int e = 0; e < EPOCHS; e++) {
        uint32_t seen[COUNT] = {0};
        for (int i = 0; i < COUNT; i++) {
            DataPick pick = data_order_next(order);
            assert_int_equal(pick.file, 0);
            assert_true(pick.example < COUNT);
            assert_int_equal(seen[pick.example]++, 0);
            drawn[e][i] = pick.example;
        }
        for (int f = 0; f < e; f++) assert_memory_not_equal(drawn[e], drawn[f], sizeof drawn[e]);
    }
    data_order_close(order);
}

// With counts as weights every record of every file comes once before any comes twice.
static void counts_make_one_pass(void **state)
{
    (void)state;
    const uint64_t counts[] = {100, 7, 1, 33};
    const double weights[] = {100, 7, 1, 33};
    DataOrder *order = open_order(counts, weights, 4, 1);
    for (int epoch = 0; epoch < 5; epoch++) {
        uint8_t seen[4][100] = {{0}};
        for (int i = 0; i < 141; i++) {
            DataPick pick = data_order_next(order);
            assert_true(pick.file < 4 && pick.example < counts[pick.file]);
            assert_int_equal(seen[pick.file][pick.example]++, 0);
        }
    }
    data_order_close(order);
}

// Shares follow the weights at any time, whatever the files' sizes, and within each file epochs go
// on whole.
static void shares_follow_weights(void **state)
{
    (void)state;
    const uint64_t counts[] = {10, 1000, 3};
    const double weights[] = {0.5, 0.125, 0.375};
    DataOrder *order = open_order(counts, weights, 3, 1);
    double drawn[3] = {0};
    uint32_t times[1000] = {0};
    for (int n = 1; n <= 20000; n++) {
        DataPick pick = data_order_next(order);
        drawn[pick.file]++;
        times[pick.example] += pick.file == 1;
        for (int i = 0; i < 3; i++) assert_true(fabs(drawn[i] - n * weights[i]) < 2);
    }
    for (int i = 0; i < 1000; i++) assert_in_range(times[i], 2, 3); // 2500 draws
    data_order_close(order);
}

static void seeds_decide(void **state)
{
    (void)state;
    const uint64_t counts[] = {40, 40};
    const double weights[] = {1, 1};
    DataPick picks[3][80];
    for (int k = 0; k < 3; k++) {
        DataOrder *order = open_order(counts, weights, 2, k == 2 ? 6 : 5);
        for (int i = 0; i < 80; i++) picks[k][i] = data_order_next(order);
        data_order_close(order);
    }
    assert_memory_equal(picks[0], picks[1], sizeof picks[0]);
    assert_memory_not_equal(picks[0], picks[2], sizeof picks[0]);
    uint32_t same = 0; // two files of one size have orders of their own
    for (int i = 0; i < 80; i += 2) same += picks[0][i].example == picks[0][i + 1].example;
    assert_true(same < 20);
}

// Saved after any number of draws, at the ends of epochs too, and restored into an order that has
// been somewhere else.
static void restored_orders_continue(void **state)
{
    (void)state;
    const uint64_t counts[] = {5, 9};
    const double weights[] = {1, 2};
    for (int before = 0; before < 60; before++) {
        DataOrder *order = open_order(counts, weights, 2, 11);
        DataOrder *other = open_order(counts, weights, 2, 12);
        for (int i = 0; i < before; i++) data_order_next(order);
        for (int i = 0; i < 17; i++) data_order_next(other);
        DataOrderState saved, copy, again;
        Error err;
        data_order_save(order, &saved);
        memcpy(&copy, &saved, sizeof copy);
        assert_true(data_order_restore(other, &copy, &err));
        data_order_save(other, &again);
        assert_memory_equal(&again, &saved, sizeof saved);
        for (int i = 0; i < 100; i++) {
            DataPick a = data_order_next(order), b = data_order_next(other);
            assert_int_equal(a.file, b.file);
            assert_int_equal(a.example, b.example);
        }
        data_order_close(order);
        data_order_close(other);
    }
}

static void check_not_restored(DataOrder *order, const DataOrderState *state, const char *part)
{
    Error err = {""};
    DataOrderState before, after;
    data_order_save(order, &before);
    assert_false(data_order_restore(order, state, &err));
    assert_non_null(strstr(err.text, part));
    data_order_save(order, &after);
    assert_memory_equal(&before, &after, sizeof before);
}

static void refuses_other_files(void **state)
{
    (void)state;
    const uint64_t counts[] = {5, 9};
    const double weights[] = {1, 2};
    DataOrder *order = open_order(counts, weights, 2, 11);
    DataOrderState saved;
    data_order_save(order, &saved);
    DataOrderState changed = saved;
    changed.file_count = 3;
    check_not_restored(order, &changed, "2 files, but the saved order is of 3");
    changed = saved;
    changed.files[1].count = 8;
    check_not_restored(order, &changed, "file 2 has 9 records, but the saved order is of 8");
    changed = saved;
    changed.files[0].position = 6;
    check_not_restored(order, &changed, "behind the end of file 1");
    data_order_close(order);
    Error err;
    assert_null(data_order_open(counts, (const double[]){1, 0}, 2, 1, &err));
    assert_non_null(strstr(err.text, "file 2 has weight 0"));
    assert_null(data_order_open(counts, (const double[]){NAN, 1}, 2, 1, &err));
    assert_null(data_order_open((const uint64_t[]){0}, weights, 1, 1, &err));
    assert_null(data_order_open(counts, weights, 0, 1, &err));
    assert_null(data_order_open(counts, weights, DATA_FILES + 1, 1, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(epochs_are_shuffles),      cmocka_unit_test(counts_make_one_pass),
        cmocka_unit_test(shares_follow_weights),    cmocka_unit_test(seeds_decide),
        cmocka_unit_test(restored_orders_continue), cmocka_unit_test(refuses_other_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
