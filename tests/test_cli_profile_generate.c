// `strata profile generate` as a user meets it: that it generates what `strata generate` does,
// under every policy, that its counts and phases are those of that text, its reports, comparison
// with an earlier profile, and what is refused. Nothing here asks for a speed. Options that profile
// train shares are in test_cli_profile.c.
#include "support/models.h"
#include "support/profile_runs.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 12, MOST_ARGS = 16 };

static TestPath folder, model; // of all tests; model: 4 blocks, exits 2 and 4

static int make_all(void **state)
{
    (void)state;
    folder = test_folder_make();
    model = small_exits_model(&folder, "model", 71);
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

#define PROFILE(...) CLI("profile", "generate", model.text, __VA_ARGS__)
#define PROMPT "--prompt", "Write a word."
#define SHORT PROMPT, "--steps", "4"

// ---- the same text -----------------------------------------------------------------------------

// `args` behind the command's name and the prompt.
static CliRun run_with(bool profiled, const char *const *args)
{
    CliCall call = {
        .args = {"profile", "generate", model.text, "--json", "--max-tokens", "12", PROMPT}};
    for (int i = 0; i < MOST_ARGS && args[i]; i++) call.args[8 + i] = args[i];
    if (!profiled) memmove(call.args, call.args + 1, sizeof call.args - sizeof *call.args);
    return cli_run(&call);
}

// Tokens of all texts that `strata generate` makes.
static size_t count_tokens(const char *const *args)
{
    Error err;
    size_t count = 0;
    CliRun run = run_with(false, args);
    assert_int_equal(run.status, 0);
    for (const char *at = run.out, *end; (end = strchr(at, '\n')); at = end + 1) {
        cJSON *text = json_parse(at, (size_t)(end - at), "output", &err);
        if (!text) fail_msg("%s", err.text);
        count += (size_t)cJSON_GetArraySize(field_item(text, "tokens"));
        cJSON_Delete(text);
    }
    cli_free(&run);
    return count;
}

static void check_rows(const cJSON *profile, const char *table, const char *const *wanted)
{
    for (; *wanted; wanted++) {
        bool absent = **wanted == '!';
        const char *name = *wanted + absent;
        if (!profile_row(profile, table, name) != absent)
            fail_msg("%s '%s' is %s", table, name, absent ? "there" : "not there");
    }
}

// Phases and places that a policy has, and behind "!" those that it has not.
static void every_policy(void **state)
{
    (void)state;
    static const struct {
        const char *args[MOST_ARGS], *phases[6], *places[6];
    } cases[] = {
        {{NULL},
         {"prompt", "decode", "!draft", "!verify"},
         {"embed", "block 3", "exit 4", "!exit 2"}},
        {{"--depth", "2"},
         {"prompt", "decode", "!draft"},
         {"block 1", "!block 2", "exit 2", "!exit 4"}},
        {{"--depth", "all"}, {"prompt", "decode"}, {"block 3", "exit 2", "exit 4"}},
        {{"--exit", "0"}, {"prompt", "decode"}, {"block 1", "!block 2", "exit 2", "!exit 4"}},
        {{"--exits", "1:1.5,2:1.5"},
         {"prompt", "decode"},
         {"block 3", "exit 1", "exit 2", "exit 4"}},
        {{"--draft", "2", "--draft-stop", "0"},
         {"prompt", "draft", "verify", "!decode"},
         {"block 3", "exit 2", "exit 4"}},
        {{"--quant", "q8_0", "--alpaca"}, {"prompt", "decode"}, {"block 3", "exit 4"}},
        {{"--shared-head", "--temperature", "1", "--seed", "4"}, {"prompt", "decode"}, {"exit 4"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cJSON *profile = profile_printed(run_with(true, cases[i].args), 0);
        assert_int_equal(profile_steps(profile), count_tokens(cases[i].args));
        for (size_t s = 0; s < profile_steps(profile); s++) {
            assert_int_equal(profile_step(profile, "tokens", s), 1);
            assert_true(cJSON_IsNull(
                cJSON_GetArrayItem(field_item(field_item(profile, "steps"), "loss"), (int)s)));
        }
        check_rows(profile, "phase", cases[i].phases);
        check_rows(profile, "block", cases[i].places);
        cJSON_Delete(profile);
    }
}

// A text of 12 tokens goes through the model 12 times: the prompt, and each token but the last.
static void calls_are_the_tokens(void **state)
{
    (void)state;
    static const char *const none[] = {NULL}, *const two[] = {"--depth", "2", NULL},
                             *const quant[] = {"--quant", "q8_0", NULL};
    cJSON *full = profile_printed(run_with(true, none), 0),
          *again = profile_printed(run_with(true, none), 0),
          *shallow = profile_printed(run_with(true, two), 0),
          *blocks = profile_printed(run_with(true, quant), 0);
    double calls = field_number(profile_row(full, "block", "exit 4"), "calls");
    assert_int_equal((int)calls % TOKENS, 0);
    assert_true(field_number(profile_row(shallow, "block", "exit 2"), "calls") == calls);
    assert_true(field_number(profile_row(full, "phase", "decode"), "calls") ==
                (TOKENS - 1) * field_number(profile_row(full, "phase", "prompt"), "calls"));
    check_same_work(full, again);
    double bytes = field_number(profile_row(full, "block", "block 0"), "bytes");
    assert_true(field_number(profile_row(shallow, "block", "block 0"), "bytes") == bytes);
    assert_true(field_number(profile_row(blocks, "block", "block 0"), "bytes") < bytes);
    cJSON_Delete(full);
    cJSON_Delete(again);
    cJSON_Delete(shallow);
    cJSON_Delete(blocks);
}

static cJSON *answer_at(const char **at)
{
    Error err;
    size_t size = strcspn(*at, "\n");
    cJSON *answer = json_parse(*at, size, "answers", &err);
    if (!answer) fail_msg("%s", err.text);
    *at += size + 1;
    return answer;
}

static void batches(void **state)
{
    (void)state;
    TestPath in =
                 test_write_text(&folder, "in.jsonl",
                                 "{\"prompt\":\"Write a word.\"}\n{\"prompt\":\"is\",\"depth\":2}\n"
                                 "{\"prompt\":\"a\",\"draft\":2,\"draft_stop\":0}\n"),
             out[2] = {file_of("plain.out"), file_of("profiled.out")};
    CliRun run =
        CLI("generate", model.text, "--batch", in.text, "--out", out[0].text, "--max-tokens", "6");
    assert_int_equal(run.status, 0);
    cli_free(&run);
    cJSON *profile = profile_printed(PROFILE("--batch", in.text, "--out", out[1].text, "--steps",
                                             "6", "--places", "2", "--json"),
                                     0);
    assert_int_equal(profile_steps(profile), 0);
    assert_string_equal(field_text(field_item(profile, "settings"), "warmup"), "0");
    assert_non_null(profile_row(profile, "phase", "prompt"));
    size_t size;
    char *texts[2] = {test_read(out[0].text, &size), test_read(out[1].text, &size)};
    const char *at[2] = {texts[0], texts[1]};
    for (int i = 0; i < 3; i++) {
        cJSON *answers[2] = {answer_at(&at[0]), answer_at(&at[1])};
        static const char *const keys[] = {"index", "policy", "text", "tokens", "stop"};
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            assert_true(
                cJSON_Compare(field_item(answers[0], keys[k]), field_item(answers[1], keys[k]), 1));
        cJSON_Delete(answers[0]);
        cJSON_Delete(answers[1]);
    }
    assert_true(!*at[0] && !*at[1]);
    free(texts[0]);
    free(texts[1]);
    cJSON_Delete(profile);
}

// ---- steps -------------------------------------------------------------------------------------

static void as_many_tokens_as_asked_for(void **state)
{
    (void)state;
    for (int warmup = 0; warmup < 3; warmup += 2) {
        CliRun run = PROFILE(PROMPT, "--steps", "5", "--warmup", warmup ? "2" : "0", "--max-tokens",
                             "9", "--json");
        assert_string_equal(run.err, "");
        cJSON *profile = profile_printed(run, 0);
        assert_int_equal(profile_steps(profile), 5);
        assert_string_equal(field_text(field_item(profile, "settings"), "steps"), "5");
        cJSON_Delete(profile);
    }
}

// The same model, whose text ends where its fourth token would stand.
static void texts_may_end_sooner(void **state)
{
    (void)state;
    Error err;
    TestPath ends = small_exits_model(&folder, "ends", 71),
             config = test_path(ends.text, "config.json");
    static const char *const none[] = {NULL};
    CliRun run = run_with(false, none);
    cJSON *text = json_parse(run.out, strlen(run.out), "output", &err),
          *json = json_read(config.text, &err);
    assert_true(text && json);
    int eos = cJSON_GetArrayItem(field_item(text, "tokens"), 3)->valueint, first = 0;
    while (cJSON_GetArrayItem(field_item(text, "tokens"), first)->valueint != eos) first++;
    cJSON_DeleteItemFromObject(json, "eos_token_id");
    cJSON_AddNumberToObject(json, "eos_token_id", eos);
    assert_true(json_write(config.text, json, &err));
    cli_free(&run);
    run = CLI("profile", "generate", ends.text, PROMPT, "--steps", "9", "--json");
    char note[64];
    snprintf(note, sizeof note, "the text ended behind %d of 9 tokens\n", first);
    assert_string_equal(run.err, note);
    cJSON *profile = profile_printed(run, 0);
    assert_int_equal(profile_steps(profile), first);
    cJSON_Delete(profile);
    cJSON_Delete(text);
    cJSON_Delete(json);
}

// ---- reports -----------------------------------------------------------------------------------

static void all_reports_of_one_run(void **state)
{
    (void)state;
    TestPath csv = file_of("all.csv"), trace = file_of("trace.json"), html = file_of("page.html"),
             json = file_of("all.json");
    CliRun run =
        PROFILE(SHORT, "--by", "phase,block", "--csv", csv.text, "--trace", trace.text, "--html",
                html.text, test_option("--json", &folder, "all.json").text, "--serialize");
    static const char *const parts[] = {"\ngenerate ", "\nsteps 4, warmup 1, every 1\n",
                                        "\nphase ",    "\nprompt ",
                                        "\ndecode ",   "\nblock 3 ",
                                        "\nGPU busy ", "\nsteps: 4, median ",
                                        "serialized: "};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) assert_cli_prints(run, parts[i]);
    assert_null(strstr(run.out, "\nkernel "));
    cli_free(&run);
    cJSON *profile = profile_written(&json);
    assert_string_equal(field_text(field_item(profile, "settings"), "serialized"), "yes");
    assert_int_equal(trace_slices(&trace, "step"), 4);
    assert_true(trace_slices(&trace, "kernel") == profile_sum(profile, "kernel", "calls"));
    assert_int_equal(trace_slices(&trace, "submission"), trace_slices(&trace, "kernel"));
    size_t size;
    char *text = test_read(csv.text, &size);
    assert_true(strstr(text, "\nphase,\"prompt\",") && strstr(text, "\naccounting,\"steps sum\","));
    free(text);
    text = test_read(html.text, &size);
    assert_true(strstr(text, "</html>") && strstr(text, "block 3") && strstr(text, "decode"));
    free(text);
    cJSON_Delete(profile);
}

// An earlier profile in which steps and the kernel that takes longest took a thousandth.
static void compares_with_an_earlier_profile(void **state)
{
    (void)state;
    Error err;
    TestPath path = file_of("old.json");
    cJSON *old = profile_printed(PROFILE(PROMPT, "--steps", "10", "--json"), 0), *item;
    const cJSON *row = cJSON_GetArrayItem(profile_rows(old, "kernel"), 0),
                *lists[] = {field_item(row, "samples"),
                            field_item(field_item(old, "steps"), "wall")};
    for (int i = 0; i < 2; i++)
        cJSON_ArrayForEach(item, lists[i]) cJSON_SetNumberValue(item, item->valuedouble / 1000);
    assert_true(json_write(path.text, old, &err));
    CliRun run =
        PROFILE(PROMPT, "--steps", "10", "--compare", path.text, "--tolerance", "5", "--json");
    const char *named = strstr(run.err, "slower by more than 5%:");
    assert_true(named && strstr(named, field_text(row, "name")) && strstr(named, "whole step"));
    cJSON *profile = profile_printed(run, 3);
    assert_true(field_number(field_item(profile, "compared"), "regressed") >= 2);
    cJSON_Delete(profile);
    profile =
        profile_printed(PROFILE(PROMPT, "--steps", "10", "--compare", path.text, "--json"), 0);
    assert_true(field_number(field_item(profile, "compared"), "regressed") == 0);
    cJSON_Delete(profile);
    // Another policy is told.
    run = PROFILE(PROMPT, "--steps", "9", "--warmup", "0", "--compare", path.text);
    assert_int_equal(run.status, 0);
    assert_non_null(strstr(run.err, "steps was 10, is 9\nwarmup was 1, is 0\n"));
    cli_free(&run);
    cJSON_Delete(old);
}

// ---- what is refused ---------------------------------------------------------------------------

static void usage_errors(void **state)
{
    (void)state;
    static const struct {
        const char *args[4], *part;
    } bad[] = {
        {{"--nonsense"}, "--nonsense"},
        {{"--tolerance", "5"}, "--tolerance is for --compare"},
        {{"--by", "token"},
         "--by 'token': a list of kernel, block, phase, shape, pipeline is expected"},
        {{"--steps", "0"}, "--steps '0' is not a number of 1 to 1000000"},
        {{"--warmup", "x"}, "--warmup 'x' is not a number of 0 to 1000000"},
        {{"--exit", "x", "--draft", "2"}, "one of --exit, --exits and --draft is expected"},
        {{"--depth", "all", "--exit", ".9"}, "--depth all stands alone"},
        {{"--prompt-file", "x"}, "one of --prompt, --prompt-file and --batch is expected"},
        {{"--quant", "q2"}, "--quant 'q2' is neither q8_0 nor q4_0"},
        {{"--places", "3"}, "--places is for --batch"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_cli_fails(PROFILE(PROMPT, bad[i].args[0], bad[i].args[1],
                                 bad[i].args[1] ? bad[i].args[2] : NULL, bad[i].args[3]),
                         2, bad[i].part);
    assert_cli_fails(PROFILE("--steps", "3"), 2, "one of --prompt, --prompt-file and --batch");
    assert_cli_fails(PROFILE("--batch", "b"), 2, "--batch and --out belong together");
    assert_cli_fails(CLI("profile", "generate", PROMPT), 2, "generate takes one MODEL");
    CliRun run = CLI("profile", "generate", "--help");
    assert_cli_prints(run, "usage: strata profile generate MODEL ");
    cli_free(&run);
    run = CLI("generate", "--help"); // which knows nothing of all this
    assert_null(strstr(run.out, "--serialize"));
    cli_free(&run);
    assert_cli_fails(CLI("generate", model.text, PROMPT, "--steps", "3"), 2, "--steps");
}

static void failures_leave_nothing(void **state)
{
    (void)state;
    static const char *const outputs[] = {"--csv", "--trace", "--html", "--json"};
    TestPath left = file_of("left.csv"), damaged = test_write_text(&folder, "damaged.json", "{");
    assert_cli_fails(CLI("profile", "generate", file_of("none").text, SHORT, "--csv", left.text), 1,
                     "none");
    assert_cli_fails(PROFILE("--prompt-file", file_of("none.txt").text), 1, "none.txt");
    assert_cli_fails(PROFILE(SHORT, "--device", "no such"), 1, "no such");
    assert_cli_fails(PROFILE(SHORT, "--exits", "4:.5", "--csv", left.text), 1,
                     "exit 4: exits lie below the depth, 4");
    assert_cli_fails(PROFILE(SHORT, "--compare", damaged.text, "--csv", left.text), 1,
                     "damaged.json");
    for (int i = 0; i < 4; i++)
        assert_cli_fails(
            PROFILE(SHORT, "--csv", left.text, test_option(outputs[i], &folder, "none/file").text),
            1, "none/file");
    test_check_absent(file_of("left.csv").text);
    test_check_absent(file_of("none").text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_policy),
        cmocka_unit_test(calls_are_the_tokens),
        cmocka_unit_test(batches),
        cmocka_unit_test(as_many_tokens_as_asked_for),
        cmocka_unit_test(texts_may_end_sooner),
        cmocka_unit_test(all_reports_of_one_run),
        cmocka_unit_test(compares_with_an_earlier_profile),
        cmocka_unit_test(usage_errors),
        cmocka_unit_test(failures_leave_nothing),
    };
    return cmocka_run_group_tests(tests, make_all, remove_all);
}
