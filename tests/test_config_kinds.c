// config.json of LLaMA's relatives and of its later releases: model types, biases, windows, RoPE's
// scaling, several ids that end a text; what is refused by which message, and that what is written
// reads back the same. The rest of the format is in test_config.c.
#include "base/file.h"
#include "model/config.h"
#include "model/hf_folder.h"
#include "support/files.h"

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

static const char SIZES[] =
    "\"hidden_size\":64,\"intermediate_size\":172,\"num_hidden_layers\":5,"
    "\"num_attention_heads\":8,\"num_key_value_heads\":4,\"vocab_size\":512,"
    "\"max_position_embeddings\":128,\"rms_norm_eps\":1e-05";

#define LLAMA3                                                                                     \
    "\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"                             \
    "\"original_max_position_embeddings\":8192"

// A config of that model_type with `more` keys ("" or "\"key\":value").
static bool load(LlamaConfig *config, const char *type, const char *more, Error *err)
{
    char text[2048];
    snprintf(text, sizeof text, "{\"model_type\":\"%s\",%s%s%s}", type, SIZES, *more ? "," : "",
             more);
    test_write_text(&own_folder, "config.json", text);
    *err = (Error){{0}};
    return config_load(config, own_folder.text, err);
}

static LlamaConfig loaded(const char *type, const char *more)
{
    LlamaConfig config;
    Error err;
    if (!load(&config, type, more, &err)) fail_msg("%s %s: %s", type, more, err.text);
    return config;
}

// ---- kinds and biases --------------------------------------------------------------------------

static void kinds_and_their_defaults(void **state)
{
    (void)state;
    LlamaConfig llama = loaded("llama", "\"architectures\":[\"LlamaForCausalLM\"]");
    LlamaConfig mistral = loaded("mistral", "\"architectures\":[\"MistralForCausalLM\"]");
    LlamaConfig qwen = loaded("qwen2", "\"architectures\":[\"Qwen2ForCausalLM\"]");
    assert_int_equal(llama.kind, KIND_LLAMA);
    assert_int_equal(mistral.kind, KIND_MISTRAL);
    assert_int_equal(qwen.kind, KIND_QWEN2);
    assert_false(llama.qkv_bias || llama.o_bias || llama.mlp_bias);
    assert_false(mistral.qkv_bias || mistral.o_bias || mistral.mlp_bias);
    assert_true(qwen.qkv_bias && !qwen.o_bias && !qwen.mlp_bias);
    assert_int_equal(llama.window, 0);
    assert_int_equal(mistral.window, 4096); // absent
    assert_int_equal(qwen.window, 0);
    assert_int_equal(mistral.bos, 1);
    assert_true(config_ends(&mistral, 2) && !config_ends(&mistral, 1));
    assert_int_equal(qwen.bos, CONFIG_NO_TOKEN);
    assert_int_equal(qwen.eos_count, 0);
    LlamaConfig next = loaded("qwen3", "\"architectures\":[\"Qwen3ForCausalLM\"],\"head_dim\":8");
    assert_int_equal(next.kind, KIND_QWEN3);
    assert_true(next.qk_norm && !next.qkv_bias && !next.o_bias && !qwen.qk_norm);
    assert_int_equal(next.window, 0);
    assert_int_equal(config_parameters(&next) - config_parameters(&llama), 5 * (8 + 8));
    assert_int_equal(config_parameters(&qwen) - config_parameters(&llama), 5 * (64 + 32 + 32));
}

static void biases_of_llama(void **state)
{
    (void)state;
    LlamaConfig plain = loaded("llama", "");
    LlamaConfig attention = loaded("llama", "\"attention_bias\":true");
    LlamaConfig both = loaded("llama", "\"attention_bias\":true,\"mlp_bias\":true");
    assert_true(attention.qkv_bias && attention.o_bias && !attention.mlp_bias);
    assert_true(both.qkv_bias && both.o_bias && both.mlp_bias);
    uint64_t base = config_parameters(&plain);
    assert_int_equal(config_parameters(&attention) - base, 5 * (64 + 32 + 32 + 64));
    assert_int_equal(config_parameters(&both) - config_parameters(&attention),
                     5 * (172 + 172 + 64));
}

// ---- windows -----------------------------------------------------------------------------------

static void windows(void **state)
{
    (void)state;
    static const struct {
        const char *type, *more;
        uint32_t window;
    } all[] = {
        {"mistral", "\"sliding_window\":null", 0},
        {"mistral", "\"sliding_window\":16", 16},
        {"mistral",
         "\"layer_types\":[\"full_attention\",\"full_attention\",\"full_attention\","
         "\"full_attention\",\"full_attention\"]",
         0},
        {"qwen2", "\"sliding_window\":16,\"use_sliding_window\":false,\"max_window_layers\":0", 0},
        {"qwen2", "\"sliding_window\":16,\"use_sliding_window\":true,\"max_window_layers\":0", 16},
        {"qwen2", "\"sliding_window\":16,\"use_sliding_window\":true,\"max_window_layers\":5", 0},
        {"qwen2", "\"use_sliding_window\":true,\"max_window_layers\":0", 4096},
        {"qwen2", "\"sliding_window\":null,\"use_sliding_window\":false", 0},
        {"qwen2",
         "\"sliding_window\":9,\"layer_types\":[\"sliding_attention\","
         "\"sliding_attention\",\"sliding_attention\",\"sliding_attention\","
         "\"sliding_attention\"]",
         9},
        {"llama", "\"sliding_window\":null", 0},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_int_equal(loaded(all[i].type, all[i].more).window, all[i].window);
}

static void first_keys(void **state)
{
    (void)state;
    LlamaConfig config = loaded("mistral", "\"sliding_window\":3");
    static const uint32_t first[] = {0, 0, 0, 1, 2, 3};
    for (uint32_t p = 0; p < 6; p++) assert_int_equal(config_first_key(&config, p), first[p]);
    config.window = 1; // a row sees itself alone
    assert_int_equal(config_first_key(&config, 0), 0);
    assert_int_equal(config_first_key(&config, 7), 7);
    config.window = 0;
    assert_int_equal(config_first_key(&config, UINT32_MAX), 0);
}

// ---- RoPE --------------------------------------------------------------------------------------

static void rope_in_each_place(void **state)
{
    (void)state;
    static const char *const linear[] = {
        "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.5}",
        "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2.5}",
        "\"rope_scaling\":{\"rope_type\":\"linear\",\"type\":\"linear\",\"factor\":2.5}",
        "\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":2.5,\"rope_theta\":10000.0}",
        "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.5},"
        "\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":2.5}",
    };
    for (size_t i = 0; i < sizeof linear / sizeof *linear; i++) {
        LlamaConfig config = loaded("llama", linear[i]);
        assert_int_equal(config.rope.kind, ROPE_LINEAR);
        assert_true(config.rope.factor == 2.5 && config.rope_theta == 10000);
    }
    static const char *const llama3[] = {
        "\"rope_theta\":500000.0,\"rope_scaling\":{" LLAMA3 ",\"rope_type\":\"llama3\"}",
        "\"rope_parameters\":{" LLAMA3 ",\"rope_type\":\"llama3\",\"rope_theta\":500000.0}",
    };
    for (size_t i = 0; i < sizeof llama3 / sizeof *llama3; i++) {
        LlamaConfig config = loaded("llama", llama3[i]);
        assert_int_equal(config.rope.kind, ROPE_LLAMA3);
        assert_true(config.rope.factor == 8 && config.rope.low == 1 && config.rope.high == 4);
        assert_true(config.rope.original == 8192 && config.rope_theta == 500000);
    }
    LlamaConfig plain = loaded("qwen2", "\"rope_scaling\":{\"rope_type\":\"default\"}");
    assert_int_equal(plain.rope.kind, ROPE_DEFAULT);
}

// By the definition's three cases on wavelengths, where the code counts turns.
static double expected_llama3(double theta, uint32_t size, uint32_t j, double factor, double low,
                              double high, double original)
{
    double f = 1 / pow(theta, (double)(2 * j) / size), wave = 8 * atan(1) / f;
    if (wave < original / high) return f;
    if (wave > original / low) return f / factor;
    double smooth = (original / wave - low) / (high - low);
    return (1 - smooth) * f / factor + smooth * f;
}

static void frequencies(void **state)
{
    (void)state;
    LlamaConfig config = {
        .head_size = 128, .rope_theta = 500000, .rope = {ROPE_LLAMA3, 8, 1, 4, 8192}};
    uint32_t kept = 0, between = 0, divided = 0;
    for (uint32_t j = 0; j < 64; j++) {
        double plain = pow(500000, -(double)j / 64), found = config_rope_frequency(&config, j);
        double expected = expected_llama3(500000, 128, j, 8, 1, 4, 8192);
        assert_true(fabs(found - expected) <= 1e-12 * expected);
        kept += fabs(found - plain) <= 1e-12 * plain;
        divided += fabs(found - plain / 8) <= 1e-12 * plain;
        between += found < plain * (1 - 1e-9) && found > plain / 8 * (1 + 1e-9);
        config.rope.kind = ROPE_LINEAR;
        assert_true(fabs(config_rope_frequency(&config, j) * 8 - plain) <= 1e-12 * plain);
        config.rope.kind = ROPE_DEFAULT;
        assert_true(fabs(config_rope_frequency(&config, j) - plain) <= 1e-12 * plain);
        config.rope.kind = ROPE_LLAMA3;
    }
    // LLaMA 3.1: a wavelength of 2048 is 28.2 steps of j, one of 8192 is 35.0.
    assert_int_equal(kept, 29);
    assert_int_equal(between, 6);
    assert_int_equal(divided, 29);
}

// ---- what ends a text --------------------------------------------------------------------------

static void ends_are_joined(void **state)
{
    (void)state;
    test_write_text(&own_folder, "generation_config.json", "{\"eos_token_id\":[7,300,9]}");
    LlamaConfig config = loaded("qwen2", "\"eos_token_id\":300,\"bos_token_id\":300");
    assert_int_equal(config.eos_count, 3);
    assert_int_equal(config.eos[0], 300);
    assert_int_equal(config.eos[1], 7);
    assert_int_equal(config.eos[2], 9);
    assert_int_equal(config.bos, 300);
    assert_true(config_ends(&config, 9) && !config_ends(&config, 8));
    test_write_text(&own_folder, "generation_config.json", "{\"eos_token_id\":4}");
    config = loaded("llama", "\"eos_token_id\":null,\"bos_token_id\":null");
    assert_int_equal(config.eos_count, 1);
    assert_int_equal(config.eos[0], 4);
    assert_int_equal(config.bos, CONFIG_NO_TOKEN);
    test_write_text(&own_folder, "generation_config.json", "{\"eos_token_id\":null}");
    assert_int_equal(loaded("llama", "\"eos_token_id\":null").eos_count, 0);
}

static void refuses_bad_generation_configs(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"{\"eos_token_id\":512}", "generation_config.json: key 'eos_token_id' is 512"},
        {"{\"eos_token_id\":[1,-2]}", "must hold token ids from 0 to 511"},
        {"{\"eos_token_id\":\"2\"}", "key 'eos_token_id' must be a whole number"},
        {"{\"eos_token_id\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}", "more than 16 ids"},
        {"[]", "generation_config.json: is not a JSON object"},
        {"{", "generation_config.json: not JSON"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        LlamaConfig config;
        Error err;
        test_write_text(&own_folder, "generation_config.json", bad[i][0]);
        assert_false(load(&config, "llama", "", &err));
        assert_error(err, bad[i][1]);
    }
}

// ---- what is refused ---------------------------------------------------------------------------

static const char *const BAD[][3] = {
    {"mixtral", "",
     "key 'model_type' is 'mixtral', expected 'llama', 'mistral', 'qwen2' or 'qwen3'"},
    {"qwen2_moe", "", "key 'model_type' is 'qwen2_moe'"},
    {"mistral", "\"architectures\":[\"LlamaForCausalLM\"]",
     "key 'architectures' is [\"LlamaForCausalLM\"], which is not supported; expected "
     "[\"MistralForCausalLM\"]"},
    {"qwen2", "\"architectures\":[\"Qwen2ForTokenClassification\"]", "[\"Qwen2ForCausalLM\"]"},
    {"mistral", "\"attention_bias\":true",
     "key 'attention_bias' is true, which a mistral does not"},
    {"qwen2", "\"mlp_bias\":true", "key 'mlp_bias' is true, which a qwen2 does not have"},
    {"qwen3", "", "key 'head_dim' is missing"},
    {"qwen3", "\"head_dim\":8,\"mlp_bias\":true", "key 'mlp_bias' is true, which a qwen3"},
    {"qwen3_moe", "", "key 'model_type' is 'qwen3_moe'"},
    {"mistral", "\"sliding_window\":0", "key 'sliding_window' is 0, expected 1 to 16777216"},
    {"mistral", "\"sliding_window\":-1", "key 'sliding_window' is -1"},
    {"mistral", "\"sliding_window\":\"4096\"", "key 'sliding_window' must be a whole number"},
    {"qwen2", "\"use_sliding_window\":true,\"max_window_layers\":2",
     "key 'max_window_layers' is 2 of 5 blocks; a window in some of them only is not supported"},
    {"qwen2", "\"use_sliding_window\":true,\"max_window_layers\":0,\"sliding_window\":null",
     "key 'sliding_window' is missing, but blocks slide"},
    {"qwen2", "\"use_sliding_window\":1", "key 'use_sliding_window' must be true or false"},
    {"qwen2",
     "\"layer_types\":[\"full_attention\",\"sliding_attention\",\"full_attention\","
     "\"full_attention\",\"full_attention\"]",
     "key 'layer_types' is [\"full_attention\",\"sliding_attention\""},
    {"qwen2", "\"layer_types\":[\"full_attention\"]", "key 'layer_types' is"},
    {"qwen2", "\"layer_types\":7", "key 'layer_types' is 7"},
    {"llama", "\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2.0}",
     "key 'rope_scaling.type' is \"dynamic\", which is not supported; expected \"default\", "
     "\"linear\" or \"llama3\""},
    {"qwen2", "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4.0}",
     "key 'rope_scaling.type' is \"yarn\""},
    {"llama", "\"rope_parameters\":{\"rope_type\":\"longrope\"}",
     "key 'rope_parameters.rope_type' is \"longrope\""},
    {"llama", "\"rope_scaling\":{\"rope_type\":3}", "key 'rope_scaling.rope_type' is 3"},
    {"llama", "\"rope_scaling\":{\"rope_type\":\"linear\",\"type\":\"llama3\"}",
     "keys 'rope_scaling.rope_type' and 'rope_scaling.type' differ"},
    {"llama", "\"rope_scaling\":\"linear\"", "key 'rope_scaling' is \"linear\""},
    {"llama", "\"rope_scaling\":{\"factor\":2.0}",
     "key 'rope_scaling.factor' is 2, which is not supported; expected no such key"},
    {"llama", "\"rope_scaling\":{\"type\":\"linear\"}",
     "key 'rope_scaling.factor' is missing, which linear needs"},
    {"llama", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":\"2\"}",
     "key 'rope_scaling.factor' must be a number"},
    {"llama", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":0.5}",
     "key 'rope_scaling.factor' is 0.5, expected 1 to 1e+06"},
    {"llama", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":1e999}",
     "key 'rope_scaling.factor' is inf"},
    {"llama", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.0,\"beta_fast\":32}",
     "key 'rope_scaling.beta_fast' is 32, which is not supported; expected no such key"},
    {"llama", "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0}",
     "key 'rope_scaling.high_freq_factor' is missing, which llama3 needs"},
    {"llama",
     "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":4.0,"
     "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192}",
     "key 'rope_scaling.low_freq_factor' is 4, expected less than high_freq_factor, 4"},
    {"llama",
     "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
     "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":0.5}",
     "key 'rope_scaling.original_max_position_embeddings' is 0.5, expected a whole number from 1"},
    {"llama",
     "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.0},"
     "\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":4.0}",
     "keys 'rope_scaling' and 'rope_parameters' differ"},
};

static void refuses_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        LlamaConfig config;
        Error err;
        if (load(&config, BAD[i][0], BAD[i][1], &err))
            fail_msg("%s with %s was accepted", BAD[i][0], BAD[i][1]);
        assert_error(err, BAD[i][2]);
        assert_error(err, "config.json: ");
    }
    LlamaConfig config = loaded("llama", "");
    Error err;
    config.window = 8; // which its file could not say
    assert_false(config_save(&config, own_folder.text, &err));
    assert_error(err, "config.json: sliding_window is 8");
    config = loaded("llama", "");
    config.qkv_bias = true;
    assert_false(config_save(&config, own_folder.text, &err));
    assert_error(err, "biases that a llama does not have");
    config = loaded("llama", "");
    config.rope = (RopeScaling){.kind = ROPE_LINEAR, .factor = NAN};
    assert_false(config_save(&config, own_folder.text, &err));
    assert_error(err, "factor of RoPE is nan");
}

// ---- round trips -------------------------------------------------------------------------------

static void check_round_trip(const char *type, const char *more)
{
    LlamaConfig first = loaded(type, more), second, third;
    Error err;
    if (!config_save(&first, own_folder.text, &err) || !config_load(&second, own_folder.text, &err))
        fail_msg("%s %s: %s", type, more, err.text);
    // Both are all zeros where nothing was read.
    if (memcmp(&first, &second, sizeof first))
        fail_msg("%s %s: not the same after saving", type, more);
    // Cut to no fewer blocks, by way of the file's own keys.
    TestPath cut = test_path(own_folder.text, "cut");
    if (!folder_make(cut.text, &err) ||
        !config_cut(cut.text, own_folder.text, 5, "float16", &err) ||
        !config_load(&third, cut.text, &err))
        fail_msg("%s", err.text);
    assert_memory_equal(&first, &third, sizeof first);
}

static void round_trips(void **state)
{
    (void)state;
    check_round_trip("llama", "\"attention_bias\":true,\"mlp_bias\":true");
    check_round_trip("llama", "\"eos_token_id\":[128,129,9],\"bos_token_id\":null");
    check_round_trip("llama", "\"rope_scaling\":{" LLAMA3 ",\"rope_type\":\"llama3\"}");
    check_round_trip("llama", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":4.0}");
    check_round_trip("mistral", "\"sliding_window\":16,\"head_dim\":32");
    check_round_trip("mistral", "\"sliding_window\":null");
    check_round_trip("qwen2", "\"tie_word_embeddings\":true,\"eos_token_id\":7");
    check_round_trip("qwen3", "\"head_dim\":32,\"attention_bias\":true");
    check_round_trip("qwen3", "\"head_dim\":32,\"eos_token_id\":[7,9]");
    check_round_trip("qwen2", "\"use_sliding_window\":true,\"max_window_layers\":0");
}

static void expect_lines(const char *folder, const char *const *lines, size_t count)
{
    size_t size;
    char *text = test_read(test_path(folder, "config.json").text, &size);
    for (size_t i = 0; i < count; i++)
        if (!strstr(text, lines[i])) fail_msg("config.json lacks %s:\n%s", lines[i], text);
    free(text);
}

// As Transformers writes and checks them: reals with a point, linear's type under its older name.
static void writes_what_transformers_wants(void **state)
{
    (void)state;
    Error err;
    LlamaConfig config = loaded("qwen2", "\"eos_token_id\":[7,9]");
    assert_true(config_save(&config, own_folder.text, &err));
    static const char *const qwen[] = {
        "\"model_type\":\t\"qwen2\"",     "\"architectures\":\t[\"Qwen2ForCausalLM\"]",
        "\"use_sliding_window\":\tfalse", "\"sliding_window\":\tnull",
        "\"max_window_layers\":\t5",      "\"eos_token_id\":\t[7, 9]",
        "\"bos_token_id\":\tnull",        "\"transformers_version\":\t\"4.43.0\""};
    expect_lines(own_folder.text, qwen, sizeof qwen / sizeof *qwen);
    assert_true(hf_folder_write_extras(own_folder.text, &config, &err));
    size_t size;
    char *text = test_read(test_path(own_folder.text, "generation_config.json").text, &size);
    assert_non_null(strstr(text, "\"eos_token_id\":\t[7, 9]"));
    free(text);
    unlink(test_path(own_folder.text, "generation_config.json").text);

    config = loaded("llama", "\"attention_bias\":true,\"rope_scaling\":{" LLAMA3
                             ",\"rope_type\":\"llama3\"}");
    assert_true(config_save(&config, own_folder.text, &err));
    static const char *const llama[] = {
        "\"attention_bias\":\ttrue",  "\"mlp_bias\":\tfalse",
        "\"rope_type\":\t\"llama3\"", "\"factor\":\t8.0",
        "\"low_freq_factor\":\t1.0",  "\"original_max_position_embeddings\":\t8192"};
    expect_lines(own_folder.text, llama, sizeof llama / sizeof *llama);
    config = loaded("mistral", "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2}");
    assert_true(config_save(&config, own_folder.text, &err));
    static const char *const mistral[] = {"\"sliding_window\":\t4096", "\"type\":\t\"linear\"",
                                          "\"factor\":\t2.0"};
    expect_lines(own_folder.text, mistral, sizeof mistral / sizeof *mistral);
}

// Cut to two blocks, the list of the blocks' kinds is as long, and reals stay reals.
static void cuts_what_is_per_block(void **state)
{
    (void)state;
    Error err;
    (void)loaded("qwen2", "\"layer_types\":[\"full_attention\",\"full_attention\","
                          "\"full_attention\",\"full_attention\",\"full_attention\"],"
                          "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.0}");
    TestPath cut = test_path(own_folder.text, "cut");
    LlamaConfig config;
    assert_true(folder_make(cut.text, &err));
    if (!config_cut(cut.text, own_folder.text, 2, "float32", &err) ||
        !config_load(&config, cut.text, &err))
        fail_msg("%s", err.text);
    assert_int_equal(config.blocks, 2);
    static const char *const lines[] = {
        "\"layer_types\":\t[\"full_attention\", \"full_attention\"]", "\"factor\":\t2.0"};
    expect_lines(cut.text, lines, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(kinds_and_their_defaults),
        TEST(biases_of_llama),
        TEST(windows),
        TEST(first_keys),
        TEST(rope_in_each_place),
        TEST(frequencies),
        TEST(ends_are_joined),
        TEST(refuses_bad_generation_configs),
        TEST(refuses_by_name),
        TEST(round_trips),
        TEST(writes_what_transformers_wants),
        TEST(cuts_what_is_per_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
