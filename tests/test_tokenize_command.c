// strata tokenize as a user runs it, and the JSON lines that it reads and writes.
#include "base/json_text.h"
#include "support/cli.h"
#include "support/files.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#define SEEDS TEST_ROOT "/tests/fuzz/seeds/"
#define BYTES SEEDS "tokenizer_json/byte_level.json"

static void check_run(const char *input, const char *output, const char *const *args)
{
    CliCall call = {.args = {"tokenize"}, .input = input};
    for (size_t i = 0; args[i]; i++) call.args[i + 1] = args[i];
    CliRun run = cli_run(&call);
    if (run.status) fail_msg("%s", run.err);
    assert_string_equal(run.out, output);
    assert_string_equal(run.err, "");
    cli_free(&run);
}

#define CHECK(input, output, ...) check_run(input, output, (const char *const[]){__VA_ARGS__, NULL})

static void test_both_ways(void **state)
{
    (void)state;
    CHECK("\"hell o\"\n\"\"\n \"\\u0000\\n\\ud83d\\ude00\" \n\"<s>\"",
          "[258,32,111]\n[]\n[0,10,240,159,152,128]\n[260]\n", BYTES);
    CHECK("\"he\"\n\"\"\n", "[260,256]\n[260]\n", "--bos", BYTES);
    CHECK("[258,32,111]\n[]\n [ 0 , 10,240,159,152,128, 34, 92 ]\r\n[260]\n",
          "\"hell o\"\n\"\"\n\"\\u0000\\n\xF0\x9F\x98\x80\\\"\\\\\"\n\"\"\n", BYTES, "--decode");
    CHECK("", "", BYTES);
    CHECK("\"ab\"\n", "[19,24]\n", SEEDS "sentencepiece/small.model");
}

// A half of a surrogate pair is U+FFFD, as where JavaScript hands such a string to other code.
static void test_lone_surrogates(void **state)
{
    (void)state;
    CHECK("\"\\ud800\"\n\"\\udc00\\ud83d\\ude00\"\n\"\\ud83d\\ud83d\\ude00\"\n\"\\ud83d\\u0041\"\n",
          "[239,191,189]\n[239,191,189,240,159,152,128]\n[239,191,189,240,159,152,128]\n"
          "[239,191,189,65]\n",
          BYTES);
}

static void check_fails(const char *input, const char *message, const char *option)
{
    CliRun run = cli_run(&(CliCall){.args = {"tokenize", BYTES, option}, .input = input});
    assert_cli_fails(run, 1, message);
}

static void test_bad_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *message;
    } TEXTS[] = {
        {"hello", "line 1: byte 0: expected a JSON string"},
        {"", "line 1: byte 1: expected a JSON string"},
        {"\"a", "line 1: byte 2: expected"},
        {"\"a\" b", "line 1: byte 4: expected nothing more on the line"},
        {"\"\\x\"", "line 1: byte 1: expected an escape"},
        {"\"\\u12G4\"", "line 1: byte 1: expected four hexadecimal digits"},
        {"\"\\u12", "line 1: byte 1: expected four hexadecimal digits"},
        {"\"a\tb\"", "line 1: byte 2: expected no bare control character"},
        {"\"\xC3(\"", "line 1: byte 1: expected valid UTF-8"},
        {"[1]", "line 1: byte 0: expected a JSON string"},
    };
    static const struct {
        const char *line, *message;
    } IDS[] = {
        {"\"a\"", "line 1: byte 0: expected a JSON array"},
        {"[1", "line 1: byte 3: expected ',' or ']'"},
        {"[1,]", "line 1: byte 3: expected a whole number"},
        {"[-1]", "line 1: byte 1: expected a whole number"},
        {"[1.5]", "line 1: byte 2: expected ',' or ']'"},
        {"[4294967296]", "expected a number below 4294967296"},
        {"[263]", "line 1: id 263, but the vocabulary has 263"},
        {"[1] 2", "line 1: byte 4: expected nothing more on the line"},
    };
    char line[64];
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        strcat(strcpy(line, TEXTS[i].line), "\n");
        check_fails(line, TEXTS[i].message, NULL);
    }
    for (size_t i = 0; i < sizeof IDS / sizeof *IDS; i++) {
        strcat(strcpy(line, IDS[i].line), "\n");
        check_fails(line, IDS[i].message, "--decode");
    }
    CliRun run = cli_run(&(CliCall){.args = {"tokenize", BYTES}, .input = "\"a\"\n\"b\"\n\"\n"});
    assert_int_equal(run.status, 1); // what came before is there
    assert_string_equal(run.out, "[97]\n[98]\n");
    assert_non_null(strstr(run.err, "strata: line 3: byte 1: expected"));
    cli_free(&run);
}

static void test_usage(void **state)
{
    (void)state;
    assert_cli_fails(CLI("tokenize"), 2, "one model is expected");
    assert_cli_fails(CLI("tokenize", "a", "b"), 2, "one model is expected");
    assert_cli_fails(CLI("tokenize", "a", "--encode"), 2, "--encode");
    assert_cli_fails(CLI("tokenize", "a", "--decode", "--bos"), 2, "--bos goes with texts");
    assert_cli_fails(CLI("tokenize", "/nowhere"), 1, "/nowhere/tokenizer.json: cannot open");
    assert_cli_fails(CLI("tokenize", "/nowhere.model"), 1, "/nowhere.model: cannot open");
    CliRun run = CLI("tokenize", "--help");
    assert_cli_prints(run, "usage: strata tokenize");
    cli_free(&run);
}

static void test_long_line(void **state)
{
    (void)state;
    size_t size = 3000000, count;
    Error err;
    char *line = malloc(size + 4);
    memset(line, 'h', size);
    line[0] = line[size + 1] = '"';
    line[size] = 'e';
    memcpy(line + size + 2, "\n", 2);
    CliRun run = cli_run(&(CliCall){.args = {"tokenize", BYTES}, .input = line});
    assert_int_equal(run.status, 0);
    uint32_t *ids = json_text_numbers(&count, run.out, strlen(run.out), "out", &err);
    assert_non_null(ids);
    assert_int_equal(count, size - 1);
    assert_int_equal(ids[count - 1], 256);
    free(ids);
    free(line);
    cli_free(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways), cmocka_unit_test(test_lone_surrogates),
        cmocka_unit_test(test_bad_lines), cmocka_unit_test(test_usage),
        cmocka_unit_test(test_long_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
