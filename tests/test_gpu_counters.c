// Hardware counters: which there are, and a run with all of them. Where a device has none it says
// so; one that has some but executes nothing (RADV without a card) may only refuse to give values,
// and the validation layer looks at how it is asked.
#include "gpu/counters.h"
#include "gpu/internal.h"
#include "ops/ops.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static Gpu *gpu;
static Counter *list;
static uint32_t listed;
static Error err;

static int open_counting(void **state)
{
    (void)state;
    gpu = gpu_open_counting(NULL, &err);
    if (gpu && counters_list(&list, &listed, gpu, &err)) return 0;
    print_error("%s\n", err.text);
    return -1;
}

static int close_counting(void **state)
{
    (void)state;
    free(list);
    gpu_close(gpu);
    return 0;
}

static void only_those_who_ask_have_counters(void **state)
{
    (void)state;
    Gpu *plain = gpu_open(NULL, &err);
    Counter *none;
    uint32_t count = 7;
    assert_non_null(plain);
    assert_false(plain->optional.counters);
    for (uint32_t i = 0; i < plain->optional.name_count; i++)
        assert_string_not_equal(plain->optional.names[i], "VK_KHR_performance_query");
    assert_true(counters_list(&none, &count, plain, &err));
    assert_int_equal(count, 0);
    free(none);
    gpu_close(plain);
}

static void counters_are_named(void **state)
{
    (void)state;
    assert_true(gpu->optional.counters || !listed);
    for (uint32_t i = 0; i < listed; i++) {
        assert_true(list[i].name[0] && list[i].scope[0]);
        assert_non_null(list[i].unit);
    }
}

static void unknown_counters_are_refused(void **state)
{
    (void)state;
    assert_null(counting_open(gpu, (const char *[]){"no such counter"}, 1, &err));
    assert_non_null(strstr(err.text, listed ? "'no such counter'" : "has no counters"));
    assert_non_null(strstr(err.text, gpu_info(gpu)->name));
    if (!listed) return;
    assert_null(counting_open(gpu, (const char *[]){list[0].name, list[0].name}, 2, &err));
    assert_non_null(strstr(err.text, "twice"));
}

// z = x + y over the rows that the count says.
static Dispatch sum;

static bool keep_dispatch(void *user, const Dispatch *dispatch)
{
    (void)user;
    static unsigned char args[GPU_ARGS_BYTES];
    sum = *dispatch;
    memcpy(args, dispatch->args, dispatch->args_bytes);
    sum.args = args;
    return false;
}

static Counts *make_sum(Tensor *x)
{
    Counts *counts = counts_open(gpu, &err);
    *x = tensor_make(gpu, MEMORY_HOST, 64, 256, &err);
    assert_true(counts && x->span);
    counts_set(counts, 0, 48);
    Tape *tape = tape_begin(gpu, "sum", &err);
    assert_non_null(tape);
    gpu_filter(gpu, keep_dispatch, NULL);
    op_add(tape, *x, *x, *x, (Rows){counts, 0, 0, 64});
    gpu_filter(gpu, NULL, NULL);
    assert_true(tape_end(tape, &err));
    tape_free(tape);
    return counts;
}

static void a_kernel_is_counted(void **state)
{
    (void)state;
    if (!listed) {
        print_message("skipped: %s has no counters\n", gpu_info(gpu)->name);
        skip();
    }
    const char **names = calloc(listed, sizeof *names);
    double *values = calloc(listed, sizeof *values);
    Tensor x;
    Counts *counts = make_sum(&x);
    for (uint32_t i = 0; i < listed; i++) names[i] = list[i].name;
    Counting *counting = counting_open(gpu, names, listed, &err);
    if (!counting) fail_msg("%s", err.text);
    print_message("%u passes\n", counting_passes(counting));
    assert_true(counting_passes(counting) >= 1);
    const Dispatch twice[] = {sum, sum};
    bool ok = counting_run(counting, twice, 2, values, &err);
    if (!ok) print_message("%s\n", err.text);
    assert_true(ok || strstr(err.text, "gave no counters") || strstr(err.text, "not allowed"));
    for (uint32_t i = 0; ok && i < listed; i++) {
        print_message("%s: %g %s\n", list[i].name, values[i], list[i].unit);
        assert_true(values[i] >= 0 || isnan(values[i])); // a share of nothing is 0 / 0
    }
    counting_close(counting);
    tensor_free(gpu, &x);
    counts_close(counts);
    free(names);
    free(values);
}

static void no_messages(void **state)
{
    (void)state;
    assert_int_equal(gpu_validation_messages(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_those_who_ask_have_counters),
        cmocka_unit_test(counters_are_named),
        cmocka_unit_test(unknown_counters_are_refused),
        cmocka_unit_test(a_kernel_is_counted),
        cmocka_unit_test(no_messages),
    };
    return cmocka_run_group_tests(tests, open_counting, close_counting);
}
