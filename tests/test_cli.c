// The program as a user meets it: help, usage errors (exit status 2), failures (exit status 1, one
// line), and what generate, eval, devices and convert print. Not `strata train` (test_cli_train.c)
// and `strata export` (test_export.c) beyond their usage.
#include "base/file.h"
#include "base/json.h"
#include "support/cli.h"
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

static TestPath folder, model, data; // of all tests, which only read model and data

static const char *const RECORDS[][2] = {
    {"Write a word.", "Below"}, {"a", "task"}, {"", "is"}, {"request", "that describes"}};

static int make_all(void **state)
{
    (void)state;
    folder = test_folder_make();
    model = small_exits_model(&folder, "model", 41);
    data = write_records(&folder, "data.json", RECORDS, 4);
    return 0;
}

static int remove_all(void **state)
{
    (void)state;
    test_folder_remove(&folder);
    return 0;
}

static cJSON *parse_line(const char *line, size_t size)
{
    Error err;
    cJSON *object = json_parse(line, size, "output", &err);
    if (!object) fail_msg("%s", err.text);
    return object;
}

static double number(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

// ---- help and usage ----------------------------------------------------------------------------

static const char *const COMMANDS[] = {"train",   "eval",    "generate", "bench",
                                       "devices", "convert", "export"};
enum { COMMAND_COUNT = sizeof COMMANDS / sizeof *COMMANDS };

static void helps(void **state)
{
    (void)state;
    static const char *const ways[] = {"--help", "-h", "help"};
    for (int w = 0; w < 3; w++) {
        CliRun run = CLI(ways[w]);
        for (int i = 0; i < COMMAND_COUNT; i++) assert_cli_prints(run, COMMANDS[i]);
        assert_string_equal(run.err, "");
        cli_free(&run);
    }
    for (int i = 0; i < COMMAND_COUNT; i++) {
        char usage[64];
        snprintf(usage, sizeof usage, "usage: strata %s", COMMANDS[i]);
        for (int w = 0; w < 2; w++) {
            CliRun run = CLI(COMMANDS[i], ways[w]);
            assert_cli_prints(run, usage);
            assert_string_equal(run.err, "");
            cli_free(&run);
        }
    }
}

static void usage_errors(void **state)
{
    (void)state;
    CliRun run = CLI(NULL);
    assert_int_equal(run.status, 2);
    assert_non_null(strstr(run.err, "usage: strata COMMAND"));
    cli_free(&run);
    assert_cli_fails(CLI("nonsense"), 2, "unknown command 'nonsense'; `strata --help` lists them");
    for (int i = 0; i < COMMAND_COUNT; i++) {
        char usage[64];
        snprintf(usage, sizeof usage, "; usage: strata %s", COMMANDS[i]);
        assert_cli_fails(CLI(COMMANDS[i], "--nonsense"), 2, usage);
        assert_cli_fails(CLI(COMMANDS[i], "--nonsense"), 2, "option '--nonsense' is unknown");
        assert_cli_fails(CLI(COMMANDS[i], "-x"), 2, "unknown option '-x'");
        if (strcmp(COMMANDS[i], "convert") != 0 && strcmp(COMMANDS[i], "export") != 0)
            assert_cli_fails(CLI(COMMANDS[i], "--device"), 2, "'--device' is unknown or lacks");
    }
    assert_cli_fails(CLI("train"), 2, "train takes one CONFIG.json");
    assert_cli_fails(CLI("train", "a", "b"), 2, "train takes one CONFIG.json");
    assert_cli_fails(CLI("eval"), 2, "eval takes one MODEL");
    assert_cli_fails(CLI("eval", "m"), 2, "--data is missing");
    assert_cli_fails(CLI("generate", "--prompt", "a"), 2, "generate takes one MODEL");
    assert_cli_fails(CLI("generate", "m"), 2,
                     "one of --prompt, --prompt-file and --batch is expected");
    assert_cli_fails(CLI("generate", "m", "--prompt", "a", "--prompt-file", "b"), 2,
                     "one of --prompt, --prompt-file and --batch is expected");
    static const char *const bad[] = {"0", "-1", "x", "1.5", "", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_cli_fails(CLI("generate", "m", "--prompt", "a", "--max-tokens", bad[i]), 2,
                         "--max-tokens");
    assert_cli_fails(CLI("eval", "m", "--quant", "q5_0"), 2, "--quant 'q5_0' is neither q8_0 nor");
    assert_cli_fails(CLI("generate", "m", "--quant", "Q8_0"), 2, "--quant 'Q8_0' is neither q8_0");
    assert_cli_fails(CLI("devices", "m"), 2, "devices takes no argument");
    assert_cli_fails(CLI("convert", "a"), 2, "convert takes two arguments, or three");
    assert_cli_fails(CLI("convert", "a", "b", "c", "d"), 2,
                     "convert takes two arguments, or three");
}

// ---- generate ----------------------------------------------------------------------------------

static void generates_text(void **state)
{
    (void)state;
    CliRun run = CLI("generate", model.text, "--prompt", "Write a word.", "--max-tokens", "8");
    assert_int_equal(run.status, 0);
    assert_true(run.out[strlen(run.out) - 1] == '\n');
    assert_non_null(strstr(run.err, "depth 4: prompt "));
    assert_non_null(strstr(run.err, "8 tokens, "));
    assert_non_null(strstr(run.err, "ms per token"));
    assert_non_null(strstr(run.err, "tokens/s"));
    // The same text as JSON has it, and from a file, and from standard input.
    CliRun json =
        CLI("generate", model.text, "--prompt", "Write a word.", "--max-tokens", "8", "--json");
    cJSON *object = parse_line(json.out, strlen(json.out));
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(object, "text"));
    assert_true(text && !strncmp(run.out, text, strlen(text)));
    assert_int_equal(strlen(run.out), strlen(text) + 1);
    cJSON_Delete(object);
    TestPath file = test_write_text(&folder, "prompt.txt", "Write a word.");
    const CliCall calls[] = {
        {.args = {"generate", model.text, "--prompt-file", file.text, "--max-tokens", "8"}},
        {.args = {"generate", model.text, "--prompt-file", "-", "--max-tokens", "8"},
         .input = "Write a word."},
        {.args = {"generate", model.text, "-", "--max-tokens", "8"}, .input = "Write a word."}};
    for (int i = 0; i < 3; i++) {
        CliRun other = cli_run(&calls[i]);
        assert_int_equal(other.status, 0);
        assert_string_equal(other.out, run.out);
        cli_free(&other);
    }
    cli_free(&json);
    cli_free(&run);
}

// One line of JSON a depth; every field as the issue asks.
static void check_generations(const char *out, const uint32_t *depths, size_t count, int prompt)
{
    Tokenizer *words = words_tokenizer();
    for (size_t i = 0; i < count; i++) {
        const char *end = strchr(out, '\n');
        assert_non_null(end);
        cJSON *object = parse_line(out, (size_t)(end - out));
        assert_int_equal(number(object, "depth"), depths[i]);
        assert_int_equal(number(object, "prompt_tokens"), prompt);
        assert_true(number(object, "ms_per_token") > 0);
        const cJSON *ids = cJSON_GetObjectItem(object, "tokens"), *id;
        uint32_t list[64], n = 0;
        assert_true(cJSON_IsArray(ids) && cJSON_GetArraySize(ids) <= 6);
        cJSON_ArrayForEach(id, ids) list[n++] = (uint32_t)id->valuedouble;
        char *text = tokenizer_decode(words, list, n);
        assert_string_equal(text, cJSON_GetStringValue(cJSON_GetObjectItem(object, "text")));
        const char *stop = cJSON_GetStringValue(cJSON_GetObjectItem(object, "stop"));
        assert_string_equal(stop, n == 6 ? "length" : "eos");
        free(text);
        cJSON_Delete(object);
        out = end + 1;
    }
    assert_string_equal(out, "");
    tokenizer_free(words);
}

static void generates_json_at_each_depth(void **state)
{
    (void)state;
    // "all" is every exit the model was trained with ...
    CliRun run = CLI("generate", model.text, "--prompt", "is", "--max-tokens", "6", "--depth",
                     "all", "--json");
    assert_int_equal(run.status, 0);
    check_generations(run.out, (const uint32_t[]){2, 4}, 2, 2);
    assert_string_equal(run.err, "");
    cli_free(&run);
    // ... and every depth of a model that names none.
    TestPath plain = small_model(&folder, "plain", 42);
    run = CLI("generate", plain.text, "--prompt", "is", "--max-tokens", "6", "--depth", "all",
              "--json");
    assert_int_equal(run.status, 0);
    check_generations(run.out, (const uint32_t[]){1, 2, 3, 4}, 4, 2);
    cli_free(&run);
    run = CLI("generate", plain.text, "--prompt", "is", "--max-tokens", "6", "--depth", "3",
              "--json");
    check_generations(run.out, (const uint32_t[]){3}, 1, 2);
    cli_free(&run);
    // An empty prompt is BOS alone.
    run = CLI("generate", plain.text, "--prompt", "", "--max-tokens", "6", "--json");
    check_generations(run.out, (const uint32_t[]){4}, 1, 1);
    cli_free(&run);
}

static void generates_side_by_side(void **state)
{
    (void)state;
    CliRun run =
        CLI("generate", model.text, "--prompt", "is", "--max-tokens", "3", "--depth", "all");
    assert_cli_prints(run, "--- depth 2 ---\n");
    assert_cli_prints(run, "\n--- depth 4 ---\n");
    assert_non_null(strstr(run.err, "depth 2: "));
    assert_non_null(strstr(run.err, "depth 4: "));
    cli_free(&run);
}

// --alpaca puts the prompt into the template: as many tokens as the template by hand.
static void generates_with_the_alpaca_prompt(void **state)
{
    (void)state;
    CliRun run = CLI("generate", model.text, "--prompt", "Write a word.", "--alpaca",
                     "--max-tokens", "5", "--json");
    CliRun hand = CLI("generate", model.text, "--prompt",
                      "Below is an instruction that describes a task. Write a response that "
                      "appropriately completes the request.\n\n### Instruction:\nWrite a "
                      "word.\n\n### Response:",
                      "--max-tokens", "5", "--json");
    cJSON *a = parse_line(run.out, strlen(run.out)), *b = parse_line(hand.out, strlen(hand.out));
    assert_true(number(a, "prompt_tokens") > 20);
    assert_true(number(a, "prompt_tokens") == number(b, "prompt_tokens"));
    assert_true(
        cJSON_Compare(cJSON_GetObjectItem(a, "tokens"), cJSON_GetObjectItem(b, "tokens"), 1));
    cJSON_Delete(a);
    cJSON_Delete(b);
    cli_free(&run);
    cli_free(&hand);
}

static void generate_failures(void **state)
{
    (void)state;
#define GENERATE(...) CLI("generate", __VA_ARGS__)
    assert_cli_fails(GENERATE("/nonexistent", "--prompt", "a"), 1, "/nonexistent/config.json");
    static const char *const depths[] = {"0", "5", "-1", "x", "1.5", "", "2,4", "exits"};
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        char part[80];
        snprintf(part, sizeof part, "--depth %s: the model has depths 1 to 4, or 'all'", depths[i]);
        assert_cli_fails(GENERATE(model.text, "--prompt", "a", "--depth", depths[i]), 1, part);
    }
    assert_cli_fails(GENERATE(model.text, "--prompt", "ab\xFFz"), 1,
                     "prompt: invalid UTF-8 at byte 2");
    TestPath file = test_write_text(&folder, "bad.txt", "a\xC3(");
    assert_cli_fails(GENERATE(model.text, "--prompt-file", file.text), 1,
                     "bad.txt: invalid UTF-8 at byte 1");
    file = test_write(&folder, "nul.txt", "ab\0c", 4);
    assert_cli_fails(GENERATE(model.text, "--prompt-file", file.text), 1,
                     "nul.txt: a NUL byte at 2");
    assert_cli_fails(GENERATE(model.text, "--prompt-file", "/nonexistent/p"), 1, "/nonexistent/p");
    assert_cli_fails(cli_run(&(CliCall){.args = {"generate", model.text, "-"}, .input = "\xFF"}), 1,
                     "invalid UTF-8 at byte 0");
    char prompt[161 + 1];
    memset(prompt, '%', sizeof prompt - 1); // no piece of its own: a token each
    prompt[sizeof prompt - 1] = 0;
    assert_cli_fails(GENERATE(model.text, "--prompt", prompt), 1, "but the context is 160 tokens");
    assert_cli_fails(GENERATE(model.text, "--prompt", "a", "--device", "no such"), 1,
                     "device 'no such': no such device");
}

// A folder whose tokenizer knows more tokens than the model.
static void refuses_large_tokenizers(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    config.vocab_size--;
    TestPath narrow = test_path(folder.text, "narrow");
    model_write(narrow.text, &config, 1);
    assert_cli_fails(GENERATE(narrow.text, "--prompt", "a"), 1,
                     "tokens, but the model's vocabulary");
    assert_cli_fails(CLI("eval", narrow.text, "--data", data.text), 1, "narrow: the tokenizer has");
    remove(test_path(narrow.text, "tokenizer.json").text);
    assert_cli_fails(GENERATE(narrow.text, "--prompt", "a"), 1, "narrow/tokenizer.json");
}

// ---- eval --------------------------------------------------------------------------------------

static void check_depths(const char *depths, const uint32_t *expected, int count)
{
    CliRun run = CLI("eval", model.text, "--data", data.text, "--depths", depths, "--json");
    assert_int_equal(run.status, 0);
    cJSON *object = parse_line(run.out, strlen(run.out));
    const cJSON *list = cJSON_GetObjectItem(object, "depths");
    assert_int_equal(cJSON_GetArraySize(list), count);
    for (int i = 0; i < count; i++) {
        const cJSON *item = cJSON_GetArrayItem(list, i);
        assert_int_equal(number(item, "depth"), expected[i]);
        double loss = number(item, "loss");
        assert_true(loss > 1 && loss < 20);
        assert_true(fabs(number(item, "perplexity") - exp(loss)) <= 1e-9 * exp(loss));
        assert_in_range(number(item, "token_accuracy"), 0, 1);
        assert_in_range(number(item, "exact_match"), 0, 1);
    }
    cJSON_Delete(object);
    cli_free(&run);
}

static void evaluates_as_json(void **state)
{
    (void)state;
    check_depths("all", (const uint32_t[]){1, 2, 3, 4}, 4);
    check_depths("exits", (const uint32_t[]){2, 4}, 2);
    check_depths("2,3", (const uint32_t[]){2, 3}, 2);
    check_depths("3", (const uint32_t[]){3}, 1);
}

static void evaluates_as_a_table(void **state)
{
    (void)state;
    CliRun run = CLI("eval", model.text, "--data", data.text);
    assert_cli_prints(run, "depth      loss  perplexity  token accuracy  exact match\n");
    assert_cli_prints(run, "\n    2  ");
    assert_cli_prints(run, "\n    4  ");
    int lines = 0;
    for (const char *at = run.out; *at; at++) lines += *at == '\n';
    assert_int_equal(lines, 3);
    assert_string_equal(run.err, "");
    cli_free(&run);
}

// A little off what the values of the file give, and not at all the same.
static void evaluates_quantised_weights(void **state)
{
    (void)state;
    double losses[3];
    static const char *const types[] = {NULL, "q8_0", "q4_0"};
    for (int i = 0; i < 3; i++) {
        CliRun run = types[i]
                         ? CLI("eval", model.text, "--data", data.text, "--depths", "4", "--json",
                               "--quant", types[i])
                         : CLI("eval", model.text, "--data", data.text, "--depths", "4", "--json");
        assert_int_equal(run.status, 0);
        cJSON *object = parse_line(run.out, strlen(run.out));
        losses[i] = number(cJSON_GetObjectItem(object, "depths")->child, "loss");
        cJSON_Delete(object);
        cli_free(&run);
    }
    double eight = fabs(losses[1] - losses[0]), four = fabs(losses[2] - losses[0]);
    if (!(eight > 0 && eight < 0.05 && four > eight && four < 0.5))
        fail_msg("losses %.9g, q8_0 %.9g, q4_0 %.9g", losses[0], losses[1], losses[2]);
    CliRun run =
        CLI("generate", model.text, "--prompt", "is", "--max-tokens", "3", "--quant", "q4_0");
    assert_int_equal(run.status, 0);
    cli_free(&run);
}

static void eval_failures(void **state)
{
    (void)state;
    static const struct {
        const char *depths, *part;
    } bad[] = {{"4,2", "depth 2 stands behind 4: depths must ascend"},
               {"2,2", "depths must ascend"},
               {"5", "depth 5: the model has 4 blocks"},
               {"0", "depths '0'"},
               {"x", "depths 'x': a list such as 2,3,5 is expected, or 'exits' or 'all'"},
               {"2,", "depths '2,'"},
               {",2", "depths ',2'"},
               {"2;3", "depths '2;3'"},
               {"99999999999999999999999", "depth"},
               {"", "no depth is given"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_cli_fails(CLI("eval", model.text, "--data", data.text, "--depths", bad[i].depths), 1,
                         bad[i].part);
    static const struct {
        const char *text, *part;
    } files[] = {{"[]", "bad.json: holds no records"},
                 {"[{\"instruction\":\"a\"}]", "bad.json: record 1: key 'output'"},
                 {"[{\"output\":\"a\"}]", "bad.json: record 1: key 'instruction'"},
                 {"[{\"instruction\":\"\xC0\",\"output\":\"a\"}]", "bad.json"},
                 {"[{\"instruction\":\"a\",", "bad.json"}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        TestPath path = test_write_text(&folder, "bad.json", files[i].text);
        assert_cli_fails(CLI("eval", model.text, "--data", path.text), 1, files[i].part);
    }
    assert_cli_fails(CLI("eval", model.text, "--data", "/nonexistent.json"), 1,
                     "/nonexistent.json");
    assert_cli_fails(CLI("eval", "/nonexistent", "--data", data.text), 1,
                     "/nonexistent/config.json");
}

// ---- devices -----------------------------------------------------------------------------------

static void lists_devices(void **state)
{
    (void)state;
    CliRun run = CLI("devices");
    assert_cli_prints(run, "<- chosen\n");
    static const char *const lines[] = {"driver  ", "memory  ", "compute  ", "optional",
                                        "subgroup"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) assert_cli_prints(run, lines[i]);
    assert_true(!strncmp(run.out, "0: ", 3));
    cli_free(&run);
    run = CLI("devices", "--device", "0");
    assert_cli_prints(run, "<- chosen\n");
    cli_free(&run);
}

static void unknown_devices(void **state)
{
    (void)state;
    const CliCall calls[] = {
        {.args = {"devices"}, .vars = {"STRATA_DEVICE=no such"}},
        {.args = {"generate", model.text, "--prompt", "a"}, .vars = {"STRATA_DEVICE=no such"}},
        {.args = {"devices", "--device", "no such"}},
        {.args = {"eval", model.text, "--data", data.text, "--device", "no such"}}};
    for (int i = 0; i < 4; i++)
        assert_cli_fails(cli_run(&calls[i]), 1,
                         "device 'no such': no such device; `strata devices`");
    assert_cli_fails(CLI("devices", "--device", "31"), 1, "device '31': no such device");
    // --device comes before the environment.
    CliRun run = cli_run(
        &(CliCall){.args = {"devices", "--device", "0"}, .vars = {"STRATA_DEVICE=no such"}});
    assert_int_equal(run.status, 0);
    cli_free(&run);
}

static void no_driver(void **state)
{
    (void)state;
#define NO_DRIVER                                                                                  \
    .vars = { "VK_ICD_FILENAMES=/nonexistent.json", "VK_DRIVER_FILES=/nonexistent.json" }
    const CliCall calls[] = {{.args = {"devices"}, NO_DRIVER},
                             {.args = {"generate", model.text, "--prompt", "a"}, NO_DRIVER},
                             {.args = {"eval", model.text, "--data", data.text}, NO_DRIVER}};
    for (int i = 0; i < 3; i++)
        assert_cli_fails(cli_run(&calls[i]), 1, "no Vulkan driver on this system");
}

// ---- STRATA_SHADER_DIR -------------------------------------------------------------------------

static void shader_folder(void **state)
{
    (void)state;
    char variable[TEST_PATH_SIZE + 32];
    TestPath shaders = test_path(folder.text, "shaders");
    CliCall call = {.args = {"generate", model.text, "--prompt", "is", "--max-tokens", "2"},
                    .vars = {variable}};
    snprintf(variable, sizeof variable, "STRATA_SHADER_DIR=%s", shaders.text);
    assert_cli_fails(cli_run(&call), 1, "STRATA_SHADER_DIR");
    Error err;
    assert_true(folder_make(shaders.text, &err));
    CliRun embedded = cli_run(&call); // an empty folder: the embedded kernels serve
    assert_int_equal(embedded.status, 0);
    test_write_text(&shaders, "add.comp", "#version 450\nvoid main()\n{\n    oops;\n}\n");
    assert_cli_fails(cli_run(&call), 1, "shaders/add.comp:4: error: 'oops'");
    test_write_text(&shaders, "add.comp", "#version 450\n#include \"none.h\"\nvoid main() {}\n");
    assert_cli_fails(cli_run(&call), 1, "add.comp:2: error: ");
    remove(test_path(shaders.text, "add.comp").text);
    // The project's own sources give what the embedded kernels give.
    snprintf(variable, sizeof variable, "STRATA_SHADER_DIR=%s/shaders", TEST_ROOT);
    CliRun compiled = cli_run(&call);
    assert_int_equal(compiled.status, 0);
    assert_string_equal(compiled.out, embedded.out);
    cli_free(&compiled);
    cli_free(&embedded);
}

// ---- convert -----------------------------------------------------------------------------------

static void convert_failures(void **state)
{
    (void)state;
    TestPath out = test_path(folder.text, "converted");
    TestPath empty = test_write_text(&folder, "empty.bin", "");
    TestPath tokens = test_write_text(&folder, "tokens.bin", "abc");
    assert_cli_fails(CLI("convert", "/nonexistent.bin", tokens.text, out.text), 1,
                     "/nonexistent.bin");
    assert_cli_fails(CLI("convert", empty.text, tokens.text, out.text), 1, "empty.bin: 0 bytes");
    assert_cli_fails(CLI("convert", empty.text, tokens.text, model.text), 1, "is not empty");
    assert_false(file_exists(out.text));
}

static void converts_stories(void **state)
{
    (void)state;
    TestPath weights = test_data("stories260K/stories260K.bin");
    TestPath tokens = test_data("stories260K/tok512.bin");
    TestPath out = test_path(folder.text, "stories");
    size_t size;
    char *bytes = test_read(weights.text, &size);
    TestPath cut = test_write(&folder, "cut.bin", bytes, size - 4);
    assert_cli_fails(CLI("convert", cut.text, tokens.text, out.text), 1, "cut.bin: ");
    free(bytes);
    bytes = test_read(tokens.text, &size);
    cut = test_write(&folder, "cut_tokens.bin", bytes, size - 1);
    assert_cli_fails(CLI("convert", weights.text, cut.text, out.text), 1, "cut_tokens.bin: ");
    free(bytes);
    assert_false(file_exists(out.text));
    CliRun run = CLI("convert", weights.text, tokens.text, out.text);
    assert_int_equal(run.status, 0);
    cli_free(&run);
    run = GENERATE(out.text, "--prompt", "Once upon a time", "--max-tokens", "40");
    assert_cli_prints(
        run, ", there was a little girl named Lily. She loved to play outside in the park.");
    cli_free(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(helps),
        cmocka_unit_test(usage_errors),
        cmocka_unit_test(generates_text),
        cmocka_unit_test(generates_json_at_each_depth),
        cmocka_unit_test(generates_side_by_side),
        cmocka_unit_test(generates_with_the_alpaca_prompt),
        cmocka_unit_test(generate_failures),
        cmocka_unit_test(refuses_large_tokenizers),
        cmocka_unit_test(evaluates_as_json),
        cmocka_unit_test(evaluates_as_a_table),
        cmocka_unit_test(evaluates_quantised_weights),
        cmocka_unit_test(eval_failures),
        cmocka_unit_test(lists_devices),
        cmocka_unit_test(unknown_devices),
        cmocka_unit_test(no_driver),
        cmocka_unit_test(shader_folder),
        cmocka_unit_test(convert_failures),
        cmocka_unit_test(converts_stories),
    };
    return cmocka_run_group_tests(tests, make_all, remove_all);
}
