// The programs that make assets: make_tasks and make_tokenizer, run as programs beside strata.
#define _POSIX_C_SOURCE 200809L
#include "base/file.h"
#include "base/json.h"
#include "support/files.h"
#include "support/tokens.h"
#include "text/alpaca.h"
#include "text/tokenizer.h"

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

enum { ARGUMENTS = 10 };

// Runs a program that lies beside strata, with its output in FOLDER/output; gives its exit status.
static int run(const TestPath *folder, const char *program, const char *const *arguments)
{
    TestPath home = {TEST_STRATA}, output = test_path(folder->text, "output");
    *strrchr(home.text, '/') = 0;
    TestPath path = test_path(home.text, program);
    const char *argv[ARGUMENTS + 2] = {path.text};
    for (int i = 0; arguments[i]; i++) argv[i + 1] = arguments[i];
    if (!file_exists(path.text)) fail_msg("%s is not built", path.text);
    pid_t child = fork();
    if (child == 0) {
        if (!freopen(output.text, "wb", stdout) || dup2(1, 2) < 0) _exit(99);
        execv(path.text, (char *const *)(uintptr_t)argv);
        _exit(99);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define RUN(folder, program, ...) run(folder, program, (const char *const[]){__VA_ARGS__, NULL})

static void check_output(const TestPath *folder, const char *part)
{
    size_t size;
    char *text = test_read(test_path(folder->text, "output").text, &size);
    if (!strstr(text, part)) fail_msg("said '%s', expected '%s'", text, part);
    free(text);
}

static void check_equal_files(TestPath a, TestPath b, bool equal)
{
    size_t a_size, b_size;
    char *a_bytes = test_read(a.text, &a_size), *b_bytes = test_read(b.text, &b_size);
    assert_int_equal(a_size == b_size && !memcmp(a_bytes, b_bytes, a_size), equal);
    free(a_bytes);
    free(b_bytes);
}

static cJSON *read_json(TestPath path)
{
    Error err;
    cJSON *value = json_read(path.text, &err);
    if (!value) fail_msg("%s", err.text);
    return value;
}

static const char *field(const cJSON *record, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(record, key);
    if (!cJSON_IsString(item)) fail_msg("a record without %s", key);
    return item->valuestring;
}

// Runs make_tasks into FOLDER/name.
static TestPath make_tasks(const TestPath *folder, const char *name, const char *train,
                           const char *seed)
{
    TestPath out = test_path(folder->text, name);
    assert_int_equal(
        RUN(folder, "make_tasks", out.text, "--train", train, "--valid", "200", "--seed", seed), 0);
    return out;
}

static void test_tasks_follow_the_seed(void **state)
{
    (void)state;
    TestPath folder = test_folder_make();
    TestPath a = make_tasks(&folder, "a", "3000", "5"), b = make_tasks(&folder, "b", "3000", "5");
    TestPath c = make_tasks(&folder, "c", "3000", "6"), d = make_tasks(&folder, "d", "30", "5");
    const char *train = "tasks_train.json", *valid = "tasks_valid.json";
    check_equal_files(test_path(a.text, train), test_path(b.text, train), true);
    check_equal_files(test_path(a.text, valid), test_path(b.text, valid), true);
    check_equal_files(test_path(a.text, train), test_path(c.text, train), false);
    check_equal_files(test_path(a.text, valid), test_path(d.text, valid), true);
    test_folder_remove(&folder);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// "instruction, line end, input" of each record into keys, malloc'ed; returns how many.
static size_t add_keys(char **keys, size_t count, const cJSON *list)
{
    const cJSON *record;
    cJSON_ArrayForEach(record, list)
    {
        const char *instruction = field(record, "instruction"), *input = field(record, "input");
        size_t size = strlen(instruction) + strlen(input) + 2;
        keys[count] = malloc(size);
        snprintf(keys[count++], size, "%s\n%s", instruction, input);
    }
    return count;
}

static void test_records_stand_once(void **state)
{
    (void)state;
    TestPath folder = test_folder_make(), out = make_tasks(&folder, "a", "5000", "1");
    cJSON *train = read_json(test_path(out.text, "tasks_train.json"));
    cJSON *valid = read_json(test_path(out.text, "tasks_valid.json"));
    assert_int_equal(cJSON_GetArraySize(train), 5000);
    assert_int_equal(cJSON_GetArraySize(valid), 200);
    char **keys = malloc(5200 * sizeof *keys);
    size_t count = add_keys(keys, add_keys(keys, 0, train), valid);
    qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 1; i < count; i++)
        if (!strcmp(keys[i - 1], keys[i])) fail_msg("'%s' stands twice", keys[i]);
    for (size_t i = 0; i < count; i++) free(keys[i]);
    free(keys);
    cJSON_Delete(train);
    cJSON_Delete(valid);
    test_folder_remove(&folder);
}

// The answers of some kinds of tasks, worked out again.
static bool expected(char *out, const char *instruction, const char *input)
{
    size_t length = strlen(input);
    int a = 0, b = 0;
    if (!strcmp(instruction, "Copy the text.")) {
        strcpy(out, input);
    } else if (!strcmp(instruction, "Reverse the letters.")) {
        for (size_t i = 0; i < length; i++) out[length - 1 - i] = input[i];
        out[length] = 0;
    } else if (!strcmp(instruction, "Count the letters.")) {
        sprintf(out, "%zu", length);
    } else if (!strcmp(instruction, "Write the last letter.")) {
        sprintf(out, "%c", input[length - 1]);
    } else if (!strcmp(instruction, "Write the second word.")) {
        sscanf(input, "%*s %19s", out);
    } else if (!strcmp(instruction, "Add the numbers.")) {
        assert_int_equal(sscanf(input, "%d %d", &a, &b), 2);
        sprintf(out, "%d", a + b);
    } else if (sscanf(instruction, "What is %d minus %d?", &a, &b) == 2) {
        sprintf(out, "%d", a - b);
    } else {
        return false;
    }
    return true;
}

static void test_answers(void **state)
{
    (void)state;
    TestPath folder = test_folder_make(), out = make_tasks(&folder, "a", "5000", "1");
    cJSON *train = read_json(test_path(out.text, "tasks_train.json"));
    const cJSON *record;
    int checked = 0;
    cJSON_ArrayForEach(record, train)
    {
        char answer[128];
        const char *output = field(record, "output");
        if (!*output || strlen(output) > 20) fail_msg("'%s': 1 to 20 characters", output);
        if (!expected(answer, field(record, "instruction"), field(record, "input"))) continue;
        assert_string_equal(output, answer);
        checked++;
    }
    assert_true(checked > 300);
    cJSON_Delete(train);
    test_folder_remove(&folder);
}

// Prompt and output of a record, malloc'ed.
static char *record_text(const cJSON *record)
{
    const char *output = field(record, "output");
    char *prompt = alpaca_prompt(field(record, "instruction"), field(record, "input"));
    char *text = malloc(strlen(prompt) + strlen(output) + 1);
    sprintf(text, "%s%s", prompt, output);
    free(prompt);
    return text;
}

static TestPath make_tokenizer(const TestPath *folder, const char *name, TestPath file)
{
    TestPath out = test_path(folder->text, name);
    assert_int_equal(RUN(folder, "make_tokenizer", "512", out.text, file.text), 0);
    check_output(folder, ": 512 pieces, ");
    return out;
}

static void test_tokenizer_fits_records(void **state)
{
    (void)state;
    TestPath folder = test_folder_make(), tasks = make_tasks(&folder, "tasks", "3000", "1");
    TestPath file = test_path(tasks.text, "tasks_train.json");
    TestPath a = make_tokenizer(&folder, "a", file), b = make_tokenizer(&folder, "b", file);
    check_equal_files(test_path(a.text, "tokenizer.json"), test_path(b.text, "tokenizer.json"),
                      true);
    Error err;
    Tokenizer *t = tokenizer_load(test_path(a.text, "tokenizer.json").text, &err);
    if (!t) fail_msg("%s", err.text);
    assert_int_equal(tokenizer_vocab_size(t), 512);
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 2);
    cJSON *train = read_json(file);
    const cJSON *record;
    size_t tokens = 0;
    cJSON_ArrayForEach(record, train)
    {
        char *text = record_text(record);
        TokenList list = encode(t, text);
        check_text(t, list.ids, list.count, text);
        tokens += list.count;
        token_list_free(&list);
        free(text);
    }
    assert_true(tokens < 3000 * 50); // more than 200 characters each
    cJSON_Delete(train);
    tokenizer_free(t);
    test_folder_remove(&folder);
}

// Pieces are at most 16 characters, hold no digit beside something else.
// Outputs add characters but no merges.
static void test_tokenizer_pieces(void **state)
{
    (void)state;
    TestPath folder = test_folder_make();
    TestPath file = test_write_text(&folder, "records.json",
                                    "[{\"instruction\":\"Say 12 12 12 words words\","
                                    "\"input\":\"q\xC3\xA9\",\"output\":\"zzzzzzzz\"}]");
    TestPath out = test_path(folder.text, "t");
    assert_int_equal(RUN(&folder, "make_tokenizer", "320", out.text, file.text), 0);
    Error err;
    Tokenizer *t = tokenizer_load(test_path(out.text, "tokenizer.json").text, &err);
    if (!t) fail_msg("%s", err.text);
    cJSON *root = read_json(test_path(out.text, "tokenizer.json"));
    const cJSON *piece, *model = cJSON_GetObjectItem(root, "model");
    cJSON_ArrayForEach(piece, cJSON_GetObjectItem(model, "vocab"))
    {
        size_t characters = 0, digits = strcspn(piece->string, "0123456789");
        if (piece->valueint < 259) continue;
        for (const char *c = piece->string; *c; c++) characters += (*c & 0xC0) != 0x80;
        if (characters > 16 || strstr(piece->string, "zz")) fail_msg("piece '%s'", piece->string);
        assert_true(characters == 1 || !piece->string[digits]);
    }
    TokenList list = encode(t, "12q\xC3\xA9"); // one token each, behind U+2581
    assert_int_equal(list.count, 5);
    token_list_free(&list);
    cJSON_Delete(root);
    tokenizer_free(t);
    test_folder_remove(&folder);
}

static void test_usage_and_failures(void **state)
{
    (void)state;
    TestPath folder = test_folder_make();
    TestPath file = test_write_text(&folder, "records.json", "[{\"instruction\":\"a\"}]");
    TestPath path = test_path(folder.text, "out");
    const char *out = path.text;
    assert_int_equal(RUN(&folder, "make_tasks", out, "--train"), 2);
    check_output(&folder, "usage: make_tasks");
    assert_int_equal(RUN(&folder, "make_tasks", out, "--train", "-1"), 2);
    assert_int_equal(RUN(&folder, "make_tasks", "--seed", "1"), 2);
    assert_int_equal(RUN(&folder, "make_tasks", file.text), 1);
    check_output(&folder, "make_tasks: ");
    assert_int_equal(RUN(&folder, "make_tokenizer", "259", out, file.text), 2);
    check_output(&folder, "usage: make_tokenizer");
    assert_int_equal(RUN(&folder, "make_tokenizer", "512", out, file.text), 1);
    check_output(&folder, "records.json: key 'output' is missing");
    file = test_write_text(&folder, "records.json", "[{\"instruction\":\"a\",\"output\":\"b\"}]");
    assert_int_equal(RUN(&folder, "make_tokenizer", "260", out, file.text), 1);
    check_output(&folder, "more characters than the 260 pieces asked for");
    assert_int_equal(RUN(&folder, "make_tokenizer", "9999", out, file.text), 1);
    check_output(&folder, " pieces, 9999 were asked for");
    assert_false(file_exists(out));
    test_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tasks_follow_the_seed),
        cmocka_unit_test(test_records_stand_once),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_tokenizer_fits_records),
        cmocka_unit_test(test_tokenizer_pieces),
        cmocka_unit_test(test_usage_and_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
