// `strata calibrate` as a user meets it: what it refuses, what it prints and stores; that what is
// stored is what `strata generate` decodes by where nothing else is asked for; and what becomes of
// policies that are not of the model at hand. The model's upper blocks change nothing, so that
// every policy has the full depth's text.
#include "base/file.h"
#include "infer/policy_file.h"
#include "model/safetensors.h"
#include "support/cli.h"
#include "support/json_fields.h"
#include "support/models.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCKS = 8, ALIVE = 2, FILES = 5 }; // of the model; names in its folder

static const char NAME[] = "strata_policy.json";
static TestPath folder, model, data, policies; // of all tests; policies: of model
static cJSON *full;                            // what model says, by itself

static const char *const RECORDS[][2] = {
    {"Write a word.", "Below is a task"}, {"a", "request that"},      {"", "describes the task"},
    {"request", "that describes"},        {"is", "a request a task"}, {"task", "instruction is"}};

// ---- the model ---------------------------------------------------------------------------------

static void silence_tensor(const char *path, uint32_t block, const char *name)
{
    Error err;
    Safetensors file;
    char whole[80];
    snprintf(whole, sizeof whole, "model.layers.%u.%s.weight", block, name);
    if (!safetensors_open(&file, path, &err)) fail_msg("%s", err.text);
    const SafetensorsEntry *entry = safetensors_find(&file, whole);
    assert_non_null(entry);
    long offset = (long)(entry->data - file.map.bytes);
    size_t size = entry->size;
    safetensors_close(&file);
    void *zeros = calloc(1, size);
    FILE *out = fopen(path, "r+b");
    assert_true(out && fseek(out, offset, SEEK_SET) == 0 && fwrite(zeros, 1, size, out) == size);
    fclose(out);
    free(zeros);
}

static void write_model(const char *path)
{
    LlamaConfig config = small_config();
    config.blocks = BLOCKS;
    config.exit_count = 2;
    config.exits[0] = ALIVE, config.exits[1] = BLOCKS;
    model_write(path, &config, 91);
    TestPath weights = test_path(path, "model.safetensors");
    for (uint32_t block = ALIVE; block < BLOCKS; block++) {
        silence_tensor(weights.text, block, "self_attn.o_proj");
        silence_tensor(weights.text, block, "mlp.down_proj");
    }
}

// ---- runs --------------------------------------------------------------------------------------

static cJSON *json_of(CliRun run)
{
    Error err;
    if (run.status || *run.err) fail_msg("status %d: %s", run.status, run.err);
    cJSON *object = json_parse(run.out, strlen(run.out), "output", &err);
    if (!object) fail_msg("%s", err.text);
    cli_free(&run);
    return object;
}

static cJSON *generate(const char *option, const char *value)
{
    return json_of(CLI("generate", model.text, "--prompt", "Write a word.", "--json",
                       "--max-tokens", "16", option, value));
}

// Generates with that option (NULL: none) by that policy, and as full depth does. Frees.
static void check_policy(const char *option, const char *value, const char *policy)
{
    cJSON *object = generate(option, value);
    assert_string_equal(field_text(object, "policy"), policy);
    assert_string_equal(field_text(object, "text"), field_text(full, "text"));
    assert_true(cJSON_Compare(field_item(object, "tokens"), field_item(full, "tokens"), true));
    cJSON_Delete(object);
}

#define CALIBRATE(...)                                                                             \
    CLI("calibrate", model.text, "--data", data.text, "--max-loss-of-accuracy", "0", __VA_ARGS__)

static int make_all(void **state)
{
    (void)state;
    folder = test_folder_make();
    model = test_path(folder.text, "model");
    policies = test_path(model.text, NAME);
    write_model(model.text);
    data = write_records(&folder, "data.json", RECORDS, sizeof RECORDS / sizeof *RECORDS);
    full = generate(NULL, NULL);
    return 0;
}

static int remove_all(void **state)
{
    (void)state;
    cJSON_Delete(full);
    test_folder_remove(&folder);
    return 0;
}

// Each test begins without policies.
static int forget(void **state)
{
    (void)state;
    remove(policies.text);
    assert_int_equal(test_folder_count(model.text), FILES);
    return 0;
}

static void write_policies(const char *text)
{
    test_write_text(&model, NAME, text);
}

// ---- what is refused ---------------------------------------------------------------------------

static void usage_errors(void **state)
{
    (void)state;
    static const struct {
        const char *args[6], *message;
    } bad[] = {
        {{NULL}, "calibrate takes one MODEL"},
        {{"--data", "d", "--max-loss-of-accuracy", "0"}, "calibrate takes one MODEL"},
        {{"a", "b", "--data", "d", "--max-loss-of-accuracy", "0"}, "calibrate takes one MODEL"},
        {{"m", "--max-loss-of-accuracy", "0"}, "--data is missing"},
        {{"m", "--data", "d"}, "--max-loss-of-accuracy is missing"},
        {{"m", "--max-loss-of-accuracy", "-0.1"}, "'-0.1' is not a number of 0 to 1"},
        {{"m", "--max-loss-of-accuracy", "1.5"}, "'1.5' is not a number of 0 to 1"},
        {{"m", "--max-loss-of-accuracy", "nan"}, "'nan' is not a number of 0 to 1"},
        {{"m", "--max-loss-of-accuracy", "1%"}, "'1%' is not a number of 0 to 1"},
        {{"m", "--max-loss-of-accuracy", ""}, "'' is not a number of 0 to 1"},
        {{"m", "--confidence", "hope"}, "--confidence 'hope': probability, margin or entropy"},
        {{"m", "--records", "0"}, "--records '0' is not a number of 1 and more"},
        {{"m", "--records", "x"}, "--records 'x' is not a number of 1 and more"},
        {{"m", "--nothing"}, "--nothing"},
        {{"m", "--data"}, "--data"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CliCall call = {.args = {"calibrate"}};
        for (int a = 0; a < 6; a++) call.args[1 + a] = bad[i].args[a];
        assert_cli_fails(cli_run(&call), 2, bad[i].message);
    }
    CliRun help = CLI("calibrate", "--help");
    assert_cli_prints(help, "usage: strata calibrate MODEL --data FILE");
    cli_free(&help);
}

static void check_fails(const char *path, const char *data_file, const char *option,
                        const char *value, const char *message)
{
    assert_cli_fails(
        CLI("calibrate", path, "--max-loss-of-accuracy", "0", "--data", data_file, option, value),
        1, message);
    assert_int_equal(test_folder_count(model.text), FILES); // nothing is written
}

static void bad_inputs(void **state)
{
    (void)state;
    static const char *const one[][2] = {{"a", "task"}};
    static char words[4000];
    const char *const longest[][2] = {{words, "task"}};
    while (strlen(words) < sizeof words - 20) strcat(words, " instruction");
    TestPath none = test_path(folder.text, "none"),
             broken = test_write_text(&folder, "broken.json", "[{\"instruction\":"),
             little = write_records(&folder, "little.json", one, 1),
             too_long = write_records(&folder, "long.json", longest, 1);
    check_fails(none.text, data.text, NULL, NULL, "none");
    check_fails(model.text, none.text, NULL, NULL, "none: ");
    check_fails(model.text, broken.text, NULL, NULL, "broken.json: ");
    check_fails(model.text, little.text, NULL, NULL,
                "little.json: 5 tokens to calibrate with, at least 16 are expected");
    check_fails(model.text, too_long.text, NULL, NULL, "long.json: ");
    check_fails(model.text, data.text, "--records", "1", "tokens to calibrate with, at least 16");
    check_fails(model.text, data.text, "--exits", "9", "9");
    check_fails(model.text, data.text, "--exits", "2:.5", "2:.5");
    check_fails(model.text, data.text, "--device", "no such device", "no such device");
}

// A GGUF file has no folder of its own: said at once, and --dry-run works.
static void gguf_file(void **state)
{
    (void)state;
    TestPath file = test_path(folder.text, "model.gguf");
    CliRun run = CLI("convert", model.text, file.text);
    if (run.status) fail_msg("%s", run.err);
    cli_free(&run);
    check_fails(file.text, data.text, NULL, NULL, "model.gguf: not a folder");
    run = CLI("calibrate", file.text, "--data", data.text, "--max-loss-of-accuracy", "0",
              "--dry-run");
    assert_cli_prints(run, " (not stored)\n");
    cli_free(&run);
}

// Where the file cannot be put the run fails, in one line, and leaves nothing beside.
static void cannot_be_stored(void **state)
{
    (void)state;
    TestPath mine = test_path(folder.text, "mine"), file = test_path(mine.text, NAME);
    write_model(mine.text);
    assert_int_equal(mkdir(file.text, 0700), 0);
    assert_cli_fails(
        CLI("calibrate", mine.text, "--data", data.text, "--max-loss-of-accuracy", "0"), 1, NAME);
    assert_int_equal(test_folder_count(mine.text), FILES + 1);
    if (geteuid() == 0) return; // who may write anywhere
    rmdir(file.text);
    chmod(mine.text, 0500);
    assert_cli_fails(
        CLI("calibrate", mine.text, "--data", data.text, "--max-loss-of-accuracy", "0"), 1,
        "mine: cannot write: ");
    chmod(mine.text, 0700);
}

// ---- what is printed and stored ----------------------------------------------------------------

static void dry_run(void **state)
{
    (void)state;
    CliRun run = CALIBRATE("--dry-run");
    assert_cli_prints(run, " positions; thresholds chosen at half of them, judged at the others\n");
    assert_cli_prints(run, "  accuracy     loss    as full  blocks/token    speed  policy\n");
    assert_cli_prints(run, "\ndefault: ");
    assert_cli_prints(run, " (not stored)\n");
    assert_string_equal(run.err, "");
    cli_free(&run);
    assert_int_equal(test_folder_count(model.text), FILES);
}

static StoredPolicies read_policies(void)
{
    Error err;
    bool found;
    StoredPolicies p;
    const LlamaConfig config = {.blocks = BLOCKS};
    if (!policy_file_load(&p, &found, model.text, &config, &err)) fail_msg("%s", err.text);
    assert_true(found);
    return p;
}

// The default is what generate uses; exits and drafts by name; --depth overrides.
static void check_stored(const StoredPolicies *p)
{
    char exits[512], draft[512];
    policy_describe(&p->exits, exits, sizeof exits);
    policy_describe(&p->draft, draft, sizeof draft);
    const char *const by_kind[] = {"depth 8", exits, draft};
    check_policy(NULL, NULL, by_kind[p->kind]);
    if (p->has_exits) check_policy("--exits", "calibrated", exits);
    if (p->has_draft) check_policy("--draft", "calibrated", draft);
    check_policy("--depth", "3", "depth 3");
    check_policy("--depth", "8", "depth 8");
    check_policy("--exit", "0.25", "exits 2:0.25 of 8");
}

static void stores_what_generate_uses(void **state)
{
    (void)state;
    write_policies("{\"exits\":7}"); // what no longer fits is replaced
    CliRun run = CALIBRATE(NULL);
    assert_cli_prints(run, ", stored in strata_policy.json\n");
    assert_string_equal(run.err, "");
    assert_int_equal(test_folder_count(model.text), FILES + 1);
    StoredPolicies p = read_policies();
    const char *const names[] = {"default: full depth,", "default: exits,", "default: draft,"};
    assert_non_null(strstr(run.out, names[p.kind]));
    cli_free(&run);
    // Two blocks of eight say the same: an exit there pays, for no loss.
    assert_true(p.has_exits && p.exits.exit_count == 1 && p.exits.exits[0] == ALIVE);
    assert_true(p.kind != POLICY_FULL);
    check_stored(&p);
}

static void check_curve(const cJSON *curve)
{
    static const char *const keys[] = {"harm",      "accuracy",         "loss_of_accuracy",
                                       "agreement", "blocks_per_token", "expected_speed"};
    const cJSON *point;
    assert_int_equal(cJSON_GetArraySize(curve), 12);
    cJSON_ArrayForEach(point, curve)
    {
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) field_number(point, keys[i]);
        assert_int_equal(strncmp(field_text(point, "policy"), "exits 2:", 8), 0);
        assert_true(field_number(point, "agreement") == 1 &&
                    field_number(point, "loss_of_accuracy") == 0);
        assert_true(field_number(point, "blocks_per_token") < BLOCKS);
    }
}

// One object, whose figures stand in the file as well.
static void json_object(void **state)
{
    (void)state;
    Error err;
    cJSON *printed = json_of(CALIBRATE("--json", "--confidence", "margin"));
    cJSON *stored = json_read(policies.text, &err);
    assert_non_null(stored);
    assert_string_equal(field_text(printed, "data"), data.text);
    assert_true(field_number(printed, "positions") >= 16 &&
                field_number(printed, "max_loss_of_accuracy") == 0);
    assert_true(*field_text(printed, "device") && *field_text(printed, "driver"));
    check_curve(field_item(printed, "curve"));
    assert_null(cJSON_GetObjectItem(printed, "draft")); // whose stop is a probability
    assert_string_equal(field_text(printed, "default"), field_text(stored, "default"));
    assert_string_equal(field_text(stored, "confidence"), "margin");
    cJSON_DeleteItemFromObject(printed, "default");
    assert_true(cJSON_Compare(printed, field_item(stored, "calibration"), true));
    cJSON_Delete(printed);
    cJSON_Delete(stored);
    assert_int_equal(read_policies().exits.confidence, CONFIDENCE_MARGIN);
}

// Records beyond the context count as nothing; without exits the full depth is stored.
static void records_that_do_not_fit(void **state)
{
    (void)state;
    static char words[4000];
    const char *more[sizeof RECORDS / sizeof *RECORDS + 2][2] = {{words, "task"}};
    while (strlen(words) < sizeof words - 20) strcat(words, " instruction");
    memcpy(more + 1, RECORDS, sizeof RECORDS);
    more[sizeof RECORDS / sizeof *RECORDS + 1][0] = words;
    more[sizeof RECORDS / sizeof *RECORDS + 1][1] = "a";
    TestPath all = write_records(&folder, "more.json", more, sizeof more / sizeof *more);
    cJSON *few = json_of(CALIBRATE("--json", "--exits", "8")),
          *many = json_of(CLI("calibrate", model.text, "--data", all.text, "--max-loss-of-accuracy",
                              "0", "--json", "--exits", "8"));
    assert_true(field_number(few, "positions") == field_number(many, "positions"));
    assert_int_equal(cJSON_GetArraySize(field_item(many, "curve")), 0);
    assert_string_equal(field_text(many, "default"), "depth");
    StoredPolicies p = read_policies();
    assert_true(p.kind == POLICY_FULL && !p.has_exits && !p.has_draft);
    check_policy(NULL, NULL, "depth 8");
    cJSON_Delete(few);
    cJSON_Delete(many);
}

// ---- what becomes of stored policies -----------------------------------------------------------

#define STORED_EXITS "\"exits\":[{\"depth\":2,\"threshold\":0.01},{\"depth\":5,\"threshold\":0.5}]"
#define STORED_DRAFT "\"draft\":{\"depth\":3,\"window\":6,\"stop\":0}"

static void check_fails_to_generate(const char *path, const char *option, const char *value,
                                    int status, const char *message)
{
    assert_cli_fails(CLI("generate", path, "--prompt", "a", option, value), status, message);
}

static void chosen_by_name(void **state)
{
    (void)state;
    static const char EXITS[] = "exits 2:0.01,5:0.5 of 8", DRAFT[] = "draft 3 of 8";
    static const char NONE[] = "no calibrated policy is stored with the model";
    check_fails_to_generate(model.text, "--exits", "calibrated", 1, NONE);
    check_fails_to_generate(model.text, "--draft", "calibrated", 1, NONE);
    write_policies("{\"default\":\"exits\"," STORED_EXITS "}");
    check_policy(NULL, NULL, EXITS);
    check_policy("--draft", "3", DRAFT);
    check_fails_to_generate(model.text, "--draft", "calibrated", 1, NONE);
    write_policies("{\"default\":\"draft\"," STORED_EXITS "," STORED_DRAFT "}");
    check_policy(NULL, NULL, DRAFT);
    check_policy("--exits", "calibrated", EXITS);
    check_policy("--exits", "4:0.5", "exits 4:0.5 of 8");
    write_policies("{" STORED_EXITS "," STORED_DRAFT "}");
    check_policy(NULL, NULL, "depth 8");
    check_policy("--draft", "calibrated", DRAFT);
    assert_cli_fails(
        CLI("generate", model.text, "--prompt", "a", "--exits", "calibrated", "--depth", "4"), 2,
        "a calibrated policy is of all blocks: --depth does not go with it");
    assert_cli_fails(CLI("generate", model.text, "--prompt", "a", "--exits", "calibrated",
                         "--draft", "calibrated"),
                     2, "one of --exit, --exits and --draft is expected");
    CliRun run =
        CLI("generate", model.text, "--prompt", "a", "--depth", "all", "--max-tokens", "2");
    assert_cli_prints(run, "--- depth 8 ---"); // fixed depths, whatever is stored
    cli_free(&run);
}

static cJSON *generate_with(const char *path, const char *option, const char *value)
{
    return json_of(
        CLI("generate", path, "--prompt", "task", "--json", "--max-tokens", "24", option, value));
}

// Where every block matters a draft that is the default still loses nothing; so does what is
// calibrated for no loss, where that is a draft or the full depth.
static void drafts_lose_nothing(void **state)
{
    (void)state;
    TestPath lively = small_model(&folder, "lively", 92);
    cJSON *all = generate_with(lively.text, NULL, NULL),
          *shallow = generate_with(lively.text, "--depth", "1");
    assert_false(cJSON_Compare(field_item(all, "tokens"), field_item(shallow, "tokens"), true));
    test_write_text(&lively, NAME, "{\"default\":\"draft\",\"draft\":{\"depth\":1,\"stop\":0}}");
    cJSON *drafted = generate_with(lively.text, NULL, NULL);
    assert_string_equal(field_text(drafted, "policy"), "draft 1 of 4");
    assert_true(field_number(drafted, "drafted") > field_number(drafted, "accepted"));
    assert_true(cJSON_Compare(field_item(all, "tokens"), field_item(drafted, "tokens"), true));
    cJSON *found = json_of(CLI("calibrate", lively.text, "--data", data.text,
                               "--max-loss-of-accuracy", "0", "--json")),
          *by_default = generate_with(lively.text, NULL, NULL);
    if (strcmp(field_text(found, "default"), "exits"))
        assert_true(
            cJSON_Compare(field_item(all, "tokens"), field_item(by_default, "tokens"), true));
    cJSON_Delete(found);
    cJSON_Delete(by_default);
    cJSON_Delete(drafted);
    cJSON_Delete(shallow);
    cJSON_Delete(all);
}

// Of many prompts each decodes by the default that asks for nothing else.
static void batches(void **state)
{
    (void)state;
    size_t size;
    TestPath out = test_path(folder.text, "out.jsonl"),
             in = test_write_text(&folder, "in.jsonl",
                                  "{\"prompt\":\"Write a word.\"}\n"
                                  "{\"prompt\":\"Write a word.\",\"depth\":8}\n"
                                  "{\"prompt\":\"Write a word.\",\"draft\":\"calibrated\"}\n");
    write_policies("{\"default\":\"exits\"," STORED_EXITS "," STORED_DRAFT "}");
    CliRun run =
        CLI("generate", model.text, "--batch", in.text, "--out", out.text, "--max-tokens", "16");
    if (run.status) fail_msg("%s", run.err);
    cli_free(&run);
    char *text = test_read(out.text, &size), *at = text;
    static const char *const lines[] = {"exits 2:0.01,5:0.5 of 8", "depth 8", "draft 3 of 8"};
    for (int i = 0; i < 3; i++) {
        char *end = strchr(at, '\n');
        assert_non_null(end);
        *end = 0;
        cJSON *object = cJSON_Parse(at);
        assert_string_equal(field_text(object, "policy"), lines[i]);
        assert_string_equal(field_text(object, "text"), field_text(full, "text"));
        cJSON_Delete(object);
        at = end + 1;
    }
    free(text);
}

// The file of a deeper model beside one of fewer blocks is refused, but where it is not asked for,
// and calibrated anew.
static void of_another_model(void **state)
{
    (void)state;
    TestPath cut = test_path(folder.text, "cut");
    model_cut(cut.text, model.text, 4);
    Error err;
    size_t size;
    char *tokenizer = test_read(test_path(model.text, "tokenizer.json").text, &size);
    assert_true(file_write(test_path(cut.text, "tokenizer.json").text, tokenizer, size, &err));
    free(tokenizer);
    test_write_text(&cut, NAME, "{\"default\":\"exits\"," STORED_EXITS "}");
    check_fails_to_generate(cut.text, "--max-tokens", "2", 1,
                            "cut/strata_policy.json: exits[1]: key 'depth' is 5, expected 3 to 3");
    CliRun run = CLI("generate", cut.text, "--prompt", "a", "--max-tokens", "2", "--depth", "4");
    assert_int_equal(run.status, 0);
    cli_free(&run);
    run = CLI("calibrate", cut.text, "--data", data.text, "--max-loss-of-accuracy", "0");
    assert_cli_prints(run, ", stored in strata_policy.json\n");
    cli_free(&run);
    run = CLI("generate", cut.text, "--prompt", "a", "--max-tokens", "2");
    assert_int_equal(run.status, 0);
    cli_free(&run);
}

// Training over a folder takes policies of earlier weights away, and leaves those of the model that
// it began from.
static void trained_anew(void **state)
{
    (void)state;
    char text[4 * TEST_PATH_SIZE];
    TestPath out = test_path(folder.text, "trained");
    Error err;
    snprintf(text, sizeof text,
             "{\"model\":\"%s\",\"data\":\"%s\",\"out\":\"%s\",\"exits\":[2,8],\"steps\":1,"
             "\"batch_size\":1,\"grad_accum\":1,\"learning_rate\":0.001,\"seed\":3}",
             model.text, data.text, out.text);
    TestPath config = test_write_text(&folder, "train.json", text);
    assert_true(folder_make(out.text, &err));
    test_write_text(&out, NAME, "{" STORED_DRAFT "}");
    write_policies("{" STORED_DRAFT "}");
    CliRun run = CLI("train", config.text);
    if (run.status) fail_msg("%s", run.err);
    cli_free(&run);
    assert_true(file_exists(test_path(out.text, "model.safetensors").text));
    assert_false(file_exists(test_path(out.text, NAME).text));
    assert_true(file_exists(policies.text));
}

#define CASE(f) cmocka_unit_test_setup(f, forget)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(usage_errors),
        CASE(bad_inputs),
        CASE(gguf_file),
        CASE(cannot_be_stored),
        CASE(dry_run),
        CASE(stores_what_generate_uses),
        CASE(json_object),
        CASE(records_that_do_not_fit),
        CASE(chosen_by_name),
        CASE(batches),
        CASE(drafts_lose_nothing),
        CASE(of_another_model),
        CASE(trained_anew),
    };
    return cmocka_run_group_tests(tests, make_all, remove_all);
}
