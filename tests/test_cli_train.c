// `strata train` as a user meets it: what it refuses, what it leaves in its folder, and what is
// there after it was interrupted or killed. Not what training computes (test_train*.c).
#define _POSIX_C_SOURCE 200809L
#include "base/file.h"
#include "base/json.h"
#include "support/cli.h"
#include "support/models.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static TestPath folder; // of the running test: model, data.json, train.json, out

static const char *const RECORDS[][2] = {
    {"Write a word.", "Below"}, {"a", "task"}, {"", "is"}, {"request", "that describes"}};

// The config of a short run; --set changes it.
static void write_config(void)
{
    char text[4 * TEST_PATH_SIZE];
    snprintf(text, sizeof text,
             "{\"model\":\"%s/model\",\"data\":\"%s/data.json\",\"out\":\"%s/out\","
             "\"exits\":[2,4],\"steps\":4,\"batch_size\":2,\"grad_accum\":1,"
             "\"learning_rate\":0.001,\"seed\":3}",
             folder.text, folder.text, folder.text);
    test_write_text(&folder, "train.json", text);
}

static int make_run(void **state)
{
    (void)state;
    folder = test_folder_make();
    small_model(&folder, "model", 51);
    write_records(&folder, "data.json", RECORDS, 4);
    write_config();
    return 0;
}

static int remove_run(void **state)
{
    (void)state;
    test_folder_remove(&folder);
    return 0;
}

static TestPath config_path(void)
{
    return test_path(folder.text, "train.json");
}

static TestPath out_file(const char *out, const char *name)
{
    return test_path(test_path(folder.text, out).text, name);
}

// A --set of a path in the test's folder.
static TestPath set_path(const char *key, const char *name)
{
    TestPath set;
    int length = snprintf(set.text, sizeof set.text, "%s=%s/%s", key, folder.text, name);
    assert_true(length > 0 && length < TEST_PATH_SIZE);
    return set;
}

#define TRAIN(...) CLI("train", config_path().text, __VA_ARGS__)
#define SET(text) "--set", text

// Runs and expects it to end well.
static void train_into(const char *out, const char *set)
{
    CliRun run = TRAIN(SET(set_path("out", out).text), SET(set));
    if (run.status) fail_msg("%s", run.err);
    assert_string_equal(run.out, "");
    cli_free(&run);
}

// No name in the folder hints at half a file.
static void check_no_partial(const char *out)
{
    DIR *dir = opendir(test_path(folder.text, out).text);
    assert_non_null(dir);
    for (const struct dirent *item; (item = readdir(dir));)
        if (strstr(item->d_name, "partial") || strstr(item->d_name, ".writable"))
            fail_msg("%s is left", item->d_name);
    closedir(dir);
}

// One of TensorBoard's files is there, with a loss per exit. (test_tensorboard.c reads them.)
static void check_event_file(const char *out)
{
    static const char *const tags[] = {"brain.Event:2", "loss/mean",   "loss/depth_2",
                                       "loss/depth_4",  "grad_norm",   "learning_rate",
                                       "tflops",        "memory_bytes"};
    size_t size, found = 0;
    DIR *dir = opendir(test_path(folder.text, out).text);
    assert_non_null(dir);
    for (const struct dirent *item; (item = readdir(dir));) {
        if (strncmp(item->d_name, "events.out.tfevents.", 20)) continue;
        char *bytes = test_read(out_file(out, item->d_name).text, &size);
        for (size_t i = 0; i < size; i++) bytes[i] = bytes[i] ? bytes[i] : ' ';
        for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
            if (!strstr(bytes, tags[i])) fail_msg("%s has no %s", item->d_name, tags[i]);
        free(bytes);
        found++;
    }
    closedir(dir);
    assert_int_equal(found, 1);
}

// The planned memory is told at the start, and is within 5 % of what the run came to.
static void check_memory(const char *text)
{
    double planned = 0, peak = 0;
    assert_non_null(strstr(text, "memory needed:\n  weights "));
    assert_non_null(strstr(text, "MiB\n  peak "));
    const char *line = strstr(text, "memory: planned ");
    assert_non_null(line);
    assert_int_equal(
        sscanf(line, "memory: planned %lf MiB, measured peak %lf MiB", &planned, &peak), 2);
    assert_true(peak > 0 && fabs(planned - peak) <= 0.05 * peak);
}

// `generate` takes the folder.
static void check_loadable(const char *out)
{
    TestPath path = test_path(folder.text, out);
    CliRun run = CLI("generate", path.text, "--prompt", "is", "--max-tokens", "2", "--json");
    assert_cli_prints(run, "\"depth\":4");
    cli_free(&run);
}

// ---- what it leaves ----------------------------------------------------------------------------

enum { METRICS_MOST = 1024 };
typedef struct {
    cJSON *lines[METRICS_MOST]; // (count)
    size_t count;
} Metrics;

static Metrics read_metrics(const char *out)
{
    Metrics metrics = {.count = 0};
    size_t size;
    Error err;
    char *text = test_read(out_file(out, "metrics.jsonl").text, &size), *at = text;
    for (char *end; (end = strchr(at, '\n')); at = end + 1) {
        assert_true(metrics.count < METRICS_MOST);
        cJSON *line = json_parse(at, (size_t)(end - at), "metrics.jsonl", &err);
        if (!line) fail_msg("%s", err.text);
        metrics.lines[metrics.count++] = line;
    }
    assert_string_equal(at, "");
    free(text);
    return metrics;
}

static void free_metrics(Metrics *metrics)
{
    for (size_t i = 0; i < metrics->count; i++) cJSON_Delete(metrics->lines[i]);
}

static double number(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsNumber(item)) fail_msg("no number '%s'", key);
    return item->valuedouble;
}

static void writes_a_line_of_metrics_a_step(void **state)
{
    (void)state;
    train_into("out", "steps=6");
    Metrics metrics = read_metrics("out");
    assert_int_equal(metrics.count, 6);
    for (size_t i = 0; i < 6; i++) {
        const cJSON *line = metrics.lines[i];
        const cJSON *losses = cJSON_GetObjectItemCaseSensitive(line, "losses");
        assert_int_equal(number(line, "step"), i + 1);
        assert_int_equal(cJSON_GetArraySize(losses), 2);
        double mean = (number(losses, "2") + number(losses, "4")) / 2;
        assert_true(fabs(number(line, "loss") - mean) <= 1e-9 * mean);
        assert_true(number(line, "grad_norm") > 0 && number(line, "seconds") > 0);
        assert_true(number(line, "tokens") > number(line, "supervised"));
        assert_true(number(line, "elapsed") >= number(line, "seconds"));
        assert_true(number(line, "tflops") > 0 && number(line, "memory_bytes") > 1e6);
        const cJSON *exits = cJSON_GetObjectItemCaseSensitive(line, "exits");
        assert_int_equal(cJSON_GetArraySize(exits), 2);
        assert_int_equal(cJSON_GetArrayItem(exits, 1)->valueint, 4);
        double rate = 0.001 * 0.5 * (1 + cos(acos(-1) * (double)i / 6));
        assert_true(fabs(number(line, "learning_rate") - rate) <= 1e-12);
        assert_true(fabs(number(line, "tokens_per_second") * number(line, "seconds") -
                         number(line, "tokens")) <= 1e-6 * number(line, "tokens"));
    }
    assert_true(number(metrics.lines[5], "loss") < number(metrics.lines[0], "loss"));
    free_metrics(&metrics);
}

static void writes_validations(void **state)
{
    (void)state;
    CliRun run = TRAIN(SET(set_path("valid", "data.json").text), SET("validate_every=2"));
    assert_int_equal(run.status, 0);
    assert_non_null(strstr(run.err, "validation at step 2:  depth 2: loss "));
    assert_non_null(strstr(run.err, "validation at step 4:"));
    check_memory(run.err);
    cli_free(&run);
    Metrics metrics = read_metrics("out");
    assert_int_equal(metrics.count, 6); // steps 1, 2, valid, 3, 4, valid
    for (int i = 2; i < 6; i += 3) {
        const cJSON *list = cJSON_GetObjectItemCaseSensitive(metrics.lines[i], "valid");
        assert_int_equal(number(metrics.lines[i], "step"), i == 2 ? 2 : 4);
        assert_int_equal(cJSON_GetArraySize(list), 2);
        assert_int_equal(number(cJSON_GetArrayItem(list, 0), "depth"), 2);
        assert_int_equal(number(cJSON_GetArrayItem(list, 1), "depth"), 4);
    }
    // The last of them is what `strata eval` says of the result.
    run = CLI("eval", test_path(folder.text, "out").text, "--data",
              test_path(folder.text, "data.json").text, "--json");
    Error err;
    cJSON *object = json_parse(run.out, strlen(run.out), "eval", &err);
    assert_non_null(object);
    assert_true(cJSON_Compare(cJSON_GetObjectItem(object, "depths"),
                              cJSON_GetObjectItem(metrics.lines[5], "valid"), true));
    cJSON_Delete(object);
    cli_free(&run);
    free_metrics(&metrics);
}

static void leaves_a_model_with_its_exits(void **state)
{
    (void)state;
    CliRun run = TRAIN(SET("steps=2"));
    assert_int_equal(run.status, 0);
    static const char *const told[] = {"model: ",  "data.json: 4 records", "device: ", "step 1/2",
                                       "step 2/2", "saved at step 2"};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (!strstr(run.err, told[i])) fail_msg("'%s' is not in:\n%s", told[i], run.err);
    check_memory(run.err);
    cli_free(&run);
    static const char *const names[] = {
        "config.json",           "model.safetensors",      "tokenizer.json",
        "tokenizer_config.json", "generation_config.json", "metrics.jsonl"};
    for (size_t i = 0; i < 6; i++) assert_true(file_exists(out_file("out", names[i]).text));
    assert_int_equal(test_folder_count(test_path(folder.text, "out").text), 7);
    check_event_file("out");
    check_no_partial("out");
    Error err;
    cJSON *config = json_read(out_file("out", "config.json").text, &err);
    cJSON *exits = cJSON_Parse("[2,4]");
    assert_true(cJSON_Compare(cJSON_GetObjectItem(config, "strata_exits"), exits, true));
    cJSON_Delete(exits);
    cJSON_Delete(config);
    check_same_files(out_file("model", "tokenizer.json").text,
                     out_file("out", "tokenizer.json").text);
    // Without --depths, eval takes the exits; generate --depth all, too.
    TestPath out = test_path(folder.text, "out");
    run = CLI("eval", out.text, "--data", test_path(folder.text, "data.json").text);
    assert_cli_prints(run, "\n    2  ");
    assert_cli_prints(run, "\n    4  ");
    cli_free(&run);
    run = CLI("generate", out.text, "--prompt", "a", "--alpaca", "--max-tokens", "2", "--depth",
              "all");
    assert_cli_prints(run, "--- depth 2 ---");
    cli_free(&run);
}

static void sft_names_no_exits(void **state)
{
    (void)state;
    CliRun run = TRAIN(SET("method=sft"), SET("exits=null"), SET("steps=1"));
    assert_int_equal(run.status, 0);
    cli_free(&run);
    Error err;
    cJSON *config = json_read(out_file("out", "config.json").text, &err);
    assert_null(cJSON_GetObjectItem(config, "strata_exits"));
    cJSON_Delete(config);
    // A model that was trained with SoFT forgets its exits when it is trained with SFT, and back.
    run = TRAIN(SET(set_path("model", "out").text), SET(set_path("out", "again").text),
                SET("exits=[1,3]"), SET("steps=1"));
    assert_int_equal(run.status, 0);
    cli_free(&run);
    config = json_read(out_file("again", "config.json").text, &err);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(config, "strata_exits")), 2);
    cJSON_Delete(config);
}

static void one_seed_one_file(void **state)
{
    (void)state;
    train_into("a", "seed=7");
    train_into("b", "seed=7");
    train_into("c", "seed=8");
    check_same_files(out_file("a", "model.safetensors").text,
                     out_file("b", "model.safetensors").text);
    check_same_files(out_file("a", "config.json").text, out_file("b", "config.json").text);
    size_t size_a, size_c;
    char *a = test_read(out_file("a", "model.safetensors").text, &size_a);
    char *c = test_read(out_file("c", "model.safetensors").text, &size_c);
    assert_int_equal(size_a, size_c);
    assert_memory_not_equal(a, c, size_a);
    free(a);
    free(c);
}

// The folder of an older run takes a new one.
static void runs_again(void **state)
{
    (void)state;
    train_into("out", "steps=3");
    train_into("out", "steps=2");
    Metrics metrics = read_metrics("out");
    assert_int_equal(metrics.count, 2);
    free_metrics(&metrics);
    check_loadable("out");
}

// ---- interrupted -------------------------------------------------------------------------------

static void wait_a_little(void)
{
    const struct timespec pause = {.tv_nsec = 2000000};
    nanosleep(&pause, NULL);
}

// Waits until metrics.jsonl has that many lines.
static void wait_for_lines(const char *out, size_t lines)
{
    time_t last = time(NULL) + 120;
    while (time(NULL) < last) {
        size_t size = 0, found = 0;
        TestPath path = out_file(out, "metrics.jsonl");
        char *text = file_exists(path.text) ? test_read(path.text, &size) : NULL;
        for (size_t i = 0; i < size; i++) found += text[i] == '\n';
        free(text);
        if (found >= lines) return;
        wait_a_little();
    }
    fail_msg("no %zu lines in metrics.jsonl", lines);
}

static void check_interrupted(int number_of_signal)
{
    const CliCall call = {
        .args = {"train", config_path().text, SET("steps=100000"), SET("schedule=constant")}};
    CliProcess process = cli_start(&call);
    wait_for_lines("out", 1);
    kill(process.pid, number_of_signal);
    CliRun run = cli_wait(&process);
    if (run.status) fail_msg("status %d:\n%s", run.status, run.err);
    // The step that was saved is the last one there is.
    const char *saved = strstr(run.err, "saved at step ");
    assert_non_null(saved);
    unsigned long step = strtoul(saved + strlen("saved at step "), NULL, 10);
    Metrics metrics = read_metrics("out");
    assert_true(step >= 1 && step == metrics.count);
    free_metrics(&metrics);
    cli_free(&run);
    check_no_partial("out");
    check_loadable("out");
    // It is the model of that very step.
    char set[32];
    snprintf(set, sizeof set, "steps=%lu", step);
    run = TRAIN(SET(set_path("out", "whole").text), SET(set), SET("schedule=constant"),
                SET("warmup=3000")); // 3% of the steps above
    assert_int_equal(run.status, 0);
    cli_free(&run);
    check_same_files(out_file("out", "model.safetensors").text,
                     out_file("whole", "model.safetensors").text);
}

static void saves_on_sigint(void **state)
{
    (void)state;
    check_interrupted(SIGINT);
}

static void saves_on_sigterm(void **state)
{
    (void)state;
    check_interrupted(SIGTERM);
}

// Killed at any moment, STRATA_TEST_KILLS times (8), also inside a write: what was saved before is
// whole, and the run that goes on ends in the very bits of one that was never killed.
static void survives_sigkill(void **state)
{
    (void)state;
    const char *wanted = getenv("STRATA_TEST_KILLS");
    unsigned kills = wanted ? (unsigned)strtoul(wanted, NULL, 10) : 8, steps = 5 * kills;
    char set[32];
    snprintf(set, sizeof set, "steps=%u", steps);
    unlink(out_file("out", "metrics.jsonl").text);
    for (unsigned i = 0; i < kills; i++) {
        const CliCall call = {
            .args = {"train", config_path().text, "--resume", SET(set), SET("save_every=1")}};
        CliProcess process = cli_start(&call);
        wait_for_lines("out", i + 2);
        for (unsigned t = 0; t < i * 37 % 11; t++) wait_a_little();
        kill(process.pid, SIGKILL);
        CliRun run = cli_wait(&process);
        if (run.status != 128 + SIGKILL && run.status) fail_msg("%s", run.err);
        cli_free(&run);
        check_loadable("out");
    }
    CliRun run = TRAIN("--resume", SET(set), SET("save_every=1"));
    if (run.status) fail_msg("%s", run.err);
    cli_free(&run);
    Metrics metrics = read_metrics("out"); // each step once, though some ran twice
    assert_int_equal(metrics.count, steps);
    free_metrics(&metrics);
    check_no_partial("out");
    check_no_partial("out/checkpoints");
    train_into("whole", set);
    check_same_files(out_file("out", "model.safetensors").text,
                     out_file("whole", "model.safetensors").text);
}

// A run does not begin over the checkpoints of another one.
static void asks_before_it_begins_again(void **state)
{
    (void)state;
    CliRun run = TRAIN(SET("steps=2"), SET("save_every=1"));
    assert_int_equal(run.status, 0);
    cli_free(&run);
    run = TRAIN(SET("steps=2"));
    assert_int_equal(run.status, 1);
    assert_non_null(strstr(run.err, "--resume goes on with it"));
    cli_free(&run);
    run = TRAIN("--resume", SET("steps=3"));
    assert_int_equal(run.status, 0);
    assert_non_null(strstr(run.err, "going on from the checkpoint of step 2"));
    cli_free(&run);
}

// ---- what it refuses ---------------------------------------------------------------------------

static void refuses_configs(void **state)
{
    (void)state;
    assert_cli_fails(CLI("train", "/nonexistent.json"), 1, "/nonexistent.json");
    assert_cli_fails(TRAIN(SET("stepz=1")), 1, "--set stepz: unknown key");
    assert_cli_fails(TRAIN(SET("steps")), 1, "--set steps: key=value is expected");
    assert_cli_fails(TRAIN(SET("exits=[2,5]")), 1, "exits: depth 5, but the model has 4 blocks");
    assert_cli_fails(TRAIN(SET("exits=[4,2]")), 1, "exits must ascend: 4 stands before 2");
    assert_cli_fails(TRAIN(SET("exits=[0]")), 1, "'exits' must hold whole numbers of 1 and more");
    assert_cli_fails(TRAIN(SET("exits=null")), 1, "method 'soft' needs 'exits'");
    assert_cli_fails(TRAIN(SET("method=lora")), 1, "key 'method' is 'lora'");
    assert_cli_fails(TRAIN(SET("context=161")), 1, "context: 161, but the model's context is 160");
    assert_cli_fails(TRAIN(SET("model=/nonexistent")), 1, "/nonexistent/config.json");
    assert_cli_fails(TRAIN(SET("model=null")), 1, "one of 'model' and 'init' is expected");
    assert_cli_fails_after_notes(TRAIN(SET("data=/nonexistent.json")), 1, "/nonexistent.json");
    assert_cli_fails_after_notes(TRAIN(SET("valid=/nonexistent.json")), 1, "/nonexistent.json");
    assert_cli_fails(TRAIN("--device", "no such"), 1, "device 'no such': no such device");
    test_write_text(&folder, "train.json", "{\"modle\":\"m\"}");
    assert_cli_fails(TRAIN(SET("steps=1")), 1, "train.json: unknown key 'modle'");
    test_write_text(&folder, "train.json", "{\"model\":");
    assert_cli_fails(TRAIN(SET("steps=1")), 1, "train.json");
    assert_false(file_exists(test_path(folder.text, "out").text)); // nothing was begun
}

// A batch whose rows no binding sees is refused before the weights are read: there are none.
static void refuses_what_does_not_fit(void **state)
{
    (void)state;
    static const char *const parts[] = {"strata: device ", "activations: a tensor of ",
                                        ", one binding sees ", ": lower batch_size or context"};
    LlamaConfig config = small_config();
    config.hidden = 4096;
    model_write(test_path(folder.text, "model").text, &config, 1);
    assert_int_equal(unlink(test_path(folder.text, "model/model.safetensors").text), 0);
    for (int i = 0; i < 4; i++)
        assert_cli_fails_after_notes(TRAIN(SET("batch_size=65536")), 1, parts[i]);
    assert_cli_fails_after_notes(TRAIN(SET("steps=1")), 1, "model.safetensors");
}

static void refuses_data(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } files[] = {{"[]", "data.json: holds no records"},
                 {"[{\"instruction\":\"a\"}]", "data.json: record 1: key 'output'"},
                 {"[{\"instruction\":\"\xF5\",\"output\":\"\"}]", "data.json"}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        test_write_text(&folder, "data.json", files[i].text);
        assert_cli_fails_after_notes(TRAIN(SET("steps=1")), 1, files[i].part);
    }
}

static void refuses_output_folders(void **state)
{
    (void)state;
    assert_cli_fails_after_notes(TRAIN(SET(set_path("out", "data.json/out").text)), 1, "data.json");
    assert_cli_fails_after_notes(TRAIN(SET(set_path("out", "data.json").text)), 1, "data.json");
    assert_cli_fails_after_notes(TRAIN(SET("out=/proc/strata")), 1, "/proc/strata");
    // The model's own folder is not touched, whatever it is called.
    size_t files = test_folder_count(test_path(folder.text, "model").text);
    assert_cli_fails_after_notes(TRAIN(SET(set_path("out", "model").text)), 1,
                                 "is the model itself");
    assert_cli_fails_after_notes(TRAIN(SET(set_path("out", "model/").text)), 1,
                                 "is the model itself");
    assert_int_equal(symlink("model", test_path(folder.text, "link").text), 0);
    assert_cli_fails_after_notes(TRAIN(SET(set_path("out", "link").text)), 1,
                                 "is the model itself");
    assert_int_equal(test_folder_count(test_path(folder.text, "model").text), files);
}

static void no_driver(void **state)
{
    (void)state;
    const CliCall call = {
        .args = {"train", config_path().text},
        .vars = {"VK_ICD_FILENAMES=/nonexistent.json", "VK_DRIVER_FILES=/nonexistent.json"}};
    assert_cli_fails(cli_run(&call), 1, "no Vulkan driver on this system");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_run, remove_run)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(writes_a_line_of_metrics_a_step),
        CASE(writes_validations),
        CASE(leaves_a_model_with_its_exits),
        CASE(sft_names_no_exits),
        CASE(one_seed_one_file),
        CASE(runs_again),
        CASE(saves_on_sigint),
        CASE(saves_on_sigterm),
        CASE(survives_sigkill),
        CASE(asks_before_it_begins_again),
        CASE(refuses_configs),
        CASE(refuses_data),
        CASE(refuses_what_does_not_fit),
        CASE(refuses_output_folders),
        CASE(no_driver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
