// The table by pipeline: rows of profiles made by hand beside what a made-up compiler says, in each
// of the forms; and what this device says of pipelines that ran on it, by the library and by the
// command.
#define _POSIX_C_SOURCE 200809L // open_memstream
#include "ops/ops.h"
#include "profile/compare.h"
#include "support/cli.h"
#include "support/device.h"
#include "support/json_fields.h"
#include "support/profiles.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PIPELINES = 1u << SUMMARY_PIPELINES, ROWS = 4 };

// ---- by hand -----------------------------------------------------------------------------------

static Command *specialized(HandProfile *hand, Kernel kernel, uint32_t group, uint32_t parts)
{
    Command *command = &hand->commands[hand->command_count];
    hand_dispatch(hand, kernel, "forward 0", 4, 8);
    command->dispatch.constants[0] = group;
    command->dispatch.constants[1] = parts;
    return command;
}

// In seconds, longest first:
//   rmsnorm 64,32   4 + 2 + 3, on two tapes
//   add 64,1        5
//   fill            2
//   add 32,1        1
static HandProfile *by_hand(void)
{
    HandProfile *hand = hand_open();
    const Command *norm = specialized(hand, K_rmsnorm, 64, 32);
    const Command *wide = specialized(hand, K_add, 64, 1);
    const Command *narrow = specialized(hand, K_add, 32, 1);
    const Command *again = specialized(hand, K_rmsnorm, 64, 32);
    const Command *fill = hand_move(hand, COMMAND_FILL, "backward", 4, 8);
    hand_step(hand, 0, 20);
    hand_run(hand, 0, 18);
    hand_event(hand, norm, 0, 4, 0, 0);
    hand_event(hand, wide, 4, 9, 0, 0);
    hand_event(hand, norm, 9, 11, 0, 0);
    hand_event(hand, narrow, 11, 12, 0, 0);
    hand_event(hand, again, 12, 15, 0, 0);
    hand_event(hand, fill, 15, 17, 0, 0);
    hand->record.end = 20;
    return hand;
}

static ProfileSummary summarize(const ProfileRecord *record)
{
    Error err;
    ProfileSummary s;
    if (!summary_make(&s, record, &(Ceilings){0}, &err)) fail_msg("%s", err.text);
    return s;
}

// A compiler that tells registers and spills, of the last row no spills, and nothing else.
static Compiled made_up(void)
{
    Compiled c = {.fields = calloc(ROWS, sizeof *c.fields), .count = ROWS, .statistics = true};
    assert_non_null(c.fields);
    for (int i = 0; i < ROWS; i++)
        for (int f = 0; f < FIELD_COUNT; f++) c.fields[i][f] = NAN;
    c.fields[0][FIELD_REGISTERS] = 96.5;
    c.fields[1][FIELD_REGISTERS] = 24;
    c.fields[3][FIELD_REGISTERS] = 16;
    c.fields[0][FIELD_SPILLS] = 0;
    c.fields[1][FIELD_SPILLS] = 3;
    c.known[FIELD_REGISTERS] = c.known[FIELD_SPILLS] = true;
    return c;
}

static void a_row_is_a_kernel_with_its_constants(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int kernel;
        uint32_t constants[2];
        size_t calls;
        double total, median;
    } want[ROWS] = {{"rmsnorm 64,32", K_rmsnorm, {64, 32}, 3, 9, 3},
                    {"add 64,1", K_add, {64, 1}, 1, 5, 5},
                    {"fill", -1, {0, 0}, 1, 2, 2},
                    {"add 32,1", K_add, {32, 1}, 1, 1, 1}};
    HandProfile *hand = by_hand();
    ProfileSummary s = summarize(&hand->record);
    const SummaryTable *table = &s.tables[SUMMARY_PIPELINES];
    assert_int_equal(table->count, ROWS);
    for (int i = 0; i < ROWS; i++) {
        const SummaryRow *row = &table->rows[i];
        assert_string_equal(row->name, want[i].name);
        assert_int_equal(row->kernel, want[i].kernel);
        assert_memory_equal(row->constants, want[i].constants, sizeof want[i].constants);
        assert_int_equal(row->calls, want[i].calls);
        assert_true(row->total == want[i].total && row->median == want[i].median);
        assert_true(fabs(row->share - want[i].total / 17) < 1e-12);
        assert_true(row->samples[0] == want[i].total);
    }
    summary_free(&s);
    free(hand);
}

// ---- the forms ---------------------------------------------------------------------------------

// The report of the profile by hand, as text or CSV.
static char *text_of(const Compiled *compiled, bool csv, unsigned kinds, size_t top)
{
    char *text;
    size_t size;
    HandProfile *hand = by_hand();
    ProfileSummary s = summarize(&hand->record);
    const ProfileReport report = {
        .summary = &s, .version = "1", .date = "now", .compiled = compiled};
    FILE *stream = open_memstream(&text, &size);
    assert_non_null(stream);
    if (csv)
        table_csv(stream, &report, kinds);
    else
        table_print(stream, &report, kinds, top);
    assert_int_equal(fclose(stream), 0);
    summary_free(&s);
    free(hand);
    return text;
}

static void assert_lines(const char *text, const char *const *lines, int count)
{
    for (int i = 0; i < count; i++)
        if (!strstr(text, lines[i])) fail_msg("no '%s' in\n%s", lines[i], text);
}

static void text_leaves_out_what_is_not_known(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "\nkernel   constants  calls   total  share  median  registers  spills\n",
        "\nrmsnorm  64,32          3  9.00 s  52.9%  3.00 s       96.5       0\n",
        "\nadd      64,1           1  5.00 s  29.4%  5.00 s         24       3\n",
        "\nfill                    1  2.00 s  11.8%  2.00 s\n",
        "\nadd      32,1           1  1.00 s   5.9%  1.00 s         16\n",
        "\nall                     6  17.0 s   100%       -\n",
        "\nregisters        32-bit registers of an invocation\n",
    };
    Compiled compiled = made_up();
    char *text = text_of(&compiled, false, PIPELINES, 0);
    assert_lines(text, lines, 7);
    assert_null(strstr(text, "occupancy"));
    assert_null(strstr(text, "tells no statistics"));
    free(text);
    compiled.statistics = false;
    text = text_of(&compiled, false, PIPELINES, 2);
    assert_non_null(strstr(text, "\n2 others                 2  3.00 s  17.6%"));
    assert_non_null(strstr(text, "this driver tells no statistics of its compiler\n"));
    free(text);
    text = text_of(NULL, false, PIPELINES, 0); // times alone
    assert_non_null(strstr(text, "\nkernel   constants  calls   total  share  median\n"));
    free(text);
    compiled_free(&compiled);
}

static void csv_has_more_columns_by_pipeline(void **state)
{
    (void)state;
    static const char *const lines[] = {
        ",launch_share,limit,kernel,constants,registers,spills\n",
        "\nphase,\"forward\",5,15,",
        ",-,,,,\npipeline,\"rmsnorm 64,32\",3,9,3,",
        ",-,rmsnorm,\"64,32\",96.5,0\npipeline,\"add 64,1\",1,5,5,",
        ",-,add,\"64,1\",24,3\npipeline,\"fill\",1,2,2,",
        ",-,fill,,,\npipeline,\"add 32,1\",1,1,1,",
        ",-,add,\"32,1\",16,\naccounting,\"all wall\",,20,,,,,,,,,,,,,,\n",
    };
    Compiled compiled = made_up();
    char *text = text_of(&compiled, true, PIPELINES | 1u << SUMMARY_PHASES, 0);
    assert_lines(text, lines, 7);
    free(text);
    text = text_of(&compiled, true, 1u << SUMMARY_PHASES, 0);
    assert_non_null(strstr(text, ",limit\n"));
    assert_null(strstr(text, "64,32"));
    free(text);
    compiled_free(&compiled);
}

static cJSON *json_of(const Compiled *compiled)
{
    Error err;
    HandProfile *hand = by_hand();
    ProfileSummary s = summarize(&hand->record);
    const ProfileReport report = {
        .summary = &s, .version = "1", .date = "now", .compiled = compiled};
    cJSON *json = table_json(&report, &err);
    assert_non_null(json);
    summary_free(&s);
    free(hand);
    return json;
}

static void json_has_fields_beside_times(void **state)
{
    (void)state;
    Compiled compiled = made_up();
    cJSON *json = json_of(&compiled);
    const cJSON *rows = field_item(field_item(json, "tables"), "pipeline");
    assert_int_equal(cJSON_GetArraySize(rows), ROWS);
    const cJSON *norm = cJSON_GetArrayItem(rows, 0), *fill = cJSON_GetArrayItem(rows, 2);
    const cJSON *compiler = field_item(norm, "compiler");
    assert_string_equal(field_text(norm, "kernel"), "rmsnorm");
    assert_int_equal(cJSON_GetArraySize(field_item(norm, "constants")), GPU_CONSTANTS);
    assert_true(cJSON_GetArrayItem(field_item(norm, "constants"), 1)->valuedouble == 32);
    assert_true(field_number(norm, "total") == 9);
    assert_true(field_number(compiler, "registers") == 96.5);
    assert_true(field_number(compiler, "spills") == 0);
    assert_true(cJSON_IsNull(field_item(compiler, "occupancy")));
    assert_string_equal(field_text(fill, "kernel"), "fill");
    assert_null(cJSON_GetObjectItem(fill, "compiler"));
    assert_string_equal(field_text(field_item(json, "fields"), "registers"),
                        STATISTIC_FIELDS[FIELD_REGISTERS].meaning);
    cJSON_Delete(json);
    json = json_of(NULL);
    assert_null(cJSON_GetObjectItem(json, "fields"));
    rows = field_item(field_item(json, "tables"), "pipeline");
    assert_null(cJSON_GetObjectItem(cJSON_GetArrayItem(rows, 0), "compiler"));
    cJSON_Delete(json);
    compiled_free(&compiled);
}

// Of the same profile, written and read, with the table or as versions before it wrote it.
static ProfileComparison compare_written(bool with, ProfileOld **old)
{
    Error err;
    ProfileComparison c;
    HandProfile *hand = by_hand();
    ProfileSummary s = summarize(&hand->record);
    const ProfileReport report = {.summary = &s, .version = "1", .date = "now"};
    cJSON *json = table_json(&report, &err);
    if (!with) cJSON_DeleteItemFromObject(cJSON_GetObjectItem(json, "tables"), "pipeline");
    char *text = cJSON_PrintUnformatted(json);
    TestPath path = test_write_text(&own_folder, "old.json", text);
    *old = compare_read(path.text, &err);
    if (!*old) fail_msg("%s", err.text);
    if (!compare_make(&c, *old, &report, PIPELINES, -1, &err)) fail_msg("%s", err.text);
    free(text);
    cJSON_Delete(json);
    summary_free(&s);
    free(hand);
    return c;
}

static void earlier_files_have_no_such_table(void **state)
{
    (void)state;
    ProfileOld *old;
    ProfileComparison c = compare_written(true, &old);
    assert_int_equal(c.count, 1 + ROWS);
    assert_string_equal(c.changes[1].name, "rmsnorm 64,32");
    assert_true(c.changes[1].old_median == 9 && c.changes[1].new_median == 9);
    assert_string_equal(c.notes, "");
    comparison_free(&c);
    compare_free(old);
    c = compare_written(false, &old);
    assert_int_equal(c.count, 1); // the whole step: rows that were not looked at are not new
    assert_string_equal(c.notes, "it has no table by pipeline\n");
    comparison_free(&c);
    compare_free(old);
}

// ---- on this device ----------------------------------------------------------------------------

enum { WIDTH = 48 };

static int open_profiled(void **state)
{
    Error err;
    if (device_open(state)) return -1;
    if (gpu_profile(device, &(ProfileOptions){0}, &err)) return 0;
    print_error("%s\n", err.text);
    return -1;
}

// add, twice.
static void run_ops(void)
{
    Error err;
    Counts *counts = counts_open(device, &err);
    Tensor x = tensor_make(device, MEMORY_DEVICE, 1, WIDTH, &err);
    Tensor y = tensor_make(device, MEMORY_DEVICE, 1, WIDTH, &err);
    Tape *tape = tape_begin(device, "forward 0", &err);
    assert_true(counts && x.span && y.span && tape);
    op_add(tape, y, x, x, (Rows){counts, 0, 0, 1});
    op_add(tape, y, y, x, (Rows){counts, 0, 0, 1});
    assert_true(tape_end(tape, &err));
    counts_set(counts, 0, 1);
    gpu_profile_clear(device);
    assert_true(gpu_run(device, &tape, 1, &err));
    tape_free(tape);
    tensor_free(device, &x);
    tensor_free(device, &y);
    counts_close(counts);
}

static void count_rows(void *user, size_t done, size_t count)
{
    size_t *expected = user;
    assert_int_equal(done, (*expected)++);
    assert_int_equal(count, 1);
}

static void pipelines_that_ran_are_asked(void **state)
{
    (void)state;
    Error err;
    Compiled compiled;
    size_t calls = 0;
    run_ops();
    const ProfileRecord record = {
        .title = "", .device = gpu_info(device), .data = gpu_profile_view(device)};
    ProfileSummary s = summarize(&record);
    const SummaryTable *table = &s.tables[SUMMARY_PIPELINES];
    assert_int_equal(table->count, 1);
    assert_int_equal(table->rows[0].calls, 2);
    if (!compiled_read(&compiled, device, table, count_rows, &calls, &err))
        fail_msg("%s", err.text);
    assert_int_equal(calls, 1);
    assert_int_equal(compiled.count, 1);
    // What SPIR-V says, of these constants.
    assert_true(compiled.fields[0][FIELD_LANES] == table->rows[0].constants[0]);
    assert_true(compiled.known[FIELD_LANES]);
    assert_true(compiled.statistics == gpu_has_statistics(device));
    PipelineStatistics own;
    assert_true(pipeline_statistics_read(&own, device, (Kernel)table->rows[0].kernel,
                                         table->rows[0].constants, &err));
    for (int f = 0; f < FIELD_COUNT; f++) {
        double value = compiled.fields[0][f];
        assert_true(compiled.known[f] == !isnan(value));
        assert_true(isnan(value) ? isnan(own.fields[f]) : value == own.fields[f]);
    }
    pipeline_statistics_free(&own);
    compiled_free(&compiled);
    summary_free(&s);
}

// ---- the command -------------------------------------------------------------------------------

static void the_command_asks_where_it_is_asked(void **state)
{
    (void)state;
    Error err;
    CliRun run = CLI("profile", "generate", TEST_ROOT "/assets/base", "--prompt", "a",
                     "--max-tokens", "2", "--by", "pipeline");
    assert_cli_prints(run, "\nkernel ");
    assert_non_null(strstr(run.out, "constants"));
    assert_non_null(strstr(run.out, "\ngroup            invocations of a workgroup\n"));
    assert_true(gpu_has_statistics(device) == !strstr(run.out, "tells no statistics"));
    cli_free(&run);
    run = CLI("profile", "generate", TEST_ROOT "/assets/base", "--prompt", "a", "--max-tokens", "2",
              "--json");
    const char *object = strstr(run.out, "{\"profile\"");
    assert_non_null(object);
    cJSON *json = json_parse(object, strlen(object), "--json", &err);
    if (!json) fail_msg("%s", err.text);
    const cJSON *rows = field_item(field_item(json, "tables"), "pipeline"), *row;
    assert_true(cJSON_GetArraySize(rows) >= 4);
    cJSON_ArrayForEach(row, rows)
    {
        const cJSON *constants = cJSON_GetObjectItem(row, "constants");
        if (!constants) continue; // a fill or a copy
        assert_true(field_number(field_item(row, "compiler"), "group") ==
                    cJSON_GetArrayItem(constants, 0)->valuedouble);
    }
    cJSON_Delete(json);
    cli_free(&run);
}

static void wrong_tables_are_told(void **state)
{
    (void)state;
    assert_cli_fails(CLI("profile", "generate", "m", "--prompt", "a", "--by", "pipelines"), 2,
                     "shape, pipeline is expected");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_a_kernel_with_its_constants),
        cmocka_unit_test(text_leaves_out_what_is_not_known),
        cmocka_unit_test(csv_has_more_columns_by_pipeline),
        cmocka_unit_test(json_has_fields_beside_times),
        TEST(earlier_files_have_no_such_table),
        cmocka_unit_test(pipelines_that_ran_are_asked),
        cmocka_unit_test(the_command_asks_where_it_is_asked),
        cmocka_unit_test(wrong_tables_are_told),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, open_profiled, device_close);
}
