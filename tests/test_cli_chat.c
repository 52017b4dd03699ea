// `strata chat` as a user meets it: turns from standard input, commands, what stays between turns.
#define _POSIX_C_SOURCE 200809L // strdup
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

static TestPath folder, model;

static int make_all(void **state)
{
    (void)state;
    folder = test_folder_make();
    model = small_exits_model(&folder, "model", 51);
    return 0;
}

static int remove_all(void **state)
{
    (void)state;
    test_folder_remove(&folder);
    return 0;
}

#define HOT "/temperature 5\n/seed 3\n"

// The answers to lines, a few tokens each.
static CliRun chat(const char *lines)
{
    return cli_run(&(CliCall){.args = {"chat", model.text, "--max-tokens", "6"}, .input = lines});
}

static void check_same_output(const char *lines, const char *others)
{
    CliRun a = chat(lines), b = chat(others);
    assert_int_equal(a.status, 0);
    assert_int_equal(b.status, 0);
    assert_string_equal(a.out, b.out);
    cli_free(&a);
    cli_free(&b);
}

// The last line of what a chat prints.
static char *last_answer(const char *lines)
{
    CliRun run = chat(lines);
    assert_int_equal(run.status, 0);
    size_t size = strlen(run.out);
    assert_true(size && run.out[size - 1] == '\n');
    run.out[size - 1] = 0;
    char *line = strrchr(run.out, '\n');
    char *copy = strdup(line ? line + 1 : run.out);
    cli_free(&run);
    return copy;
}

// An answer depends on the turns before it; /reset forgets them. Sampled hot, as this model's
// greedy text repeats itself.
static void turns_are_remembered(void **state)
{
    (void)state;
    char *alone = last_answer(HOT "a task\n");
    char *behind = last_answer(HOT "Write a word.\na task\n");
    char *forgotten = last_answer(HOT "Write a word.\n/reset\na task\n");
    assert_string_not_equal(alone, behind);
    assert_string_equal(alone, forgotten);
    free(alone);
    free(behind);
    free(forgotten);
}

// What was said at less depth is taken along when a later turn goes deeper: thresholds of 0 are the
// depth of the first exit, and drafts are full depth, also in the turns behind.
static void depth_changes_between_turns(void **state)
{
    (void)state;
    check_same_output("/depth 2\nWrite a word.\n/full\na task\nis\n",
                      "/exits 2:0\nWrite a word.\n/draft 2\na task\n/full\nis\n");
    char *shallow = last_answer("/depth 1\na task\n"), *deep = last_answer("/full\na task\n");
    assert_string_not_equal(shallow, deep);
    free(shallow);
    free(deep);
}

static void commands_are_checked(void **state)
{
    (void)state;
    CliRun run = chat("/depth 9\n/nothing 3\n/temperature -1\n/policy\n/help\n/quit\na task\n");
    assert_int_equal(run.status, 0);
    assert_string_equal(run.out, ""); // nothing was said before /quit
    assert_non_null(strstr(run.err, "--depth 9: the model has depths 1 to 4"));
    assert_non_null(strstr(run.err, "/nothing is unknown"));
    assert_non_null(strstr(run.err, "temperature: -1, expected 0 and more"));
    assert_non_null(strstr(run.err, "depth 4; temperature 0\n"));
    assert_non_null(strstr(run.err, "/reset a new conversation"));
    cli_free(&run);
}

static void reports_say_what_happened(void **state)
{
    (void)state;
    CliRun run = chat("/report\n/draft 2\na task\n");
    assert_int_equal(run.status, 0);
    assert_non_null(strstr(run.err, "draft 2 of 4: prompt "));
    assert_non_null(strstr(run.err, "drafted tokens accepted"));
    cli_free(&run);
}

static void a_full_context_is_said(void **state)
{
    (void)state;
    char lines[2000] = "";
    for (int i = 0; i < 40; i++) strcat(lines, "Write a word that describes a task.\n");
    CliRun run = chat(lines);
    assert_int_equal(run.status, 1);
    assert_non_null(strstr(run.err, "do not fit the context of 160: /reset begins anew"));
    cli_free(&run);
}

static void usage_errors(void **state)
{
    (void)state;
    assert_cli_fails(CLI("chat"), 2, "chat takes one MODEL");
    assert_cli_fails(CLI("chat", "m", "--context", "0"), 2, "--context '0'");
    assert_cli_fails(CLI("chat", "m", "--exit", ".5", "--draft", "2"), 2, "one of --exit");
    assert_cli_fails(CLI("chat", model.text, "--template", "x"), 1, "llama2");
    assert_cli_fails(CLI("chat", model.text, "--template", "llama3"), 1, "<|");
    TestPath plain = small_model(&folder, "plain", 52); // not trained by strata: no default
    assert_cli_fails(CLI("chat", plain.text), 1,
                     "the model has no chat template (--template names one)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_are_remembered),   cmocka_unit_test(depth_changes_between_turns),
        cmocka_unit_test(commands_are_checked),   cmocka_unit_test(reports_say_what_happened),
        cmocka_unit_test(a_full_context_is_said), cmocka_unit_test(usage_errors),
    };
    return cmocka_run_group_tests(tests, make_all, remove_all);
}
