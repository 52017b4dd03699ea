// The ceilings of a device (profile/peak.h): what must hold of them whatever the device, the file
// that keeps them, and the command.
#define _POSIX_C_SOURCE 200809L
#include "base/clock.h"
#include "base/file.h"
#include "base/half.h"
#include "gpu/internal.h"
#include "ops/ops.h"
#include "profile/matrix_code.h"
#include "profile/peak.h"
#include "support/cli.h"
#include "support/device.h"

#include "../shaders/args.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static TestPath folder; // the cache folder of this program
static Peak measured;
static Error err;

static int measure(void **state)
{
    folder = test_folder_make();
    setenv("XDG_CACHE_HOME", folder.text, 1);
    if (device_open(state)) return -1;
    if (peak_measure(device, &measured, NULL, NULL, &err)) return 0;
    print_error("%s\n", err.text);
    return -1;
}

static int end(void **state)
{
    device_close(state);
    test_folder_remove(&folder);
    return 0;
}

static void must(bool ok)
{
    if (!ok) fail_msg("%s", err.text);
}

// ---- what is measured --------------------------------------------------------------------------

static bool is_seconds(PeakFigure figure)
{
    return !strcmp(peak_text(figure)->unit, "s");
}

static void everything_is_measured(void **state)
{
    (void)state;
    for (int i = 0; i < PEAK_FIGURES; i++) {
        PeakFigure figure = (PeakFigure)i;
        bool there = true;
        if (figure == PEAK_F16) there = gpu_info(device)->float16;
        if (figure == PEAK_INT8_DOT) there = gpu_has_kernel(device, K_peak_arithmetic_dot);
        double best = peak_value(&measured, figure), median = measured.median[i];
        if (there != (best > 0)) fail_msg("%s: %g", peak_text(figure)->name, best);
        if (is_seconds(figure) ? best > median : best < median)
            fail_msg("%s: best %g, median %g", peak_text(figure)->name, best, median);
    }
    assert_true(measured.way[PEAK_COPY][0] && measured.way[PEAK_READ][0]);
    assert_true(measured.way[PEAK_F32][0]);
}

// What holds of every machine, with room for the noise of a busy one.
static void figures_agree(void **state)
{
    (void)state;
    assert_true(measured.cache_copy_bytes_per_second > 0.5 * measured.copy_bytes_per_second);
    assert_true(measured.cache_read_bytes_per_second > 0.5 * measured.read_bytes_per_second);
    assert_true(measured.barrier_seconds >= measured.launch_seconds);
    assert_true(measured.launch_seconds < 0.1 && measured.submit_seconds < 0.1);
    // 4 bytes for each two operations is more than any machine's memory gives.
    assert_true(measured.f32_operations_per_second > measured.copy_bytes_per_second / 8);
}

enum { WIDTH = 512, REPLAYS = 4, RUNS = 9 };

// The best rate of a product of matrices, in runs as long as the probes' are.
static double matmul_rate(void)
{
    Tensor y = tensor_make(device, MEMORY_DEVICE, WIDTH, WIDTH, &err);
    Tensor x = tensor_make(device, MEMORY_DEVICE, WIDTH, WIDTH, &err);
    Tensor w = tensor_make(device, MEMORY_DEVICE, WIDTH, WIDTH, &err);
    Counts *counts = counts_open(device, &err);
    assert_true(y.span && x.span && w.span && counts);
    counts_set(counts, 0, WIDTH);
    Tape *tape = tape_begin(device, "matmul", &err), *tapes[REPLAYS];
    assert_non_null(tape);
    op_matmul(tape, y, x, w, (Rows){counts, 0, 0, WIDTH});
    must(tape_end(tape, &err));
    for (int i = 0; i < REPLAYS; i++) tapes[i] = tape;
    double best = 0;
    for (int i = 0; i < RUNS; i++) {
        double began = clock_seconds();
        must(gpu_run(device, tapes, REPLAYS, &err));
        double rate = 2.0 * REPLAYS * WIDTH * WIDTH * WIDTH / (clock_seconds() - began);
        if (rate > best) best = rate;
    }
    tape_free(tape);
    counts_close(counts);
    tensor_free(device, &y);
    tensor_free(device, &x);
    tensor_free(device, &w);
    return best;
}

// A ceiling is above what any kernel of ours reaches. Both are the best of several runs; a machine
// that is busy in one of the two moments may deceive once, not three times.
static void no_product_of_matrices_is_faster(void **state)
{
    (void)state;
    for (int try = 0;; try++) {
        double rate = matmul_rate();
        if (measured.f32_operations_per_second > rate) return;
        print_message("f32 %g, a product of matrices %g operations/s\n",
                      measured.f32_operations_per_second, rate);
        assert_true(try < 2);
        must(peak_measure(device, &measured, NULL, NULL, &err));
    }
}

// Shapes that the device lists are there, and those of types that strata knows are measured.
static void every_known_matrix_is_measured(void **state)
{
    (void)state;
    static GpuMatrixShape shapes[PEAK_MATRICES];
    size_t count = gpu_matrix_shapes(device, shapes, PEAK_MATRICES);
    assert_int_equal(measured.matrix_count, count);
    assert_true(!count || gpu_info(device)->cooperative_matrix);
    for (size_t i = 0; i < count; i++) {
        const PeakMatrix *matrix = &measured.matrices[i];
        assert_memory_equal(&matrix->shape, &shapes[i], sizeof shapes[i]);
        assert_int_equal(matrix->operations_per_second > 0, matrix_known(&shapes[i]));
        assert_true(matrix->operations_per_second >= matrix->median);
    }
    if (count) return;
    print_message("the device lists no cooperative matrices\n");
    skip();
}

// The first value of stored sums, of that type.
static double value_of(const float *sum, const char *type)
{
    uint16_t half;
    int32_t whole;
    memcpy(&half, sum, sizeof half);
    memcpy(&whole, sum, sizeof whole);
    if (!strcmp(type, "f32")) return *sum;
    if (type[0] != 'f') return whole;
    uint32_t pattern = f16_widen(half);
    float value;
    memcpy(&value, &pattern, sizeof value);
    return value;
}

// Runs the code of a shape for some steps; a value of the sums, which are those of c's type.
static double run_matrix(const GpuMatrixShape *shape, uint32_t steps)
{
    size_t words;
    uint32_t *code = matrix_code(shape, &words);
    uint64_t size = matrix_results(shape);
    float ones[64];
    for (int i = 0; i < 64; i++) ones[i] = 1;
    assert_non_null(code);
    must(gpu_replace_kernel_words(device, K_peak_arithmetic, "matrix", code, words, &err));
    Tensor x = tensor_make(device, MEMORY_DEVICE, 1, 64, &err);
    Tensor y = tensor_make(device, MEMORY_DEVICE, 1, (uint32_t)size, &err);
    assert_true(x.span && y.span);
    must(tensor_upload(device, x, ones, &err));
    const PeakArgs args = {.steps = steps};
    Tape *tape = tape_begin(device, "matrix", &err);
    assert_non_null(tape);
    tape_dispatch(tape, &(Dispatch){.kernel = K_peak_arithmetic,
                                    .tensors = {x, y},
                                    .args = &args,
                                    .args_bytes = sizeof args,
                                    .grid = {.x = MATRIX_SLOTS, .y = 1},
                                    .constants = {gpu_info(device)->subgroup_size, 1}});
    must(tape_end(tape, &err) && gpu_run(device, &tape, 1, &err));
    float *values = download(y);
    assert_true(values[0] >= 1 && values[0] <= gpu_info(device)->subgroup_size);
    // Of the last workgroup's last chain, the first value.
    const float *sum = values + size - shape->m * shape->n;
    double value = value_of(sum, shape->c);
    free(values);
    tape_free(tape);
    tensor_free(device, &x);
    tensor_free(device, &y);
    gpu_restore_kernel(device, K_peak_arithmetic);
    return value;
}

// Sums of bytes below 0 are those of 255, as they are unsigned.
static bool check_matrix(const GpuMatrixShape *shape)
{
    if (!matrix_known(shape)) return false;
    double product = MATRIX_LINKS * (double)shape->k;
    double second = shape->a[0] == 'u' ? 255 * product : -product;
    assert_true(run_matrix(shape, 0) == 1);
    assert_true(run_matrix(shape, 1) == 1 + product);
    assert_true(run_matrix(shape, 2) == 1 + product + second);
    return true;
}

// The code for a shape runs, and sums what it should: c + steps of a b, where all of a and b are 1
// in the first step, and a is -1 in the second.
static void matrices_sum_what_they_should(void **state)
{
    (void)state;
    static GpuMatrixShape shapes[PEAK_MATRICES];
    size_t count = gpu_matrix_shapes(device, shapes, PEAK_MATRICES), tried = 0;
    for (size_t i = 0; i < count; i++) tried += check_matrix(&shapes[i]);
    if (!tried) skip();
}

// ---- what a device has kernels for -------------------------------------------------------------

static void kernels_that_need_more_are_told_apart(void **state)
{
    (void)state;
    for (int i = 0; i < KERNEL_COUNT; i++) {
        const char *name = kernel_sources[i].name;
        uint32_t needs = 0;
        if (strstr(name, "peak_arithmetic_half")) needs = NEEDS_FLOAT16;
        if (strstr(name, "peak_arithmetic_dot")) needs = NEEDS_DOT;
        if (device->access[i].needs != needs) fail_msg("%s: %u", name, device->access[i].needs);
        assert_int_equal(gpu_has_kernel(device, (Kernel)i), !(needs & ~device->optional.needs));
    }
    uint32_t needs = device->optional.needs;
    device->optional.needs = 0; // as on a device of the floor
    Tape *tape = tape_begin(device, "half", &err);
    assert_non_null(tape);
    tape_dispatch(tape, &(Dispatch){.kernel = K_peak_arithmetic_half, .grid = {.x = 1, .y = 1}});
    assert_false(tape_end(tape, &err));
    device->optional.needs = needs;
    tape_free(tape);
    assert_error(err, "kernel peak_arithmetic_half");
}

// ---- the file ----------------------------------------------------------------------------------

static char *as_text(const Peak *peak)
{
    cJSON *root = peak_json(peak);
    char *text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    assert_non_null(text);
    return text;
}

static void assert_same(const Peak *a, const Peak *b)
{
    char *left = as_text(a), *right = as_text(b);
    assert_string_equal(left, right);
    for (int i = 0; i < PEAK_FIGURES; i++) // to the bit
        assert_true(peak_value(a, (PeakFigure)i) == peak_value(b, (PeakFigure)i));
    cJSON_free(left);
    cJSON_free(right);
}

static void what_was_saved_is_read(void **state)
{
    (void)state;
    Peak peak;
    must(peak_save(device, &measured, &err));
    must(peak_load(device, &peak, &err));
    assert_same(&peak, &measured);
    memset(&peak, 0, sizeof peak);
    must(peak_get(device, &peak, &err)); // it measures nothing: no two measurements are the same
    assert_same(&peak, &measured);
}

// Replaces `old` by `new` in the text of the file.
static void damage(const char *old, const char *new)
{
    char path[1024];
    size_t size;
    must(peak_save(device, &measured, &err) && peak_path(device, path, sizeof path, &err));
    char *text = test_read(path, &size), *at = strstr(text, old);
    assert_non_null(at);
    FileWriter writer;
    must(file_writer_open(&writer, path, &err));
    file_writer_put(&writer, text, (size_t)(at - text));
    file_writer_put(&writer, new, strlen(new));
    file_writer_put(&writer, at + strlen(old), strlen(at + strlen(old)));
    must(file_writer_commit(&writer, &err));
    free(text);
}

static void damaged_files_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"\"version\":\t1", "\"version\":\t2", "version"},
        {"\"device\":\t\"", "\"device\":\t\"another ", "device"},
        {"\"driver\":\t\"", "\"driver\":\t\"another ", "driver"},
        {"\"identity\":\t\"", "\"identity\":\t\"0", "identity"},
        {"\"host\":\t\"", "\"host\":\t\"another ", "host"},
        {"\"copy_bytes_per_second\"", "\"copy_bytes\"", "copy_bytes_per_second"},
        {"\"best\":\t", "\"best\":\t-", "best"},
        {"\"median\":\t", "\"median\":\t\"x\",\"y\":\t", "median"},
        {"\"matrices\":\t[", "\"matrices\":\t[1],\"more\":\t[", "matrices"},
        {"{", "", "JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Peak peak;
        damage(cases[i][0], cases[i][1]);
        if (peak_load(device, &peak, &err)) fail_msg("%s is taken", cases[i][1]);
        assert_error(err, "peak-");
        if (strcmp(cases[i][2], "JSON")) assert_error(err, cases[i][2]);
    }
}

static void a_damaged_file_is_measured_anew(void **state)
{
    (void)state;
    Peak peak, again;
    damage("\"version\":\t1", "\"version\":\t\"one\"");
    must(peak_get(device, &peak, &err));
    assert_true(peak.copy_bytes_per_second > 0);
    assert_true(peak.copy_bytes_per_second != measured.copy_bytes_per_second);
    must(peak_load(device, &again, &err));
    assert_same(&again, &peak);
    measured = peak;
}

static void threads_of_cpu_drivers_have_files_of_their_own(void **state)
{
    (void)state;
    char path[1024], other[1024];
    bool cpu = !strcmp(gpu_info(device)->kind, "cpu");
    const char *before = getenv("LP_NUM_THREADS");
    char *kept = before ? strdup(before) : NULL;
    must(peak_path(device, path, sizeof path, &err));
    setenv("LP_NUM_THREADS", kept && !strcmp(kept, "1") ? "2" : "1", 1);
    must(peak_path(device, other, sizeof other, &err));
    assert_int_equal(!strcmp(path, other), !cpu);
    if (kept)
        setenv("LP_NUM_THREADS", kept, 1);
    else
        unsetenv("LP_NUM_THREADS");
    free(kept);
}

// ---- the command -------------------------------------------------------------------------------

static void the_command_prints_what_is_kept(void **state)
{
    (void)state;
    must(peak_save(device, &measured, &err));
    CliRun run = CLI("peak", "--json");
    assert_cli_prints(run, "\"f32_operations_per_second\"");
    assert_string_equal(run.err, ""); // nothing was measured
    cJSON *root = json_parse(run.out, strlen(run.out), "output", &err);
    assert_non_null(root);
    char *printed = cJSON_PrintUnformatted(root), *expected = as_text(&measured);
    assert_string_equal(printed, expected);
    cJSON_free(printed);
    cJSON_free(expected);
    cJSON_Delete(root);
    cli_free(&run);
    run = CLI("peak");
    for (int i = 0; i < PEAK_FIGURES; i++) assert_cli_prints(run, peak_text((PeakFigure)i)->what);
    assert_cli_prints(run, measured.device);
    cli_free(&run);
}

static void the_command_refuses_what_it_does_not_know(void **state)
{
    (void)state;
    assert_cli_fails(CLI("peak", "--agian"), 2, "--agian");
    assert_cli_fails(CLI("peak", "now"), 2, "no argument");
    assert_cli_fails(CLI("peak", "--device", "no such"), 1, "no such");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_measured),
        cmocka_unit_test(figures_agree),
        cmocka_unit_test(no_product_of_matrices_is_faster),
        cmocka_unit_test(every_known_matrix_is_measured),
        cmocka_unit_test(matrices_sum_what_they_should),
        cmocka_unit_test(kernels_that_need_more_are_told_apart),
        cmocka_unit_test(what_was_saved_is_read),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(a_damaged_file_is_measured_anew),
        cmocka_unit_test(threads_of_cpu_drivers_have_files_of_their_own),
        cmocka_unit_test(the_command_prints_what_is_kept),
        cmocka_unit_test(the_command_refuses_what_it_does_not_know),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, measure, end);
}
