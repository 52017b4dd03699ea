// strata bench as a user meets it: that its three formats hold together, that its figures are those
// of the policies that ran, comparison with an earlier run, wrong usage and damaged files. Nothing
// here asks for a speed.
#include "support/cli.h"
#include "support/json_fields.h"
#include "support/models.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static TestPath folder, model; // of all tests; model: 4 blocks, exits 2 and 4

static int make_all(void **state)
{
    (void)state;
    folder = test_folder_make();
    model = small_exits_model(&folder, "model", 71);
    return 0;
}

static int remove_all(void **state)
{
    (void)state;
    test_folder_remove(&folder);
    return 0;
}

// A short run of one depth beside full depth.
#define SHORT "--prompt-tokens", "0", "--gen-tokens", "4"

// ---- reading what it prints --------------------------------------------------------------------

static void assert_near(double a, double b)
{
    if (!(fabs(a - b) <= 1e-9 * fabs(b))) fail_msg("%.17g is not %.17g", a, b);
}

static cJSON *read_json(CliRun run, int status)
{
    Error err;
    if (run.status != status) fail_msg("status %d: %s", run.status, run.err);
    cJSON *object = json_parse(run.out, strlen(run.out), "output", &err);
    if (!object) fail_msg("%s", err.text);
    cli_free(&run);
    return object;
}

static const cJSON *find_row(const cJSON *run, const char *kind, const char *policy)
{
    const cJSON *row;
    cJSON_ArrayForEach(row, field_item(run, "rows"))
    {
        if (!strcmp(field_text(row, "kind"), kind) && !strcmp(field_text(row, "policy"), policy))
            return row;
    }
    fail_msg("no row '%s', '%s'", kind, policy);
    return NULL;
}

// ---- figures -----------------------------------------------------------------------------------

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// The median is the middle of the series, and the spread its ends.
static void check_series(const cJSON *summary, const cJSON *values, int count)
{
    double v[8];
    assert_int_equal(cJSON_GetArraySize(values), count);
    for (int i = 0; i < count; i++) {
        v[i] = cJSON_GetArrayItem(values, i)->valuedouble;
        assert_true(v[i] > 0);
    }
    qsort(v, (size_t)count, sizeof *v, ascending);
    assert_near(field_number(summary, "lowest"), v[0]);
    assert_near(field_number(summary, "highest"), v[count - 1]);
    assert_near(field_number(summary, "median"), (v[(count - 1) / 2] + v[count / 2]) / 2);
}

static double total_tokens_at(const cJSON *row, uint32_t depth)
{
    double total = 0;
    const cJSON *entry;
    cJSON_ArrayForEach(entry, field_item(row, "tokens_at"))
    {
        assert_true((uint32_t)atoi(entry->string) <= depth);
        total += entry->valuedouble;
    }
    return total;
}

static void check_row(const cJSON *row)
{
    bool prompt = !strcmp(field_text(row, "kind"), "prompt");
    const cJSON *speed = field_item(row, "tokens_per_second");
    check_series(speed, field_item(row, "repeats"), 3);
    check_series(field_item(row, "speedup"), field_item(row, "speedups"), 6);
    assert_near(field_number(row, "ms_per_token") * field_number(speed, "median"), 1000);
    assert_int_equal(field_number(row, "prompt_tokens"), 12);
    assert_int_equal(field_number(row, "gen_tokens"), prompt ? 0 : 8);
    if (!prompt) assert_int_equal(total_tokens_at(row, 4), 3 * 8);
    if (strncmp(field_text(row, "policy"), "depth", 5) != 0) return;
    assert_near(field_number(row, "blocks_per_token"), field_number(row, "depth"));
    assert_near(field_number(row, "predicted_reached") * field_number(row, "predicted_speedup"),
                field_number(field_item(row, "speedup"), "median"));
}

// Bytes of a block and of norm and head of small_config, by hand.
static void check_bytes(const cJSON *run)
{
    LlamaConfig c = small_config();
    double block = 4 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 88 * 32 + 2 * 32), row = 4 * 32;
    double exit = 4 * 32 * (1.0 + c.vocab_size);
    const cJSON *memory = field_item(run, "memory");
    assert_near(field_number(memory, "model_bytes"), 4 * block + exit);
    assert_near(field_number(memory, "kv_bytes"),
                32 * 4 * (4 * 2 * 16 + 32)); // a page of 32 positions
    assert_true(field_number(memory, "peak_bytes") >
                field_number(memory, "model_bytes") + field_number(memory, "kv_bytes"));
    for (int d = 2; d <= 4; d += 2) {
        char policy[16];
        snprintf(policy, sizeof policy, "depth %d", d);
        assert_near(field_number(find_row(run, "generation", policy), "weight_bytes_per_token"),
                    row + d * block + exit);
        assert_near(field_number(find_row(run, "prompt", policy), "weight_bytes_per_token"),
                    row + (d * block + exit) / 12);
        assert_near(field_number(find_row(run, "generation", policy), "predicted_speedup"),
                    (row + 4 * block + exit) / (row + d * block + exit));
    }
}

static void figures_hold_together(void **state)
{
    (void)state;
    cJSON *run = read_json(CLI("bench", model.text, "--prompt-tokens", "12", "--gen-tokens", "8",
                               "--repeat", "3", "--policies",
                               "exits 2:0; exits 1:1.5,3:1.5; exit 2 confidence margin;"
                               "depth 3 draft 1 draft-window 2; draft auto; depth 1 ;",
                               "--json"),
                           0);
    const cJSON *row, *rows = field_item(run, "rows");
    assert_int_equal(cJSON_GetArraySize(rows), 2 + 2 + 6);
    cJSON_ArrayForEach(row, rows) check_row(row);
    check_bytes(run);
    assert_near(field_number(find_row(run, "generation", "depth 4"), "identical"), 1);
    // Exits that all take and that none takes; drafts give what their full depth does.
    row = find_row(run, "generation", "exits 2:0 of 4");
    assert_near(field_number(row, "blocks_per_token"), 2);
    assert_near(field_number(field_item(row, "tokens_at"), "2"), 24);
    row = find_row(run, "generation", "exits 1:1.5,3:1.5 of 4");
    assert_near(field_number(row, "blocks_per_token"), 4);
    assert_near(field_number(row, "identical"), 1);
    find_row(run, "generation", "exits 2:2 of 4 by margin");
    row = find_row(run, "generation", "draft auto of 4");
    assert_near(field_number(row, "identical"), 1);
    row = find_row(run, "generation", "draft 1 of 3 window 2");
    assert_true(field_number(row, "accepted") <= field_number(row, "drafted") &&
                field_number(row, "checks") > 0);
    find_row(run, "generation", "depth 1");
    assert_string_equal(field_text(field_item(run, "model"), "dtype"), "F32");
    assert_int_equal(field_number(field_item(run, "settings"), "repeat"), 3);
    assert_true(*field_text(run, "device") && *field_text(run, "driver") &&
                *field_text(run, "strata"));
    assert_int_equal(strlen(field_text(run, "date")), strlen("2000-01-01T00:00:00Z"));
    cJSON_Delete(run);
}

// Without answers there is nothing to generate, without prompts nothing to process.
static void rows_follow_the_options(void **state)
{
    (void)state;
    cJSON *run = read_json(CLI("bench", model.text, "--prompt-tokens", "3,65", "--gen-tokens", "0",
                               "--repeat", "1", "--depths", "1,3", "--json"),
                           0);
    assert_int_equal(cJSON_GetArraySize(field_item(run, "rows")), 2 * 3);
    const cJSON *row = cJSON_GetArrayItem(field_item(run, "rows"), 5);
    assert_string_equal(field_text(row, "policy"), "depth 4");
    assert_int_equal(field_number(row, "prompt_tokens"), 65);
    cJSON_Delete(run);
    run =
        read_json(CLI("bench", model.text, SHORT, "--repeat", "1", "--depths", "all", "--json"), 0);
    assert_int_equal(cJSON_GetArraySize(field_item(run, "rows")), 4);
    cJSON_Delete(run);
}

// Quantised weights are fewer bytes, in the memory and in what is read.
static void quantised_weights_are_fewer_bytes(void **state)
{
    (void)state;
    cJSON *runs[2] = {
        read_json(CLI("bench", model.text, SHORT, "--repeat", "1", "--json"), 0),
        read_json(CLI("bench", model.text, SHORT, "--repeat", "1", "--json", "--quant", "q8_0"),
                  0)};
    double bytes[2], read[2];
    for (int i = 0; i < 2; i++) {
        bytes[i] = field_number(field_item(runs[i], "memory"), "model_bytes");
        read[i] =
            field_number(find_row(runs[i], "generation", "depth 2"), "weight_bytes_per_token");
    }
    assert_string_equal(field_text(field_item(runs[1], "model"), "dtype"), "Q8_0");
    assert_true(bytes[1] < bytes[0] && read[1] < read[0]);
    cJSON_Delete(runs[0]);
    cJSON_Delete(runs[1]);
}

// ---- answers of a file -------------------------------------------------------------------------

enum { RECORDS = 16 };

static TestPath few_records(const char *from, const char *name)
{
    Error err;
    cJSON *list = json_read(from, &err);
    if (!list) fail_msg("%s", err.text);
    while (cJSON_GetArraySize(list) > RECORDS) cJSON_DeleteItemFromArray(list, RECORDS);
    TestPath path = test_path(folder.text, name);
    assert_true(json_write(path.text, list, &err));
    cJSON_Delete(list);
    return path;
}

// What is generated is as often the answer as eval says, which gets there by another way.
static void exact_match_is_that_of_eval(void **state)
{
    (void)state;
    static const char base[] = TEST_ROOT "/assets/base";
    TestPath data = few_records(TEST_ROOT "/assets/tasks_valid.json", "tasks.json");
    cJSON *eval = read_json(CLI("eval", base, "--data", data.text, "--depths", "6,8", "--json"), 0);
    cJSON *run = read_json(CLI("bench", base, "--data", data.text, "--depths", "6,8", "--policies",
                               "draft 4; exits 6:2", "--repeat", "1", "--json"),
                           0);
    const cJSON *score;
    cJSON_ArrayForEach(score, field_item(eval, "depths"))
    {
        char policy[16];
        snprintf(policy, sizeof policy, "depth %d", (int)field_number(score, "depth"));
        assert_near(field_number(find_row(run, "generation", policy), "exact_match"),
                    field_number(score, "exact_match"));
    }
    double full = field_number(find_row(run, "generation", "depth 8"), "exact_match");
    assert_true(full > 0 && full < 1);
    static const char *const same[] = {"depth 8", "draft 4 of 8", "exits 6:2 of 8"};
    for (int i = 0; i < 3; i++) {
        const cJSON *row = find_row(run, "generation", same[i]);
        assert_near(field_number(row, "exact_match"), full);
        assert_near(field_number(row, "identical"), 1);
    }
    assert_int_equal(field_number(field_item(run, "settings"), "records"), RECORDS);
    assert_int_equal(cJSON_GetArraySize(field_item(run, "rows")),
                     4); // prompts are those of the file
    cJSON_Delete(run);
    cJSON_Delete(eval);
}

static void documents_and_chats_are_prompts(void **state)
{
    (void)state;
    static const char lines[] = "{\"text\": \"Below is a task.\"}\n"
                                "{\"messages\": [{\"role\": \"user\", \"content\": \"is\"},"
                                " {\"role\": \"assistant\", \"content\": \"a\"},"
                                " {\"role\": \"user\", \"content\": \"is\"},"
                                " {\"role\": \"assistant\", \"content\": \"that describes\"}]}\n";
    TestPath data = test_write_text(&folder, "mixed.jsonl", lines);
    CliRun run = CLI("bench", model.text, "--data", data.text, "--repeat", "1", "--gen-tokens", "3",
                     "--records", "2");
    assert_cli_prints(run, "answers: the first 2 records of ");
    assert_cli_prints(run, "exact");
    cli_free(&run);
}

// ---- the other formats -------------------------------------------------------------------------

static void check_csv(CliRun run, size_t lines, const char *header, const char *part)
{
    size_t fields = 0, count = 0;
    assert_int_equal(run.status, 0);
    assert_true(!strncmp(run.out, header, strlen(header)) && strstr(run.out, part));
    for (const char *at = run.out; *at; count++) {
        size_t size = strcspn(at, "\n");
        if (!fields) fields = cli_csv_fields(at, size);
        assert_int_equal(cli_csv_fields(at, size), fields);
        at += size + 1;
    }
    assert_int_equal(count, lines);
    cli_free(&run);
}

static void prints_csv_and_a_table(void **state)
{
    (void)state;
    check_csv(
        CLI("bench", model.text, SHORT, "--repeat", "2", "--policies", "exits 1:.5,2:.5", "--csv"),
        4, "date,device,driver,model,parameters,", "\"exits 1:0.5,2:0.5 of 4\"");
    CliRun run = CLI("bench", model.text, "--prompt-tokens", "5", "--gen-tokens", "4", "--repeat",
                     "2", "--policies", "draft 2");
    static const char *const parts[] = {"strata 0.",
                                        " parameters, 4 blocks of width 32",
                                        "device memory: ",
                                        "medians of 2",
                                        "test      policy        ",
                                        "\npp5       depth 2 ",
                                        "\npp5       depth 4 ",
                                        "\ntg4       depth 2 ",
                                        "\ntg4       draft 2 of 4 "};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) assert_cli_prints(run, parts[i]);
    assert_string_equal(run.err, "");
    cli_free(&run);
}

// ---- comparing ---------------------------------------------------------------------------------

// An earlier run of these tokens/s, of the row that SHORT measures at full depth.
static TestPath old_run(const char *name, const char *speeds)
{
    char file[512];
    snprintf(file, sizeof file,
             "{\"device\": \"another\", \"rows\": [{\"kind\": \"generation\", \"policy\": "
             "\"depth 4\", \"prompt_tokens\": 1, \"gen_tokens\": 4, \"repeats\": [%s]}]}",
             speeds);
    return test_write_text(&folder, name, file);
}

static void check_change(const char *speeds, const char *tolerance, int status, const char *change)
{
    TestPath old = old_run("old.json", speeds);
    CliCall call = {.args = {"bench", model.text, SHORT, "--depths", "4", "--repeat", "4", "--json",
                             "--compare", old.text}};
    if (tolerance) {
        call.args[13] = "--tolerance";
        call.args[14] = tolerance;
    }
    CliRun result = cli_run(&call);
    assert_non_null(strstr(result.err, "device was another, is "));
    assert_true((status == 3) == (strstr(result.err, "\nstrata: tg4, depth 4: ") != NULL));
    cJSON *run = read_json(result, status);
    const cJSON *compared = field_item(find_row(run, "generation", "depth 4"), "compared");
    assert_string_equal(field_text(compared, "change"), change);
    double ratio = field_number(compared, "ratio");
    assert_true(field_number(compared, "low") <= ratio && ratio <= field_number(compared, "high"));
    cJSON_Delete(run);
}

static void compares_with_an_earlier_run(void **state)
{
    (void)state;
    // No device makes 1e15 tokens a second, and each makes more than one in 1e6 seconds.
    check_change("1e15, 2e15, 3e15, 4e15", NULL, 0, "slower");
    check_change("1e15, 2e15, 3e15, 4e15", "50", 3, "slower");
    check_change("1e-6, 2e-6, 3e-6, 4e-6", "0", 0, "faster");
    check_change("1e-6, 1e15, 1e-6, 1e15", "0", 0, "same"); // the noise of the old run hides it
    check_change("1e15, 0, 2e15", NULL, 0, "unknown");      // a repeat that timed nothing
    check_change("1e15, 2e15", "99", 3, "unknown");         // too few to tell, but far too slow
}

static void compares_with_its_own_output(void **state)
{
    (void)state;
    CliRun run = CLI("bench", model.text, SHORT, "--repeat", "2", "--json");
    assert_int_equal(run.status, 0);
    TestPath old = test_write_text(&folder, "own.json", run.out);
    cli_free(&run);
    check_csv(CLI("bench", model.text, SHORT, "--repeat", "2", "--policies", "draft 1", "--csv",
                  "--compare", old.text),
              4, "date,", ",new,,,\n");
    run = CLI("bench", model.text, SHORT, "--repeat", "2", "--compare", old.text);
    assert_cli_prints(run, "  new/old");
    assert_cli_prints(run, "  unknown\n"); // two repeats bound nothing
    assert_string_equal(run.err, "");      // the same device, model and settings
    cli_free(&run);
}

// ---- wrong usage, damaged files ----------------------------------------------------------------

static void wrong_usage(void **state)
{
    (void)state;
    static const char *const options[][3] = {
        {"--prompt-tokens", "", "--prompt-tokens ''"},
        {"--prompt-tokens", "4,", "--prompt-tokens '4,'"},
        {"--prompt-tokens", "4,x", "--prompt-tokens '4,x'"},
        {"--prompt-tokens", "-4", "--prompt-tokens '-4'"},
        {"--prompt-tokens", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", "more than 16 numbers"},
        {"--gen-tokens", "x", "--gen-tokens 'x'"},
        {"--repeat", "0", "--repeat '0' is not a number of 1 to 100"},
        {"--repeat", "101", "--repeat '101'"},
        {"--records", "0", "--records '0'"},
        {"--quant", "q5_0", "--quant 'q5_0' is neither"},
        {"--tolerance", "nan", "--tolerance 'nan'"},
        {"--tolerance", "100", "--tolerance '100'"},
        {"--tolerance", "5x", "--tolerance '5x'"},
        {"--tolerance", "5", "--tolerance is for --compare"},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        assert_cli_fails(CLI("bench", "m", options[i][0], options[i][1]), 2, options[i][2]);
    assert_cli_fails(CLI("bench"), 2, "bench takes one MODEL");
    assert_cli_fails(CLI("bench", "m", "n"), 2, "bench takes one MODEL");
    assert_cli_fails(CLI("bench", "m", "--json", "--csv"), 2, "one of --json and --csv");
    assert_cli_fails(CLI("bench", "m", "--data", "d", "--gen-tokens", "0"), 2, "--gen-tokens 0");
}

static void what_the_model_cannot_do(void **state)
{
    (void)state;
    static const char *const options[][3] = {
        {"--depths", "5", "depth 5: the model has 4 blocks"},
        {"--policies", "exits 4:.9", "exit 4: exits lie below the depth, 4"},
        {"--policies", "draft 4", "draft '4': 1 to 3 blocks"},
        {"--policies", "exits calibrated", "no calibrated policy is stored"},
        {"--policies", "draft", "'draft' lacks its value"},
        {"--policies", "sometimes 2", "--policies 'sometimes'"},
        {"--policies", "draft 2 exit .9", "one of --exit, --exits and --draft"},
        {"--policies", "exit .9 confidence mood", "--confidence 'mood'"},
        {"--policies", "depth 5", "depth 5: the model has depths 1 to 4"},
        {"--prompt-tokens", "161", "--prompt-tokens 161: the model's context is 160"},
        {"--gen-tokens", "160", "224 positions, but the model's context is 160"},
        {"--data", "missing.json", "missing.json"},
        {"--compare", "missing.json", "missing.json"},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        assert_cli_fails(CLI("bench", model.text, options[i][0], options[i][1]), 1, options[i][2]);
    assert_cli_fails(CLI("bench", model.text, "--prompt-tokens", "0", "--gen-tokens", "0"), 1,
                     "nothing to do");
}

static void damaged_earlier_runs(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        {"", "old.json"},
        {"[]", "key 'rows'"},
        {"{}", "key 'rows'"},
        {"{\"rows\": 4}", "key 'rows'"},
        {"{\"rows\": [4]}", "key 'rows'"},
        {"{\"rows\": [{\"policy\": \"depth 4\", \"repeats\": []}]}", "'kind'"},
        {"{\"rows\": [{\"kind\": 1, \"policy\": \"depth 4\", \"repeats\": []}]}", "'kind'"},
        {"{\"rows\": [{\"kind\": \"prompt\", \"repeats\": []}]}", "'policy'"},
        {"{\"rows\": [{\"kind\": \"prompt\", \"policy\": \"p\"}]}", "'repeats'"},
        {"{\"rows\": [{\"kind\": \"prompt\", \"policy\": \"p\", \"repeats\": [\"1\"]}]}",
         "'repeats'"},
        {"{\"rows\": [{\"kind\": \"prompt\", \"policy\": \"p\", \"repeats\": [-1]}]}", "'repeats'"},
        {"{\"rows\": [{\"kind\": \"prompt\", \"policy\": \"p\", \"repeats\": [1e999]}]}",
         "old.json"},
        {"{\"rows\": [{\"kind\": \"prompt\", \"policy\": \"p\", \"repeats\": [],"
         " \"prompt_tokens\": 1.5}]}",
         "'prompt_tokens'"},
        {"{\"rows\": [{\"kind\": \"prompt\", \"policy\": \"p\", \"repeats\": [],"
         " \"speedup\": {\"median\": -1}}]}",
         "'median'"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        TestPath old = test_write_text(&folder, "old.json", files[i][0]);
        assert_cli_fails(CLI("bench", model.text, "--compare", old.text), 1, files[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_hold_together),
        cmocka_unit_test(rows_follow_the_options),
        cmocka_unit_test(quantised_weights_are_fewer_bytes),
        cmocka_unit_test(exact_match_is_that_of_eval),
        cmocka_unit_test(documents_and_chats_are_prompts),
        cmocka_unit_test(prints_csv_and_a_table),
        cmocka_unit_test(compares_with_an_earlier_run),
        cmocka_unit_test(compares_with_its_own_output),
        cmocka_unit_test(wrong_usage),
        cmocka_unit_test(what_the_model_cannot_do),
        cmocka_unit_test(damaged_earlier_runs),
    };
    return cmocka_run_group_tests(tests, make_all, remove_all);
}
