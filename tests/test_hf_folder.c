// Model folders: the small files beside the weights, and that a folder appears as a whole or not at
// all.
#include "base/file.h"
#include "base/json.h"
#include "model/hf_folder.h"
#include "support/files.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

static void writes_extras(void **state)
{
    (void)state;
    const LlamaConfig config = {.context = 77, .bos = 7, .eos = {299}, .eos_count = 1};
    Error err;
    assert_true(hf_folder_write_extras(own_folder.text, &config, &err));
    cJSON *object = json_read(test_path(own_folder.text, "generation_config.json").text, &err);
    int64_t value;
    assert_true(json_int(&value, object, "bos_token_id", 0, 999, "x", &err));
    assert_int_equal(value, 7);
    assert_true(json_int(&value, object, "eos_token_id", 0, 999, "x", &err));
    assert_int_equal(value, 299);
    cJSON_Delete(object);
    object = json_read(test_path(own_folder.text, "tokenizer_config.json").text, &err);
    const char *text;
    bool flag;
    assert_true(json_string(&text, object, "tokenizer_class", "x", &err));
    assert_string_equal(text, "LlamaTokenizer");
    assert_true(json_string(&text, object, "bos_token", "x", &err));
    assert_string_equal(text, "<s>");
    assert_true(json_bool_or(&flag, object, "add_bos_token", false, "x", &err));
    assert_true(flag);
    assert_true(json_int(&value, object, "model_max_length", 0, 999, "x", &err));
    assert_int_equal(value, 77);
    cJSON_Delete(object);
}

// The extras of stories260K are what strata writes for its config, key by key.
static void extras_equal_stories(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"tokenizer_config.json", "generation_config.json"};
    LlamaConfig config;
    Error err;
    TestPath data = test_data("stories260K");
    assert_true(config_load(&config, data.text, &err));
    assert_true(hf_folder_write_extras(own_folder.text, &config, &err));
    for (int i = 0; i < 2; i++) {
        cJSON *theirs = json_read(test_path(data.text, NAMES[i]).text, &err);
        cJSON *ours = json_read(test_path(own_folder.text, NAMES[i]).text, &err);
        assert_true(cJSON_Compare(theirs, ours, true));
        cJSON_Delete(theirs);
        cJSON_Delete(ours);
    }
}

static void renames_folders(void **state)
{
    (void)state;
    HfFolder out;
    Error err;
    TestPath path = test_path(own_folder.text, "a/b");
    assert_true(hf_folder_begin(&out, test_path(own_folder.text, "a/b//").text, &err));
    assert_int_equal(access(path.text, F_OK), -1);
    TestPath temp = test_path(out.temp, "x");
    assert_true(file_write(temp.text, "x", 1, &err));
    assert_true(hf_folder_commit(&out, &err));
    assert_int_equal(test_folder_count(path.text), 1);
    assert_int_equal(test_folder_count(test_path(own_folder.text, "a").text), 1);
    // Now it is not empty.
    assert_false(hf_folder_begin(&out, path.text, &err));
    assert_error(err, "a/b: the folder exists and is not empty");
    unlink(test_path(path.text, "x").text);
    assert_true(hf_folder_begin(&out, path.text, &err));
    hf_folder_abort(&out);
    assert_int_equal(test_folder_count(test_path(own_folder.text, "a").text), 1);
    test_write_text(&own_folder, "file", "");
    assert_false(hf_folder_begin(&out, test_path(own_folder.text, "file").text, &err));
    assert_error(err, "file: exists and is not a folder");
    assert_false(hf_folder_begin(&out, "", &err));
    assert_error(err, "the name of the folder to write is empty");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(writes_extras),
        TEST(extras_equal_stories),
        TEST(renames_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
