// What a profile is summed up to, without a device: accounts, rows, rates and limits of profiles
// made by hand against sums done by hand, with clocks that are off.
#include "profile/summary.h"
#include "support/profiles.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const Ceilings UNKNOWN = {0};

static void assert_near(double a, double b)
{
    if (!(fabs(a - b) <= 1e-12 * fmax(fabs(a), fabs(b)))) fail_msg("%.17g is not %.17g", a, b);
}

static const SummaryRow *find_row(const ProfileSummary *s, SummaryKind kind, const char *name)
{
    for (size_t i = 0; i < s->tables[kind].count; i++)
        if (!strcmp(s->tables[kind].rows[i].name, name)) return &s->tables[kind].rows[i];
    fail_msg("no row '%s' by %s", name, SUMMARY_NAMES[kind]);
    return NULL;
}

static void check_row(const ProfileSummary *s, SummaryKind kind, const char *name, size_t calls,
                      double total, double median)
{
    const SummaryRow *row = find_row(s, kind, name);
    if (row->calls != calls || row->total != total || row->median != median)
        fail_msg("%s: %zu calls, %g, median %g; not %zu, %g, %g", name, row->calls, row->total,
                 row->median, calls, total, median);
}

static void check_account(const Account *a, double wall, double busy, double gaps, double host,
                          double transfers)
{
    assert_near(a->wall, wall);
    assert_near(a->busy, busy);
    assert_near(a->gaps, gaps);
    assert_near(a->host, host);
    assert_near(a->transfers, transfers);
}

// ---- a profile whose sums are done by hand -----------------------------------------------------

static void accounts_add_up(void **state)
{
    (void)state;
    HandProfile *hand = hand_sums();
    ProfileSummary s = hand_summary(hand, &UNKNOWN);
    check_account(&s.accounts.whole, 160, 45, 38, 72, 5);
    check_account(&s.accounts.step[0], 100, 35, 15, 45, 5);
    check_account(&s.accounts.step[1], 50, 9, 21, 20, 0);
    check_account(&s.accounts.steps, 150, 44, 36, 65, 5);
    assert_near(account_sum(&s.accounts.whole), 160);
    assert_true(fabs(account_deviation(&s.accounts.whole)) < 1e-12);
    assert_int_equal(s.accounts.clipped, 0);
    assert_int_equal(s.accounts.uploads.count, 1);
    assert_int_equal(s.accounts.uploads.bytes, 4096);
    assert_near(s.accounts.uploads.seconds, 5);
    assert_int_equal(s.accounts.downloads.count, 0);
    summary_free(&s);
    free(hand);
}

static void rows_add_up(void **state)
{
    (void)state;
    HandProfile *hand = hand_sums();
    ProfileSummary s = hand_summary(hand, &UNKNOWN);
    assert_int_equal(s.tables[SUMMARY_KERNELS].count, 4);
    check_row(&s, SUMMARY_KERNELS, "add", 2, 21, 10.5);
    check_row(&s, SUMMARY_KERNELS, "rmsnorm", 2, 18, 9);
    check_row(&s, SUMMARY_KERNELS, "fill", 1, 5, 5);
    check_row(&s, SUMMARY_KERNELS, "copy", 1, 1, 1);
    assert_int_equal(find_row(&s, SUMMARY_KERNELS, "rmsnorm")->kernel, K_rmsnorm);
    assert_int_equal(find_row(&s, SUMMARY_KERNELS, "fill")->kernel, -1);
    assert_int_equal(s.tables[SUMMARY_BLOCKS].count, 4);
    check_row(&s, SUMMARY_BLOCKS, "block 0", 2, 30, 15);
    check_row(&s, SUMMARY_BLOCKS, "block 1", 2, 13, 6.5);
    check_row(&s, SUMMARY_BLOCKS, "exit 4", 1, 1, 1);
    check_row(&s, SUMMARY_BLOCKS, "update", 1, 1, 1);
    assert_int_equal(s.tables[SUMMARY_PHASES].count, 4);
    check_row(&s, SUMMARY_PHASES, "forward", 3, 38, 10);
    check_row(&s, SUMMARY_PHASES, "backward", 1, 5, 5);
    check_row(&s, SUMMARY_PHASES, "draft", 1, 1, 1);
    check_row(&s, SUMMARY_PHASES, "update", 1, 1, 1);
    assert_int_equal(s.tables[SUMMARY_SHAPES].count, 5);
    check_row(&s, SUMMARY_SHAPES, "rmsnorm max 4 x 8", 1, 10, 10);
    check_row(&s, SUMMARY_SHAPES, "rmsnorm max 3 x 8", 1, 8, 8);
    check_row(&s, SUMMARY_SHAPES, "add max 4 x 8", 2, 21, 10.5);
    check_row(&s, SUMMARY_SHAPES, "fill 4 x 8", 1, 5, 5);
    assert_int_equal(find_row(&s, SUMMARY_SHAPES, "add max 4 x 8")->kernel, K_add);
    // Longest first, ties by name.
    assert_string_equal(s.tables[SUMMARY_KERNELS].rows[1].name, "rmsnorm");
    assert_string_equal(s.tables[SUMMARY_BLOCKS].rows[2].name, "exit 4");
    const SummaryRow *norm = find_row(&s, SUMMARY_KERNELS, "rmsnorm");
    assert_near(norm->share, 18. / 45);
    assert_near(norm->bytes, 180);
    assert_near(norm->operations, 180);
    assert_near(norm->byte_rate, 10);
    assert_near(norm->operation_rate, 10);
    assert_int_equal(norm->limit, LIMIT_UNKNOWN);
    assert_true(norm->byte_share == 0 && norm->operation_share == 0 && norm->launch_share == 0);
    summary_free(&s);
    free(hand);
}

static void samples_are_the_steps(void **state)
{
    (void)state;
    HandProfile *hand = hand_sums();
    ProfileSummary s = hand_summary(hand, &UNKNOWN);
    assert_int_equal(s.sample_every, 1);
    assert_int_equal(s.sample_count, 2);
    const double *add = find_row(&s, SUMMARY_KERNELS, "add")->samples; // exit 4 is in no step
    assert_true(add[0] == 20 && add[1] == 0);
    const double *forward = find_row(&s, SUMMARY_PHASES, "forward")->samples;
    assert_true(forward[0] == 30 && forward[1] == 8);
    SummaryRow sum = summary_sum(&s, s.tables[SUMMARY_BLOCKS].rows, 4, "all");
    assert_int_equal(sum.calls, 6);
    assert_near(sum.total, 45);
    assert_near(sum.share, 1);
    assert_near(sum.bytes, 1574);
    summary_free(&s);
    free(hand);
}

// ---- limits ------------------------------------------------------------------------------------

static void limits(void **state)
{
    (void)state;
    static const struct {
        double seconds, bytes, operations;
        Limit limit;
        double byte_share, operation_share, launch_share;
    } cases[] = {
        {1, 50, 100, LIMIT_MEMORY, .5, .1, .01},  // 50 of 100 B/s, 100 of 1000 op/s
        {1, 50, 600, LIMIT_COMPUTE, .5, .6, .01}, // the higher share
        {1, 25, 1, LIMIT_MEMORY, .25, .001, .01},
        {1, 24, 230, LIMIT_LATENCY, .24, .23, .01}, // a quarter of neither
        {.0125, .5, 1, LIMIT_LAUNCH, .4, .08, .8},
        {.025, 1, 1, LIMIT_MEMORY, .4, .04, .4},  // less than half of its time
        {.005, 0, 1, LIMIT_LAUNCH, 0, .2, 1},     // quicker than a launch: all of it
        {1, 200, 350, LIMIT_CACHE, 2, .35, .01},  // 200 of the caches' 400 B/s
        {1, 200, 600, LIMIT_COMPUTE, 2, .6, .01}, // .5 of the caches, .6 of the arithmetic
        {0, 5, 5, LIMIT_UNKNOWN, 0, 0, 0},        // no time, no rate
        {1, 0, 0, LIMIT_UNKNOWN, 0, 0, .01},      // nothing to do
        {.01, 0, 0, LIMIT_LAUNCH, 0, 0, 1},       // nothing to do but to be launched
    };
    const Ceilings ceilings = {100, 400, 1000, .01};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        HandProfile *hand = hand_open();
        hand_run(hand, 0, 2);
        hand_event(hand, hand_dispatch(hand, K_add, "t", 1, 4), 0, cases[i].seconds, cases[i].bytes,
                   cases[i].operations);
        hand->record.end = 2;
        ProfileSummary s = hand_summary(hand, &ceilings);
        const SummaryRow *row = &s.tables[SUMMARY_KERNELS].rows[0];
        if (row->limit != cases[i].limit)
            fail_msg("case %zu: %s, not %s", i, LIMIT_NAMES[row->limit],
                     LIMIT_NAMES[cases[i].limit]);
        assert_near(row->byte_share, cases[i].byte_share);
        assert_near(row->operation_share, cases[i].operation_share);
        assert_near(row->launch_share, cases[i].launch_share);
        summary_free(&s);
        // With a ceiling that is not known there is no nearest one.
        const Ceilings halves[] = {{100, 400, 0, .01}, {0, 0, 1000, .01}};
        for (int h = 0; h < 2; h++) {
            s = hand_summary(hand, &halves[h]);
            assert_int_equal(s.tables[SUMMARY_KERNELS].rows[0].limit, LIMIT_UNKNOWN);
            summary_free(&s);
        }
        free(hand);
    }
}

// ---- clocks that are off, and what else may be odd ---------------------------------------------

static void commands_outside_their_run(void **state)
{
    (void)state;
    HandProfile *hand = hand_open();
    const Command *add = hand_dispatch(hand, K_add, "t", 1, 4);
    hand_step(hand, 0, 10);
    hand_step(hand, 10, 30);
    hand_run(hand, 10, 20); // the second step's, though its first command seems to begin before
    hand_event(hand, add, 8, 14, 0, 0);
    hand_event(hand, add, 14, 21, 0, 0);
    hand->record.end = 30;
    ProfileSummary s = hand_summary(hand, &UNKNOWN);
    check_account(&s.accounts.whole, 30, 13, 0, 20, 0);
    check_account(&s.accounts.step[0], 10, 0, 0, 10, 0);
    check_account(&s.accounts.step[1], 20, 13, 0, 10, 0);
    assert_near(account_deviation(&s.accounts.whole), 33. / 30 - 1); // says that times are wrong
    assert_int_equal(s.accounts.clipped, 2);
    assert_near(s.accounts.furthest, 2);
    assert_near(s.accounts.clipped_seconds, 3);
    assert_true(s.tables[SUMMARY_KERNELS].rows[0].samples[0] == 0);
    assert_true(s.tables[SUMMARY_KERNELS].rows[0].samples[1] == 13);
    summary_free(&s);
    free(hand);
}

static void odd_times(void **state)
{
    (void)state;
    HandProfile *hand = hand_open();
    const Command *add = hand_dispatch(hand, K_add, "t", 1, 4);
    hand_step(hand, 0, 0); // a step of no time
    hand_step(hand, 5, 20);
    hand_event(hand, add, 6, 7, 0, 0)->submission = 77; // of a submission that is not there
    hand_run(hand, 10, 15);
    hand_event(hand, add, 12, 11, 0, 0); // ends before it begins
    hand_event(hand, add, 12, 12, 0, 0); // takes no time
    hand_event(hand, add, 12, 14, 0, 0);
    hand_event(hand, add, 13, 14, 0, 0);   // on top of the one before
    hand_event(hand, add, 100, 104, 0, 0); // far off
    hand->record.end = 20;
    ProfileSummary s = hand_summary(hand, &UNKNOWN);
    check_row(&s, SUMMARY_KERNELS, "add", 6, 8, 1);
    check_account(&s.accounts.whole, 20, 8, 3, 15, 0);
    check_account(&s.accounts.step[0], 0, 0, 0, 0, 0);
    check_account(&s.accounts.step[1], 15, 8, 3, 10, 0);
    assert_near(account_deviation(&s.accounts.step[0]), 0);
    assert_int_equal(s.accounts.clipped, 1);
    assert_near(s.accounts.furthest, 89);
    assert_near(s.accounts.clipped_seconds, 4);
    summary_free(&s);
    free(hand);
}

static void transfers_touch_and_overlap(void **state)
{
    (void)state;
    HandProfile *hand = hand_open();
    hand_transfer(hand, true, 1, 3, 10);
    hand_transfer(hand, false, 3, 4, 20);
    hand_transfer(hand, false, 8, 12, 30); // half of it behind the end
    hand->record.end = 10;
    ProfileSummary s = hand_summary(hand, &UNKNOWN);
    check_account(&s.accounts.whole, 10, 0, 0, 5, 5);
    assert_int_equal(s.accounts.downloads.count, 2);
    assert_int_equal(s.accounts.downloads.bytes, 50);
    assert_near(s.accounts.downloads.seconds, 5);
    summary_free(&s);
    free(hand);
}

// ---- many commands -----------------------------------------------------------------------------

// As many as a HandProfile holds, over all its steps and commands: against sums done one by one.
static void many_commands(void **state)
{
    (void)state;
    enum { BLOCKS = 40, STEPS = 2500 };
    HandProfile *hand = hand_open();
    double totals[BLOCKS] = {0}, samples[BLOCKS][1000] = {{0}}, adds = 0;
    size_t calls[BLOCKS] = {0};
    for (uint32_t k = 0; k < BLOCKS; k++) {
        char label[16];
        snprintf(label, sizeof label, "forward %u", k);
        hand_dispatch(hand, k % 2 ? K_add : K_rmsnorm, label, k + 1, 4);
    }
    for (size_t i = 0; i < HAND_EVENTS; i++) {
        size_t step = i * STEPS / HAND_EVENTS, k = i * 7 % 31 + i % 9;
        double begin = (double)i, seconds = (double)(i % 13) / 16;
        if (hand->record.step_count <= step) {
            if (step) hand->steps[step - 1].end = begin;
            if (step) hand->runs[step - 1].end = begin;
            hand_step(hand, begin, HAND_EVENTS);
            hand_run(hand, begin, HAND_EVENTS);
        }
        hand_event(hand, &hand->commands[k], begin, begin + seconds, 3, 4);
        totals[k] += seconds;
        calls[k]++;
        if (k % 2) adds += seconds;
        if (step % 3 == 0) samples[k][step / 3] += seconds;
    }
    hand->record.end = HAND_EVENTS;
    ProfileSummary s = hand_summary(hand, &UNKNOWN);
    assert_int_equal(s.sample_every, 3); // 2500 steps, 1000 samples at most
    assert_int_equal(s.sample_count, 834);
    assert_near(find_row(&s, SUMMARY_KERNELS, "add")->total, adds);
    for (int k = 0; k < BLOCKS; k++) {
        char block[16], shape[32];
        if (!calls[k]) continue;
        snprintf(block, sizeof block, "block %d", k);
        snprintf(shape, sizeof shape, "%s max %d x 4", k % 2 ? "add" : "rmsnorm", k + 1);
        const SummaryRow *row = find_row(&s, SUMMARY_BLOCKS, block);
        assert_int_equal(row->calls, calls[k]);
        assert_near(row->total, totals[k]);
        assert_near(row->bytes, 3 * (double)calls[k]);
        for (size_t i = 0; i < s.sample_count; i++) assert_near(row->samples[i], samples[k][i]);
        assert_near(find_row(&s, SUMMARY_SHAPES, shape)->total, totals[k]);
    }
    assert_true(fabs(account_deviation(&s.accounts.whole)) < 1e-9);
    summary_free(&s);
    free(hand);
}

// ---- nothing at all ----------------------------------------------------------------------------

static void empty_profile(void **state)
{
    (void)state;
    HandProfile *hand = hand_open();
    ProfileSummary s = hand_summary(hand, &UNKNOWN);
    check_account(&s.accounts.whole, 0, 0, 0, 0, 0);
    check_account(&s.accounts.steps, 0, 0, 0, 0, 0);
    assert_true(account_deviation(&s.accounts.whole) == 0);
    summary_free(&s);
    free(hand);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accounts_add_up),
        cmocka_unit_test(rows_add_up),
        cmocka_unit_test(samples_are_the_steps),
        cmocka_unit_test(limits),
        cmocka_unit_test(commands_outside_their_run),
        cmocka_unit_test(odd_times),
        cmocka_unit_test(transfers_touch_and_overlap),
        cmocka_unit_test(many_commands),
        cmocka_unit_test(empty_profile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
