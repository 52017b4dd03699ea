// `strata train` on a device that fails in the middle: what it says, what it leaves, and that the
// run that goes on ends in the bits of one that was never disturbed. The driver is made to fail by
// the layer of support/layer/fail_device.c.
#include "base/file.h"
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

static TestPath folder; // of the running test: model, data.json, train.json, out

static const char *const RECORDS[][2] = {
    {"Write a word.", "Below"}, {"a", "task"}, {"", "is"}, {"request", "that describes"}};

static int make_run(void **state)
{
    (void)state;
    folder = test_folder_make();
    small_model(&folder, "model", 51);
    write_records(&folder, "data.json", RECORDS, 4);
    char text[5 * TEST_PATH_SIZE];
    snprintf(text, sizeof text,
             "{\"model\":\"%s/model\",\"data\":\"%s/data.json\",\"valid\":\"%s/data.json\","
             "\"out\":\"%s/out\",\"exits\":[2,4],\"steps\":6,\"batch_size\":2,\"grad_accum\":2,"
             "\"learning_rate\":0.001,\"seed\":3,\"layer_dropout\":0.2,\"validate_every\":2}",
             folder.text, folder.text, folder.text, folder.text);
    test_write_text(&folder, "train.json", text);
    return 0;
}

static int remove_run(void **state)
{
    (void)state;
    test_folder_remove(&folder);
    return 0;
}

static TestPath in_folder(const char *name)
{
    return test_path(folder.text, name);
}

static TestPath out_set(const char *name)
{
    TestPath set;
    int length = snprintf(set.text, sizeof set.text, "out=%s/%s", folder.text, name);
    assert_true(length > 0 && length < TEST_PATH_SIZE);
    return set;
}

#define TRAIN(...) CLI("train", in_folder("train.json").text, __VA_ARGS__)
#define SET(text) "--set", text

static void must(CliRun run)
{
    if (run.status) fail_msg("status %d:\n%s", run.status, run.err);
    cli_free(&run);
}

// Trains into NAME with save_every = `save` on a driver that does `fail` once the file AFTER of the
// folder is there. Checks that it ends with one line that names the device and the reason.
static CliRun train_failing(const char *name, const char *save, const char *fail, const char *after,
                            const char *reason)
{
    char file[TEST_PATH_SIZE + 32];
    snprintf(file, sizeof file, "STRATA_TEST_FAIL_AFTER=%s", in_folder(after).text);
    char plan[64];
    snprintf(plan, sizeof plan, "STRATA_TEST_FAIL=%s", fail);
    const CliCall call = {.args = {"train", in_folder("train.json").text, SET(out_set(name).text),
                                   SET(save), SET("submit_ms=0.001")},
                          .vars = {"VK_ADD_LAYER_PATH=" TEST_LAYERS,
                                   "VK_INSTANCE_LAYERS=VK_LAYER_STRATA_fail_device", plan, file}};
    CliRun run = cli_run(&call);
    const char *line = strstr(run.err, "strata: ");
    if (run.status != 1 || !line || strchr(line, '\n') != run.err + strlen(run.err) - 1 ||
        strncmp(line, "strata: device ", 15) || !strstr(line, reason) ||
        strstr(run.err, "lidation:"))
        fail_msg("%s: status %d:\n%s", fail, run.status, run.err);
    return run;
}

static unsigned long number_after(const char *text, const char *words)
{
    const char *at = strstr(text, words);
    if (!at) fail_msg("'%s' is not in:\n%s", words, text);
    return strtoul(at + strlen(words), NULL, 10);
}

static bool has_checkpoint(const char *name, unsigned long step)
{
    char text[64];
    snprintf(text, sizeof text, "%s/checkpoints/step-%010lu/state.json", name, step);
    return file_exists(in_folder(text).text);
}

// Goes on with the run in NAME, from that step, and compares its end with the run in "whole".
static void check_resumed(const char *name, unsigned long step)
{
    char note[80];
    CliRun run = TRAIN(SET(out_set(name).text), "--resume", SET("save_every=1"));
    snprintf(note, sizeof note, "going on from the checkpoint of step %lu\n", step);
    if (run.status || !strstr(run.err, note)) fail_msg("expected '%s':\n%s", note, run.err);
    cli_free(&run);
    check_same_files(test_path(in_folder(name).text, "model.safetensors").text,
                     in_folder("whole/model.safetensors").text);
}

// Wherever in a step, a validation or a save it happens.
static void a_lost_device_leaves_a_checkpoint(void **state)
{
    (void)state;
    static const char *const fails[] = {"submit 1 -4",  "submit 25 -4", "submit 60 -4",
                                        "submit 90 -4", "wait 75 -4",   "wait 120 -4"};
    must(TRAIN(SET(out_set("whole").text)));
    for (size_t i = 0; i < sizeof fails / sizeof *fails; i++) {
        char name[16], after[64];
        snprintf(name, sizeof name, "lost%zu", i);
        snprintf(after, sizeof after, "%s/checkpoints/step-0000000002", name);
        CliRun run = train_failing(name, "save_every=1", fails[i], after, "the device was lost");
        unsigned long at = number_after(run.err, "(Vulkan error -4), at step ");
        unsigned long kept = number_after(run.err, "--resume goes on from the checkpoint of step ");
        assert_true(kept >= 2 && (at == kept || at == kept + 1));
        assert_true(has_checkpoint(name, kept) && !has_checkpoint(name, kept + 1));
        cli_free(&run);
        check_resumed(name, kept);
    }
}

// Without a checkpoint there is nothing to go on from, and no model is written.
static void a_lost_device_leaves_no_model(void **state)
{
    (void)state;
    CliRun run =
        train_failing("out", "save_every=0", "submit 10 -4", "out/metrics.jsonl", "was lost");
    assert_non_null(strstr(run.err, "; there is no checkpoint to go on from\n"));
    cli_free(&run);
    assert_false(file_exists(in_folder("out/model.safetensors").text));
    assert_false(file_exists(in_folder("out/checkpoints").text));
}

// A device that only refuses some work still holds the last whole step, and a checkpoint of it is
// written, unless the update of the next one had begun. One submission after the other is refused,
// until it is the one of an update.
static void refused_work_leaves_a_checkpoint(void **state)
{
    (void)state;
    unsigned resumed = 0;
    must(TRAIN(SET(out_set("whole").text)));
    for (unsigned n = 42;; n++) {
        char name[16], after[32], fail[32];
        assert_true(n < 90);
        snprintf(name, sizeof name, "refused%u", n);
        snprintf(after, sizeof after, "%s/metrics.jsonl",
                 name); // opened when the first step begins
        snprintf(fail, sizeof fail, "submit %u -2", n);
        CliRun run = train_failing(name, "save_every=0", fail, after, "out of device memory");
        bool kept = strstr(run.err, "--resume goes on from the checkpoint of step ");
        unsigned long at = number_after(run.err, ", at step ");
        assert_true(kept == has_checkpoint(name, at - 1) && !has_checkpoint(name, at));
        assert_false(file_exists(test_path(in_folder(name).text, "model.safetensors").text));
        cli_free(&run);
        if (!kept) break;
        if (++resumed <= 2) check_resumed(name, at - 1);
    }
    assert_true(resumed > 0);
}

// How the work is cut into submissions changes nothing.
static void limits_give_the_same_model(void **state)
{
    (void)state;
    must(TRAIN(SET(out_set("whole").text), SET("submit_ms=100000")));
    must(TRAIN(SET(out_set("short").text), SET("submit_ms=0.001")));
    const CliCall call = {
        .args = {"train", in_folder("train.json").text, SET(out_set("variable").text)},
        .vars = {"STRATA_SUBMIT_MS=1"}};
    must(cli_run(&call));
    check_same_files(in_folder("short/model.safetensors").text,
                     in_folder("whole/model.safetensors").text);
    check_same_files(in_folder("variable/model.safetensors").text,
                     in_folder("whole/model.safetensors").text);
    assert_cli_fails(TRAIN(SET("submit_ms=-1")), 1, "submit_ms");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_run, remove_run)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_lost_device_leaves_a_checkpoint),
        CASE(a_lost_device_leaves_no_model),
        CASE(refused_work_leaves_a_checkpoint),
        CASE(limits_give_the_same_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
