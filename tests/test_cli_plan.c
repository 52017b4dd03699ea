// `strata plan` as a user meets it.
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
#include <string.h>
#include <unistd.h>

static TestPath folder; // of the running test: model, train.json

static int make_config(void **state)
{
    (void)state;
    char text[4 * TEST_PATH_SIZE];
    folder = test_folder_make();
    small_model(&folder, "model", 51);
    snprintf(text, sizeof text,
             "{\"model\":\"%s/model\",\"data\":\"/nonexistent.json\",\"out\":\"%s/out\","
             "\"exits\":[2,4],\"batch_size\":3}",
             folder.text, folder.text);
    test_write_text(&folder, "train.json", text);
    return 0;
}

static int remove_config(void **state)
{
    (void)state;
    test_folder_remove(&folder);
    return 0;
}

static TestPath config_path(void)
{
    return test_path(folder.text, "train.json");
}

static double number(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsNumber(item)) fail_msg("no number '%s'", key);
    return item->valuedouble;
}

// The one object that the run printed.
static cJSON *parse(CliRun run)
{
    Error err;
    assert_cli_prints(run, "{");
    cJSON *object = json_parse(run.out, strlen(run.out), "plan", &err);
    if (!object) fail_msg("%s", err.text);
    cli_free(&run);
    return object;
}

// Neither data nor weights are read.
static void plans_a_config(void **state)
{
    (void)state;
    assert_int_equal(unlink(test_path(folder.text, "model/model.safetensors").text), 0);
    CliRun run = CLI("plan", config_path().text);
    assert_cli_prints(run, "soft at depth 2, 4; batches of 3 x 160 tokens: 477 rows at most\n");
    assert_cli_prints(run, "\nweights ");
    assert_cli_prints(run, "\npeak ");
    assert_cli_prints(run, "GiB: fits\n");
    cli_free(&run);
    run = CLI("plan", config_path().text, "--set", "method=sft", "--set", "exits=null");
    assert_cli_prints(run, "sft at depth 4; ");
    cli_free(&run);
}

static void prints_json(void **state)
{
    (void)state;
    cJSON *plan = parse(CLI("plan", config_path().text, "--json", "--set", "context=100"));
    const cJSON *bytes = cJSON_GetObjectItem(plan, "bytes");
    const cJSON *device = cJSON_GetArrayItem(cJSON_GetObjectItem(plan, "devices"), 0), *role;
    double sum = 0;
    cJSON_ArrayForEach(role, bytes) sum += role->valuedouble;
    assert_int_equal(cJSON_GetArraySize(bytes), 8);
    assert_true(number(bytes, "kv") > 0);
    assert_true(number(plan, "peak") == sum && number(plan, "rows") == 3 * 99);
    assert_true(number(bytes, "moments") == 2 * number(bytes, "gradients"));
    assert_true(number(bytes, "validation") == 0);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(plan, "exits")), 2);
    assert_true(number(device, "memory") > 0);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(device, "fits")));
    cJSON_Delete(plan);
    plan = parse(CLI("plan", config_path().text, "--json", "--set", "valid=/nonexistent.json"));
    assert_true(number(cJSON_GetObjectItem(plan, "bytes"), "validation") > 0);
    cJSON_Delete(plan);
}

static void plans_llama_2(void **state)
{
    (void)state;
    cJSON *seven = parse(CLI("plan", "--shape", "7b", "--method", "sft", "--batch", "1",
                             "--context", "512", "--json"));
    cJSON *thirteen = parse(CLI("plan", "--shape", "13b", "--method", "soft", "--json"));
    cJSON *exits =
        parse(CLI("plan", "--shape", "7b", "--method", "soft", "--exits", "8,32", "--json"));
    double weights = number(cJSON_GetObjectItem(seven, "bytes"), "weights");
    assert_true(fabs(weights / (4 * 6738415616.0) - 1) < 1e-3 && number(seven, "rows") == 511);
    weights = number(cJSON_GetObjectItem(thirteen, "bytes"), "weights");
    assert_true(fabs(weights / (4 * 13015864320.0) - 1) < 1e-3 && number(thirteen, "rows") == 8188);
    // The paper's exits.
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(thirteen, "exits")), 8);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(exits, "exits")), 2);
    cJSON_Delete(seven);
    cJSON_Delete(thirteen);
    cJSON_Delete(exits);
}

static void check_exits(const cJSON *plan, uint32_t first, uint32_t count)
{
    const cJSON *exits = cJSON_GetObjectItem(plan, "exits");
    assert_int_equal(cJSON_GetArraySize(exits), count);
    for (uint32_t e = 0; e < count; e++)
        assert_int_equal(cJSON_GetArrayItem(exits, (int)e)->valuedouble, first + 4 * e);
}

// Without --method SFT and SoFT with eight exits stand side by side; SoFT needs hardly more.
static void compares_the_methods(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t blocks;
    } shapes[] = {{"7b", 32}, {"13b", 40}};
    for (int i = 0; i < 2; i++) {
        cJSON *both = parse(CLI("plan", "--shape", shapes[i].name, "--json"));
        const cJSON *sft = cJSON_GetObjectItem(both, "sft"),
                    *soft = cJSON_GetObjectItem(both, "soft");
        check_exits(sft, shapes[i].blocks, 1);
        check_exits(soft, shapes[i].blocks - 28, 8); // for 13B the paper's
        assert_true(number(soft, "rows") == 4 * 2047 && number(sft, "rows") == 4 * 2047);
        double ratio = number(soft, "peak") / number(sft, "peak");
        assert_true(ratio >= 1 && ratio <= 1.02 && fabs(number(both, "ratio") - ratio) < 1e-12);
        cJSON_Delete(both);
    }
    CliRun run = CLI("plan", "--shape", "13b");
    assert_cli_prints(run, "sft at depth 40; ");
    assert_cli_prints(run, "soft at depth 12, 16, 20, 24, 28, 32, 36, 40; ");
    assert_cli_prints(run, "\nweights         48.5 GiB    48.5 GiB\n");
    assert_cli_prints(run, "\nsoft's peak is 1.0");
    cli_free(&run);
}

// What is cut out is what is planned for.
static void plans_extracted_blocks(void **state)
{
    (void)state;
    CliRun run = CLI("plan", config_path().text, "--set", "method=extracted", "--set", "exits=null",
                     "--set", "depth=2");
    assert_cli_prints(run, "extracted at depth 2; ");
    cli_free(&run);
    assert_cli_fails(CLI("plan", config_path().text, "--set", "method=extracted", "--set",
                         "exits=null", "--set", "depth=5"),
                     1, "depth: 5, but the model has 4 blocks");
}

// No device has room for a batch of this size.
static void says_what_a_device_lacks(void **state)
{
    (void)state;
    CliRun run = CLI("plan", "--shape", "13b", "--method", "soft", "--batch", "8000");
    assert_cli_prints(run, " GiB: lacks memory: ");
    assert_cli_prints(run, "activations: a tensor of 905527296");
    assert_cli_prints(run, ", one binding sees ");
    cli_free(&run);
}

static void needs_no_driver(void **state)
{
    (void)state;
    const char *const none[] = {"VK_ICD_FILENAMES=/nonexistent.json",
                                "VK_DRIVER_FILES=/nonexistent.json"};
    CliCall call = {.args = {"plan", "--shape=7b", "--method=sft"}, .vars = {none[0], none[1]}};
    CliRun run = cli_run(&call);
    assert_cli_prints(run, "\npeak ");
    assert_cli_prints(run, "no device to compare with: no Vulkan driver on this system");
    cli_free(&run);
    call.args[3] = "--json";
    cJSON *plan = parse(cli_run(&call));
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(plan, "devices")), 0);
    assert_non_null(cJSON_GetObjectItem(plan, "no_devices"));
    cJSON_Delete(plan);
}

static void refuses(void **state)
{
    (void)state;
    const char *path = config_path().text;
    assert_cli_fails(CLI("plan"), 2, "plan takes one CONFIG.json or --shape");
    assert_cli_fails(CLI("plan", path, "--shape", "7b"), 2, "one CONFIG.json or --shape");
    assert_cli_fails(CLI("plan", path, "--batch", "2"), 2, "use --set instead");
    assert_cli_fails(CLI("plan", "--shape", "7b", "--set", "seed=1"), 2, "--set belongs to");
    assert_cli_fails(CLI("plan", "--shape", "7b", "--method", "lora"), 2, "--method lora");
    assert_cli_fails(CLI("plan", "--shape", "7b", "--method", "sft", "--exits", "2"), 2,
                     "--exits belongs to --method soft");
    assert_cli_fails(CLI("plan", "--shape", "7b", "--batch", "0"), 2, "'0'");
    assert_cli_fails(CLI("plan", "--shape", "7b", "--nonsense"), 2, "'--nonsense'");
    assert_cli_fails(CLI("plan", "--shape", "8b"), 1, "--shape 8b: 7b or 13b is expected");
    assert_cli_fails(CLI("plan", "--shape", "7b", "--exits", "33"), 1, "the model has 32 blocks");
    assert_cli_fails(CLI("plan", "--shape", "7b", "--context", "4097"), 1, "context: 4097");
    assert_cli_fails(CLI("plan", "--shape", "7b", "--batch", "65536"), 1, "are too many");
    assert_cli_fails(CLI("plan", "/nonexistent.json"), 1, "/nonexistent.json");
    assert_cli_fails(CLI("plan", path, "--set", "model=/nonexistent"), 1,
                     "/nonexistent/config.json");
    assert_cli_fails(CLI("plan", path, "--set", "exits=[5]"), 1, "exits: depth 5");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_config, remove_config)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(plans_a_config),         CASE(prints_json),
        CASE(plans_llama_2),          CASE(compares_the_methods),
        CASE(plans_extracted_blocks), CASE(says_what_a_device_lacks),
        CASE(needs_no_driver),        CASE(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
