// `strata generate` beyond its plain use (test_cli.c): depth policies, sampling, stop strings, and
// files of many prompts, whose answers are those of single runs; what is refused, by file and line;
// that nothing is written where anything fails.
#include "base/file.h"
#include "base/json.h"
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

// ---- single runs -------------------------------------------------------------------------------

static CliCall call_of(const char *const *args, size_t count)
{
    CliCall call = {.args = {"generate", model.text, "--json", "--max-tokens", "12"}};
    assert_true(count + 5 < CLI_ARGS);
    for (size_t i = 0; i < count; i++) call.args[5 + i] = args[i];
    return call;
}

// The one line of JSON of a run that ends well and says nothing else.
static cJSON *generate_args(const char *const *args, size_t count)
{
    CliCall call = call_of(args, count);
    CliRun run = cli_run(&call);
    Error err;
    if (run.status || *run.err) fail_msg("status %d: %s", run.status, run.err);
    cJSON *object = json_parse(run.out, strlen(run.out), "output", &err);
    if (!object) fail_msg("%s", err.text);
    cli_free(&run);
    return object;
}
#define GENERATE(...)                                                                              \
    generate_args((const char *const[]){__VA_ARGS__},                                              \
                  sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static double number(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsNumber(item)) fail_msg("no number '%s'", key);
    return item->valuedouble;
}

static const char *text_of(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
    if (!text) fail_msg("no text '%s'", key);
    return text;
}

static bool same(const cJSON *a, const cJSON *b, const char *key)
{
    return cJSON_Compare(cJSON_GetObjectItemCaseSensitive(a, key),
                         cJSON_GetObjectItemCaseSensitive(b, key), 1);
}

static void check_same(const cJSON *a, const cJSON *b, const char *what)
{
    static const char *const keys[] = {"text", "tokens", "stop", "prompt_tokens"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (same(a, b, keys[i])) continue;
        char *left = cJSON_PrintUnformatted(a), *right = cJSON_PrintUnformatted(b);
        fail_msg("%s: '%s' differs:\n%s\n%s", what, keys[i], left, right);
    }
}

// ---- policies ----------------------------------------------------------------------------------

// Exactly the keys that cli_report.h names.
static void check_keys(const cJSON *object, bool drafts, bool full)
{
    static const struct {
        const char *key;
        bool of_drafts, of_less; // than full depth
    } keys[] = {{"policy", 0, 0},        {"depth", 0, 0},    {"text", 0, 0},
                {"prompt_tokens", 0, 0}, {"tokens", 0, 0},   {"ms_per_token", 0, 0},
                {"prompt_ms", 0, 0},     {"stop", 0, 0},     {"tokens_at", 0, 0},
                {"drafted", 1, 0},       {"accepted", 1, 0}, {"blocks_per_token", 0, 0},
                {"acceptance", 1, 0},    {"checks", 1, 0},   {"speedup", 0, 1},
                {"full_depth_ms", 0, 1}};
    int count = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        bool wanted = (!keys[i].of_drafts || drafts) && (!keys[i].of_less || !full);
        if (cJSON_HasObjectItem(object, keys[i].key) != wanted)
            fail_msg("%s: key '%s'", text_of(object, "policy"), keys[i].key);
        count += wanted;
    }
    assert_int_equal(cJSON_GetArraySize(object), count);
}

// Sums and bounds that hold for every policy.
static void check_sums(const cJSON *object)
{
    const cJSON *at = cJSON_GetObjectItemCaseSensitive(object, "tokens_at"), *depth;
    int tokens = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(object, "tokens"));
    double sum = 0;
    cJSON_ArrayForEach(depth, at) sum += depth->valuedouble;
    assert_true(sum == tokens + !strcmp(text_of(object, "stop"), "eos"));
    assert_true(number(object, "ms_per_token") > 0 && number(object, "prompt_ms") > 0);
    if (!cJSON_HasObjectItem(object, "drafted")) {
        assert_in_range(number(object, "blocks_per_token"), 1, 4);
        return;
    }
    double drafted = number(object, "drafted"), accepted = number(object, "accepted");
    assert_true(accepted <= drafted && number(object, "checks") <= drafted + 12);
    assert_true(number(object, "acceptance") == (drafted > 0 ? accepted / drafted : 0));
}

static void policies(void **state)
{
    (void)state;
    cJSON *full = GENERATE("--prompt", "Write a word."),
          *shallow = GENERATE("--prompt", "Write a word.", "--depth", "2");
    check_keys(full, false, true);
    check_keys(shallow, false, false);
    assert_false(same(full, shallow, "tokens"));
    assert_string_equal(text_of(shallow, "policy"), "depth 2");
    assert_true(number(shallow, "blocks_per_token") == 2 && number(full, "blocks_per_token") == 4);
    const struct {
        const char *args[6], *policy;
        const cJSON *same; // NULL: its own text
        bool drafts;
    } cases[] = {
        {{"--exit", "0"}, "exits 2:0 of 4", shallow, false},
        {{"--exit", "1.5"}, "exits 2:1.5 of 4", full, false},
        {{"--exits", "1:2,2:0"}, "exits 1:2,2:0 of 4", shallow, false},
        {{"--exits", "2:.05", "--confidence", "margin"}, "exits 2:0.05 of 4", NULL, false},
        {{"--exits", "1:.9,3:2", "--confidence", "entropy"}, "exits 1:0.9,3:2 of 4", NULL, false},
        {{"--exit", "0", "--depth", "2"}, "depth 2", shallow, false}, // no exit lies below
        {{"--draft", "1"}, "draft 1 of 4", full, true},
        {{"--draft", "2", "--draft-stop", "0", "--draft-window", "16"}, "draft 2 of 4", full, true},
        {{"--draft", "auto"}, "draft auto of 4", full, true},
        {{"--draft", "1", "--depth", "2"}, "draft 1 of 2", shallow, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *args[8] = {"--prompt", "Write a word."};
        size_t count = 2;
        for (size_t a = 0; a < 6 && cases[i].args[a]; a++) args[count++] = cases[i].args[a];
        cJSON *object = generate_args(args, count);
        assert_string_equal(text_of(object, "policy"), cases[i].policy);
        check_keys(object, cases[i].drafts, false);
        check_sums(object);
        if (cases[i].same) check_same(cases[i].same, object, cases[i].policy);
        cJSON_Delete(object);
    }
    cJSON_Delete(full);
    cJSON_Delete(shallow);
}

// What people read, on standard error.
static void reports(void **state)
{
    (void)state;
    static const struct {
        const char *option, *value, *lines[3];
    } cases[] = {
        {"--exit",
         ".02",
         {"exits 2:0.02 of 4: prompt 9 tokens in ", "x full depth (", "\ntokens at depth "}},
        {"--draft",
         "2",
         {"draft 2 of 4: prompt 9 tokens in ", " drafted tokens accepted (", " checks\n"}},
        {"--depth", "2", {"depth 2: prompt 9 tokens in ", "; 12 tokens, ", " tokens/s, "}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CliRun run = CLI("generate", model.text, "--prompt", "Write a word.", "--max-tokens", "12",
                         cases[i].option, cases[i].value, "--draft-stop", "0");
        assert_int_equal(run.status, 0);
        for (int l = 0; l < 3; l++)
            if (!strstr(run.err, cases[i].lines[l]))
                fail_msg("no '%s' in:\n%s", cases[i].lines[l], run.err);
        bool blocks = strstr(run.err, " of 4 blocks per token\n") != NULL;
        assert_int_equal(blocks, i < 2);
        cli_free(&run);
    }
}

// ---- sampling ----------------------------------------------------------------------------------

static void a_seed_gives_one_text(void **state)
{
    (void)state;
    static const char *const policies[][2] = {
        {"--depth", "4"}, {"--draft", "auto"}, {"--exit", ".1"}};
    for (int i = 0; i < 3; i++) {
        cJSON *texts[3];
        for (int s = 0; s < 3; s++)
            texts[s] = GENERATE("--prompt", "is", policies[i][0], policies[i][1], "--temperature",
                                "1.2", "--top-k", "40", "--seed", s < 2 ? "9" : "10");
        check_same(texts[0], texts[1], "the same seed");
        assert_false(same(texts[0], texts[2], "tokens"));
        for (int s = 0; s < 3; s++) cJSON_Delete(texts[s]);
    }
}

// Options that leave one token only are greedy, at any temperature.
static void one_candidate_is_greedy(void **state)
{
    (void)state;
    static const char *const only[][2] = {{"--top-k", "1"}, {"--top-p", "1e-9"}, {"--min-p", "1"}};
    cJSON *greedy = GENERATE("--prompt", "is");
    for (int i = 0; i < 3; i++) {
        cJSON *object = GENERATE("--prompt", "is", "--temperature", "5", only[i][0], only[i][1]);
        check_same(greedy, object, only[i][0]);
        cJSON_Delete(object);
    }
    cJSON *penalised = GENERATE("--prompt", "is", "--repetition-penalty", "1000");
    const cJSON *ids = cJSON_GetObjectItem(penalised, "tokens"), *a, *b;
    cJSON_ArrayForEach(a, ids) // nothing comes twice
        for (b = a->next; b; b = b->next) assert_int_not_equal(a->valueint, b->valueint);
    cJSON_Delete(penalised);
    cJSON_Delete(greedy);
}

// ---- stop strings ------------------------------------------------------------------------------

// Two letters from the middle of text, and how much stands before them for the first time.
static size_t middle(char *out, const char *text)
{
    size_t from = strlen(text) / 2, to;
    while (((unsigned char)text[from] & 0xC0) == 0x80) from--;
    to = from + 1;
    for (int letters = 0; text[to]; to++)
        if (((unsigned char)text[to] & 0xC0) != 0x80 && ++letters == 2) break;
    snprintf(out, 16, "%.*s", (int)(to - from), text + from);
    return (size_t)(strstr(text, out) - text);
}

static void stops(void **state)
{
    (void)state;
    cJSON *whole = GENERATE("--prompt", "is");
    const char *text = text_of(whole, "text");
    char stop[16];
    size_t before = middle(stop, text);
    assert_true(before > 0 && before < strlen(text));
    static const char *const ways[][2] = {{"--depth", "4"}, {"--draft", "1"}};
    for (int i = 0; i < 2; i++) {
        cJSON *object = GENERATE("--prompt", "is", "--stop", "never there", "--stop", stop,
                                 ways[i][0], ways[i][1]);
        assert_int_equal(strlen(text_of(object, "text")), before);
        assert_int_equal(strncmp(text_of(object, "text"), text, before), 0);
        assert_string_equal(text_of(object, "stop"), "stop");
        cJSON_Delete(object);
    }
    // On the terminal as well, where the text comes as it is made.
    CliRun run =
        CLI("generate", model.text, "--prompt", "is", "--max-tokens", "12", "--stop", stop);
    assert_int_equal(run.status, 0);
    assert_true(strlen(run.out) == before + 1 && run.out[before] == '\n');
    assert_int_equal(strncmp(run.out, text, before), 0);
    cli_free(&run);
    cJSON *same_text = GENERATE("--prompt", "is", "--stop", "never there");
    check_same(whole, same_text, "a stop that does not come");
    cJSON_Delete(same_text);
    cJSON_Delete(whole);
}

// ---- usage -------------------------------------------------------------------------------------

static void usage_errors(void **state)
{
    (void)state;
    static const struct {
        const char *args[4], *message;
    } bad[] = {
        {{"--exit", ".9", "--draft", "2"}, "one of --exit, --exits and --draft is expected"},
        {{"--exit", ".9", "--exits", "2:.9"}, "one of --exit, --exits and --draft is expected"},
        {{"--depth", "all", "--exit", ".9"}, "--depth all stands alone"},
        {{"--confidence", "hope"},
         "--confidence 'hope': probability, margin or entropy is expected"},
        {{"--draft-stop", "x"}, "--draft-stop 'x' is not a number"},
        {{"--draft-window", "0"}, "--draft-window '0' is not a number of 1 to 16"},
        {{"--draft-window", "17"}, "--draft-window '17' is not a number of 1 to 16"},
        {{"--temperature", "-1"}, "temperature: -1, expected 0 and more"},
        {{"--temperature", "nan"}, "--temperature 'nan' is not a number"},
        {{"--temperature", "1x"}, "--temperature '1x' is not a number"},
        {{"--temperature", ""}, "--temperature '' is not a number"},
        {{"--top-k", "-1"}, "--top-k '-1' is not a number of 0 to 4294967295"},
        {{"--top-k", "4294967296"}, "--top-k '4294967296' is not a number of 0"},
        {{"--top-p", "0"}, "top_p: 0, expected above 0, at most 1"},
        {{"--top-p", "1.5"}, "top_p: 1.5, expected above 0, at most 1"},
        {{"--min-p", "1.5"}, "min_p: 1.5, expected 0 to 1"},
        {{"--repetition-penalty", "0"}, "repetition_penalty: 0, expected above 0"},
        {{"--seed", "-1"}, "--seed '-1' is not a number"},
        {{"--seed", "9007199254740993"}, "--seed '9007199254740993' is not a number of 0 to 90071"},
        {{"--max-tokens", "1073741825"}, "--max-tokens '1073741825' is not a number of 1 to"},
        {{"--stop", ""}, "--stop: an empty text"},
        {{"--stop", "a\xFF"}, "--stop: invalid UTF-8 at byte 1"},
        {{"--batch", "b", "--out", "o"}, "one of --prompt, --prompt-file and --batch is expected"},
        {{"--out", "o"}, "--batch and --out belong together"},
        {{"--pandalm"}, "--pandalm is for --batch"},
        {{"--places", "3"}, "--places is for --batch"},
        {{"--kv-budget", "3MB"}, "--kv-budget is for --batch"},
        {{"--places", "0"}, "--places '0' is not a number of 1 to 4096"},
        {{"--places", "4097"}, "--places '4097' is not a number of 1 to 4096"},
        {{"--kv-budget", "0"}, "--kv-budget '0': bytes, nMB or nGB are expected"},
        {{"--kv-budget", "5KB"}, "--kv-budget '5KB': bytes, nMB or nGB are expected"},
        {{"--kv-budget", "99999999999GB"}, "--kv-budget '99999999999GB': bytes"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_cli_fails(CLI("generate", model.text, "--prompt", "a", bad[i].args[0],
                             bad[i].args[1], bad[i].args[1] ? bad[i].args[2] : NULL,
                             bad[i].args[3]),
                         2, bad[i].message);
    assert_cli_fails(CLI("generate", model.text, "--batch", "b"), 2,
                     "--batch and --out belong together");
    assert_cli_fails(CLI("generate", model.text, "--batch", "b", "--out", "o", "--depth", "all"), 2,
                     "--depth all stands alone");
    CliCall many = {.args = {"generate", "m"}};
    for (int i = 0; i < 17; i++) many.args[2 + i] = "--stop=x";
    assert_cli_fails(cli_run(&many), 2, "--stop: more than 16");
}

// What only the model can tell.
static void failures(void **state)
{
    (void)state;
    static const struct {
        const char *option, *value, *message;
    } bad[] = {
        {"--exits", "4:.5", "exit 4: exits lie below the depth, 4"},
        {"--exits", "2:.5,1:.5", "exit 1 stands behind 2: exits must ascend"},
        {"--exits", "2", "exits '2': a list such as 2:.95,4:.9 is expected"},
        {"--exit", "2:.5", "exit '2:.5': a threshold such as .9 is expected"},
        {"--draft", "4", "draft '4': 1 to 3 blocks, or 'auto', are expected"},
        {"--draft", "x", "draft 'x': 1 to 3 blocks"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_cli_fails(CLI("generate", model.text, "--prompt", "a", bad[i].option, bad[i].value),
                         1, bad[i].message);
    assert_cli_fails(
        CLI("generate", model.text, "--prompt", "a", "--draft", "auto", "--depth", "1"), 1,
        "draft: a depth of one block has none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policies),
        cmocka_unit_test(reports),
        cmocka_unit_test(a_seed_gives_one_text),
        cmocka_unit_test(one_candidate_is_greedy),
        cmocka_unit_test(stops),
        cmocka_unit_test(usage_errors),
        cmocka_unit_test(failures),
    };
    return cmocka_run_group_tests(tests, make_all, remove_all);
}
