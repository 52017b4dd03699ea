// strata export on the device: the model exported at depth n is the model at depth n, to the bit;
// weights in 16 bits are the rounded ones; shards load to the same. What is written beside the
// weights, and what is refused, is in test_export_files.c.
#include "infer/session.h"
#include "support/export.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EMBEDDING "model.embed_tokens.weight"

enum { TOKENS = 41, SINGLES = 3 }; // fed at once, and then one by one

// ---- helpers -----------------------------------------------------------------------------------

// The logits of a fixed text at every position, malloc'ed.
static float *logits_of(const char *folder, uint32_t depth)
{
    Error err;
    Llama model = load_model(folder);
    uint32_t vocab = model.config.vocab_size, tokens[TOKENS + SINGLES];
    float *logits = malloc((size_t)(TOKENS + SINGLES) * vocab * sizeof *logits);
    Session *session = session_open(&model, 0, &err);
    assert_true(session && logits);
    for (uint32_t i = 0; i < TOKENS + SINGLES; i++) tokens[i] = i ? (i * i * 31 + i) % vocab : 1;
    assert_true(session_feed(session, tokens, TOKENS, depth, TOKENS, logits, &err));
    for (uint32_t i = TOKENS; i < TOKENS + SINGLES; i++)
        assert_true(session_feed(session, tokens + i, 1, depth, 1, logits + i * vocab, &err));
    session_close(session);
    llama_free(&model);
    return logits;
}

// Two folders, each at its depth, give the same logits.
static void check_same_logits(const char *a, uint32_t depth_a, const char *b, uint32_t depth_b)
{
    Error err;
    LlamaConfig config;
    assert_true(config_load(&config, a, &err));
    float *x = logits_of(a, depth_a), *y = logits_of(b, depth_b);
    size_t size = (size_t)(TOKENS + SINGLES) * config.vocab_size * sizeof *x;
    bool same = !memcmp(x, y, size);
    free(x);
    free(y);
    if (!same) fail_msg("%s at depth %u and %s at depth %u differ", a, depth_a, b, depth_b);
}

// At every depth: the export has that many blocks and gives that depth's logits.
static void check_depths(const char *folder)
{
    Error err;
    LlamaConfig config, cut;
    assert_true(config_load(&config, folder, &err));
    for (uint32_t depth = 1; depth <= config.blocks; depth++) {
        char name[16];
        snprintf(name, sizeof name, "out%u", depth);
        TestPath out = export_to(name, folder, (ExportOptions){.depth = depth});
        if (!config_load(&cut, out.text, &err)) fail_msg("%s", err.text);
        assert_int_equal(cut.blocks, depth);
        check_same_logits(folder, depth, out.text, depth);
    }
}

static TestPath untied_model(const char *name)
{
    LlamaConfig config = small_config();
    config.tied = false;
    TestPath folder = test_path(own_folder.text, name);
    model_write(folder.text, &config, 5);
    return folder;
}

// ---- depth -------------------------------------------------------------------------------------

static void export_is_the_depth(void **state)
{
    (void)state;
    check_depths(small_model(&own_folder, "m", 1).text);
}

static void export_is_the_depth_untied(void **state)
{
    (void)state;
    check_depths(untied_model("m").text);
}

static void export_is_the_depth_stories(void **state)
{
    (void)state;
    check_depths(test_data("stories260K").text);
}

// At its last block a model is exported as it is: every tensor, every key, every other file.
static void whole_stories_come_out_as_they_are(void **state)
{
    (void)state;
    static const char *const same[] = {"tokenizer.json", "tokenizer_config.json", "tokenizer.model",
                                       "generation_config.json"};
    Error err;
    TestPath from = test_data("stories260K");
    TestPath out = export_to("out", from.text, (ExportOptions){.depth = 5});
    for (int i = 0; i < 4; i++)
        if (has_file(from.text, same[i]))
            check_same_files(test_path(from.text, same[i]).text, test_path(out.text, same[i]).text);
    assert_false(has_file(out.text, "reference.safetensors"));
    cJSON *theirs = read_json(from.text, "config.json"), *ours = read_json(out.text, "config.json");
    assert_true(cJSON_Compare(theirs, ours, true));
    cJSON_Delete(theirs);
    cJSON_Delete(ours);
    Safetensors a, b;
    assert_true(safetensors_open(&a, test_path(from.text, WEIGHTS).text, &err));
    assert_true(safetensors_open(&b, test_path(out.text, WEIGHTS).text, &err));
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++) {
        assert_string_equal(a.entries[i].name, b.entries[i].name);
        assert_int_equal(a.entries[i].size, b.entries[i].size);
        assert_memory_equal(a.entries[i].data, b.entries[i].data, a.entries[i].size);
    }
    safetensors_close(&a);
    safetensors_close(&b);
}

// ---- 16 bits -----------------------------------------------------------------------------------

// The nearest value with that many bits behind the leading one and no exponent below `lowest`.
static float rounded(float value, int bits, int lowest)
{
    int exponent = value == 0 || ilogbf(value) < lowest ? lowest : ilogbf(value);
    return (float)ldexp(nearbyint(ldexp((double)value, bits - exponent)), exponent - bits);
}

// Rounds every weight of a folder whose file is all F32.
static void round_weights(const TestPath *folder, Dtype dtype)
{
    size_t size, count;
    char *bytes = test_read(test_path(folder->text, WEIGHTS).text, &size);
    float *values = data_of(bytes, size, &count);
    for (size_t i = 0; i < count; i++)
        values[i] = dtype == DTYPE_F16 ? rounded(values[i], 10, -14) : rounded(values[i], 7, -126);
    test_write(folder, WEIGHTS, bytes, size);
    free(bytes);
}

static void check_halves(const char *from, uint32_t depth, Dtype dtype)
{
    static const char *const names[] = {"F32", "F16", "BF16"}, *const outs[] = {"", "f16", "bf16"};
    static const char *const torch[] = {"", "float16", "bfloat16"};
    char name[32];
    Error err;
    TestPath out = export_to(outs[dtype], from, (ExportOptions){.depth = depth, .dtype = dtype});
    Safetensors file;
    assert_true(safetensors_open(&file, test_path(out.text, WEIGHTS).text, &err));
    for (size_t i = 0; i < file.count; i++)
        assert_string_equal(file.entries[i].dtype, names[dtype]);
    safetensors_close(&file);
    cJSON *config = read_json(out.text, "config.json");
    assert_string_equal(cJSON_GetObjectItem(config, "torch_dtype")->valuestring, torch[dtype]);
    cJSON_Delete(config);
    // The same, rounded by another hand, in F32.
    snprintf(name, sizeof name, "%s-rounded", outs[dtype]);
    TestPath wide = export_to(name, from, (ExportOptions){.depth = depth});
    round_weights(&wide, dtype);
    check_same_logits(out.text, depth, wide.text, depth);
    // Weights of 16 bits are read exactly and written back as they are.
    snprintf(name, sizeof name, "%s-again", outs[dtype]);
    TestPath again = export_to(name, out.text, (ExportOptions){.depth = depth, .dtype = dtype});
    check_same_files(test_path(out.text, WEIGHTS).text, test_path(again.text, WEIGHTS).text);
    snprintf(name, sizeof name, "%s-wide", outs[dtype]);
    again = export_to(name, out.text, (ExportOptions){.depth = depth});
    check_same_files(test_path(wide.text, WEIGHTS).text, test_path(again.text, WEIGHTS).text);
}

static void halves_are_the_rounded_weights(void **state)
{
    (void)state;
    TestPath model = small_model(&own_folder, "m", 3);
    check_halves(model.text, 3, DTYPE_F16);
    check_halves(model.text, 2, DTYPE_BF16);
}

static void halves_are_the_rounded_weights_stories(void **state)
{
    (void)state;
    TestPath model = test_data("stories260K");
    check_halves(model.text, 4, DTYPE_F16);
    check_halves(model.text, 5, DTYPE_BF16);
}

// ---- shards ------------------------------------------------------------------------------------

// Every file of the index holds at most `limit` bytes, or one tensor; they sum up to total_size.
static void check_shards(const char *folder, uint64_t limit, size_t tensors)
{
    cJSON *index = read_json(folder, INDEX);
    const cJSON *map = cJSON_GetObjectItem(index, "weight_map");
    const cJSON *total = cJSON_GetObjectItem(cJSON_GetObjectItem(index, "metadata"), "total_size");
    assert_int_equal(cJSON_GetArraySize(map), tensors);
    uint64_t sum = 0;
    size_t found = 0;
    for (uint32_t i = 1, count = 1; i <= count; i++) {
        char name[64];
        const char *first = shard_of(index, EMBEDDING);
        assert_int_equal(sscanf(first, "model-%*5u-of-%5" SCNu32 ".safetensors", &count), 1);
        snprintf(name, sizeof name, "model-%05u-of-%05u.safetensors", i, count);
        Safetensors file;
        Error err;
        if (!safetensors_open(&file, test_path(folder, name).text, &err)) fail_msg("%s", err.text);
        uint64_t bytes = 0;
        for (size_t j = 0; j < file.count; j++) {
            assert_string_equal(shard_of(index, file.entries[j].name), name);
            bytes += file.entries[j].size;
        }
        assert_true(bytes <= limit || file.count == 1);
        found += file.count;
        sum += bytes;
        safetensors_close(&file);
    }
    assert_int_equal(found, tensors);
    assert_true(total->valuedouble == (double)sum);
    cJSON_Delete(index);
}

// As shards of many sizes; back from there it is the file that was never divided.
static void shards_load_to_the_same(void **state)
{
    (void)state;
    static const uint64_t limits[] = {1, 4096, 20000, 50000};
    TestPath model = untied_model("m");
    TestPath whole = export_to("whole", model.text, (ExportOptions){.depth = 3});
    assert_false(has_file(whole.text, INDEX));
    for (int i = 0; i < 4; i++) {
        char name[2][16];
        snprintf(name[0], sizeof name[0], "shards%d", i);
        snprintf(name[1], sizeof name[1], "again%d", i);
        TestPath out =
            export_to(name[0], model.text, (ExportOptions){.depth = 3, .shard_size = limits[i]});
        assert_false(has_file(out.text, WEIGHTS));
        check_shards(out.text, limits[i], 3 + 9 * 3);
        check_same_logits(model.text, 3, out.text, 3);
        TestPath again = export_to(name[1], out.text, (ExportOptions){.depth = 3});
        check_same_files(test_path(whole.text, WEIGHTS).text, test_path(again.text, WEIGHTS).text);
    }
    // The first depths of a sharded model, whose last shards are not needed, as shards again.
    TestPath part = export_to("part", test_path(own_folder.text, "shards2").text,
                              (ExportOptions){.depth = 1, .shard_size = 9000});
    check_shards(part.text, 9000, 3 + 9);
    check_same_logits(model.text, 1, part.text, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(export_is_the_depth),
        TEST(export_is_the_depth_untied),
        TEST(export_is_the_depth_stories),
        TEST(whole_stories_come_out_as_they_are),
        TEST(halves_are_the_rounded_weights),
        TEST(halves_are_the_rounded_weights_stories),
        TEST(shards_load_to_the_same),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, device_open, device_close);
}
