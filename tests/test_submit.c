// How parts of tapes are put together into submissions, and what is learnt from the time that one
// took. Needs no device; that such submissions compute the same is in test_gpu_submit.c.
#include "gpu/submit_internal.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

enum { MOST = 40 };

typedef struct {
    Part parts[MOST];
    Part *list[MOST];
} Parts;

static Parts make(const double *seconds, size_t count)
{
    Parts made = {0};
    for (size_t i = 0; i < count; i++) made.parts[i].seconds = seconds[i];
    return made;
}

static Part *const *listed(Parts *parts)
{
    for (int i = 0; i < MOST; i++) parts->list[i] = &parts->parts[i];
    return parts->list;
}

#define CHECK_GROUP(want, limit, ...)                                                              \
    do {                                                                                           \
        const double seconds[] = {__VA_ARGS__};                                                    \
        Parts parts = make(seconds, sizeof seconds / sizeof *seconds);                             \
        assert_int_equal(submit_group(listed(&parts), sizeof seconds / sizeof *seconds, limit),    \
                         want);                                                                    \
    } while (0)

static void groups_stay_under_the_limit(void **state)
{
    (void)state;
    CHECK_GROUP(1, 1.0, 0.25);
    CHECK_GROUP(4, 1.0, 0.25, 0.25, 0.25, 0.25, 0.25);
    CHECK_GROUP(3, 1.0, 0.5, 0.125, 0.25, 0.25);
    CHECK_GROUP(2, 1.0, 0.5, 0.5);
    CHECK_GROUP(1, 1.0, 0.5, 0.75, 0.1); // in order: what follows is not drawn forward
    assert_int_equal(submit_group(NULL, 0, 1.0), 0);
}

static void what_is_too_long_goes_alone(void **state)
{
    (void)state;
    CHECK_GROUP(1, 1.0, 3.0, 0.1);
    CHECK_GROUP(1, 1.0, 0.1, 3.0);
}

static void what_has_not_run_goes_alone(void **state)
{
    (void)state;
    CHECK_GROUP(1, 1.0, 0.0, 0.0, 0.1);
    CHECK_GROUP(1, 1.0, 0.0, 0.1, 0.1);
    CHECK_GROUP(2, 1.0, 0.1, 0.1, 0.0);
}

// However short they were: the next step may hold more rows.
static void groups_have_a_largest_size(void **state)
{
    (void)state;
    double seconds[MOST];
    for (int i = 0; i < MOST; i++) seconds[i] = 1e-6;
    Parts parts = make(seconds, MOST);
    assert_int_equal(submit_group(listed(&parts), MOST, 1.0), SUBMIT_PARTS);
}

static void check_seconds(const Part *part, double want)
{
    if (!(part->seconds > want * 0.999999 && part->seconds < want * 1.000001))
        fail_msg("%g seconds, expected %g", part->seconds, want);
}

static void time_is_shared_in_proportion(void **state)
{
    (void)state;
    Parts parts = make((double[]){0.1, 0.3}, 2);
    submit_learn(listed(&parts), 2, 0.8);
    check_seconds(&parts.parts[0], 0.2);
    check_seconds(&parts.parts[1], 0.6);
    parts = make((double[]){0.0}, 1);
    submit_learn(listed(&parts), 1, 0.7);
    check_seconds(&parts.parts[0], 0.7);
    parts = make((double[]){0.0, 0.0}, 2);
    submit_learn(listed(&parts), 2, 0.7);
    check_seconds(&parts.parts[1], 0.35);
}

static void beliefs_rise_at_once_and_fall_by_halves(void **state)
{
    (void)state;
    Parts parts = make((double[]){1.0}, 1);
    submit_learn(listed(&parts), 1, 5.0);
    check_seconds(&parts.parts[0], 5.0);
    submit_learn(listed(&parts), 1, 1.0);
    check_seconds(&parts.parts[0], 3.0);
    for (int i = 0; i < 60; i++) submit_learn(listed(&parts), 1, 1.0);
    check_seconds(&parts.parts[0], 1.0);
    submit_learn(listed(&parts), 1, 0.0); // a clock of coarse steps
    assert_true(parts.parts[0].seconds > 0);
}

static void parts_may_repeat(void **state)
{
    (void)state;
    Part part = {.seconds = 0.1};
    Part *list[SUBMIT_PARTS];
    for (int i = 0; i < SUBMIT_PARTS; i++) list[i] = &part;
    submit_learn(list, SUBMIT_PARTS, 0.2 * SUBMIT_PARTS);
    check_seconds(&part, 0.2);
    for (int i = 0; i < 60; i++) submit_learn(list, SUBMIT_PARTS, 0.1 * SUBMIT_PARTS);
    check_seconds(&part, 0.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_stay_under_the_limit),
        cmocka_unit_test(what_is_too_long_goes_alone),
        cmocka_unit_test(what_has_not_run_goes_alone),
        cmocka_unit_test(groups_have_a_largest_size),
        cmocka_unit_test(time_is_shared_in_proportion),
        cmocka_unit_test(beliefs_rise_at_once_and_fall_by_halves),
        cmocka_unit_test(parts_may_repeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
