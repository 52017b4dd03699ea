// `strata profile train` as a user meets it: that it trains as `strata train` does and leaves
// nothing behind, that its counts and times hold together and with the trainer's own, its reports,
// comparison with an earlier profile, and what is refused. Nothing here asks for a speed. What
// tables, traces and pages contain in full is in test_profile_*.c; profile generate is
// test_cli_profile_generate.c's.
#define _POSIX_C_SOURCE 200809L // strdup
#include "support/models.h"
#include "support/profile_runs.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static TestPath folder, config; // of all tests: model, data.json, train.json; out is nobody's

static const char *const RECORDS[][2] = {
    {"Write a word.", "Below"}, {"a", "task"}, {"", "is"}, {"request", "that describes"}};

static int make_all(void **state)
{
    (void)state;
    char text[4 * TEST_PATH_SIZE];
    folder = test_folder_make();
    small_model(&folder, "model", 51);
    write_records(&folder, "data.json", RECORDS, 4);
    snprintf(text, sizeof text,
             "{\"model\":\"%s/model\",\"data\":\"%s/data.json\",\"out\":\"%s/out\","
             "\"exits\":[2,4],\"steps\":40,\"batch_size\":4,\"grad_accum\":1,"
             "\"learning_rate\":0.001,\"seed\":3}",
             folder.text, folder.text, folder.text);
    config = test_write_text(&folder, "train.json", text);
    return profile_cache_fill(&folder) ? 0 : -1;
}

static int remove_all(void **state)
{
    (void)state;
    test_folder_remove(&folder);
    return 0;
}

static TestPath file_of(const char *name)
{
    return test_path(folder.text, name);
}

#define PROFILE(...) CLI("profile", "train", config.text, __VA_ARGS__)
#define SHORT "--warmup", "1", "--steps", "2"

// ---- the same training -------------------------------------------------------------------------

// The losses of plain training, step by step, as digits that a profile keeps.
static void check_losses(const cJSON *profile, const char *out, size_t first)
{
    size_t size, step = 0;
    char *text = test_read(test_path(file_of(out).text, "metrics.jsonl").text, &size), *at = text;
    for (char *end; (end = strchr(at, '\n')); at = end + 1, step++) {
        Error err;
        char digits[32];
        cJSON *line = json_parse(at, (size_t)(end - at), "metrics.jsonl", &err);
        if (!line) fail_msg("%s", err.text);
        if (step >= first && step < first + profile_steps(profile)) {
            snprintf(digits, sizeof digits, "%.6g", field_number(line, "loss"));
            assert_true(profile_step(profile, "loss", step - first) == strtod(digits, NULL));
            assert_true(profile_step(profile, "tokens", step - first) ==
                        field_number(line, "tokens"));
        }
        cJSON_Delete(line);
    }
    assert_true(step >= first + profile_steps(profile));
    free(text);
}

// Every file of a finished run with checkpoints, by name and bytes.
static uint64_t sum_of_run(const char *out)
{
    static const char *const names[] = {"config.json", "model.safetensors", "metrics.jsonl",
                                        "tokenizer.json"};
    uint64_t sum = test_folder_count(file_of(out).text) +
                   1000 * test_folder_count(test_path(file_of(out).text, "checkpoints").text);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size;
        char *bytes = test_read(test_path(file_of(out).text, names[i]).text, &size);
        for (size_t b = 0; b < size; b++) sum = 31 * sum + (unsigned char)bytes[b];
        free(bytes);
    }
    return sum;
}

// Also from a folder with checkpoints, which plain training refuses to mix with.
static void trains_the_same_and_leaves_nothing(void **state)
{
    (void)state;
    TestPath set = test_option("out", &folder, "plain");
    CliRun run = CLI("train", config.text, "--set", set.text, "--set", "save_every=2", "--set",
                     "steps=4", "--set", "warmup=1");
    if (run.status) fail_msg("%s", run.err);
    cli_free(&run);
    uint64_t before = sum_of_run("plain");
    assert_true(test_folder_count(test_path(file_of("plain").text, "checkpoints").text) > 0);
    for (int taken = 0; taken < 2; taken++) {
        run = PROFILE("--set", taken ? set.text : "seed=3", "--set", "steps=4", "--set", "warmup=1",
                      "--set", "save_every=1", "--warmup", "1", "--steps", "3", "--json");
        assert_null(strstr(run.err, "saved"));
        cJSON *profile = profile_printed(run, 0);
        assert_int_equal(profile_steps(profile), 3);
        check_losses(profile, "plain", 1);
        cJSON_Delete(profile);
        test_check_absent(file_of("out").text);
        assert_true(sum_of_run("plain") == before);
    }
}

// ---- steps and times ---------------------------------------------------------------------------

static size_t count_lines(const char *text, const char *begin)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, begin)); at++)
        count += at == text || at[-1] == '\n';
    return count;
}

static void as_many_steps_as_asked_for(void **state)
{
    (void)state;
    static const char *const counts[][2] = {{"1", "0"}, {"3", "2"}};
    for (int i = 0; i < 2; i++) {
        CliRun run = PROFILE("--steps", counts[i][0], "--warmup", counts[i][1], "--json");
        int steps = atoi(counts[i][0]), warmup = atoi(counts[i][1]);
        assert_int_equal(count_lines(run.err, "step "), steps + warmup);
        cJSON *profile = profile_printed(run, 0);
        const cJSON *settings = field_item(profile, "settings");
        assert_int_equal(profile_steps(profile), steps);
        assert_string_equal(field_text(settings, "steps"), counts[i][0]);
        assert_string_equal(field_text(settings, "warmup"), counts[i][1]);
        assert_string_equal(field_text(settings, "serialized"), "no");
        cJSON_Delete(profile);
    }
    // A training that ends sooner.
    CliRun run = PROFILE("--set", "steps=3", "--warmup", "1", "--steps", "9", "--json");
    assert_non_null(strstr(run.err, "\nstep 3/3 "));
    cJSON *profile = profile_printed(run, 0);
    assert_int_equal(profile_steps(profile), 2);
    cJSON_Delete(profile);
    assert_cli_fails_after_notes(PROFILE("--set", "steps=3", "--warmup", "3", "--json"), 1,
                                 "steps: 3, but 3 of --warmup come first");
}

// The trainer's own seconds of a step, by its tokens a second.
static double trainer_seconds(const char *err, size_t step, double tokens)
{
    char begin[24];
    double rate = 0;
    snprintf(begin, sizeof begin, "\nstep %zu/", step);
    const char *line = strstr(err, begin);
    assert_non_null(line);
    const char *unit = strstr(line, " tokens/s");
    assert_non_null(unit);
    while (unit[-1] != ' ') unit--;
    rate = strtod(unit, NULL);
    assert_true(rate > 0);
    return tokens / (rate + .5); // it is rounded
}

// Steps of 50 ms and more: accounts hold (profile_printed), and the trainer's clock agrees.
static void times_are_the_clocks(void **state)
{
    (void)state;
    CliRun run = PROFILE("--set", "batch_size=16", "--set", "grad_accum=4", "--warmup", "2",
                         "--steps", "5", "--json");
    char *err = strdup(run.err);
    cJSON *profile = profile_printed(run, 0);
    const cJSON *account = field_item(field_item(profile, "accounting"), "steps");
    double wall = 0, least = 1;
    for (size_t i = 0; i < 5; i++) {
        double own = trainer_seconds(err, i + 3, profile_step(profile, "tokens", i));
        double step = profile_step(profile, "wall", i);
        wall += step;
        if (!(step >= own * .9999)) fail_msg("a step of %g s took the trainer %g s", step, own);
        least = fmin(least, step / own - 1);
        assert_true(profile_step(profile, "busy", i) > 0);
    }
    assert_true(least <= .03); // on a busy machine others may have been kept waiting in between
    assert_true(fabs(field_number(account, "wall") - wall) <= 1e-4 * wall);
    free(err);
    cJSON_Delete(profile);
}

static void work_is_the_same_every_time(void **state)
{
    (void)state;
    cJSON *runs[2];
    for (int i = 0; i < 2; i++) runs[i] = profile_printed(PROFILE(SHORT, "--json"), 0);
    check_same_work(runs[0], runs[1]);
    static const char *const phases[] = {"embed",     "forward",       "exit 2",
                                         "exit 4",    "backward",      "embed backward",
                                         "optimizer", "zero gradients"};
    static const char *const places[] = {"block 0", "block 3", "exit 2", "exit 4", "optimizer"};
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
        if (!profile_row(runs[0], "phase", phases[i])) fail_msg("no phase '%s'", phases[i]);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (!profile_row(runs[0], "block", places[i])) fail_msg("no place '%s'", places[i]);
    // What a step does comes as often as there are steps.
    assert_int_equal((int)field_number(profile_row(runs[0], "phase", "optimizer"), "calls") % 2, 0);
    cJSON_Delete(runs[0]);
    cJSON_Delete(runs[1]);
}

// ---- reports -----------------------------------------------------------------------------------

// A line for each row of the tables that were asked for, and six for each of two accounts.
static void check_csv(const cJSON *profile, const TestPath *path)
{
    size_t size, lines = 0, rows = 1 + 2 * 6;
    const cJSON *table;
    cJSON_ArrayForEach(table, field_item(profile, "tables"))
    {
        if (strcmp(table->string, "pipeline") != 0) rows += (size_t)cJSON_GetArraySize(table);
    }
    char *text = test_read(path->text, &size);
    assert_int_equal(strncmp(text, "table,name,calls,total,", 23), 0);
    for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1, lines++)
        assert_int_equal(cli_csv_fields(at, (size_t)(end - at)), 14);
    assert_int_equal(lines, rows);
    free(text);
}

static void check_page(const TestPath *path)
{
    static const char *const parts[] = {"<!DOCTYPE html>", "</html>",        "adamw",
                                        "block 3",         "\"accounting\"", "train.json"};
    size_t size;
    char *text = test_read(path->text, &size);
    assert_int_equal(strlen(text), size);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(text, parts[i])) fail_msg("the page has no %s", parts[i]);
    assert_null(strstr(text, "src=\"http"));
    free(text);
}

static void all_reports_of_one_run(void **state)
{
    (void)state;
    TestPath csv = file_of("all.csv"), trace = file_of("trace.json"), html = file_of("page.html"),
             json = file_of("all.json");
    CliRun run = PROFILE(SHORT, "--by", "kernel,block", "--by", "phase", "--by", "shape", "--top",
                         "3", "--csv", csv.text, "--trace", trace.text, "--html", html.text,
                         test_option("--json", &folder, "all.json").text);
    static const char *const parts[] = {"steps 2, warmup 1",
                                        "\nkernel ",
                                        "\nblock ",
                                        "\nphase ",
                                        "\nshape ",
                                        "\nall ",
                                        "\nwall clock ",
                                        "\nGPU busy ",
                                        "\ngaps ",
                                        "\nhost ",
                                        "\nsum ",
                                        "\nsteps: 2, median ",
                                        "peak: "};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) assert_cli_prints(run, parts[i]);
    assert_int_equal(count_lines(run.out, "all "), 4);
    cli_free(&run);
    cJSON *profile = profile_written(&json);
    check_csv(profile, &csv);
    check_page(&html);
    assert_true(trace_slices(&trace, "kernel") == profile_sum(profile, "kernel", "calls"));
    assert_int_equal(trace_slices(&trace, "step"), 2);
    assert_true(trace_slices(&trace, "submission") < trace_slices(&trace, "kernel"));
    cJSON_Delete(profile);
}

static void tables_are_by_kernel_by_default(void **state)
{
    (void)state;
    CliRun run = PROFILE(SHORT);
    assert_cli_prints(run, "\nkernel ");
    assert_null(strstr(run.out, "\nphase "));
    cli_free(&run);
}

static void serialized_commands_are_submissions(void **state)
{
    (void)state;
    TestPath trace = file_of("serial.json");
    cJSON *serial =
              profile_printed(PROFILE(SHORT, "--serialize", "--json", "--trace", trace.text), 0),
          *plain = profile_printed(PROFILE(SHORT, "--json"), 0);
    assert_string_equal(field_text(field_item(serial, "settings"), "serialized"), "yes");
    assert_string_equal(field_text(field_item(serial, "settings"), "every"), "1");
    assert_true(trace_slices(&trace, "kernel") == profile_sum(serial, "kernel", "calls"));
    assert_int_equal(trace_slices(&trace, "submission"), trace_slices(&trace, "kernel"));
    check_same_work(serial, plain);
    for (size_t i = 0; i < 2; i++)
        assert_true(profile_step(serial, "loss", i) == profile_step(plain, "loss", i));
    cJSON_Delete(serial);
    cJSON_Delete(plain);
}

// ---- comparing ---------------------------------------------------------------------------------

#define COMPARE_STEPS "--warmup", "1", "--steps", "6"

static void scale(const cJSON *list, double factor)
{
    cJSON *item;
    cJSON_ArrayForEach(item, list) cJSON_SetNumberValue(item, item->valuedouble * factor);
}

// A copy of a profile in which steps and one kernel took so many times as long.
static TestPath doctored(const cJSON *profile, const char *kernel, double factor, const char *name)
{
    Error err;
    TestPath path = file_of(name);
    cJSON *copy = cJSON_Duplicate(profile, true);
    scale(field_item(profile_row(copy, "kernel", kernel), "samples"), factor);
    scale(field_item(field_item(copy, "steps"), "wall"), factor);
    if (!json_write(path.text, copy, &err)) fail_msg("%s", err.text);
    cJSON_Delete(copy);
    return path;
}

static void check_compared(const char *old, const char *tolerance, int status, const char *kernel)
{
    CliCall call = {
        .args = {"profile", "train", config.text, COMPARE_STEPS, "--json", "--compare", old}};
    if (tolerance) {
        call.args[10] = "--tolerance";
        call.args[11] = tolerance;
    }
    CliRun run = cli_run(&call);
    const char *named = strstr(run.err, "slower by more than 5%:");
    assert_int_equal(named != NULL, status == 3);
    if (named) assert_true(strstr(named, kernel) && strstr(named, "whole step"));
    cJSON *profile = profile_printed(run, status);
    const cJSON *compared = field_item(profile, "compared"), *row;
    cJSON_ArrayForEach(row, field_item(compared, "rows"))
    {
        bool regressed = cJSON_IsTrue(field_item(row, "regressed"));
        if (status != 3) assert_false(regressed);
        if (status == 3 && !strcmp(field_text(row, "name"), kernel)) assert_true(regressed);
    }
    cJSON_Delete(profile);
}

// Old profiles a thousand times off, which no busy machine makes up for.
static void compares_with_an_earlier_profile(void **state)
{
    (void)state;
    static const char kernel[] = "cross_entropy";
    cJSON *old = profile_printed(PROFILE(COMPARE_STEPS, "--json"), 0);
    assert_non_null(profile_row(old, "kernel", kernel));
    TestPath fast = doctored(old, kernel, 1e-3, "fast.json"),
             same = doctored(old, kernel, 1, "same.json");
    check_compared(fast.text, "5", 3, kernel);
    check_compared(fast.text, NULL, 0, kernel);
    check_compared(same.text, NULL, 0, kernel);
    CliRun run = PROFILE(COMPARE_STEPS, "--compare", fast.text, "--tolerance", "5");
    assert_int_equal(run.status, 3);
    assert_non_null(strstr(run.out, "\ncompared with "));
    assert_non_null(strstr(run.out, "\nkernel cross_entropy "));
    assert_non_null(strstr(run.out, "slower  regressed\n"));
    cli_free(&run);
    cJSON_Delete(old);
}

static void damaged_profiles_are_refused_first(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } files[] = {{"{\"profile\":", "old.json"},
                 {"[]", "key 'profile': what --json of strata profile wrote is expected"},
                 {"{\"profile\":2}", "key 'profile'"},
                 {"{\"profile\":1,\"title\":\"t\",\"device\":\"d\",\"driver\":\"d\","
                  "\"settings\":{},\"steps\":{\"wall\":[1]},\"tables\":{}}",
                  "key 'kernel'"}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        TestPath old = test_write_text(&folder, "old.json", files[i].text);
        assert_cli_fails(PROFILE(SHORT, "--compare", old.text), 1, files[i].part);
    }
    assert_cli_fails(PROFILE(SHORT, "--compare", file_of("none.json").text), 1, "none.json");
}

// ---- what is refused ---------------------------------------------------------------------------

static void usage_errors(void **state)
{
    (void)state;
    static const struct {
        const char *args[2], *part;
    } bad[] = {
        {{"--nonsense", NULL}, "--nonsense"},
        {{"--tolerance", "5"}, "--tolerance is for --compare"},
        {{"--tolerance", "100"}, "--tolerance '100': a percentage below 100 is expected"},
        {{"--tolerance", "-1"}, "--tolerance '-1': a percentage"},
        {{"--by", "kernels"},
         "--by 'kernels': a list of kernel, block, phase, shape, pipeline is expected"},
        {{"--by", "kernel,"}, "--by 'kernel,': a list"},
        {{"--by", ""}, "--by '': a list"},
        {{"--top", "x"}, "--top 'x' is not a number"},
        {{"--steps", "0"}, "--steps '0' is not a number of 1 to 1000000"},
        {{"--every", "0"}, "--every '0' is not a number of 1 to 1000000"},
        {{"--steps", "1000001"}, "--steps '1000001' is not a number of 1 to 1000000"},
        {{"--steps", "2x"}, "--steps '2x' is not a number"},
        {{"--warmup", "-1"}, "--warmup '-1' is not a number of 0 to 1000000"},
        {{"--steps", NULL}, "--steps"},
        {{"--resume", NULL}, "--resume"},
        {{"another.json", NULL}, "profile train takes one CONFIG.json"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_cli_fails(PROFILE(bad[i].args[0], bad[i].args[1]), 2, bad[i].part);
    assert_cli_fails(CLI("profile", "train"), 2, "profile train takes one CONFIG.json");
    assert_cli_fails(CLI("profile"), 2, "profile what?");
    assert_cli_fails(CLI("profile", "training"), 2, "profile does not know 'training'");
    CliRun run = CLI("profile", "train", "--help");
    assert_cli_prints(run, "usage: strata profile train CONFIG.json");
    cli_free(&run);
}

// Found before anything runs; and no report is begun where another cannot be written.
static void failures_leave_nothing(void **state)
{
    (void)state;
    static const char *const outputs[] = {"--csv", "--trace", "--html", "--json"};
    assert_cli_fails(CLI("profile", "train", file_of("none.json").text), 1, "none.json");
    assert_cli_fails(PROFILE(SHORT, "--set", "nonsense=1"), 1, "nonsense");
    assert_cli_fails(PROFILE(SHORT, "--device", "no such"), 1, "no such");
    assert_cli_fails_after_notes(PROFILE(SHORT, "--set", test_option("model", &folder, "none").text,
                                         "--json", "--csv", file_of("left.csv").text),
                                 1, "none");
    for (int i = 0; i < 4; i++) {
        TestPath bad = test_option(outputs[i], &folder, "none/report");
        assert_cli_fails(PROFILE(SHORT, "--csv", file_of("left.csv").text,
                                 test_option("--json", &folder, "left.json").text, bad.text),
                         1, "none/report");
    }
    test_check_absent(file_of("left.csv").text);
    test_check_absent(file_of("left.json").text);
    test_check_absent(file_of("none").text);
    test_check_absent(file_of("out").text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trains_the_same_and_leaves_nothing),
        cmocka_unit_test(as_many_steps_as_asked_for),
        cmocka_unit_test(times_are_the_clocks),
        cmocka_unit_test(work_is_the_same_every_time),
        cmocka_unit_test(all_reports_of_one_run),
        cmocka_unit_test(tables_are_by_kernel_by_default),
        cmocka_unit_test(serialized_commands_are_submissions),
        cmocka_unit_test(compares_with_an_earlier_profile),
        cmocka_unit_test(damaged_profiles_are_refused_first),
        cmocka_unit_test(usage_errors),
        cmocka_unit_test(failures_leave_nothing),
    };
    return cmocka_run_group_tests(tests, make_all, remove_all);
}
