// Alpaca data files: real ones, what is refused by which message, and the time that many records
// take.
#include "support/files.h"
#include "train/alpaca_file.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void reads_records(void **state)
{
    (void)state;
    AlpacaFile file;
    Error err;
    TestPath path = test_write_text(
        &own_folder, "a.json",
        "[{\"instruction\":\"Say \\u00e9.\",\"input\":\"\",\"output\":\"\xc3\xa9\\n\"},"
        "{\"output\":\"o2\",\"instruction\":\"i2\",\"input\":\"in2\",\"text\":[1]},"
        "{\"instruction\":\"i3\",\"output\":\"\"},"
        "{\"instruction\":\"i4\",\"input\":null,\"output\":\"o4\"}]");
    if (!alpaca_file_load(&file, path.text, &err)) fail_msg("%s", err.text);
    assert_int_equal(file.count, 4);
    assert_string_equal(file.records[0].instruction, "Say \xc3\xa9.");
    assert_string_equal(file.records[0].input, "");
    assert_string_equal(file.records[0].output, "\xc3\xa9\n");
    assert_string_equal(file.records[1].instruction, "i2");
    assert_string_equal(file.records[1].input, "in2");
    assert_string_equal(file.records[1].output, "o2");
    assert_string_equal(file.records[2].input, "");
    assert_string_equal(file.records[2].output, "");
    assert_string_equal(file.records[3].input, "");
    assert_string_equal(file.records[3].output, "o4");
    alpaca_file_free(&file);
    assert_int_equal(file.count, 0);
    assert_null(file.records);
}

static const char *const BAD[][2] = {
    {"[]", "a.json: holds no records"},
    {"{}", "a.json: is not a JSON list of records"},
    {"\"x\"", "a.json: is not a JSON list of records"},
    {"", "a.json: not JSON: syntax error"},
    {"[{\"instruction\":\"i\",\"output\":\"o\"}", "a.json: not JSON: syntax error"},
    {"[1]", "a.json: record 1: is not an object"},
    {"[{\"instruction\":\"i\",\"output\":\"o\"},[]]", "a.json: record 2: is not an object"},
    {"[{\"output\":\"o\"}]", "a.json: record 1: key 'instruction' is missing"},
    {"[{\"instruction\":null,\"output\":\"o\"}]", "record 1: key 'instruction' is missing"},
    {"[{\"instruction\":7,\"output\":\"o\"}]", "record 1: key 'instruction' must be a string"},
    {"[{\"instruction\":\"i\",\"output\":\"o\"},{\"instruction\":\"i\"}]",
     "a.json: record 2: key 'output' is missing"},
    {"[{\"instruction\":\"i\",\"output\":[\"o\"]}]", "record 1: key 'output' must be a string"},
    {"[{\"instruction\":\"i\",\"input\":{},\"output\":\"o\"}]",
     "record 1: key 'input' must be a string"},
    {"[{\"Instruction\":\"i\",\"output\":\"o\"}]", "record 1: key 'instruction' is missing"},
    {"[{\"instruction\":\"i\",\"output\":\"o\",\"output\":\"p\"}]",
     "a.json: key 'output' stands twice in one object"},
    {"[{\"instruction\":\"i\",\"output\":\"a\\u0000b\"}]", "control character at byte 31"},
    {"[{\"instruction\":\"i\",\"output\":\"\xff\"}]", "invalid UTF-8 at byte 30"},
};

static void refuses_bad_files(void **state)
{
    (void)state;
    AlpacaFile file;
    Error err;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        TestPath path = test_write_text(&own_folder, "a.json", BAD[i][0]);
        if (alpaca_file_load(&file, path.text, &err)) fail_msg("accepted: %s", BAD[i][0]);
        assert_error(err, BAD[i][1]);
        assert_null(file.records);
        assert_int_equal(file.count, 0);
    }
    assert_false(alpaca_file_load(&file, test_path(own_folder.text, "none.json").text, &err));
    assert_error(err, "none.json: cannot open: No such file");
}

// The sums of lengths were counted by another JSON reader.
static void check_real(const char *name, size_t count, size_t instructions, size_t inputs,
                       size_t outputs)
{
    AlpacaFile file;
    Error err;
    TestPath path = test_data(name);
    if (!alpaca_file_load(&file, path.text, &err)) fail_msg("%s", err.text);
    assert_int_equal(file.count, count);
    for (size_t i = 0; i < count; i++) {
        instructions -= strlen(file.records[i].instruction);
        inputs -= strlen(file.records[i].input);
        outputs -= strlen(file.records[i].output);
    }
    assert_int_equal(instructions, 0);
    assert_int_equal(inputs, 0);
    assert_int_equal(outputs, 0);
    alpaca_file_free(&file);
}

static void reads_real_files(void **state)
{
    (void)state;
    check_real("alpaca/alpaca_train.json", 18000, 1068476, 354435, 5532125);
    check_real("alpaca/alpaca_valid.json", 500, 30261, 12863, 158181);
    check_real("alpaca/instruction_apache_1100.json", 1100, 50769, 8531, 53387);
}

// Twice as many records as Alpaca has take a fraction of a second; walking the list anew for each
// record would take a minute. The bound leaves room for sanitizers and valgrind.
static void loads_many_records(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    static const char RECORD[] =
        "{\"instruction\":\"Name one.\",\"input\":\"\",\"output\":\"One.\"}";
    char *text = malloc(COUNT * sizeof RECORD + 2), *at = text;
    for (int i = 0; i < COUNT; i++) at += sprintf(at, "%s%s", i ? "," : "[", RECORD);
    strcpy(at, "]");
    TestPath path = test_write_text(&own_folder, "a.json", text);
    free(text);
    AlpacaFile file;
    Error err;
    clock_t begin = clock();
    assert_true(alpaca_file_load(&file, path.text, &err));
    assert_true((clock() - begin) / CLOCKS_PER_SEC < 10);
    assert_int_equal(file.count, COUNT);
    assert_string_equal(file.records[COUNT - 1].output, "One.");
    alpaca_file_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_records),
        TEST(refuses_bad_files),
        TEST(reads_real_files),
        TEST(loads_many_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
