// Submissions on a device: that tapes in many parts and lists in many submissions compute the same,
// and what is left when the driver refuses one or loses the device, which the layer of
// support/layer/fail_device.c makes it do. How parts are grouped is in test_submit.c.
#define _POSIX_C_SOURCE 200809L
#include "gpu/internal.h"
#include "ops/ops.h"
#include "support/files.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STEPS = 40, WIDTH = 500 };

static TestPath folder;
static Gpu *gpu;
static Error err;

// A chain of sums, z[i] = z[i - 1] + x with x = 1, and a last fill of x, which all of them read.
typedef struct {
    Counts *counts;
    Tensor x, z[STEPS], copy;
    Tape *tape;
} Chain;

static void must(bool ok)
{
    if (!ok) fail_msg("%s", err.text);
}

static Tensor make(void)
{
    Tensor tensor = tensor_make(gpu, MEMORY_DEVICE, 1, WIDTH, &err);
    must(tensor.span != NULL);
    return tensor;
}

static void chain_record(Chain *chain)
{
    const Rows rows = {chain->counts, 0, 0, 1};
    chain->tape = tape_begin(gpu, "chain", &err);
    must(chain->tape != NULL);
    tape_fill(chain->tape, chain->x, 0x3f800000); // 1
    op_add(chain->tape, chain->z[0], chain->x, chain->x, rows);
    for (int i = 1; i < STEPS; i++)
        op_add(chain->tape, chain->z[i], chain->z[i - 1], chain->x, rows);
    tape_copy(chain->tape, chain->copy, chain->z[STEPS - 1]);
    tape_fill(chain->tape, chain->x, 0x40a00000); // 5
    must(tape_end(chain->tape, &err));
}

static Chain chain_make(void)
{
    Chain chain = {.counts = counts_open(gpu, &err)};
    must(chain.counts != NULL);
    counts_set(chain.counts, 0, 1);
    chain.x = make();
    chain.copy = make();
    for (int i = 0; i < STEPS; i++) chain.z[i] = make();
    chain_record(&chain);
    return chain;
}

static void chain_free(Chain *chain)
{
    tape_free(chain->tape);
    tensor_free(gpu, &chain->x);
    tensor_free(gpu, &chain->copy);
    for (int i = 0; i < STEPS; i++) tensor_free(gpu, &chain->z[i]);
    counts_close(chain->counts);
}

static void check_floats(Tensor tensor, float want)
{
    float values[WIDTH];
    must(tensor_download(gpu, tensor, values, &err));
    for (int i = 0; i < WIDTH; i++)
        if (values[i] != want) fail_msg("value %d is %g, expected %g", i, values[i], want);
}

static void chain_check(const Chain *chain)
{
    for (int i = 0; i < STEPS; i++) check_floats(chain->z[i], (float)(i + 2));
    check_floats(chain->copy, STEPS + 1);
    check_floats(chain->x, 5);
}

// As many parts as commands: the smallest limit there is, for each way to end a part.
static void parts_compute_the_same(void **state)
{
    (void)state;
    gpu->part_bytes = 1;
    Chain chain = chain_make();
    for (int turn = 0; turn < 3; turn++) {
        must(gpu_run(gpu, &chain.tape, 1, &err));
        chain_check(&chain);
    }
    assert_int_equal(gpu->parts_room, STEPS + 3); // those of the longest run so far
    chain_free(&chain);
}

// Kernels that need no barrier between them end a part, too, only later.
static void parts_end_without_a_barrier(void **state)
{
    (void)state;
    gpu->part_bytes = 2 * 4 * WIDTH;
    Tensor filled[33];
    for (int i = 0; i < 33; i++) filled[i] = make();
    Tape *tape = tape_begin(gpu, "fills", &err);
    must(tape != NULL);
    for (int i = 0; i < 33; i++) tape_fill(tape, filled[i], 0x40400000); // 3
    must(tape_end(tape, &err));
    must(gpu_run(gpu, &tape, 1, &err));
    assert_int_equal(gpu->parts_room, 5); // of 8 fills, and a rest of one
    for (int i = 0; i < 33; i++) check_floats(filled[i], 3);
    tape_free(tape);
    for (int i = 0; i < 33; i++) tensor_free(gpu, &filled[i]);
}

// z += 1 and z += z do not commute; a tape stands in the list many times.
static void limits_compute_the_same(void **state)
{
    (void)state;
    static const double limits[] = {1e-6, 0.05, 1, 1e6};
    Chain chain = chain_make();
    const Rows rows = {chain.counts, 0, 0, 1};
    Tape *tapes[2];
    for (int i = 0; i < 2; i++) {
        tapes[i] = tape_begin(gpu, "z", &err);
        must(tapes[i] != NULL);
        op_add(tapes[i], chain.z[0], chain.z[0], i ? chain.z[0] : chain.x, rows);
        must(tape_end(tapes[i], &err));
    }
    for (size_t l = 0; l < sizeof limits / sizeof *limits; l++) {
        Tape *list[60] = {chain.tape};
        float want = 2;
        gpu_set_submit_limit(gpu, limits[l]);
        for (int i = 1; i < 60; i++) {
            list[i] = tapes[i % 5 == 4];
            want = i % 5 == 4 ? 2 * want : want + 5;
        }
        must(gpu_run(gpu, list, 60, &err));
        check_floats(chain.z[0], want);
        must(gpu_run(gpu, &chain.tape, 1, &err));
        chain_check(&chain);
    }
    for (int i = 0; i < 2; i++) tape_free(tapes[i]);
    chain_free(&chain);
}

static void the_environment_sets_the_limit(void **state)
{
    (void)state;
    static const char *const bad[] = {"abc", "0", "-3", "5x", "inf", "nan"};
    assert_true(gpu->submissions.limit == 0.5);
    gpu_close(gpu);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("STRATA_SUBMIT_MS", bad[i], 1);
        gpu = gpu_open(NULL, &err);
        assert_null(gpu);
        assert_non_null(strstr(err.text, "STRATA_SUBMIT_MS: '"));
    }
    setenv("STRATA_SUBMIT_MS", "250", 1);
    gpu = gpu_open(NULL, &err);
    must(gpu != NULL);
    assert_true(gpu->submissions.limit == 0.25);
}

// ---- a device that fails -----------------------------------------------------------------------

static TestPath armed(void)
{
    return test_path(folder.text, "armed");
}

// From now on the layer counts; see it for what `fail` says. Opens the device anew.
static Chain open_failing(const char *fail)
{
    gpu_close(gpu);
    setenv("VK_ADD_LAYER_PATH", TEST_LAYERS, 1);
    setenv("VK_INSTANCE_LAYERS", "VK_LAYER_STRATA_fail_device", 1);
    setenv("STRATA_TEST_FAIL", fail, 1);
    setenv("STRATA_TEST_FAIL_AFTER", armed().text, 1);
    gpu = gpu_open(NULL, &err);
    must(gpu != NULL);
    gpu->part_bytes = 1; // each command alone: some are always in flight
    Chain chain = chain_make();
    test_write_text(&folder, "armed", "");
    return chain;
}

static void check_failed(const char *reason)
{
    if (!strstr(err.text, gpu_info(gpu)->name) || !strstr(err.text, reason) ||
        strchr(err.text, '\n'))
        fail_msg("'%s' lacks the device or '%s'", err.text, reason);
}

// What was submitted before has ended, so that its memory may go at once; and the device goes on.
static void refused_work_leaves_nothing_running(void **state)
{
    (void)state;
    static const char *const fails[] = {"submit 1 -2", "submit 2 -2", "submit 12 -1", "wait 1 -2",
                                        "wait 9 -1"};
    for (size_t i = 0; i < sizeof fails / sizeof *fails; i++) {
        Chain chain = open_failing(fails[i]);
        assert_false(gpu_run(gpu, &chain.tape, 1, &err));
        check_failed(strstr(fails[i], "-2") ? "out of device memory" : "out of host memory");
        assert_true(gpu_failed(gpu) && !gpu_lost(gpu));
        chain_free(&chain);
        chain = chain_make();
        must(gpu_run(gpu, &chain.tape, 1, &err));
        chain_check(&chain);
        chain_free(&chain);
        unlink(armed().text);
    }
}

// The layer ends whoever waits for a lost device to become idle.
static void a_lost_device_closes(void **state)
{
    (void)state;
    static const char *const fails[] = {"submit 1 -4", "submit 7 -4", "wait 1 -4", "wait 20 -4"};
    for (size_t i = 0; i < sizeof fails / sizeof *fails; i++) {
        float values[WIDTH] = {0};
        Chain chain = open_failing(fails[i]);
        assert_false(gpu_run(gpu, &chain.tape, 1, &err));
        check_failed("the device was lost");
        assert_true(gpu_failed(gpu) && gpu_lost(gpu));
        assert_false(gpu_run(gpu, &chain.tape, 1, &err));
        check_failed("the device was lost");
        assert_false(tensor_upload(gpu, chain.x, values, &err));
        check_failed("the device was lost");
        assert_false(tensor_download(gpu, chain.x, values, &err));
        check_failed("the device was lost");
        assert_null(tensor_make(gpu, MEMORY_DEVICE, 1, 1, &err).span);
        chain_free(&chain);
        unlink(armed().text);
    }
}

// A wait that reports success proves nothing: what was copied counts only if the queue still works.
static void copies_are_not_taken_from_a_lost_device(void **state)
{
    (void)state;
    float values[WIDTH];
    Chain chain = open_failing("probe 1 -4");
    assert_false(tensor_download(gpu, chain.x, values, &err));
    check_failed("the device was lost");
    assert_true(gpu_lost(gpu));
    chain_free(&chain);
}

static void no_validation_messages(void **state)
{
    (void)state;
    assert_int_equal(gpu_validation_messages(), 0);
}

// ---- the group ---------------------------------------------------------------------------------

static int open_gpu(void **state)
{
    (void)state;
    folder = test_folder_make();
    gpu = gpu_open(NULL, &err);
    if (!gpu) print_error("%s\n", err.text);
    return gpu ? 0 : -1;
}

static int close_gpu(void **state)
{
    (void)state;
    static const char *const names[] = {"VK_INSTANCE_LAYERS", "STRATA_TEST_FAIL",
                                        "STRATA_TEST_FAIL_AFTER", "STRATA_SUBMIT_MS"};
    gpu_close(gpu);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unsetenv(names[i]);
    test_folder_remove(&folder);
    return 0;
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_gpu, close_gpu)

int main(void)
{
    unsetenv("STRATA_SUBMIT_MS");
    const struct CMUnitTest tests[] = {
        CASE(parts_compute_the_same),
        CASE(parts_end_without_a_barrier),
        CASE(limits_compute_the_same),
        CASE(the_environment_sets_the_limit),
        CASE(refused_work_leaves_nothing_running),
        CASE(a_lost_device_closes),
        CASE(copies_are_not_taken_from_a_lost_device),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests_name("gpu submissions", tests, NULL, NULL);
}
