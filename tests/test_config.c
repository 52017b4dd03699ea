// config.json: what is read, what is refused by which message, and that what is written reads back
// the same.
#include "base/json.h"
#include "model/config.h"
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

static const char BASE[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_size\":64,"
    "\"intermediate_size\":172,\"num_hidden_layers\":5,\"num_attention_heads\":8,"
    "\"num_key_value_heads\":4,\"vocab_size\":512,\"max_position_embeddings\":128,"
    "\"rms_norm_eps\":1e-05}";

// BASE with the value of `key` replaced (or added); value NULL removes the key.
static bool load_changed(LlamaConfig *config, const char *key, const char *value, Error *err)
{
    cJSON *object = cJSON_Parse(BASE);
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
    if (value) assert_non_null(cJSON_AddRawToObject(object, key, value));
    char *text = cJSON_PrintUnformatted(object);
    test_write_text(&own_folder, "config.json", text);
    free(text);
    cJSON_Delete(object);
    *err = (Error){{0}};
    return config_load(config, own_folder.text, err);
}

static LlamaConfig sample(void)
{
    return (LlamaConfig){.blocks = 4,
                         .width = 48,
                         .hidden = 100,
                         .heads = 6,
                         .kv_heads = 2,
                         .head_size = 10,
                         .vocab_size = 300,
                         .context = 77,
                         .norm_epsilon = 1.1e-6,
                         .rope_theta = 500000.25,
                         .tied = true,
                         .bos = 7,
                         .eos = {299},
                         .eos_count = 1,
                         .exits = {1, 3, 4},
                         .exit_count = 3};
}

static void assert_same(const LlamaConfig *a, const LlamaConfig *b)
{
    assert_int_equal(a->blocks, b->blocks);
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->hidden, b->hidden);
    assert_int_equal(a->heads, b->heads);
    assert_int_equal(a->kv_heads, b->kv_heads);
    assert_int_equal(a->head_size, b->head_size);
    assert_int_equal(a->vocab_size, b->vocab_size);
    assert_int_equal(a->context, b->context);
    assert_true(a->norm_epsilon == b->norm_epsilon);
    assert_true(a->rope_theta == b->rope_theta);
    assert_int_equal(a->tied, b->tied);
    assert_int_equal(a->bos, b->bos);
    assert_int_equal(a->eos_count, b->eos_count);
    assert_memory_equal(a->eos, b->eos, sizeof a->eos);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->rope.kind, b->rope.kind);
    assert_int_equal(a->window, b->window);
    assert_false(a->qkv_bias || a->o_bias || a->mlp_bias);
    assert_false(b->qkv_bias || b->o_bias || b->mlp_bias);
    assert_int_equal(a->exit_count, b->exit_count);
    assert_memory_equal(a->exits, b->exits, sizeof a->exits);
}

static void reads_stories(void **state)
{
    (void)state;
    LlamaConfig config;
    Error err;
    TestPath data = test_data("stories260K");
    assert_true(config_load(&config, data.text, &err));
    LlamaConfig expected = {.blocks = 5,
                            .width = 64,
                            .hidden = 172,
                            .heads = 8,
                            .kv_heads = 4,
                            .head_size = 8,
                            .vocab_size = 512,
                            .context = 512,
                            .norm_epsilon = 1e-5,
                            .rope_theta = 10000,
                            .tied = true,
                            .bos = 1,
                            .eos = {2},
                            .eos_count = 1};
    assert_same(&config, &expected);
    assert_int_equal(config_parameters(&config), 260032);
}

// The real file describes a 4-bit checkpoint: refused for that, and a LLaMA 13B without it.
static void reads_llama2_13b(void **state)
{
    (void)state;
    LlamaConfig config;
    Error err;
    TestPath data = test_data("formats/llama2-13b");
    assert_false(config_load(&config, data.text, &err));
    assert_error(err, "config.json: key 'quantization_config' is {\"_load_in_4bit\":true,");
    assert_error(err, "which is not supported; expected null or false");
    cJSON *object = json_read(test_path(data.text, "config.json").text, &err);
    assert_non_null(object);
    cJSON_DeleteItemFromObjectCaseSensitive(object, "quantization_config");
    assert_true(json_write(test_path(own_folder.text, "config.json").text, object, &err));
    cJSON_Delete(object);
    assert_true(config_load(&config, own_folder.text, &err));
    LlamaConfig expected = {.blocks = 40,
                            .width = 5120,
                            .hidden = 13824,
                            .heads = 40,
                            .kv_heads = 40,
                            .head_size = 128,
                            .vocab_size = 32000,
                            .context = 2048,
                            .norm_epsilon = 1e-6,
                            .rope_theta = 10000,
                            .bos = 1,
                            .eos = {2},
                            .eos_count = 1};
    assert_same(&config, &expected);
    assert_true(config_parameters(&config) == 13015864320u);
}

static void fills_defaults(void **state)
{
    (void)state;
    LlamaConfig config;
    Error err;
    assert_true(load_changed(&config, "num_key_value_heads", NULL, &err));
    assert_int_equal(config.kv_heads, 8);
    assert_int_equal(config.head_size, 8);
    assert_true(config.rope_theta == 10000);
    assert_false(config.tied);
    assert_int_equal(config.bos, 1);
    assert_int_equal(config.eos_count, 1);
    assert_int_equal(config.eos[0], 2);
    assert_int_equal(config.exit_count, 0);
    assert_true(load_changed(&config, "num_key_value_heads", "null", &err));
    assert_int_equal(config.kv_heads, 8);
    assert_true(load_changed(&config, "head_dim", "null", &err));
    assert_int_equal(config.head_size, 8);
    assert_true(load_changed(&config, "head_dim", "256", &err));
    assert_int_equal(config.head_size, 256);
    assert_true(load_changed(&config, "rms_norm_eps", NULL, &err));
    assert_true(config.norm_epsilon == 1e-6);
    assert_true(load_changed(&config, "architectures", NULL, &err));
}

static void accepts_variants(void **state)
{
    (void)state;
    LlamaConfig config;
    Error err;
    static const char *const FINE[][2] = {
        {"rope_scaling", "null"},
        {"attention_bias", "false"},
        {"mlp_bias", "null"},
        {"quantization_config", "null"},
        {"sliding_window", "null"},
        {"partial_rotary_factor", "1.0"},
        {"pretraining_tp", "2"},
        {"hidden_act", "null"},
        {"torch_dtype", "\"bfloat16\""},
        {"architectures", "null"},
        {"strata_exits", "null"},
        {"strata_exits", "[]"},
        {"rope_parameters", "null"},
        {"something_else", "{\"a\":[1,2]}"},
    };
    for (size_t i = 0; i < sizeof FINE / sizeof FINE[0]; i++)
        if (!load_changed(&config, FINE[i][0], FINE[i][1], &err)) fail_msg("%s", err.text);
    assert_true(load_changed(&config, "rope_theta", "500000", &err));
    assert_true(config.rope_theta == 500000);
    assert_true(load_changed(&config, "rope_parameters",
                             "{\"rope_theta\":1000000.0,\"rope_type\":\"default\"}", &err));
    assert_true(config.rope_theta == 1000000);
    assert_true(load_changed(&config, "eos_token_id", "[5,6,7]", &err));
    assert_int_equal(config.eos_count, 3);
    assert_int_equal(config.eos[0], 5);
    assert_int_equal(config.eos[2], 7);
    assert_true(load_changed(&config, "bos_token_id", "511", &err));
    assert_int_equal(config.bos, 511);
    assert_true(load_changed(&config, "strata_exits", "[1,3,5]", &err));
    assert_int_equal(config.exit_count, 3);
    assert_int_equal(config.exits[0], 1);
    assert_int_equal(config.exits[1], 3);
    assert_int_equal(config.exits[2], 5);
}

// key, value (NULL: without the key), and what the message must say.
static const char *const BAD[][3] = {
    {"quantization_config", "{}", "key 'quantization_config' is {}"},
    {"sliding_window", "4096", "key 'sliding_window' is 4096"},
    {"attention_chunk_size", "8192", "key 'attention_chunk_size' is 8192"},
    {"partial_rotary_factor", "0.5",
     "key 'partial_rotary_factor' is 0.5, which is not supported; "
     "expected 1"},
    {"rotary_pct", "0.25", "key 'rotary_pct' is 0.25"},
    {"clip_qkv", "8.0", "key 'clip_qkv' is 8"},
    {"use_qk_norm", "true", "key 'use_qk_norm' is true"},
    {"attn_logit_softcapping", "50.0", "key 'attn_logit_softcapping' is 50"},
    {"final_logit_softcapping", "30.0", "key 'final_logit_softcapping' is 30"},
    {"embedding_multiplier", "12", "key 'embedding_multiplier' is 12"},
    {"residual_multiplier", "0.2", "key 'residual_multiplier' is 0.2"},
    {"logits_scaling", "8", "key 'logits_scaling' is 8"},
    {"num_experts", "8", "key 'num_experts' is 8"},
    {"num_local_experts", "8", "key 'num_local_experts' is 8"},
    {"no_rope_layers", "[0]", "key 'no_rope_layers' is [0]"},
    {"is_encoder_decoder", "true", "key 'is_encoder_decoder' is true"},
    {"add_cross_attention", "true", "key 'add_cross_attention' is true"},
    {"compression_config", "{}", "key 'compression_config' is {}"},
    {"hidden_act", "\"gelu\"", "key 'hidden_act' is 'gelu', expected 'silu'"},
    {"hidden_act", "3", "key 'hidden_act' must be a string"},
    {"model_type", "\"gemma\"",
     "key 'model_type' is 'gemma', expected 'llama', 'mistral', 'qwen2' or 'qwen3'"},
    {"model_type", NULL, "key 'model_type' is missing"},
    {"attention_bias", "1", "key 'attention_bias' must be true or false"},
    {"mlp_bias", "\"yes\"", "key 'mlp_bias' must be true or false"},
    {"use_mrope", "true", "key 'use_mrope' is true"},
    {"architectures", "[\"LlamaForSequenceClassification\"]",
     "key 'architectures' is [\"LlamaForSequenceClassification\"], which is not supported; "
     "expected [\"LlamaForCausalLM\"]"},
    {"architectures", "[]", "key 'architectures' is []"},
    {"architectures", "[\"LlamaForCausalLM\",\"X\"]", "key 'architectures' is ["},
    {"architectures", "\"LlamaForCausalLM\"", "key 'architectures' is \"LlamaForCausalLM\""},
    {"rope_parameters", "{\"rope_type\":\"default\",\"factor\":8}",
     "key 'rope_parameters.factor' is 8, which is not supported; expected no such key"},
    {"rope_parameters", "{\"partial_rotary_factor\":0.5}",
     "key 'rope_parameters.partial_rotary_factor' is 0.5"},
    {"rope_parameters", "{\"rope_theta\":\"x\"}", "key 'rope_theta' must be a number"},
    {"rope_parameters", "7",
     "key 'rope_parameters' is 7, which is not supported; expected an object"},
    {"rope_theta", "0", "key 'rope_theta' is 0, expected 1 to 1e+15"},
    {"rope_theta", "-10000", "key 'rope_theta' is -10000"},
    {"rope_theta", "1e300", "key 'rope_theta' is 1e+300"},
    {"rms_norm_eps", "0", "key 'rms_norm_eps' is 0, expected 1e-30 to 1"},
    {"rms_norm_eps", "\"1e-5\"", "key 'rms_norm_eps' must be a number"},
    {"rms_norm_eps", "1e999", "key 'rms_norm_eps' is inf"},
    {"tie_word_embeddings", "1", "key 'tie_word_embeddings' must be true or false"},
    {"num_hidden_layers", NULL, "key 'num_hidden_layers' is missing"},
    {"num_hidden_layers", "0", "key 'num_hidden_layers' is 0, expected 1 to 4096"},
    {"num_hidden_layers", "-1", "key 'num_hidden_layers' is -1"},
    {"num_hidden_layers", "2.5", "key 'num_hidden_layers' must be a whole number"},
    {"num_hidden_layers", "4097", "key 'num_hidden_layers' is 4097"},
    {"hidden_size", NULL, "key 'hidden_size' is missing"},
    {"hidden_size", "0", "key 'hidden_size' is 0"},
    {"hidden_size", "4294967360", "key 'hidden_size' is 4294967360, expected 1 to 1048576"},
    {"hidden_size", "\"64\"", "key 'hidden_size' must be a whole number"},
    {"hidden_size", "66", "hidden_size 66 is not a multiple of num_attention_heads 8"},
    {"hidden_size", "56", "head_dim is 7, expected an even number"},
    {"hidden_size", "4096", "head_dim is 512, expected 2 to 256"},
    {"intermediate_size", NULL, "key 'intermediate_size' is missing"},
    {"intermediate_size", "-172", "key 'intermediate_size' is -172"},
    {"intermediate_size", "1e12", "key 'intermediate_size' is 1000000000000"},
    {"num_attention_heads", NULL, "key 'num_attention_heads' is missing"},
    {"num_attention_heads", "0", "key 'num_attention_heads' is 0, expected 1 to 65536"},
    {"num_key_value_heads", "0", "key 'num_key_value_heads' is 0, expected 1 to 65536"},
    {"num_key_value_heads", "3",
     "num_attention_heads 8 is not a multiple of num_key_value_heads 3"},
    {"num_key_value_heads", "16", "not a multiple of num_key_value_heads 16"},
    {"head_dim", "0", "key 'head_dim' is 0, expected 2 to 256"},
    {"head_dim", "5", "head_dim is 5, expected an even number"},
    {"head_dim", "258", "key 'head_dim' is 258"},
    {"vocab_size", NULL, "key 'vocab_size' is missing"},
    {"vocab_size", "-512", "key 'vocab_size' is -512"},
    {"vocab_size", "1e300", "key 'vocab_size' must be a whole number"},
    {"max_position_embeddings", NULL, "key 'max_position_embeddings' is missing"},
    {"max_position_embeddings", "0", "key 'max_position_embeddings' is 0"},
    {"bos_token_id", "512", "key 'bos_token_id' is 512, expected 0 to 511"},
    {"bos_token_id", "-1", "key 'bos_token_id' is -1"},
    {"eos_token_id", "512", "key 'eos_token_id' is 512, expected 0 to 511"},
    {"eos_token_id", "[]", "key 'eos_token_id' is an empty list"},
    {"eos_token_id", "[512]", "key 'eos_token_id' must hold token ids from 0 to 511"},
    {"eos_token_id", "[\"2\"]", "key 'eos_token_id' must hold token ids"},
    {"strata_exits", "[0,2]", "strata_exits' must be a list of at most 128 depths"},
    {"strata_exits", "[2,2]",
     "strata_exits holds 2 behind 2, expected ascending depths from 1 to 5"},
    {"strata_exits", "[3,1]", "strata_exits holds 1 behind 3"},
    {"strata_exits", "[1,6]", "strata_exits holds 6 behind 1"},
    {"strata_exits", "[1.5]", "strata_exits' must be a list"},
    {"strata_exits", "{\"a\":1}", "strata_exits' must be a list"},
};

static void refuses_bad_keys(void **state)
{
    (void)state;
    LlamaConfig config;
    Error err;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        if (load_changed(&config, BAD[i][0], BAD[i][1], &err))
            fail_msg("%s = %s was accepted", BAD[i][0], BAD[i][1] ? BAD[i][1] : "(absent)");
        assert_error(err, BAD[i][2]);
        assert_error(err, test_path(own_folder.text, "config.json: ").text);
    }
}

static void refuses_contradictory_theta(void **state)
{
    (void)state;
    LlamaConfig config;
    Error err;
    static const char *const FORM = "{\"rope_theta\":%s,\"rope_parameters\":{\"rope_theta\":2e4},";
    char text[1024];
    snprintf(text, sizeof text, FORM, "1e4");
    strcat(text, BASE + 1);
    test_write_text(&own_folder, "config.json", text);
    assert_false(config_load(&config, own_folder.text, &err));
    assert_error(err, "key 'rope_theta' is 10000 but 'rope_parameters.rope_theta' is 20000");
    snprintf(text, sizeof text, FORM, "2e4");
    strcat(text, BASE + 1);
    test_write_text(&own_folder, "config.json", text);
    assert_true(config_load(&config, own_folder.text, &err));
    assert_true(config.rope_theta == 20000);
}

static void refuses_bad_files(void **state)
{
    (void)state;
    static const char *const TEXTS[][2] = {
        {"", "config.json: not JSON: syntax error"},
        {"[]", "config.json: is not a JSON object"},
        {"{\"hidden_size\":64,}", "config.json: not JSON: syntax error"},
        {"{\"hidden_size\":64,\"hidden_size\":65}", "key 'hidden_size' stands twice in one object"},
        {"{} x", "unexpected text behind the value at byte 3"},
        {"{\"a\":\"\xff\"}", "invalid UTF-8 at byte 6"},
        {"{\"model_type\":\"llama\\u0000x\"}", "control character at byte 20"},
        {"{\"a\":\"\x01\"}", "control character at byte 6"},
    };
    LlamaConfig config;
    Error err;
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        test_write_text(&own_folder, "config.json", TEXTS[i][0]);
        assert_false(config_load(&config, own_folder.text, &err));
        assert_error(err, TEXTS[i][1]);
    }
    test_write(&own_folder, "config.json", "{\"a\":\"x\0y\"}", 11);
    assert_false(config_load(&config, own_folder.text, &err));
    assert_error(err, "control character at byte 7");
    unlink(test_path(own_folder.text, "config.json").text);
    assert_false(config_load(&config, own_folder.text, &err));
    assert_error(err, "config.json: cannot open: No such file");
    // An escaped backslash before u0000 is no escape of its own.
    assert_true(load_changed(&config, "note", "\"\\\\u0000\"", &err));
}

// Every length of a real file, and every bit of it: errs or loads, never worse.
static void survives_damage(void **state)
{
    (void)state;
    LlamaConfig config;
    Error err;
    size_t size = sizeof BASE - 1;
    for (size_t length = 0; length < size; length++) {
        test_write(&own_folder, "config.json", BASE, length);
        assert_false(config_load(&config, own_folder.text, &err));
    }
    char damaged[sizeof BASE];
    size_t loaded = 0;
    for (size_t bit = 0; bit < 8 * size; bit++) {
        memcpy(damaged, BASE, sizeof BASE);
        damaged[bit / 8] = (char)(damaged[bit / 8] ^ 1 << bit % 8);
        test_write(&own_folder, "config.json", damaged, size);
        if (!config_load(&config, own_folder.text, &err)) continue;
        assert_true(config_check(&config, "damaged", &err));
        loaded++;
    }
    assert_in_range(loaded, 1, 8 * size / 4); // a digit or an optional key may change
}

static void round_trips(void **state)
{
    (void)state;
    LlamaConfig written = sample(), read;
    Error err;
    assert_true(config_save(&written, own_folder.text, &err));
    assert_true(config_load(&read, own_folder.text, &err));
    assert_same(&read, &written);
    written.exit_count = 0;
    memset(written.exits, 0, sizeof written.exits);
    written.tied = false;
    written.norm_epsilon = 0.1 + 0.2; // needs all 17 digits
    assert_true(config_save(&written, own_folder.text, &err));
    assert_true(config_load(&read, own_folder.text, &err));
    assert_same(&read, &written);
    assert_int_equal(test_folder_count(own_folder.text), 1);
}

static void writes_what_transformers_wants(void **state)
{
    (void)state;
    LlamaConfig config = sample();
    config.rope_theta = 10000;
    Error err;
    assert_true(config_save(&config, own_folder.text, &err));
    size_t size;
    char *text = test_read(test_path(own_folder.text, "config.json").text, &size);
    static const char *const LINES[] = {
        "\"model_type\":\t\"llama\"",
        "\"architectures\":\t[\"LlamaForCausalLM\"]",
        "\"torch_dtype\":\t\"float32\"",
        "\"hidden_act\":\t\"silu\"",
        "\"initializer_range\":\t0.02",
        "\"use_cache\":\ttrue",
        "\"bos_token_id\":\t7",
        "\"eos_token_id\":\t299",
        "\"hidden_size\":\t48",
        "\"num_key_value_heads\":\t2",
        "\"head_dim\":\t10",
        "\"rope_theta\":\t10000.0",
        "\"rope_scaling\":\tnull",
        "\"attention_bias\":\tfalse",
        "\"mlp_bias\":\tfalse",
        "\"tie_word_embeddings\":\ttrue",
        "\"rms_norm_eps\":\t1.1e-06",
        "\"strata_exits\":\t[1, 3, 4]",
        "\"max_position_embeddings\":\t77",
        "\"attention_dropout\":\t0.0",
    };
    for (size_t i = 0; i < sizeof LINES / sizeof LINES[0]; i++)
        if (!strstr(text, LINES[i])) fail_msg("config.json lacks %s", LINES[i]);
    free(text);
}

// One wrong field each, set in a good config.
static void checks_fields(void **state)
{
    (void)state;
    Error err;
    LlamaConfig config = sample();
    assert_true(config_check(&config, "here", &err));
    config.exits[1] = 1;
    assert_false(config_save(&config, own_folder.text, &err));
    assert_error(err, "config.json: strata_exits holds 1 behind 1");
    assert_int_equal(test_folder_count(own_folder.text), 0);
    config = sample();
    config.exit_count = CONFIG_MAX_EXITS + 1;
    assert_false(config_check(&config, "here", &err));
    assert_error(err, "here: strata_exits holds 129 depths, expected at most 128");
    config = sample();
    config.norm_epsilon = NAN;
    assert_false(config_check(&config, "here", &err));
    assert_error(err, "here: rms_norm_eps is nan");
    config = sample();
    config.rope_theta = INFINITY;
    assert_false(config_check(&config, "here", &err));
    assert_error(err, "here: rope_theta is inf");
    config = sample();
    config.eos[0] = 300;
    assert_false(config_check(&config, "here", &err));
    assert_error(err, "here: eos_token_id is 300, expected 0 to 299");
    config = sample();
    config.bos = 300;
    assert_false(config_check(&config, "here", &err));
    assert_error(err, "here: bos_token_id is 300, expected 0 to 299");
    config = sample();
    config.kv_heads = 0;
    assert_false(config_check(&config, "here", &err));
    assert_error(err, "here: num_key_value_heads is 0, expected 1 to 65536");
}

static void checks_products(void **state)
{
    (void)state;
    Error err;
    LlamaConfig config = sample();
    config.width = 1 << 20;
    config.vocab_size = 4096;
    assert_false(config_check(&config, "here", &err));
    assert_error(err, "here: vocab_size * hidden_size is 4294967296, expected at most 4294967295");
    config.vocab_size = 300;
    config.hidden = 4096;
    assert_false(config_check(&config, "here", &err));
    assert_error(err, "here: intermediate_size * hidden_size is 4294967296");
    config.hidden = 100;
    config.heads = 512;
    assert_false(config_check(&config, "here", &err));
    assert_error(err, "here: num_attention_heads * head_dim * hidden_size is 5368709120");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_stories),     TEST(reads_llama2_13b),
        TEST(fills_defaults),    TEST(accepts_variants),
        TEST(refuses_bad_keys),  TEST(refuses_contradictory_theta),
        TEST(refuses_bad_files), TEST(survives_damage),
        TEST(round_trips),       TEST(writes_what_transformers_wants),
        TEST(checks_fields),     TEST(checks_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
