// Every op against its reference: one row of host/reference/op_cases.c, five checks each. What
// spans several rows or runs of an op is in test_op_rules.c.
#include "support/op_check.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

static Gpu *gpu;

static int open_gpu(void **state)
{
    (void)state;
    Error err;
    gpu = gpu_open(NULL, &err);
    if (!gpu) print_error("%s\n", err.text);
    return gpu ? 0 : -1;
}

static int close_gpu(void **state)
{
    (void)state;
    gpu_close(gpu);
    return 0;
}

static void reference_gradient(void **state)
{
    op_check_reference(*state);
}

static void forward(void **state)
{
    op_check_forward(gpu, *state);
}

static void backward(void **state)
{
    op_check_backward(gpu, *state);
}

static void no_validation_messages(void **state)
{
    (void)state;
    assert_int_equal(gpu_validation_messages(), 0);
}

enum { CHECKS = 3, MAX_CASES = 32 };

int main(void)
{
    static const struct {
        const char *name;
        CMUnitTestFunction run;
    } checks[CHECKS] = {
        {"gradient of the reference", reference_gradient},
        {"forward", forward},
        {"backward", backward},
    };
    static char names[CHECKS * MAX_CASES][80];
    struct CMUnitTest tests[CHECKS * MAX_CASES + 1] = {0};
    size_t count = 0;
    for (uint32_t i = 0; i < OP_CASE_COUNT && i < MAX_CASES; i++) {
        for (int check = 0; check < CHECKS; check++) {
            if (check == 2 && !OP_CASES[i].record_back) continue;
            snprintf(names[count], sizeof names[count], "%s: %s", OP_CASES[i].name,
                     checks[check].name);
            tests[count] = (struct CMUnitTest){.name = names[count],
                                               .test_func = checks[check].run,
                                               .initial_state = (void *)(uintptr_t)&OP_CASES[i]};
            count++;
        }
    }
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(no_validation_messages);
    return _cmocka_run_group_tests("ops", tests, count, open_gpu, close_gpu);
}
