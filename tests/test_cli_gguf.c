// The program with GGUF files: convert both ways, the other subcommands on a file as on its folder,
// and what is refused.
#include "support/cli.h"
#include "support/files.h"
#include "support/models.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static void expect_ok(CliRun run)
{
    if (run.status) fail_msg("%s", run.err);
    cli_free(&run);
}

static TestPath model_and_file(TestPath *file, const char *type)
{
    TestPath folder = small_model(&own_folder, "model", 4);
    *file = test_path(own_folder.text, "model.gguf");
    expect_ok(type ? CLI("convert", folder.text, file->text, "--type", type)
                   : CLI("convert", folder.text, file->text));
    return folder;
}

static void converts_both_ways(void **state)
{
    (void)state;
    TestPath file, folder = model_and_file(&file, NULL), back = test_path(own_folder.text, "back");
    expect_ok(CLI("convert", file.text, back.text));
    check_same_files(test_path(folder.text, "model.safetensors").text,
                     test_path(back.text, "model.safetensors").text);
    TestPath half = test_path(own_folder.text, "half");
    expect_ok(CLI("convert", file.text, half.text, "--dtype", "bf16"));
    size_t whole_size, half_size;
    free(test_read(test_path(back.text, "model.safetensors").text, &whole_size));
    free(test_read(test_path(half.text, "model.safetensors").text, &half_size));
    assert_true(half_size < whole_size * 6 / 10);
}

// From "tokens" on, which the same run prints again but for its times.
static char *tokens_of(const char *model)
{
    CliRun run =
        CLI("generate", model, "--prompt", "Write a response", "--max-tokens", "12", "--json");
    if (run.status) fail_msg("%s", run.err);
    char *begin = strstr(run.out, "\"tokens\":["), *end = begin ? strchr(begin, ']') : NULL;
    assert_non_null(end);
    size_t size = (size_t)(end - begin);
    char *tokens = calloc(size + 1, 1);
    memcpy(tokens, begin, size);
    cli_free(&run);
    return tokens;
}

static void generates_and_tokenizes(void **state)
{
    (void)state;
    TestPath file, folder = model_and_file(&file, NULL);
    char *a = tokens_of(folder.text), *b = tokens_of(file.text);
    assert_string_equal(a, b);
    free(a);
    free(b);
    static const char text[] = "\"Below is an instruction\"\n\"\"\n";
    CliRun one = cli_run(&(CliCall){.args = {"tokenize", folder.text, "--bos"}, .input = text});
    CliRun two = cli_run(&(CliCall){.args = {"tokenize", file.text, "--bos"}, .input = text});
    assert_int_equal(one.status, 0);
    assert_int_equal(two.status, 0);
    assert_string_equal(one.out, two.out);
    cli_free(&one);
    cli_free(&two);
}

static CliRun chat(const char *model)
{
    return cli_run(&(CliCall){.args = {"chat", model, "--max-tokens", "4"}, .input = "a task\n"});
}

// The template goes along.
static void chats(void **state)
{
    (void)state;
    TestPath folder = small_model(&own_folder, "model", 4);
    TestPath file = test_path(own_folder.text, "model.gguf");
    expect_ok(CLI("convert", folder.text, file.text));
    assert_cli_fails(chat(file.text), 1, "model.gguf: key 'tokenizer.chat_template' is missing");
    test_write_text(&folder, "chat_template.jinja",
                    "{{ '### Instruction:\n' + m['content'] + '\n\n### Response:\n' }}");
    expect_ok(CLI("convert", folder.text, file.text));
    CliRun one = chat(folder.text), two = chat(file.text);
    assert_int_equal(one.status, 0);
    if (two.status) fail_msg("%s", two.err);
    assert_string_equal(one.out, two.out);
    cli_free(&one);
    cli_free(&two);
}

static void says_how_fast_it_loaded(void **state)
{
    (void)state;
    TestPath file;
    model_and_file(&file, "q8_0");
    CliRun run = cli_run(
        &(CliCall){.args = {"generate", file.text, "--prompt", "a", "--max-tokens", "1", "--json"},
                   .vars = {"STRATA_VERBOSE=1"}});
    assert_int_equal(run.status, 0);
    assert_non_null(strstr(run.err, "loaded "));
    assert_non_null(strstr(run.err, " GB/s"));
    assert_null(strstr(run.out, "loaded"));
    cli_free(&run);
}

static void refuses(void **state)
{
    (void)state;
    TestPath file, folder = model_and_file(&file, NULL), out = test_path(own_folder.text, "out");
    const char *f = folder.text, *g = file.text, *o = out.text;
    assert_cli_fails(CLI("convert", f, o, "--type", "q4_k"), 2, "--type 'q4_k'");
    assert_cli_fails(CLI("convert", g, o, "--dtype", "q8_0"), 2, "--dtype 'q8_0'");
    assert_cli_fails(CLI("convert", f, o, "--dtype", "f16"), 2, "--dtype is for folders");
    assert_cli_fails(CLI("convert", g, o, "--type", "f16"), 2, "--type is for GGUF files");
    assert_cli_fails(CLI("convert", "a", "b", "c", "--type", "f16"), 2, "stays f32");
    assert_cli_fails(CLI("convert", g, f), 1, "not empty");
    assert_cli_fails(CLI("convert", o, "x.gguf"), 1, "config.json");
    assert_cli_fails(CLI("export", g, "--depth", "2", o), 1, "model.gguf: a depth of a GGUF file");
    TestPath text = test_write_text(&own_folder, "x.gguf", "GGUF, but not really");
    assert_cli_fails(CLI("convert", text.text, o), 1, "x.gguf: GGUF version");
    assert_cli_fails(CLI("generate", text.text, "--prompt", "a"), 1, "x.gguf: GGUF version");
    assert_cli_fails(CLI("eval", text.text, "--data", "d.json"), 1, "x.gguf: GGUF version");
    assert_int_equal(test_folder_count(own_folder.text), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(converts_both_ways),
        TEST(generates_and_tokenizes),
        TEST(chats),
        TEST(says_how_fast_it_loaded),
        TEST(refuses),
    };
    return cmocka_run_group_tests_name("cli_gguf", tests, NULL, NULL);
}
