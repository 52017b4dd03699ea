// Models as a whole: logits against an independent reference, weights that survive a round trip to
// the bit, and folders that do not fit together. Not the formats by themselves (test_formats.c,
// test_config.c, test_llama2c.c).
#include "base/json.h"
#include "infer/session.h"
#include "model/llama2c.h"
#include "model/safetensors.h"
#include "support/device.h"
#include "support/models.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Loading fails, says `part`, and leaves no memory on the device.
static void check_refused(const char *path, const char *part)
{
    Llama model;
    Error err = {""};
    uint64_t used = gpu_memory_used(device);
    assert_false(llama_load(&model, device, path, &err));
    assert_error(err, part);
    assert_int_equal(gpu_memory_used(device), used);
}

// ---- logits ------------------------------------------------------------------------------------

enum { STORY_TOKENS = 32, STORY_VOCAB = 512 };

// Token ids are stored as I32; safetensors_read is for floats.
static void read_ids(uint32_t *ids, const char *path)
{
    Safetensors file;
    Error err;
    if (!safetensors_open(&file, path, &err)) fail_msg("%s", err.text);
    const SafetensorsEntry *entry = safetensors_find(&file, "ids");
    assert_non_null(entry);
    assert_string_equal(entry->dtype, "I32");
    assert_int_equal(entry->size, STORY_TOKENS * sizeof *ids);
    memcpy(ids, entry->data, entry->size);
    safetensors_close(&file);
}

static void check_story_logits(const char *model_folder)
{
    TestPath reference = test_data("stories260K/reference.safetensors");
    uint32_t ids[STORY_TOKENS];
    read_ids(ids, reference.text);
    float *expected = read_tensor(reference.text, "logits", STORY_TOKENS, STORY_VOCAB);
    float *logits = malloc(STORY_TOKENS * STORY_VOCAB * sizeof *logits);
    Error err;
    Llama model = load_model(model_folder);
    Session *session = session_open(&model, 0, &err);
    assert_non_null(session);
    assert_true(session_feed(session, ids, STORY_TOKENS, 5, STORY_TOKENS, logits, &err));
    for (int i = 0; i < STORY_TOKENS * STORY_VOCAB; i++)
        if (!(fabsf(logits[i] - expected[i]) <= 1e-4f))
            fail_msg("position %d, token %d: %g, expected %g", i / STORY_VOCAB, i % STORY_VOCAB,
                     logits[i], expected[i]);
    session_close(session);
    llama_free(&model);
    free(logits);
    free(expected);
}

static void story_logits_from_folder(void **state)
{
    (void)state;
    check_story_logits(test_data("stories260K").text);
}

static void story_logits_from_llama2c(void **state)
{
    (void)state;
    Error err;
    TestPath out = test_path(own_folder.text, "converted");
    TestPath weights = test_data("stories260K/stories260K.bin");
    TestPath tokens = test_data("stories260K/tok512.bin");
    if (!llama2c_convert(weights.text, tokens.text, out.text, &err)) fail_msg("%s", err.text);
    check_story_logits(out.text);
}

// ---- round trips -------------------------------------------------------------------------------

static void check_round_trip(bool tied)
{
    LlamaConfig config = small_config();
    config.tied = tied;
    TestPath first = test_path(own_folder.text, "first"),
             second = test_path(own_folder.text, "second");
    model_write(first.text, &config, 5);
    Error err;
    Llama model = load_model(first.text);
    assert_int_equal(llama_parameter_count(&model.config), 38 + !tied);
    assert_true((model.head.span == model.embed.span) == tied);
    if (!folder_make(second.text, &err)) fail_msg("%s", err.text);
    if (!llama_save(&model, second.text, &err)) fail_msg("%s", err.text);
    llama_free(&model);
    check_same_files(test_path(first.text, "model.safetensors").text,
                     test_path(second.text, "model.safetensors").text);
    check_same_files(test_path(first.text, "config.json").text,
                     test_path(second.text, "config.json").text);
    // Nothing but the model and the small files beside it, and nothing half-written.
    assert_int_equal(test_folder_count(second.text), 4);
    model = load_model(second.text);
    assert_true(model.config.tied == tied);
    llama_free(&model);
}

static void round_trip_tied(void **state)
{
    (void)state;
    check_round_trip(true);
}

static void round_trip_untied(void **state)
{
    (void)state;
    check_round_trip(false);
}

static void round_trip_keeps_exits(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    config.exit_count = 3;
    config.exits[0] = 1, config.exits[1] = 3, config.exits[2] = 4;
    model_write(own_folder.text, &config, 1);
    Llama model = load_model(own_folder.text);
    assert_int_equal(model.config.exit_count, 3);
    assert_memory_equal(model.config.exits, config.exits, 3 * sizeof *config.exits);
    llama_free(&model);
}

// Deviation 0.02, norms 1; one seed gives one model.
static void randomizes_by_seed(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    Llama model;
    Error err;
    assert_true(llama_make(&model, device, &config, &err));
    assert_true(llama_randomize(&model, 9, &err));
    size_t count = (size_t)config.vocab_size * config.width;
    float *a = download(model.embed), *norm = download(model.blocks[3].mlp_norm);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++) {
        sum += a[i];
        squares += (double)a[i] * a[i];
    }
    assert_true(fabs(sum / (double)count) < 0.001);
    assert_true(fabs(sqrt(squares / (double)count) - 0.02) < 0.001);
    for (uint32_t i = 0; i < config.width; i++) assert_true(norm[i] == 1.0f);
    assert_true(llama_randomize(&model, 9, &err));
    float *b = download(model.embed);
    assert_memory_equal(a, b, count * sizeof *a);
    free(b);
    assert_true(llama_randomize(&model, 10, &err));
    b = download(model.embed);
    assert_memory_not_equal(a, b, count * sizeof *a);
    llama_free(&model);
    llama_free(&model); // an empty model is nothing to free
    free(a);
    free(b);
    free(norm);
}

// ---- what does not fit together ----------------------------------------------------------------

// Saves config in place of the folder's own: the weights then do not fit it.
static void change_config(const LlamaConfig *config)
{
    Error err;
    if (!config_save(config, own_folder.text, &err)) fail_msg("%s", err.text);
}

static void refuses_missing_tensors(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    model_write(own_folder.text, &config, 1);
    config.blocks = 5;
    change_config(&config);
    check_refused(own_folder.text,
                  "model.safetensors: tensor 'model.layers.4.input_layernorm.weight'");
    config.blocks = 4;
    config.tied = false;
    change_config(&config);
    check_refused(own_folder.text, "model.safetensors: tensor 'lm_head.weight'");
}

static void refuses_wrong_shapes(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    model_write(own_folder.text, &config, 1);
    config.hidden = 87;
    change_config(&config);
    check_refused(own_folder.text, "model.layers.0.mlp.gate_proj.weight");
    check_refused(own_folder.text, "[88, 32]");
    check_refused(own_folder.text, "[87, 32]");
    config.hidden = 88;
    config.vocab_size++;
    change_config(&config);
    check_refused(own_folder.text, "model.embed_tokens.weight");
}

// The header says I32 where it said F32; the bytes fit.
static void refuses_wrong_dtypes(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    model_write(own_folder.text, &config, 1);
    TestPath path = test_path(own_folder.text, "model.safetensors");
    size_t size;
    char *bytes = test_read(path.text, &size);
    char *name = NULL;
    for (size_t i = 8; i + 32 < size && !name; i++)
        if (!memcmp(bytes + i, "\"model.norm.weight\"", 19)) name = bytes + i;
    assert_non_null(name);
    char *dtype = strstr(name, "\"F32\"");
    assert_non_null(dtype);
    dtype[1] = 'I';
    test_write(&own_folder, "model.safetensors", bytes, size);
    free(bytes);
    check_refused(own_folder.text, "model.norm.weight");
    check_refused(own_folder.text, "I32");
}

static void refuses_folders_without_weights(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    model_write(own_folder.text, &config, 1);
    unlink(test_path(own_folder.text, "model.safetensors").text);
    check_refused(own_folder.text, "model.safetensors");
    test_write_text(&own_folder, "model.safetensors.index.json", "{}");
    check_refused(own_folder.text, "shard");
    unlink(test_path(own_folder.text, "config.json").text);
    check_refused(own_folder.text, "config.json");
    check_refused(test_path(own_folder.text, "none").text, "none/config.json");
}

// Wherever the file is cut, loading fails; nothing reads past its end.
static void refuses_truncated_weights(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    model_write(own_folder.text, &config, 1);
    size_t size;
    char *bytes = test_read(test_path(own_folder.text, "model.safetensors").text, &size);
    const size_t cuts[] = {0, 7, 8, 100, size / 2, size - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        test_write(&own_folder, "model.safetensors", bytes, cuts[i]);
        check_refused(own_folder.text, "model.safetensors");
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(story_logits_from_folder),  TEST(story_logits_from_llama2c),
        TEST(round_trip_tied),           TEST(round_trip_untied),
        TEST(round_trip_keeps_exits),    TEST(randomizes_by_seed),
        TEST(refuses_missing_tensors),   TEST(refuses_wrong_shapes),
        TEST(refuses_wrong_dtypes),      TEST(refuses_folders_without_weights),
        TEST(refuses_truncated_weights), cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, device_open, device_close);
}
