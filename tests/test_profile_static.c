// strata profile static: that it compiles every kernel of the sources and runs nothing, what it
// prints, and what drivers for GPUs that are not here say (the testbed's, which only compile).
#define _POSIX_C_SOURCE 200809L
#include "base/json.h"
#include "gpu/dry.h"
#include "ops/ops.h"
#include "profile/static_kernels.h"
#include "support/cli.h"
#include "support/device.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAIL_LAYER                                                                                 \
    "VK_ADD_LAYER_PATH=" TEST_LAYERS, "VK_INSTANCE_LAYERS=VK_LAYER_STRATA_fail_device"

static cJSON *parse(const char *text, const char *what)
{
    Error err;
    cJSON *root = json_parse(text, strlen(text), what, &err);
    if (!root) fail_msg("%s", err.text);
    return root;
}

static const char *text_of(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(object, key));
    assert_non_null(text);
    return text;
}

static int size_of(const cJSON *object, const char *key)
{
    const cJSON *list = cJSON_GetObjectItem(object, key);
    assert_true(cJSON_IsArray(list));
    return cJSON_GetArraySize(list);
}

// ---- which pipelines ---------------------------------------------------------------------------

static StaticPipelines list_pipelines(void)
{
    StaticPipelines all;
    Error err;
    if (!static_pipelines_list(&all, device, &err)) fail_msg("%s", err.text);
    return all;
}

static const StaticPipeline *find(const StaticPipelines *all, Kernel kernel,
                                  const uint32_t *constants)
{
    for (size_t i = 0; i < all->count; i++)
        if (all->list[i].kernel == kernel &&
            !memcmp(all->list[i].constants, constants, sizeof all->list[i].constants))
            return &all->list[i];
    return NULL;
}

// A kernel that the device could have and that no line of static_kernels.c reaches fails here.
static void every_kernel_is_listed(void **state)
{
    (void)state;
    StaticPipelines all = list_pipelines();
    bool missed = false;
    for (int k = 0; k < KERNEL_COUNT; k++) {
        bool no_op = all.missing[k] && !strcmp(all.missing[k], "an op that takes it");
        if (no_op) print_error("%s: needs %s\n", kernel_sources[k].name, all.missing[k]);
        missed |= no_op;
        assert_true(!gpu_kernel_lacks(device, (Kernel)k) || all.missing[k]);
    }
    assert_false(missed);
    for (size_t i = 0; i < all.count; i++) // each once
        assert_ptr_equal(find(&all, all.list[i].kernel, all.list[i].constants), &all.list[i]);
    static_pipelines_free(&all);
}

// Both head sizes, and products of one row, of a few and of many: what the shapes are there for.
static void shapes_reach_constants(void **state)
{
    (void)state;
    StaticPipelines all = list_pipelines();
    uint32_t sizes = 0, single = 0, many = 0;
    for (size_t i = 0; i < all.count; i++) {
        const StaticPipeline *p = &all.list[i];
        const char *file = kernel_sources[p->kernel].file;
        if (!strncmp(file, "attention", 9) && p->chosen)
            sizes |= p->constants[2] == 64 ? 1 : p->constants[2] == 128 ? 2 : 4;
        if (strcmp(file, "matmul") || !p->chosen) continue;
        single |= p->rows[0] == 1 && p->constants[2] == 1;
        many |= p->rows[p->row_count - 1] == 512 && p->constants[2] >= 8;
    }
    assert_true(single && many);
    assert_int_equal(sizes, 3);
    static_pipelines_free(&all);
}

static uint32_t dispatches;

static bool count_dispatch(void *user, const Dispatch *dispatch)
{
    (void)user;
    (void)dispatch;
    dispatches++;
    return false;
}

// A tape whose dispatches are left out holds nothing and takes no memory for what it names.
static void tapes_without_their_dispatches_hold_nothing(void **state)
{
    (void)state;
    Error err;
    Tape *tape = tape_begin(device, "dry", &err);
    assert_non_null(tape);
    uint64_t used = gpu_memory_used(device);
    dispatches = 0;
    gpu_filter(device, count_dispatch, NULL);
    Tensor huge = tensor_imagine(DTYPE_F32, 1u << 20, 1u << 12); // 16 GiB
    op_add(tape, huge, huge, huge, (Rows){counts_imagine(), 0, 0, 1u << 20});
    gpu_filter(device, NULL, NULL);
    assert_true(tape_end(tape, &err));
    assert_int_equal(dispatches, 1);
    assert_int_equal(tape_dispatches(tape), 0);
    assert_true(gpu_memory_used(device) == used);
    tape_free(tape);
}

// ---- the command -------------------------------------------------------------------------------

static bool is_in(const cJSON *list, const char *kernel)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list) if (!strcmp(text_of(item, "kernel"), kernel)) return true;
    return false;
}

// Under a driver that fails at the first submission, so that there is none.
static void everything_compiles_and_nothing_runs(void **state)
{
    (void)state;
    CliRun run = cli_run(&(CliCall){.args = {"profile", "static", "--json", "--all"},
                                    .vars = {FAIL_LAYER, "STRATA_TEST_FAIL=submit 1 -4"}});
    assert_cli_prints(run, "\"pipelines\"");
    cJSON *root = parse(run.out, "profile static --json");
    assert_string_equal(text_of(root, "device"), gpu_info(device)->name);
    assert_int_equal(size_of(root, "refused"), 0);
    const cJSON *pipelines = cJSON_GetObjectItem(root, "pipelines");
    const cJSON *skipped = cJSON_GetObjectItem(root, "skipped");
    for (int k = 0; k < KERNEL_COUNT; k++)
        assert_true(is_in(pipelines, kernel_sources[k].name) !=
                    is_in(skipped, kernel_sources[k].name));
    StaticPipelines all = list_pipelines();
    assert_int_equal(cJSON_GetArraySize(pipelines), all.count);
    static_pipelines_free(&all);
    const cJSON *item;
    cJSON_ArrayForEach(item, pipelines)
    {
        const cJSON *constants = cJSON_GetObjectItem(item, "constants");
        assert_true(cJSON_GetNumberValue(cJSON_GetObjectItem(item, "compile_ms")) > 0);
        assert_true(cJSON_GetNumberValue(cJSON_GetObjectItem(item, "group")) ==
                    cJSON_GetNumberValue(cJSON_GetArrayItem(constants, 0)));
    }
    cJSON_Delete(root);
    cli_free(&run);
}

// The layer of the test above does fail what is submitted.
static void a_submission_would_have_failed(void **state)
{
    (void)state;
    CliRun run = cli_run(&(CliCall){.args = {"generate", TEST_ROOT "/assets/base", "--prompt", "a"},
                                    .vars = {FAIL_LAYER, "STRATA_TEST_FAIL=submit 1 -4"}});
    assert_cli_fails(run, 1, "lost");
}

// One refusal is one line, and does not hide the others.
static void a_refused_kernel_is_named(void **state)
{
    (void)state;
    CliRun run = cli_run(&(CliCall){.args = {"profile", "static", "--csv", "add", "swiglu"},
                                    .vars = {FAIL_LAYER, "STRATA_TEST_FAIL=compile 1 -13"}});
    assert_int_equal(run.status, 1);
    assert_non_null(strstr(run.err, ": add"));
    assert_ptr_equal(strchr(run.err, '\n'), run.err + strlen(run.err) - 1);
    assert_non_null(strstr(run.out, "\nswiglu"));
    cli_free(&run);
}

static int count(const char *text, char c)
{
    int n = 0;
    for (; *text && *text != '\n'; text++) n += *text == c;
    return n;
}

// A line a pipeline, as many fields in each; commas within quotes stand in the constants alone.
static void csv_has_a_field_for_each_column(void **state)
{
    (void)state;
    CliRun run = CLI("profile", "static", "--csv", "rmsnorm", "matmul_blocks");
    assert_cli_prints(run, "kernel,constants,chosen,shape,rows,compile_ms,registers,");
    int columns = count(run.out, ','), lines = 0;
    for (const char *line = strchr(run.out, '\n') + 1; *line; line = strchr(line, '\n') + 1) {
        const char *open = strchr(line, '"'), *close = strchr(open + 1, '"');
        int quoted = 0;
        for (const char *c = open; c < close; c++) quoted += *c == ',';
        assert_int_equal(count(line, ',') - quoted, columns);
        assert_true(!strncmp(line, "rmsnorm", 7) || !strncmp(line, "matmul_blocks", 13));
        lines++;
    }
    assert_true(lines >= 5); // a norm, and products with four types of blocks
    cli_free(&run);
}

static void tables_leave_out_what_is_not_told(void **state)
{
    (void)state;
    CliRun run = CLI("profile", "static", "swiglu");
    assert_cli_prints(run, "swiglu_vec4");
    assert_non_null(strstr(run.out, "group"));
    if (strstr(run.out, "tells no statistics")) assert_null(strstr(run.out, "registers"));
    cli_free(&run);
}

// A variant that ops do not choose here is shown where it is named; a file's name stands for those
// that they do.
static void names_stand_for_kernels_and_files(void **state)
{
    (void)state;
    CliRun run = cli_run(&(CliCall){.args = {"profile", "static", "--csv", "rmsnorm"},
                                    .vars = {"STRATA_VARIANT=any"}});
    assert_cli_prints(run, "\nrmsnorm,");
    assert_null(strstr(run.out, "\nrmsnorm_vec4"));
    cli_free(&run);
    run = cli_run(&(CliCall){.args = {"profile", "static", "--csv", "rmsnorm_vec4"},
                             .vars = {"STRATA_VARIANT=any"}});
    assert_cli_prints(run, "\nrmsnorm_vec4,");
    cli_free(&run);
}

static void wrong_usage_is_told(void **state)
{
    (void)state;
    assert_cli_fails(CLI("profile", "static", "matmull"), 2, "'matmull' is no kernel");
    assert_cli_fails(CLI("profile", "static", "--json", "--csv"), 2, "exclude each other");
    assert_cli_fails(CLI("profile", "static", "--fast"), 2, "'--fast'");
    assert_cli_fails(CLI("profile", "nothing"), 2, "'nothing'");
    assert_cli_fails(CLI("profile"), 2, "profile what?");
}

// ---- drivers that only compile -----------------------------------------------------------------

enum { ABSENT = 3 }; // tools/testbed.sh's status

// What the program prints on that driver, or NULL where the testbed has none. Some of the kernels,
// as all of them take minutes.
static char *read_testbed(const char *driver)
{
    char command[600];
    size_t room = 1 << 22, size;
    char *text = malloc(room);
    snprintf(command, sizeof command,
             "'%s/tools/testbed.sh' run %s '%s' profile static --json matmul rmsnorm attention "
             "swiglu adamw",
             TEST_ROOT, driver, TEST_STRATA);
    FILE *pipe = popen(command, "r");
    assert_true(text && pipe);
    size = fread(text, 1, room - 1, pipe);
    text[size] = 0;
    int state = pclose(pipe), status = WIFEXITED(state) ? WEXITSTATUS(state) : -1;
    if (status == 0) return text;
    if (status != ABSENT) fail_msg("%s: ended with status %d:\n%s", driver, status, text);
    free(text);
    return NULL;
}

// What is positive of every kernel on these drivers, so that a name that changed is missed.
static bool check_driver(const char *driver, const char *begins)
{
    static const char *const told[] = {"registers", "occupancy", "instructions", "code"};
    char *text = read_testbed(driver);
    if (!text) return false;
    cJSON *root = parse(text, driver);
    assert_true(!strncmp(text_of(root, "driver"), begins, strlen(begins)));
    assert_int_equal(size_of(root, "refused"), 0);
    assert_true(size_of(root, "pipelines") >= 8);
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(root, "pipelines"))
    {
        for (int i = 0; i < 4; i++) {
            const cJSON *field = cJSON_GetObjectItem(item, told[i]);
            if (!cJSON_IsNumber(field) || field->valuedouble <= 0)
                fail_msg("%s: %s: no %s", driver, text_of(item, "kernel"), told[i]);
        }
        assert_true(cJSON_IsNumber(cJSON_GetObjectItem(item, "spills")));
    }
    cJSON_Delete(root);
    free(text);
    return true;
}

static void drivers_without_devices(void **state)
{
    (void)state;
    static const char *const drivers[][2] = {{"navi31", "radv"},
                                             {"nvk-ampere", "NVK"},
                                             {"adreno630", "turnip"},
                                             {"apple-m1", "Honeykrisp"}};
    int ran = 0;
    for (int i = 0; i < 4 && !access(TEST_ROOT "/tools/testbed.sh", X_OK); i++)
        ran += check_driver(drivers[i][0], drivers[i][1]);
    if (ran) return;
    print_message("skipped: no testbed (tools/testbed.sh makes one)\n");
    skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_is_listed),
        cmocka_unit_test(shapes_reach_constants),
        cmocka_unit_test(tapes_without_their_dispatches_hold_nothing),
        cmocka_unit_test(everything_compiles_and_nothing_runs),
        cmocka_unit_test(a_submission_would_have_failed),
        cmocka_unit_test(a_refused_kernel_is_named),
        cmocka_unit_test(csv_has_a_field_for_each_column),
        cmocka_unit_test(tables_leave_out_what_is_not_told),
        cmocka_unit_test(names_stand_for_kernels_and_files),
        cmocka_unit_test(wrong_usage_is_told),
        cmocka_unit_test(drivers_without_devices),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, device_open, device_close);
}
