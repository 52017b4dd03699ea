// strata export without a device: which files come out and how the weights are divided over them,
// config.json, what is refused, with nothing left behind, and the program.
#define _XOPEN_SOURCE 700 // rlimit
#include "base/file.h"
#include "support/cli.h"
#include "support/export.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define NORM "model.norm.weight"
#define EMBEDDING "model.embed_tokens.weight"

// ---- weights -----------------------------------------------------------------------------------

// The model with the first value of its final norm replaced.
static TestPath model_with(const char *name, uint32_t pattern)
{
    size_t size, count;
    TestPath folder = small_model(&own_folder, name, 1);
    char *bytes = test_read(test_path(folder.text, WEIGHTS).text, &size);
    float *values = data_of(bytes, size, &count);
    memcpy(values + count - small_config().width, &pattern, sizeof pattern); // it is the last one
    test_write(&folder, WEIGHTS, bytes, size);
    free(bytes);
    return folder;
}

static void refuses_weights_that_overflow(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t pattern;
        Dtype dtype;
        const char *part; // NULL: it goes
    } CASES[] = {
        {"a", 0x477FEFFF, DTYPE_F16, NULL}, // just below 65520
        {"b", 0x477FF000, DTYPE_F16,
         "/b/" WEIGHTS ": tensor '" NORM "' holds 65520, which is too large for float16"},
        {"c", 0xC77FF000, DTYPE_F16, "tensor '" NORM "' holds -65520"},
        {"d", 0x477FF000, DTYPE_BF16, NULL},
        {"e", 0x7F7F8000, DTYPE_BF16, "/e/" WEIGHTS ": tensor '" NORM "' holds 3.39618e+38"},
        {"f", 0xFF800000, DTYPE_F16, NULL}, // an infinity stays one
        {"g", 0x7F800001, DTYPE_F16, NULL}, // and a NaN one
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        Error err;
        TestPath model = model_with(CASES[i].name, CASES[i].pattern);
        TestPath out = test_path(own_folder.text, "out");
        ExportOptions options = {2, CASES[i].dtype, EXPORT_SHARD_SIZE};
        bool ok = model_export(out.text, model.text, &options, &err);
        assert_int_equal(ok, !CASES[i].part);
        if (!ok) assert_error(err, CASES[i].part);
        assert_int_equal(file_exists(out.text), ok);
        test_folder_remove(&model);
        if (ok) test_folder_remove(&out);
        assert_int_equal(test_folder_count(own_folder.text), 0);
    }
}

// Embedding and head are larger than the limit. Each gets a file of its own at once; the file that
// was being filled meanwhile, here one of all the rest, goes on and is numbered where it ends.
static void divides_as_hugging_face_does(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    config.tied = false;
    TestPath model = test_path(own_folder.text, "m");
    model_write(model.text, &config, 5);
    TestPath out = export_to("out", model.text, (ExportOptions){.depth = 1, .shard_size = 50000});
    cJSON *index = read_json(out.text, INDEX);
    assert_string_equal(shard_of(index, EMBEDDING), "model-00001-of-00003.safetensors");
    assert_string_equal(shard_of(index, "lm_head.weight"), "model-00002-of-00003.safetensors");
    assert_string_equal(shard_of(index, "model.layers.0.self_attn.q_proj.weight"),
                        "model-00003-of-00003.safetensors");
    assert_string_equal(shard_of(index, NORM), "model-00003-of-00003.safetensors");
    cJSON_Delete(index);
}

// One file holds as much as the limit says, not a byte more; halves take half.
static void limit_is_exact(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    config.blocks = 2;
    uint64_t bytes = 4 * config_parameters(&config);
    TestPath model = small_model(&own_folder, "m", 1);
    TestPath out = export_to("a", model.text, (ExportOptions){.depth = 2, .shard_size = bytes});
    assert_true(has_file(out.text, WEIGHTS) && !has_file(out.text, INDEX));
    out = export_to("b", model.text, (ExportOptions){.depth = 2, .shard_size = bytes - 1});
    assert_true(!has_file(out.text, WEIGHTS) && has_file(out.text, INDEX));
    out = export_to("c", model.text, (ExportOptions){2, DTYPE_BF16, bytes / 2});
    assert_true(has_file(out.text, WEIGHTS) && !has_file(out.text, INDEX));
    out = export_to("d", model.text, (ExportOptions){2, DTYPE_BF16, bytes / 2 - 1});
    assert_true(!has_file(out.text, WEIGHTS) && has_file(out.text, INDEX));
    assert_true(EXPORT_SHARD_SIZE == 5e9);
}

// ---- what stands beside the weights ------------------------------------------------------------

// Changes a model's config.json: a JSON object of keys to replace or add.
static void change_config(const TestPath *model, const char *changes)
{
    Error err;
    cJSON *config = read_json(model->text, "config.json"), *more = cJSON_Parse(changes);
    assert_non_null(more);
    while (more->child) {
        cJSON *item = cJSON_DetachItemViaPointer(more, more->child);
        cJSON_DeleteItemFromObjectCaseSensitive(config, item->string);
        cJSON_AddItemToObject(config, item->string, item);
    }
    assert_true(json_write(test_path(model->text, "config.json").text, config, &err));
    cJSON_Delete(config);
    cJSON_Delete(more);
}

static void loses_deeper_exits(void **state)
{
    (void)state;
    static const struct {
        const char *exits;
        uint32_t depth;
        const char *left; // NULL: no key
    } CASES[] = {
        {"[1,3,4]", 4, "[1,3,4]"}, {"[1,3,4]", 3, "[1,3]"}, {"[1,3,4]", 2, "[1]"},
        {"[3,4]", 2, NULL},        {"null", 2, NULL},       {"[]", 2, NULL},
    };
    TestPath model = small_model(&own_folder, "m", 1);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char changes[64];
        snprintf(changes, sizeof changes, "{\"strata_exits\":%s}", CASES[i].exits);
        change_config(&model, changes);
        TestPath out = export_to("out", model.text, (ExportOptions){.depth = CASES[i].depth});
        cJSON *config = read_json(out.text, "config.json");
        const cJSON *exits = cJSON_GetObjectItem(config, "strata_exits");
        char *text = exits ? cJSON_PrintUnformatted(exits) : NULL;
        assert_int_equal(!text, !CASES[i].left);
        if (text) assert_string_equal(text, CASES[i].left);
        cJSON_free(text);
        cJSON_Delete(config);
        Error err;
        LlamaConfig loaded;
        assert_true(config_load(&loaded, out.text, &err));
        test_folder_remove(&out);
    }
}

// Keys that strata itself does not write stay, and reals stay reals.
static void keeps_the_other_keys(void **state)
{
    (void)state;
    TestPath model = small_model(&own_folder, "m", 1);
    change_config(&model, "{\"eos_token_id\":[2,7],\"pad_token_id\":0,\"dtype\":\"float32\","
                          "\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":10000.0},"
                          "\"Torch_Dtype\":\"mine\"}");
    TestPath out = export_to("out", model.text, (ExportOptions){.depth = 2, .dtype = DTYPE_BF16});
    cJSON *before = read_json(model.text, "config.json");
    cJSON *after = read_json(out.text, "config.json");
    assert_string_equal(cJSON_GetObjectItem(after, "dtype")->valuestring, "bfloat16");
    cJSON_SetValuestring(cJSON_GetObjectItem(before, "dtype"), "bfloat16");
    cJSON_SetNumberValue(cJSON_GetObjectItem(before, "num_hidden_layers"), 2);
    cJSON_DeleteItemFromObjectCaseSensitive(before, "torch_dtype");
    cJSON_AddStringToObject(before, "torch_dtype", "bfloat16");
    assert_true(cJSON_Compare(before, after, true));
    cJSON_Delete(before);
    cJSON_Delete(after);
    size_t size;
    char *text = test_read(test_path(out.text, "config.json").text, &size);
    assert_non_null(strstr(text, "\"rope_theta\":\t10000.0"));
    char *first = strstr(text, "10000.0");
    assert_non_null(strstr(first + 1, "10000.0")); // the other one, too
    free(text);
}

static void copies_what_is_there(void **state)
{
    (void)state;
    static const char *const names[] = {"special_tokens_map.json", "generation_config.json",
                                        "tokenizer_config.json", "tokenizer.json"};
    TestPath model = small_model(&own_folder, "m", 1);
    TestPath out = export_to("a", model.text, (ExportOptions){.depth = 1});
    assert_false(has_file(out.text, "special_tokens_map.json"));
    test_write_text(&model, "special_tokens_map.json", "{\"bos_token\": \"<s>\"}");
    test_write_text(&model, "generation_config.json", "{ \"temperature\":0.6 }");
    test_write_text(&model, "notes.txt", "x");
    out = export_to("b", model.text, (ExportOptions){.depth = 1});
    for (int i = 0; i < 4; i++)
        check_same_files(test_path(model.text, names[i]).text, test_path(out.text, names[i]).text);
    assert_int_equal(test_folder_count(out.text), 4 + 2);
}

// ---- refusals ----------------------------------------------------------------------------------

static void assert_refused(const char *to, const char *from, uint32_t depth, const char *part)
{
    Error err;
    ExportOptions options = {.depth = depth, .shard_size = 20000};
    size_t before = test_folder_count(own_folder.text);
    assert_false(model_export(to, from, &options, &err));
    assert_error(err, part);
    assert_int_equal(test_folder_count(own_folder.text), before);
}

static void refuses_targets_and_depths(void **state)
{
    (void)state;
    TestPath model = small_model(&own_folder, "m", 1), out = test_path(own_folder.text, "out");
    TestPath same = test_path(own_folder.text, "./m/"),
             file = test_write_text(&own_folder, "f", "");
    assert_refused(model.text, model.text, 2, "m: is the model that is exported");
    assert_refused(same.text, model.text, 2, "m/: is the model that is exported");
    assert_refused(own_folder.text, model.text, 2, "the folder exists and is not empty");
    assert_refused(file.text, model.text, 2, "f: exists and is not a folder");
    assert_refused("", model.text, 2, "the name of the folder to write is empty");
    assert_refused(out.text, test_path(own_folder.text, "none").text, 2, "none/config.json");
    assert_refused(out.text, model.text, 0, "depth 0: the model has 4 blocks");
    assert_refused(out.text, model.text, 5, "depth 5: the model has 4 blocks");
}

static void refuses_broken_weights(void **state)
{
    (void)state;
    TestPath model = small_model(&own_folder, "m", 1), out = test_path(own_folder.text, "out");
    change_config(&model, "{\"num_hidden_layers\":5}");
    assert_refused(out.text, model.text, 5,
                   "m/" WEIGHTS ": tensor 'model.layers.4.input_layernorm.weight' is missing");
    change_config(&model, "{\"num_hidden_layers\":4,\"intermediate_size\":90}");
    assert_refused(out.text, model.text, 4,
                   "tensor 'model.layers.0.mlp.gate_proj.weight' has shape");
    change_config(&model, "{\"intermediate_size\":88}");
    test_write_text(&model, "tokenizer.json", "");
    remove(test_path(model.text, WEIGHTS).text);
    assert_refused(out.text, model.text, 4, "m: holds no " WEIGHTS);
    test_write_text(&model, INDEX, "{\"weight_map\":{\"a\":\"../m/x.safetensors\"}}");
    assert_refused(out.text, model.text, 4, "expected the plain name of a shard");
}

// The disk is full after some bytes, wherever that is: nothing is left, and the next try succeeds.
static void leaves_nothing_behind(void **state)
{
    (void)state;
    struct rlimit before, limit;
    TestPath model = small_model(&own_folder, "m", 1);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t room = 0; room < 40000; room += 3000) {
        Error err;
        ExportOptions options = {4, DTYPE_F32, 40000};
        limit = (struct rlimit){room, before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        bool ok = model_export(test_path(own_folder.text, "out").text, model.text, &options, &err);
        setrlimit(RLIMIT_FSIZE, &before); // before any check could end the test
        assert_false(ok);
        assert_error(err, ": cannot write");
        assert_int_equal(test_folder_count(own_folder.text), 1);
    }
    signal(SIGXFSZ, SIG_DFL);
    TestPath out = export_to("out", model.text, (ExportOptions){4, DTYPE_F32, 40000});
    assert_true(has_file(out.text, INDEX));
}

// ---- the program -------------------------------------------------------------------------------

static void exports_without_a_driver(void **state)
{
    (void)state;
    static const char *const sizes[] = {"40000", "1MB", "1GB"};
    TestPath model = small_model(&own_folder, "m", 1);
    for (int i = 0; i < 3; i++) {
        TestPath out = test_path(own_folder.text, sizes[i]);
        CliRun run = cli_run(&(CliCall){
            .args = {"export", model.text, "--depth", "3", out.text, "--dtype", "f16",
                     "--max-shard-size", sizes[i]},
            .vars = {"VK_ICD_FILENAMES=/nonexistent.json", "VK_DRIVER_FILES=/nonexistent.json"}});
        if (run.status) fail_msg("%s", run.err);
        assert_string_equal(run.out, "");
        assert_string_equal(run.err, "");
        cli_free(&run);
        assert_int_equal(has_file(out.text, INDEX), i == 0);
    }
}

static void program_refuses(void **state)
{
    (void)state;
    TestPath model = small_model(&own_folder, "m", 1), out = test_path(own_folder.text, "out");
    static const char *const depths[] = {"0", "5", "x", "-1", "", "all"};
    static const char *const sizes[] = {"0",
                                        "",
                                        "MB",
                                        "5TB",
                                        "5 GB",
                                        "-1",
                                        "1.5GB",
                                        "5gb",
                                        "99999999999999999999",
                                        "99999999999999999GB"};
    static const char *const dtypes[] = {"", "f64", "F32", "float16"};
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++)
        assert_cli_fails(CLI("export", model.text, "--depth", depths[i], out.text), 1,
                         ": the model has depths 1 to 4");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        assert_cli_fails(
            CLI("export", model.text, "--depth", "2", out.text, "--max-shard-size", sizes[i]), 2,
            "is not a size such as 500MB; usage: strata export MODEL --depth N OUT");
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        assert_cli_fails(CLI("export", model.text, "--depth", "2", out.text, "--dtype", dtypes[i]),
                         2, "is not f32, f16 or bf16");
    assert_cli_fails(CLI("export", model.text, out.text), 2, "--depth is missing");
    assert_cli_fails(CLI("export", model.text, "--depth", "2"), 2, "export takes MODEL and OUT");
    assert_cli_fails(CLI("export", "a", "b", "c", "--depth", "2"), 2, "export takes MODEL and OUT");
    assert_cli_fails(CLI("export", out.text, "--depth", "2", "x"), 1, "out/config.json");
    assert_cli_fails(CLI("export", model.text, "--depth", "2", model.text), 1,
                     "m: is the model that is exported");
    assert_int_equal(test_folder_count(own_folder.text), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(refuses_weights_that_overflow),
        TEST(divides_as_hugging_face_does),
        TEST(limit_is_exact),
        TEST(loses_deeper_exits),
        TEST(keeps_the_other_keys),
        TEST(copies_what_is_there),
        TEST(refuses_targets_and_depths),
        TEST(refuses_broken_weights),
        TEST(leaves_nothing_behind),
        TEST(exports_without_a_driver),
        TEST(program_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
