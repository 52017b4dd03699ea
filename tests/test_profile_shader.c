// One kernel beside another version of its source: what is found right and wrong, whose times are
// told apart, and every kernel by itself against its reference. The table of kernels has them all.
#define _POSIX_C_SOURCE 200809L
#include "base/json.h"
#include "profile/cost.h"
#include "profile/shader_trial.h"
#include "support/cli.h"
#include "support/device.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A kernel at its usual shape, or at another one.
static TrialOptions options_of(const char *kernel, const char *shape, const char *with)
{
    TrialOptions o = {.with = with, .seconds = 0};
    Error err;
    if (!kernel_name_read(&o.name, kernel, &err)) fail_msg("%s", err.text);
    o.shape = o.name.kase->timed;
    o.dtype = kernel_type(o.name.kase, o.name.kernel);
    if (shape && !kernel_shape_read(&o.shape, o.name.kase, shape, &err)) fail_msg("%s", err.text);
    return o;
}

static ShaderTrial run_trial(TrialOptions options)
{
    ShaderTrial trial;
    Error err;
    if (!shader_trial(&trial, device, &options, &err)) fail_msg("%s", err.text);
    return trial;
}

// shaders/NAME with `old` replaced by `new`, in the test's own folder.
static TestPath changed(const char *name, const char *old, const char *new)
{
    size_t size;
    char *text = test_read(test_path(TEST_ROOT "/shaders", name).text, &size);
    char *at = strstr(text, old);
    assert_non_null(at);
    size_t room = size + strlen(new) + 1;
    char *out = malloc(room);
    assert_non_null(out);
    snprintf(out, room, "%.*s%s%s", (int)(at - text), text, new, at + strlen(old));
    TestPath path = test_write_text(&own_folder, name, out);
    free(text);
    free(out);
    return path;
}

// ---- the table ---------------------------------------------------------------------------------

// What measures a device's ceilings is no op and computes nothing that could be wrong.
static bool is_probe(const KernelSource *source)
{
    return !strncmp(source->file, "peak_", 5);
}

static void every_kernel_is_in_the_table(void **state)
{
    (void)state;
    for (int k = 0; k < KERNEL_COUNT; k++)
        if (!is_probe(&kernel_sources[k]) == !kernel_case(kernel_sources[k].file))
            fail_msg("%s", kernel_sources[k].file);
    for (uint32_t i = 0; i < KERNEL_CASE_COUNT; i++) {
        const KernelCase *k = &KERNEL_CASES[i];
        char text[TRIAL_SHAPE_TEXT];
        OpShape again;
        Error err;
        kernel_shape_write(text, sizeof text, k, &k->timed);
        if (!kernel_shape_read(&again, k, text, &err)) fail_msg("%s", err.text);
        assert_int_equal(again.rows, k->timed.rows);
        assert_int_equal(again.others, k->timed.others);
        assert_int_equal(again.sequence, k->timed.sequence);
        assert_true(kernel_case_shapes(k)->rows > 0);
        assert_null(kernel_shape_refused(k, &k->timed, kernel_type(k, KERNEL_COUNT)));
    }
}

static void shapes_are_read(void **state)
{
    (void)state;
    static const char *const bad[] = {"",       "8",     "8x",   "x8",        "8x0",
                                      "8x8x8x", "8 x 8", "-8x8", "8x8x8x8x8", "8x16777217",
                                      "8x8a",   "8xx8",  "0x8"};
    OpShape shape;
    Error err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (kernel_shape_read(&shape, kernel_case("matmul"), bad[i], &err)) fail_msg("%s", bad[i]);
    assert_true(kernel_shape_read(&shape, kernel_case("matmul"), "3x5x7", &err));
    assert_int_equal(shape.rows, 3);
    assert_int_equal(shape.others, 5);
    assert_int_equal(shape.cols, 7);
    assert_true(kernel_shape_read(&shape, kernel_case("attention"), "9x6x2x4", &err));
    assert_int_equal(shape.kv_heads, 2);
    assert_int_equal(shape.size, 4);
    assert_true(kernel_shape_read(&shape, kernel_case("attention"), "9x6x4", &err));
    assert_int_equal(shape.kv_heads, 6);
    assert_non_null(kernel_shape_refused(
        kernel_case("rope"), &(OpShape){.rows = 1, .heads = 1, .kv_heads = 1, .size = 3},
        DTYPE_F32));
    assert_non_null(
        kernel_shape_refused(kernel_case("narrow"), &(OpShape){.rows = 4, .cols = 6}, DTYPE_F16));
}

// Kernels for subgroups that shuffle run on some devices only.
static bool runs_here(const KernelCase *kase)
{
    const GpuInfo *info = gpu_info(device);
    bool shuffles = info->subgroup_shuffle && info->subgroup_size && info->subgroup_size % 8 == 0;
    return shuffles || !strstr(kase->file, "shuffle");
}

// Each as it is: every shape of the table's, twice, against double.
static void every_kernel_is_right(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < KERNEL_CASE_COUNT; i++) {
        const KernelCase *k = &KERNEL_CASES[i];
        TrialOptions o = options_of(k->file, NULL, NULL);
        const OpShape *shape = kernel_case_shapes(k);
        bool vectors = strstr(k->file, "shuffle") != NULL;
        if (!runs_here(k)) {
            ShaderTrial none;
            Error err;
            assert_false(shader_trial(&none, device, &o, &err));
            assert_error(err, "is not what runs at");
            continue;
        }
        while (kernel_shape_refused(k, shape, o.dtype) || (vectors && shape->size % 4)) shape++;
        o.shape = *shape;
        ShaderTrial t = run_trial(o);
        const BedError *e = &t.versions[0].error;
        if (!t.versions[0].right)
            fail_msg("%s: %s[%u][%u] at %s: %.9g, expected %.9g", k->file, e->tensor, e->row,
                     e->col, t.versions[0].error_shape, e->got, e->want);
        assert_true(t.versions[0].repeats && t.shapes >= 2 && t.timed_compared);
    }
}

// ---- right and wrong ---------------------------------------------------------------------------

static void the_same_source_is_the_same(void **state)
{
    (void)state;
    TestPath file = changed("rmsnorm.comp", "y[", "y[");
    ShaderTrial t = run_trial(options_of("rmsnorm", "64x512", file.text));
    assert_int_equal(t.way.kernel, K_rmsnorm_vec4);
    assert_int_equal(t.version_count, 2);
    for (int v = 0; v < 2; v++) assert_true(t.versions[v].right && t.versions[v].repeats);
    assert_true(t.same_bits);
    assert_true(t.pairs >= 4 && t.ratio.known);
    assert_true(t.ratio.low < 1.2 && t.ratio.high > 0.8);
}

static void a_wrong_shader_is_found(void **state)
{
    (void)state;
    TestPath file = changed("rmsnorm.comp", "+ args.epsilon", "* 1.0001 + args.epsilon");
    ShaderTrial t = run_trial(options_of("rmsnorm", "64x512", file.text));
    const TrialVersion *v = &t.versions[1];
    assert_true(t.versions[0].right);
    assert_false(v->right);
    assert_false(t.same_bits);
    assert_string_equal(v->error.tensor, "y");
    double off = fabs(v->error.got / v->error.want - 1); // half of it, as of a root
    assert_true(off > 4e-5 && off < 6e-5 && v->error.share > 1);
    assert_true(v->error.largest >= fabs(v->error.got - v->error.want));
}

// What is not written holds no number.
static void a_value_that_is_not_written_is_found(void **state)
{
    (void)state;
    TestPath file =
        changed("add.comp", "FOR_ELEMENTS(c, cols) z", "FOR_ELEMENTS(c, cols) if (c != 3) z");
    ShaderTrial t = run_trial(options_of("add", "5x64", file.text));
    assert_false(t.versions[1].right);
    assert_true(isinf(t.versions[1].error.share));
}

static void another_shape_may_be_wrong(void **state)
{
    (void)state; // no multiple of 8 vectors
    TestPath file =
        changed("add.comp", "x[row + c] + y", "(cols % 8 == 0 ? 1.0 : 1.5) * x[row + c] + y");
    ShaderTrial t = run_trial(options_of("add_vec4", "8x256", file.text));
    assert_true(t.versions[1].right); // the table's other shape is 64 x 192
    file = changed("add.comp", "x[row + c] + y", "(cols != 48 ? 1.0 : 1.5) * x[row + c] + y");
    t = run_trial(options_of("add_vec4", "8x256", file.text));
    assert_false(t.versions[1].right);
    assert_string_equal(t.versions[1].error_shape, "64x192");
}

static void errors_have_file_and_line(void **state)
{
    (void)state;
    ShaderTrial t;
    Error err;
    TestPath file = changed("add.comp", "uint r =", "oops; uint r =");
    TrialOptions o = options_of("add", "5x64", file.text);
    assert_false(shader_trial(&t, device, &o, &err));
    assert_error(err, "add.comp:16: error: 'oops'");
    file = changed("add.comp", "#include \"args.h\"", "#include \"none.h\"");
    assert_false(shader_trial(&t, device, &o, &err));
    assert_error(err, "none.h");
    file = changed("add.comp", "binding = 3", "binding = 7");
    assert_false(shader_trial(&t, device, &o, &err));
    assert_error(err, "binding 7: kernel add_vec4 has no such tensor");
    remove(file.text);
    assert_false(shader_trial(&t, device, &o, &err));
    assert_error(err, "add.comp");
}

// An include beside the file stands before the program's.
static void includes_are_found_beside_the_file(void **state)
{
    (void)state;
    test_write_text(&own_folder, "own.glsl", "#define SUM(a, b) ((a) - (b))\n");
    TestPath file = changed("add.comp", "x[row + c] + y[row + c]", "SUM(x[row + c], y[row + c])");
    ShaderTrial t;
    Error err;
    TrialOptions o = options_of("add", "5x64", file.text);
    assert_false(shader_trial(&t, device, &o, &err));
    size_t size;
    char *text = test_read(file.text, &size), *at = strstr(text, "#include \"common.glsl\"");
    assert_non_null(at);
    memcpy(at, "#include \"own.glsl\"\n//", strlen("#include \"common.glsl\""));
    test_write_text(&own_folder, "add.comp", text);
    free(text);
    test_write_text(
        &own_folder, "elements.glsl",
        "#include \"common.glsl\"\n#define VALUE vec4\n#define WIDTH 4\n"
        "#define FOR_ELEMENTS(c, cols) for (uint c = gl_GlobalInvocationID.x; c < cols; "
        "c += gl_NumWorkGroups.x * gl_WorkGroupSize.x)\n");
    t = run_trial(o);
    assert_false(t.versions[1].right); // a difference, in a sum's place
}

// ---- replacing ---------------------------------------------------------------------------------

static Tape *record_sum(Tensor z, Tensor x, Tensor y, Counts *counts)
{
    Error err;
    Tape *tape = tape_begin(device, "sum", &err);
    assert_non_null(tape);
    op_add(tape, z, x, y, (Rows){counts, 0, 0, 1});
    if (!tape_end(tape, &err)) fail_msg("%s", err.text);
    return tape;
}

static float value_after(Tape *tape, Tensor z)
{
    float values[4];
    Error err;
    if (!gpu_run(device, &tape, 1, &err) || !tensor_download(device, z, values, &err))
        fail_msg("%s", err.text);
    return values[2];
}

// Tapes keep the kernel that they were recorded with.
static void tapes_keep_their_kernel(void **state)
{
    (void)state;
    Error err;
    TestPath file = changed("add.comp", "+ y[", "- y[");
    Tensor x = tensor_make(device, MEMORY_DEVICE, 1, 4, &err), y = x, z = x;
    y = tensor_make(device, MEMORY_DEVICE, 1, 4, &err);
    z = tensor_make(device, MEMORY_DEVICE, 1, 4, &err);
    assert_true(x.span && y.span && z.span);
    assert_true(tensor_upload(device, x, (float[]){1, 2, 5, 4}, &err));
    assert_true(tensor_upload(device, y, (float[]){1, 2, 3, 4}, &err));
    Counts *counts = counts_open(device, &err);
    assert_non_null(counts);
    counts_set(counts, 0, 1);
    Tape *before = record_sum(z, x, y, counts);
    assert_true(gpu_replace_kernel(device, K_add_vec4, file.text, &err));
    Tape *within = record_sum(z, x, y, counts);
    assert_false(gpu_replace_kernel(device, K_add_vec4, "/nowhere.comp", &err));
    assert_true(gpu_replace_kernel(device, K_add_vec4, file.text, &err));
    Tape *again = record_sum(z, x, y, counts);
    gpu_restore_kernel(device, K_add_vec4);
    Tape *after = record_sum(z, x, y, counts);
    for (int i = 0; i < 2; i++) {
        assert_true(value_after(before, z) == 8);
        assert_true(value_after(within, z) == 2);
        assert_true(value_after(again, z) == 2);
        assert_true(value_after(after, z) == 8);
    }
    Tape *const tapes[] = {before, within, again, after};
    for (int i = 0; i < 4; i++) tape_free(tapes[i]);
    counts_close(counts);
    tensor_free(device, &x);
    tensor_free(device, &y);
    tensor_free(device, &z);
}

// ---- times -------------------------------------------------------------------------------------

// add.comp with so many dependent steps in front of each sum, which change no result.
static TestPath slow_sum(const char *steps)
{
    char text[400];
    snprintf(text, sizeof text,
             "FOR_ELEMENTS(c, cols) {\n"
             "        VALUE turned = x[row + c];\n"
             "        for (uint i = 0; i < %s; i++) turned = fract(turned * 1.7 + 0.3);\n"
             "        if (length(turned) > 9.0) return;\n"
             "        z[row + c] = x[row + c] + y[row + c]; }\n//",
             steps);
    return changed("add.comp", "FOR_ELEMENTS(c, cols)", text);
}

// A device whose kernels are those of the test's folder, where it has them.
static Gpu *open_with_own_shaders(void)
{
    static const char *const includes[] = {"args.h", "common.glsl", "elements.glsl"};
    Error err;
    for (size_t i = 0; i < sizeof includes / sizeof *includes; i++)
        test_write_text(&own_folder, includes[i], gpu_shader_text(includes[i]));
    setenv("STRATA_SHADER_DIR", own_folder.text, 1);
    Gpu *gpu = gpu_open(NULL, &err);
    unsetenv("STRATA_SHADER_DIR");
    if (!gpu) fail_msg("%s", err.text);
    return gpu;
}

// Of two kernels that are nothing but steps one has twice as many. Times are the device's.
static void twice_the_work_takes_twice_the_time(void **state)
{
    (void)state;
    slow_sum("600");
    Gpu *gpu = open_with_own_shaders();
    TestPath file = slow_sum("1200");
    TrialOptions o = options_of("add_vec4", "32x512", file.text);
    const ProfileOptions profile = {.cost = cost_of};
    ShaderTrial t;
    Error err;
    o.seconds = 2;
    if (!gpu_profile(gpu, &profile, &err) || !shader_trial(&t, gpu, &o, &err))
        fail_msg("%s", err.text);
    print_message("%.3f of the time, %.3f to %.3f (%u pairs); lowest %.3g and %.3g ms\n",
                  t.ratio.ratio, t.ratio.low, t.ratio.high, t.pairs,
                  1e3 * t.versions[0].seconds.lowest, 1e3 * t.versions[1].seconds.lowest);
    assert_true(t.versions[0].right && t.versions[1].right && t.same_bits);
    // Where other programs want the processors, a longer run loses more of them.
    assert_true(t.ratio.ratio > 1.5 && t.ratio.ratio < 3);
    assert_true(t.ratio.known && t.ratio.low < 2.5 && t.ratio.high > 1.6);
    assert_true(t.timestamps == gpu_info(gpu)->timestamps);
    assert_true(fabs(t.cost.bytes - 3.0 * 4 * 32 * 512) < 0.5);
    assert_true(fabs(t.cost.operations - 32 * 512) < 0.5);
    gpu_close(gpu);
}

// ---- the command -------------------------------------------------------------------------------

static void usage_is_checked(void **state)
{
    (void)state;
    assert_cli_fails(CLI("profile", "shader"), 2, "one KERNEL is expected");
    assert_cli_fails(CLI("profile", "shader", "none"), 2, "kernel 'none'");
    assert_cli_fails(CLI("profile", "shader", "peak_copy"), 2, "no op records it");
    assert_cli_fails(CLI("profile", "shader", "add", "--shape", "3"), 2, "ROWSxCOLS");
    assert_cli_fails(CLI("profile", "shader", "add", "--seconds", "x"), 2, "--seconds");
    assert_cli_fails(CLI("profile", "shader", "add", "--type", "f16"), 2, "no such parameter");
    assert_cli_fails(CLI("profile", "shader", "add", "--type", "f17"), 2, "type 'f17'");
    assert_cli_fails(CLI("profile", "shader", "gather", "--shape", "9x8x4"), 2, "at most OTHERS");
    assert_cli_fails(CLI("profile", "shader", "add_vec4", "--shape", "3x5"), 1,
                     "kernel add_vec4 is not what runs at 3x5 F32; that is add");
}

static void kernels_are_listed(void **state)
{
    (void)state;
    CliRun run = CLI("profile", "shader", "--list");
    assert_int_equal(run.status, 0);
    for (int k = 0; k < KERNEL_COUNT; k++)
        if (!is_probe(&kernel_sources[k])) assert_cli_prints(run, kernel_sources[k].name);
    cli_free(&run);
    size_t size;
    char *text = test_read(TEST_ROOT "/shaders/rope.comp", &size);
    run = CLI("profile", "shader", "rope_vec4", "--source");
    assert_int_equal(run.status, 0);
    assert_string_equal(run.out, text);
    free(text);
    cli_free(&run);
}

static void wrong_versions_fail(void **state)
{
    (void)state;
    TestPath file = changed("add.comp", "+ y[", "- y[");
    CliRun run = CLI("profile", "shader", "add", "--shape", "9x64", "--with", file.text,
                     "--seconds", "0", "--json");
    assert_int_equal(run.status, 1);
    assert_non_null(strstr(run.err, "add.comp is wrong: y["));
    cJSON *root = cJSON_Parse(run.out);
    assert_non_null(root);
    cJSON *new = cJSON_GetObjectItem(root, "new");
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(new, "right")));
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(cJSON_GetObjectItem(root, "strata"), "right")));
    assert_string_equal(cJSON_GetObjectItem(root, "kernel")->valuestring, "add_vec4");
    assert_true(cJSON_GetObjectItem(cJSON_GetObjectItem(root, "ratio"), "median")->valuedouble > 0);
    cJSON_Delete(root);
    cli_free(&run);
    changed("add.comp", "uint r =", "oops; uint r =");
    assert_cli_fails(CLI("profile", "shader", "add", "--with", file.text), 1,
                     "add.comp:16: error: 'oops'");
    changed("add.comp", "+ y[", "+ y[");
    run = CLI("profile", "shader", "add", "--shape", "9x64", "--with", file.text, "--seconds", "0");
    assert_int_equal(run.status, 0);
    assert_cli_prints(run, "the same to the bit");
    cli_free(&run);
}

// A device that counts prints each; one that does not says so in a line.
static void counters_need_a_device_that_counts(void **state)
{
    (void)state;
    CliRun run = CLI("profile", "counters");
    assert_cli_prints(run, "counters");
    bool none = strstr(run.out, "no counters") != NULL;
    cli_free(&run);
    run = CLI("profile", "shader", "add", "--counters", "no such counter", "--seconds", "0");
    assert_cli_fails(run, 1,
                     none ? "has no counters (VK_KHR_performance_query)" : "'no such counter'");
    assert_cli_fails(CLI("profile", "shader", "add", "--counters", ","), 2, "--counters");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_need_a_device_that_counts),
        cmocka_unit_test(every_kernel_is_in_the_table),
        cmocka_unit_test(shapes_are_read),
        cmocka_unit_test(every_kernel_is_right),
        TEST(the_same_source_is_the_same),
        TEST(a_wrong_shader_is_found),
        TEST(a_value_that_is_not_written_is_found),
        TEST(another_shape_may_be_wrong),
        TEST(errors_have_file_and_line),
        TEST(includes_are_found_beside_the_file),
        TEST(tapes_keep_their_kernel),
        TEST(twice_the_work_takes_twice_the_time),
        cmocka_unit_test(usage_is_checked),
        cmocka_unit_test(kernels_are_listed),
        TEST(wrong_versions_fail),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests_name("profile shader", tests, device_open, device_close);
}
