// `strata generate --batch`: answers are those of single runs, in the order of the records, however
// few places and pages there are; errors name file and line; nothing is written where anything
// fails, and what stood there stays.
#include "base/file.h"
#include "base/json.h"
#include "infer/pages.h"
#include "support/cli.h"
#include "support/models.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static TestPath folder, model; // of all tests, which only read model
static uint64_t page;          // bytes of a page of its KV cache

static int make_all(void **state)
{
    (void)state;
    folder = test_folder_make();
    LlamaConfig config = small_config();
    page = page_bytes(&config);
    model = small_exits_model(&folder, "model", 72);
    return 0;
}

static int remove_all(void **state)
{
    (void)state;
    test_folder_remove(&folder);
    return 0;
}

// ---- records and answers -----------------------------------------------------------------------

// Records, and the options of a single run that is the same.
static const struct {
    const char *record, *args[12];
} SAME[] = {
    {"{\"prompt\":\"Write a word.\"}", {"--prompt", "Write a word."}},
    {"{\"prompt\":\"is\",\"depth\":2}", {"--prompt", "is", "--depth", "2"}},
    {"{\"depth\":\"3\",\"prompt\":\"is\"}", {"--prompt", "is", "--depth", "3"}},
    {"{\"prompt\":\"a task\",\"exit\":0.02,\"confidence\":\"margin\"}",
     {"--prompt", "a task", "--exit", ".02", "--confidence", "margin"}},
    {"{\"prompt\":\"a\",\"exits\":\"1:.03,2:.2\",\"max_tokens\":9}",
     {"--prompt", "a", "--exits", "1:.03,2:.2", "--max-tokens", "9"}},
    {"{\"prompt\":\"\",\"draft\":2,\"draft_stop\":0,\"draft_window\":3}",
     {"--prompt", "", "--draft", "2", "--draft-stop", "0", "--draft-window", "3"}},
    {"{\"prompt\":\"describes\",\"draft\":\"auto\",\"depth\":3}",
     {"--prompt", "describes", "--draft", "auto", "--depth", "3"}},
    {"{\"prompt\":\"that\",\"temperature\":0.8,\"top_k\":30,\"top_p\":0.9,\"seed\":7}",
     {"--prompt", "that", "--temperature", "0.8", "--top-k", "30", "--top-p", "0.9", "--seed",
      "7"}},
    {"{\"prompt\":\"that\",\"temperature\":1.5,\"min_p\":0.01,\"seed\":7,\"draft\":1}",
     {"--prompt", "that", "--temperature", "1.5", "--min-p", "0.01", "--seed", "7", "--draft",
      "1"}},
    {"{\"prompt\":\"is\",\"repetition_penalty\":1.5}",
     {"--prompt", "is", "--repetition-penalty", "1.5"}},
    {"{\"instruction\":\"a\",\"input\":\"\",\"output\":\"not read\",\"idx\":3}",
     {"--prompt", "a", "--alpaca"}},
    {"{\"prompt\":\"\\u00e9 \\ud83d\\ude00\\n\",\"max_tokens\":1}",
     {"--prompt", "\xC3\xA9 \xF0\x9F\x98\x80\n", "--max-tokens", "1"}},
};
enum { SAMES = sizeof SAME / sizeof *SAME };

static cJSON *parse(const char *text, size_t size)
{
    Error err;
    cJSON *object = json_parse(text, size, "output", &err);
    if (!object) fail_msg("%s", err.text);
    return object;
}

static cJSON *single(size_t which)
{
    CliCall call = {.args = {"generate", model.text, "--json", "--max-tokens", "12"}};
    for (size_t i = 0; i < 12 && SAME[which].args[i]; i++) call.args[5 + i] = SAME[which].args[i];
    CliRun run = cli_run(&call);
    if (run.status) fail_msg("%s", run.err);
    cJSON *object = parse(run.out, strlen(run.out));
    cli_free(&run);
    return object;
}

static bool same(const cJSON *a, const cJSON *b, const char *key)
{
    return cJSON_Compare(cJSON_GetObjectItemCaseSensitive(a, key),
                         cJSON_GetObjectItemCaseSensitive(b, key), 1);
}

// The answer of the record is that of the single run, and says so in its place.
static void check_answer(const cJSON *got, const cJSON *want, size_t which)
{
    static const char *const keys[] = {"policy", "depth", "text",     "prompt_tokens",
                                       "tokens", "stop",  "tokens_at"};
    const cJSON *index = cJSON_GetObjectItemCaseSensitive(got, "index");
    assert_true(cJSON_IsNumber(index) && index->valuedouble == (double)which);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        bool timed = strstr(SAME[which].record, "auto") && !strcmp(keys[i], "tokens_at");
        if (timed || same(got, want, keys[i])) continue;
        char *a = cJSON_PrintUnformatted(got), *b = cJSON_PrintUnformatted(want);
        fail_msg("record %zu: '%s' differs:\n%s\n%s", which, keys[i], a, b);
    }
}

static void check_answers(const char *path, cJSON *const *want)
{
    size_t size;
    char *text = test_read(path, &size);
    const char *at = text;
    for (size_t i = 0; i < SAMES; i++) {
        const char *end = strchr(at, '\n');
        assert_non_null(end);
        cJSON *got = parse(at, (size_t)(end - at));
        check_answer(got, want[i], i);
        cJSON_Delete(got);
        at = end + 1;
    }
    assert_string_equal(at, "");
    free(text);
}

// Runs a file with some options; the run ends well, prints nothing, and says what it did.
static void run_batch(const char *in, const char *out, const char *const *options)
{
    CliCall call = {.args = {"generate", model.text, "--batch", in, "--out", out}};
    for (int i = 0; i < 8 && options[i]; i++) call.args[6 + i] = options[i];
    CliRun run = cli_run(&call);
    if (run.status || *run.out || !strstr(run.err, " prompts, ") || !strstr(run.err, " tokens/s, "))
        fail_msg("status %d:\n%s%s", run.status, run.out, run.err);
    cli_free(&run);
}

static TestPath write_same(const char *name, const char *open, const char *between,
                           const char *close)
{
    char text[8192];
    int used = snprintf(text, sizeof text, "%s", open);
    for (size_t i = 0; i < SAMES; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%s", i ? between : "",
                         SAME[i].record);
    snprintf(text + used, sizeof text - (size_t)used, "%s", close);
    return test_write_text(&folder, name, text);
}

static void answers_are_those_of_single_runs(void **state)
{
    (void)state;
    cJSON *want[SAMES];
    for (size_t i = 0; i < SAMES; i++) want[i] = single(i);
    TestPath lines = write_same("in.jsonl", "\n", "\n \t\r\n", ""), out;
    TestPath crlf = write_same("crlf.jsonl", "", "\r\n", "\r\n");
    TestPath list = write_same("in.json", " \n[", ",\n", "]\n");
    char budget[32];
    snprintf(budget, sizeof budget, "%llu", 5 * (unsigned long long)page - 1); // one short of 5
    const struct {
        const char *in, *options[8];
    } runs[] = {
        {lines.text, {"--max-tokens", "12"}},
        {crlf.text, {"--max-tokens", "12", "--places", "1"}},
        {list.text, {"--max-tokens", "12", "--places", "4096", "--kv-budget", "1GB"}},
        {lines.text, {"--max-tokens", "12", "--places", "8", "--kv-budget", budget}},
    };
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        out = test_path(folder.text, "out.jsonl");
        run_batch(runs[i].in, out.text, runs[i].options);
        check_answers(out.text, want);
    }
    for (size_t i = 0; i < SAMES; i++) cJSON_Delete(want[i]);
}

// What the command line says holds for records that do not say it themselves.
static void records_come_before_the_command_line(void **state)
{
    (void)state;
    TestPath in = test_write_text(&folder, "defaults.jsonl",
                                  "{\"prompt\":\"is\"}\n"
                                  "{\"prompt\":\"is\",\"exit\":1.5}\n"
                                  "{\"prompt\":\"is\",\"depth\":2}\n"
                                  "{\"prompt\":\"is\",\"draft\":\"auto\",\"temperature\":0}\n");
    TestPath out = test_path(folder.text, "defaults.out");
    run_batch(in.text, out.text,
              (const char *const[8]){"--draft", "1", "--max-tokens", "3", "--temperature", "1"});
    static const char *const policies[] = {"draft 1 of 4", "exits 2:1.5 of 4", "depth 2",
                                           "draft auto of 4"};
    size_t size;
    char *text = test_read(out.text, &size);
    const char *at = text;
    for (int i = 0; i < 4; i++, at = strchr(at, '\n') + 1) {
        cJSON *got = parse(at, strcspn(at, "\n"));
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(got, "policy")), policies[i]);
        assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(got, "tokens")), 3);
        cJSON_Delete(got);
    }
    free(text);
}

static const char *text_at(const char *lines, int line, cJSON **owner)
{
    while (line--) lines = strchr(lines, '\n') + 1;
    *owner = parse(lines, strcspn(lines, "\n"));
    return cJSON_GetStringValue(cJSON_GetObjectItem(*owner, "text"));
}

// A text, a list of them, or none in the place of that of the command line.
static void stop_strings_of_records(void **state)
{
    (void)state;
    TestPath in = test_write_text(&folder, "plain.jsonl", "{\"prompt\":\"is\"}\n");
    TestPath out = test_path(folder.text, "stops.out");
    size_t size;
    cJSON *plain, *got;
    run_batch(in.text, out.text, (const char *const[8]){"--max-tokens", "12"});
    char *lines = test_read(out.text, &size);
    const char *text = text_at(lines, 0, &plain);
    char stop[8] = "";
    size_t from = strlen(text) / 2;
    while (((unsigned char)text[from] & 0xC0) == 0x80) from--;
    do strncat(stop, text + from + strlen(stop), 1);
    while (((unsigned char)text[from + strlen(stop)] & 0xC0) == 0x80);
    size_t before = (size_t)(strstr(text, stop) - text);
    cJSON *name = cJSON_CreateString(stop);
    char records[512], *quoted = cJSON_PrintUnformatted(name);
    snprintf(records, sizeof records,
             "{\"prompt\":\"is\",\"stop\":%s}\n{\"prompt\":\"is\",\"stop\":[\"no such\",%s]}\n"
             "{\"prompt\":\"is\"}\n{\"prompt\":\"is\",\"stop\":[]}\n",
             quoted, quoted);
    in = test_write_text(&folder, "stops.jsonl", records);
    run_batch(in.text, out.text, (const char *const[8]){"--max-tokens", "12", "--stop", stop});
    free(lines);
    lines = test_read(out.text, &size);
    for (int i = 0; i < 4; i++) {
        const char *answer = text_at(lines, i, &got);
        assert_int_equal(strlen(answer), i < 3 ? before : strlen(text));
        assert_int_equal(strncmp(answer, text, strlen(answer)), 0);
        const char *end = cJSON_GetStringValue(cJSON_GetObjectItem(got, "stop"));
        assert_int_equal(!strcmp(end, "stop"), i < 3);
        cJSON_Delete(got);
    }
    free(lines);
    free(quoted);
    cJSON_Delete(name);
    cJSON_Delete(plain);
}

// ---- PandaLM -----------------------------------------------------------------------------------

// Its records have other keys, too; what it reads is a flat list of answers.
static void pandalm(void **state)
{
    (void)state;
    TestPath in = test_write_text(
        &folder, "panda.json",
        "[{\"motivation_app\":\"Mail\",\"instruction\":\"a\",\"input\":\"is\"},\n"
        " {\"idx\":1,\"cmp_key\":\"x_y\",\"instruction\":\"a\",\"input\":\"\",\"response1\":\"r\","
        "\"annotator1\":1}]");
    TestPath list = test_path(folder.text, "panda.out"),
             lines = test_path(folder.text, "lines.out");
    run_batch(in.text, list.text, (const char *const[8]){"--max-tokens", "6", "--pandalm"});
    run_batch(in.text, lines.text, (const char *const[8]){"--max-tokens", "6"});
    size_t size;
    char *text = test_read(list.text, &size), *answers = test_read(lines.text, &size);
    cJSON *got = parse(text, strlen(text)), *answer;
    assert_true(cJSON_IsArray(got) && cJSON_GetArraySize(got) == 2);
    for (int i = 0; i < 2; i++) {
        const char *want = text_at(answers, i, &answer);
        assert_string_equal(cJSON_GetStringValue(cJSON_GetArrayItem(got, i)), want);
        cJSON_Delete(answer);
    }
    cJSON_Delete(got);
    free(text);
    free(answers);
}

// The real list: 170 prompts, as many answers, by a model with room for them.
static void pandalm_of_the_test_data(void **state)
{
    (void)state;
    TestPath in = test_data("pandalm/testset-inference-v1.json");
    TestPath out = test_path(folder.text, "panda170.out"), wide = test_path(folder.text, "wide");
    LlamaConfig config = small_config();
    config.blocks = 1;
    config.context = 8192;
    model_write(wide.text, &config, 73);
    CliRun run = CLI("generate", wide.text, "--batch", in.text, "--out", out.text, "--pandalm",
                     "--max-tokens", "2", "--places", "64");
    if (run.status) fail_msg("%s", run.err);
    cli_free(&run);
    size_t size;
    char *text = test_read(out.text, &size);
    cJSON *got = parse(text, size), *answer;
    assert_int_equal(cJSON_GetArraySize(got), 170);
    cJSON_ArrayForEach(answer, got) assert_true(cJSON_IsString(answer));
    cJSON_Delete(got);
    free(text);
    // Here the first prompt is longer than the context.
    assert_cli_fails(
        CLI("generate", model.text, "--batch", in.text, "--out", out.text, "--pandalm"), 1,
        "testset-inference-v1.json: record 1: a prompt of ");
}

// ---- failures ----------------------------------------------------------------------------------

// Runs a file that is wrong; what stood in its place of answers stays, and nothing comes beside it.
static void check_wrong(const char *name, const char *text, const char *const *options,
                        const char *message)
{
    TestPath own = test_path(folder.text, "wrong");
    Error err;
    assert_true(folder_make(own.text, &err));
    TestPath in = test_write_text(&folder, name, text);
    TestPath out = test_write_text(&own, "out", "what was there");
    CliCall call = {.args = {"generate", model.text, "--batch", in.text, "--out", out.text}};
    for (int i = 0; i < 8 && options[i]; i++) call.args[6 + i] = options[i];
    assert_cli_fails(cli_run(&call), 1, message);
    size_t size;
    char *left = test_read(out.text, &size);
    assert_string_equal(left, "what was there");
    assert_int_equal(test_folder_count(own.text), 1);
    free(left);
}

static const char *const NO_OPTIONS[8];

static void wrong_records(void **state)
{
    (void)state;
    static const struct {
        const char *record, *message;
    } bad[] = {
        {"{\"prompt\":\"a\"", "bad.jsonl: line 3"},
        {"{\"prompt\":\"a\"} x", "bad.jsonl: line 3"},
        {"{\"prompt\":\"a\xFF\"}", "bad.jsonl: line 3"},
        {"{\"prompt\":\"a\\ud800\"}", "bad.jsonl: line 3"},
        {"{\"prompt\":\"a\\u0000b\"}", "bad.jsonl: line 3"},
        {"7", "bad.jsonl: line 3: an object is expected"},
        {"{}", "bad.jsonl: line 3: one of prompt and instruction is expected"},
        {"{\"text\":\"a\"}", "bad.jsonl: line 3: one of prompt and instruction is expected"},
        {"{\"prompt\":\"a\",\"instruction\":\"b\"}",
         "bad.jsonl: line 3: key 'instruction' is unknown"},
        {"{\"prompt\":7}", "bad.jsonl: line 3: "},
        {"{\"instruction\":\"a\",\"input\":7}", "bad.jsonl: line 3: "},
        {"{\"prompt\":\"a\",\"temprature\":1}", "bad.jsonl: line 3: key 'temprature' is unknown"},
        {"{\"prompt\":\"a\",\"temperature\":-1}",
         "bad.jsonl: line 3: temperature: -1, expected 0 and"},
        {"{\"prompt\":\"a\",\"temperature\":true}", "line 3: temperature: a number or a text"},
        {"{\"prompt\":\"a\",\"temperature\":1e999}", "bad.jsonl: line 3"},
        {"{\"prompt\":\"a\",\"top_p\":0}", "bad.jsonl: line 3: top_p: 0, expected above 0"},
        {"{\"prompt\":\"a\",\"top_k\":1.5}",
         "bad.jsonl: line 3: --top-k '1.5' is not a number of 0 to"},
        {"{\"prompt\":\"a\",\"seed\":-1}", "bad.jsonl: line 3: --seed '-1' is not a number"},
        {"{\"prompt\":\"a\",\"max_tokens\":0}", "line 3: --max-tokens '0' is not a number of 1 to"},
        {"{\"prompt\":\"a\",\"depth\":5}", "line 3: --depth 5: the model has depths 1 to 4"},
        {"{\"prompt\":\"a\",\"depth\":1.5}", "line 3: --depth 1.5: the model has depths 1 to 4"},
        {"{\"prompt\":\"a\",\"depth\":\"all\"}",
         "line 3: --depth all: the model has depths 1 to 4"},
        {"{\"prompt\":\"a\",\"draft\":4}", "line 3: draft '4': 1 to 3 blocks, or 'auto'"},
        {"{\"prompt\":\"a\",\"exit\":\"x\"}", "line 3: exit 'x': a threshold such as .9"},
        {"{\"prompt\":\"a\",\"exits\":\"4:.5\"}", "line 3: exit 4: exits lie below the depth, 4"},
        {"{\"prompt\":\"a\",\"exits\":2,\"top_p\":0.5}", "line 3: exits: a text is expected"},
        {"{\"prompt\":\"a\",\"confidence\":1}", "line 3: confidence: a text is expected"},
        {"{\"prompt\":\"a\",\"exit\":0.9,\"draft\":1}",
         "line 3: one of --exit, --exits and --draft"},
        {"{\"prompt\":\"a\",\"stop\":5,\"seed\":7}", "line 3: stop: a text or a list of texts"},
        {"{\"prompt\":\"a\",\"stop\":[\"x\",5]}", "line 3: stop: a text or a list of texts"},
        {"{\"prompt\":\"a\",\"stop\":\"\"}", "line 3: --stop: an empty text"},
        {"{\"prompt\":\"a\",\"stop\":[\"x\",\"\"]}", "line 3: --stop: an empty text"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"prompt\":\"is\"}\n\n%s\n{\"prompt\":\"is\"}\n",
                 bad[i].record);
        check_wrong("bad.jsonl", text, NO_OPTIONS, bad[i].message);
    }
}

static void wrong_files(void **state)
{
    (void)state;
    char text[400];
    check_wrong("empty.jsonl", "", NO_OPTIONS, "empty.jsonl: no prompts");
    check_wrong("blank.jsonl", "\n \n\t\n", NO_OPTIONS, "blank.jsonl: no prompts");
    check_wrong("none.json", "[]", NO_OPTIONS, "none.json: no prompts");
    check_wrong("list.json", "[{\"prompt\":\"a\"},{\"prompt\":\"a\",\"x\":1}]", NO_OPTIONS,
                "list.json: record 2: key 'x' is unknown");
    check_wrong("list.json", "[{\"prompt\":\"a\"},7]", NO_OPTIONS,
                "list.json: record 2: an object is expected");
    check_wrong("list.json", "[{\"prompt\":\"a\"}", NO_OPTIONS, "list.json");
    snprintf(text, sizeof text, "{\"prompt\":\"a\"}\n{\"prompt\":\"%0200d\"}\n", 0); // a token each
    check_wrong("long.jsonl", text, NO_OPTIONS, "long.jsonl: line 2: a prompt of ");
    check_wrong("long.jsonl", text, NO_OPTIONS, " tokens, but the context is 160 tokens");
    assert_cli_fails(CLI("generate", model.text, "--batch", "/nonexistent/b", "--out", "o"), 1,
                     "/nonexistent/b");
    assert_cli_fails(CLI("generate", "/nonexistent/m", "--batch", "b", "--out", "o"), 1,
                     "/nonexistent/m/config.json");
}

// What cannot be written is said before anything is computed, not hours later.
static void places_for_answers(void **state)
{
    (void)state;
    TestPath in = test_write_text(&folder, "one.jsonl", "{\"prompt\":\"a\"}\n");
    assert_cli_fails(CLI("generate", model.text, "--batch", in.text, "--out", "/nonexistent/o"), 1,
                     "/nonexistent/o");
    assert_cli_fails(
        CLI("generate", model.text, "--batch", in.text, "--out", "/nonexistent/o", "--pandalm"), 1,
        "/nonexistent/o");
}

static void budgets(void **state)
{
    (void)state;
    static const char one[] =
        "{\"prompt\":\"a\",\"max_tokens\":9}\n{\"prompt\":\"a\",\"max_tokens\":90}\n";
    char budget[32], message[120];
    const char *options[8] = {"--kv-budget", "100"};
    snprintf(message, sizeof message,
             "--kv-budget: 100 bytes, but a page of 32 positions takes %llu\n",
             (unsigned long long)page);
    check_wrong("budget.jsonl", one, options, message);
    snprintf(budget, sizeof budget, "%llu", 3 * (unsigned long long)page - 1);
    options[1] = budget;
    check_wrong(
        "budget.jsonl", one, options,
        "budget.jsonl: prompt 2: 2 tokens and up to 90 more need 3 pages of KV cache, but its "
        "budget is 2");
}

// A driver that fails in the middle: one line, and nothing is written.
static void a_failing_device(void **state)
{
    (void)state;
    TestPath in =
        test_write_text(&folder, "lost.jsonl",
                        "{\"prompt\":\"a\"}\n{\"prompt\":\"is\"}\n{\"prompt\":\"a task\"}\n");
    TestPath own = test_path(folder.text, "lost");
    Error err;
    assert_true(folder_make(own.text, &err));
    TestPath out = test_write_text(&own, "out", "what was there");
    const char *const fails[] = {"STRATA_TEST_FAIL=submit 20 -4", "STRATA_TEST_FAIL=wait 30 -4"};
    for (int i = 0; i < 4; i++) {
        CliCall call = {.args = {"generate", model.text, i < 2 ? "--batch" : "--prompt", in.text,
                                 i < 2 ? "--out" : NULL, out.text},
                        .vars = {"VK_ADD_LAYER_PATH=" TEST_LAYERS,
                                 "VK_INSTANCE_LAYERS=VK_LAYER_STRATA_fail_device", fails[i % 2]}};
        CliRun run = cli_run(&call);
        const char *line = strstr(run.err, "strata: ");
        if (run.status != 1 || line != run.err || strchr(line, '\n')[1] ||
            !strstr(line, "the device was lost"))
            fail_msg("status %d:\n%s", run.status, run.err);
        cli_free(&run);
        size_t size;
        char *left = test_read(out.text, &size);
        assert_string_equal(left, "what was there");
        assert_int_equal(test_folder_count(own.text), 1);
        free(left);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_those_of_single_runs),
        cmocka_unit_test(records_come_before_the_command_line),
        cmocka_unit_test(stop_strings_of_records),
        cmocka_unit_test(pandalm),
        cmocka_unit_test(pandalm_of_the_test_data),
        cmocka_unit_test(wrong_records),
        cmocka_unit_test(wrong_files),
        cmocka_unit_test(places_for_answers),
        cmocka_unit_test(budgets),
        cmocka_unit_test(a_failing_device),
    };
    return cmocka_run_group_tests(tests, make_all, remove_all);
}
