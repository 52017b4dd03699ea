// Runs that go on: bit-equal to runs that never stopped, damaged checkpoints, those that stay, a
// full disk, steps that are skipped. Through train(), not the program (test_cli_train.c).
#include "base/file.h"
#include "gpu/internal.h"
#include "support/device.h"
#include "support/models.h"
#include "train/checkpoint.h"
#include "train/trainer.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const char *const RECORDS[][2] = {
    {"Write a word.", "Below"},
    {"Complete the task.", "a request"},
    {"Instruction", "Response: is that a word"},
    {"the", "describes"},
    {"appropriately", "completes"},
};
enum { RECORD_COUNT = sizeof RECORDS / sizeof *RECORDS };

#define QUICK                                                                                      \
    ",\"batch_size\":2,\"grad_accum\":2,\"learning_rate\":1e-3,\"schedule\":"                      \
    "\"constant\","                                                                                \
    "\"warmup\":0"

// ---- runs --------------------------------------------------------------------------------------

typedef struct {
    bool resume;
    uint64_t stop_at; // the step after which the run is told to stop; 0: never
    uint64_t first;   // steps that were done before
    uint64_t stepped, skipped;
    size_t passed_over;             // damaged checkpoints
    double begin_loss, loss, scale; // of the first step, of the last one
    volatile sig_atomic_t stop;
} Told;

static bool on_begin(void *user, uint64_t step, Error *err)
{
    (void)err;
    ((Told *)user)->first = step;
    return true;
}

static void on_note(void *user, const char *line)
{
    if (strstr(line, "checkpoint passed over: ")) ((Told *)user)->passed_over++;
}

static void on_step(void *user, const StepReport *report)
{
    Told *told = user;
    told->stepped++;
    told->skipped = report->skipped_in_all;
    if (report->step == 1) told->begin_loss = report->loss;
    told->loss = report->loss;
    told->scale = report->scale;
    if (report->step == told->stop_at) told->stop = 1;
}

// Trains OWN_FOLDER/model on OWN_FOLDER/data.json into OWN_FOLDER/NAME; rest is more of the config.
static bool try_run(Told *told, const char *name, const char *rest, Error *err)
{
    char text[8192];
    const char *folder = own_folder.text;
    const char *exits = strstr(rest, "extracted") ? "" : ",\"exits\":[2,4]";
    snprintf(text, sizeof text,
             "{\"model\":\"%s/model\",\"data\":\"%s/data.json\",\"out\":\"%s/%s\"" QUICK "%s%s}",
             folder, folder, folder, name, exits, rest);
    TestPath path = test_write_text(&own_folder, "train.json", text);
    TrainConfig config;
    if (!train_config_load(&config, path.text, NULL, 0, err)) fail_msg("%s", err->text);
    const TrainEvents events = {
        .user = told, .begin = on_begin, .note = on_note, .stepped = on_step};
    config.resume = told->resume;
    bool ok = train(&config, device, &events, &told->stop, err);
    train_config_free(&config);
    return ok;
}

static Told run(const char *name, const char *rest, uint64_t stop_at, bool resume)
{
    Told told = {.stop_at = stop_at, .resume = resume};
    Error err;
    if (!try_run(&told, name, rest, &err)) fail_msg("%s", err.text);
    return told;
}

// Every role in a type of its own.
#define SMALL_TYPES                                                                                \
    ",\"weight_dtype\":\"bf16\",\"gradient_dtype\":\"f16\",\"moment_dtype\":\"q8\",\"activation_"  \
    "dtype\":\"bf16\""

static void prepare(void)
{
    small_model(&own_folder, "model", 31);
    write_records(&own_folder, "data.json", RECORDS, RECORD_COUNT);
}

static TestPath in(const char *name, const char *file)
{
    return test_path(test_path(own_folder.text, name).text, file);
}

static bool same_files(const char *a, const char *b)
{
    size_t size_a, size_b;
    char *x = test_read(a, &size_a), *y = test_read(b, &size_b);
    bool same = size_a == size_b && !memcmp(x, y, size_a);
    free(x);
    free(y);
    return same;
}

static void check_same(const char *a, const char *b)
{
    if (!same_files(in(a, "model.safetensors").text, in(b, "model.safetensors").text))
        fail_msg("%s and %s are not the same to the bit", a, b);
}

// ---- going on ----------------------------------------------------------------------------------

// Stopped after each step in turn, gone on with, also with blocks that are recomputed.
static void resumed_runs_change_no_bit(void **state)
{
    (void)state;
    prepare();
    run("whole", ",\"steps\":5,\"weight_decay\":0.1", 0, false);
    for (unsigned stop = 1; stop < 5; stop++) {
        char name[16];
        snprintf(name, sizeof name, "out%u", stop);
        run(name, ",\"steps\":5,\"weight_decay\":0.1", stop, false);
        Told told = run(name, ",\"steps\":5,\"weight_decay\":0.1,\"recompute\":\"block\"", 0, true);
        assert_int_equal(told.first, stop);
        assert_int_equal(told.stepped, 5 - stop);
        check_same(name, "whole");
    }
}

// The same with everything that has a state of its own: drops, curricula, own heads, a teacher.
static void choices_are_resumed(void **state)
{
    (void)state;
    prepare();
    static const char *const choices[] = {
        ",\"steps\":6,\"layer_dropout\":0.9,\"curriculum\":\"rotational\"",
        ",\"steps\":6,\"exit_head\":\"separate\",\"exit_norm\":\"per_exit\",\"distill\":0.5",
        ",\"steps\":6,\"method\":\"ict\"",
        ",\"steps\":6,\"spike_factor\":1.01",
    };
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        char whole[16], name[16];
        snprintf(whole, sizeof whole, "whole%zu", i);
        snprintf(name, sizeof name, "out%zu", i);
        run(whole, choices[i], 0, false);
        run(name, choices[i], 2, false);
        run(name, choices[i], 4, true);
        run(name, choices[i], 0, true);
        check_same(name, whole);
    }
}

// The parts that tapes are recorded in and the submissions that these go in may change on the way.
static void parts_may_change(void **state)
{
    (void)state;
    prepare();
    const uint64_t bytes = device->part_bytes;
    run("whole", ",\"steps\":4,\"submit_ms\":1e6", 0, false);
    device->part_bytes = 4096; // most kernels alone
    run("alone", ",\"steps\":4,\"submit_ms\":1e-3", 0, false);
    run("out", ",\"steps\":4,\"submit_ms\":500", 2, false);
    device->part_bytes = bytes;
    run("out", ",\"steps\":4", 0, true);
    check_same("alone", "whole");
    check_same("out", "whole");
}

static void damage(const char *name, const char *file, size_t keep, bool flip)
{
    TestPath path = in(name, file);
    size_t size;
    char *bytes = test_read(path.text, &size);
    if (flip) bytes[size - 100] ^= 4;
    Error err;
    assert_true(file_write(path.text, bytes, keep < size ? keep : size, &err));
    free(bytes);
}

// Bit-flipped, cut and without its state: the one before is taken, and the run says so.
static void damaged_checkpoints_are_passed_over(void **state)
{
    (void)state;
    prepare();
    static const char REST[] = ",\"steps\":6,\"save_every\":1,\"keep_last\":9";
    run("whole", ",\"steps\":6", 0, false);
    run("out", REST, 5, false);
    damage("out", "checkpoints/step-0000000005/state.safetensors", SIZE_MAX, true);
    damage("out", "checkpoints/step-0000000004/state.safetensors", 1000, false);
    damage("out", "checkpoints/step-0000000003/state.json", 20, false);
    Told told = run("out", REST, 0, true);
    assert_int_equal(told.passed_over, 3);
    assert_int_equal(told.first, 2);
    check_same("out", "whole");
}

// Another shape or another method has other tensors.
static void foreign_checkpoints_are_refused(void **state)
{
    (void)state;
    prepare();
    run("out", ",\"steps\":4", 2, false);
    Told told = {.resume = true};
    Error err;
    assert_false(try_run(&told, "out", ",\"steps\":4,\"exit_head\":\"separate\"", &err));
    assert_error(err, "state.safetensors: holds");
    assert_int_equal(told.stepped, 0);
}

static void newest_and_best_stay(void **state)
{
    (void)state;
    prepare();
    char rest[2048];
    snprintf(rest, sizeof rest,
             ",\"steps\":6,\"save_every\":1,\"validate_every\":1,\"valid\":\"%s/data.json\","
             "\"keep_last\":1,\"keep_best\":2",
             own_folder.text);
    run("out", rest, 0, false);
    size_t count = test_folder_count(in("out", "checkpoints").text);
    assert_true(count == 2 || count == 3); // the newest may be among the best
    assert_true(file_exists(in("out", "checkpoints/step-0000000006/state.json").text));
}

// ---- a full disk -------------------------------------------------------------------------------

// The largest file that this process may write.
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void full_disk_leaves_the_last_checkpoint(void **state)
{
    (void)state;
    prepare();
    static const char REST[] = ",\"steps\":6,\"save_every\":1";
    run("whole", ",\"steps\":6", 0, false);
    run("out", REST, 2, false);
    Told told = {.resume = true};
    Error err;
    signal(SIGXFSZ, SIG_IGN);
    limit_files(60000);
    bool ok = try_run(&told, "out", REST, &err);
    limit_files(RLIM_INFINITY);
    signal(SIGXFSZ, SIG_DFL);
    assert_false(ok);
    assert_error(err, "checkpoints/step-0000000003");
    assert_int_equal(test_folder_count(in("out", "checkpoints").text), 2);
    told = run("out", REST, 0, true);
    assert_int_equal(told.first, 2);
    check_same("out", "whole");
}

// ---- steps that are skipped --------------------------------------------------------------------

// A weight that is not a number: no step changes anything, and the run ends.
static void nothing_is_learned_from_nan(void **state)
{
    (void)state;
    prepare();
    Llama model = load_model(test_path(own_folder.text, "model").text);
    Error err;
    float *values = download(model.blocks[1].down);
    values[7] = NAN;
    assert_true(tensor_upload(device, model.blocks[1].down, values, &err));
    assert_true(llama_save(&model, test_path(own_folder.text, "model").text, &err));
    free(values);
    llama_free(&model);
    Told told = {0};
    assert_false(try_run(&told, "out", ",\"steps\":9,\"max_skipped\":3", &err));
    assert_error(err, "step 3: no update in 3 steps in a row");
    assert_int_equal(told.stepped, 3);
    assert_int_equal(told.skipped, 3);
    told = (Told){.stop_at = 2};
    assert_true(try_run(&told, "stopped", ",\"steps\":9,\"max_skipped\":3", &err));
    if (!same_files(in("stopped", "model.safetensors").text, in("model", "model.safetensors").text))
        fail_msg("a skipped step changed the weights");
}

// Every norm after the first is a spike: the weights are those after one step, moments too.
static void spikes_are_skipped(void **state)
{
    (void)state;
    prepare();
    run("one", ",\"steps\":1", 0, false);
    Told told = run("out", ",\"steps\":4,\"spike_factor\":1e-6", 0, false);
    assert_int_equal(told.skipped, 3);
    check_same("out", "one");
}

// ---- methods -----------------------------------------------------------------------------------

static void check_parameter(Llama *before, Llama *after, size_t i, bool same)
{
    LlamaParameter p = llama_parameter(before, i), q = llama_parameter(after, i);
    float *x = download(*p.tensor), *y = download(*q.tensor);
    if ((memcmp(x, y, tensor_bytes(*p.tensor)) == 0) != same) fail_msg("%s", p.name);
    free(x);
    free(y);
}

// The blocks stay as they were; each early exit has a head of its own, which learned.
static void frozen_blocks_stay(void **state)
{
    (void)state;
    prepare();
    run("out", ",\"steps\":3,\"method\":\"ict\"", 0, false);
    Llama before = load_model(test_path(own_folder.text, "model").text);
    Llama after = load_model(test_path(own_folder.text, "out").text);
    size_t shared = llama_shared_count(&before.config);
    assert_true(after.config.separate_heads && after.config.exit_count == 2);
    assert_int_equal(llama_parameter_count(&after.config), shared + 1);
    for (size_t i = 0; i < shared; i++) check_parameter(&before, &after, i, true);
    float *head = download(after.exits[0].head), *start = download(before.head);
    assert_memory_not_equal(head, start, tensor_bytes(before.head));
    free(head);
    free(start);
    llama_free(&before);
    llama_free(&after);
}

// The first blocks as a model of its own: the same run as plain fine-tuning of that model.
static void extracted_blocks_are_a_model(void **state)
{
    (void)state;
    prepare();
    run("out", ",\"steps\":3,\"method\":\"extracted\",\"depth\":2", 0, false);
    Llama after = load_model(test_path(own_folder.text, "out").text), before;
    Error err;
    assert_int_equal(after.config.blocks, 2);
    assert_int_equal(after.config.exit_count, 0);
    assert_true(
        llama_load_first(&before, device, test_path(own_folder.text, "model").text, 2, &err));
    for (size_t i = 0; i < llama_parameter_count(&after.config); i++)
        check_parameter(&before, &after, i, false);
    llama_free(&before);
    llama_free(&after);
}

// ---- storage types -----------------------------------------------------------------------------

// A model whose matrices have enough values for moments of 8 bits.
static void prepare_wider(void)
{
    LlamaConfig config = small_config();
    config.width = 64;
    config.hidden = 96;
    assert_true(config.width * config.hidden >= QUANT_LEAST);
    model_write(test_path(own_folder.text, "model").text, &config, 31);
    write_records(&own_folder, "data.json", RECORDS, RECORD_COUNT);
}

// Copies, scale and quantised moments come back; recomputed blocks round as those that were kept.
static void small_types_resume_to_the_bit(void **state)
{
    (void)state;
    prepare_wider();
    const char *rest = ",\"steps\":5,\"loss_scale_window\":2" SMALL_TYPES;
    run("small", rest, 0, false);
    for (unsigned stop = 1; stop < 5; stop += 2) {
        char name[16], recompute[400];
        snprintf(name, sizeof name, "small%u", stop);
        snprintf(recompute, sizeof recompute, "%s,\"recompute\":\"block\"", rest);
        run(name, rest, stop, false);
        Told told = run(name, recompute, 0, true);
        assert_int_equal(told.first, stop);
        check_same(name, "small");
    }
}

static Told try_types(const char *name, const char *types)
{
    char rest[600];
    Told told = {0};
    Error err;
    snprintf(rest, sizeof rest, ",\"steps\":12%s", types);
    if (!try_run(&told, name, rest, &err)) fail_msg("%s", err.text);
    assert_int_equal(told.skipped, 0);
    return told;
}

// The loss goes where it goes in f32.
static void small_types_learn_as_well(void **state)
{
    (void)state;
    static const char *const types[] = {
        ",\"weight_dtype\":\"bf16\"",     ",\"weight_dtype\":\"f16\"",
        ",\"gradient_dtype\":\"bf16\"",   ",\"gradient_dtype\":\"f16\",\"loss_scale\":256",
        ",\"activation_dtype\":\"bf16\"", ",\"activation_dtype\":\"f16\"",
        ",\"moment_dtype\":\"q8\""};
    prepare_wider();
    const Told f32 = try_types("plain", "");
    double first = f32.begin_loss, plain = f32.loss;
    assert_true(plain < 0.7 * first);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char name[16];
        snprintf(name, sizeof name, "typed%zu", i);
        double loss = try_types(name, types[i]).loss;
        print_message("%s: loss %.4f, in f32 %.4f, at first %.4f\n", types[i], loss, plain, first);
        assert_true(fabs(loss - plain) < 0.05 * (first - plain));
    }
}

// A scale that makes gradients overflow is halved until they do not, and such steps end no run.
static void loss_scale_finds_its_way(void **state)
{
    (void)state;
    prepare_wider();
    Told told = run("scaled",
                    ",\"steps\":30,\"gradient_dtype\":\"f16\",\"loss_scale\":16777216,"
                    "\"max_skipped\":2",
                    0, false);
    assert_true(told.skipped > 2 && told.skipped < 20);
    assert_true(told.scale < 16777216 && told.scale >= 1);
    Error err;
    TestPath config = test_write_text(
        &own_folder, "bad.json",
        "{\"model\":\"m\",\"data\":\"d\",\"out\":\"o\",\"exits\":[1],\"loss_scale\":3}");
    TrainConfig read;
    assert_false(train_config_load(&read, config.text, NULL, 0, &err));
    assert_non_null(strstr(err.text, "key 'loss_scale' is 3, expected a power of two"));
}

// Moments of another type are another checkpoint.
static void other_moments_are_refused(void **state)
{
    (void)state;
    prepare_wider();
    run("other", ",\"steps\":4", 2, false);
    Told told = {.resume = true};
    Error err;
    assert_false(try_run(&told, "other", ",\"steps\":4,\"moment_dtype\":\"q8\"", &err));
    assert_non_null(strstr(err.text, "moment_dtype"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(resumed_runs_change_no_bit),
        TEST(choices_are_resumed),
        TEST(parts_may_change),
        TEST(damaged_checkpoints_are_passed_over),
        TEST(foreign_checkpoints_are_refused),
        TEST(newest_and_best_stay),
        TEST(full_disk_leaves_the_last_checkpoint),
        TEST(nothing_is_learned_from_nan),
        TEST(spikes_are_skipped),
        TEST(frozen_blocks_stay),
        TEST(extracted_blocks_are_a_model),
        TEST(small_types_resume_to_the_bit),
        TEST(small_types_learn_as_well),
        TEST(loss_scale_finds_its_way),
        TEST(other_moments_are_refused),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, device_open, device_close);
}
