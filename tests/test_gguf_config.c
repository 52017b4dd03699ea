// The config that a GGUF file's keys state: what each key becomes, defaults, LLaMA 3's factors as a
// scaling, names of tensors; and what is refused by which message.
#include "model/gguf_model.h"
#include "model/gguf_write.h"
#include "model/weight_files.h"
#include "support/files.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

// ---- files -------------------------------------------------------------------------------------

// A file that is being described: the sizes of a LLaMA, with what a test changes.
typedef struct {
    const char *arch;
    const char *without;                                // key that is left out
    void (*more)(GgufWriter *writer, const char *arch); // further keys
    const char *tensor;                                 // one more tensor [2, 4]
    const float *factors;                               // (factor_count) rope_freqs.weight
    uint64_t factor_count;
    float theta;
} Sample;

static void put(GgufWriter *w, const Sample *s, const char *name, uint32_t value)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", s->arch, name);
    if (!s->without || strcmp(key, s->without) != 0) gguf_put_u32(w, key, value);
}

static void put_real(GgufWriter *w, const Sample *s, const char *name, float value)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", s->arch, name);
    if (!s->without || strcmp(key, s->without) != 0) gguf_put_f32(w, key, value);
}

static void put_keys(GgufWriter *w, const Sample *s)
{
    if (!s->without || strcmp(s->without, "general.architecture") != 0)
        gguf_put_text(w, "general.architecture", s->arch, strlen(s->arch));
    put(w, s, "block_count", 3);
    put(w, s, "embedding_length", 64);
    put(w, s, "feed_forward_length", 172);
    put(w, s, "attention.head_count", 4);
    put(w, s, "attention.head_count_kv", 2);
    put(w, s, "context_length", 512);
    put_real(w, s, "attention.layer_norm_rms_epsilon", 1e-5f);
    if (s->theta > 0) put_real(w, s, "rope.freq_base", s->theta);
    if (s->more) s->more(w, s->arch);
}

static TestPath write_sample(const Sample *s)
{
    Error err;
    static const float zeros[64 * 10] = {0};
    TestPath path = test_path(own_folder.text, "x.gguf");
    GgufWriter *w = gguf_create(path.text, &err);
    assert_non_null(w);
    put_keys(w, s);
    assert_true(gguf_declare(w, "token_embd.weight", DTYPE_F32, 2, (uint64_t[]){10, 64}, &err));
    if (s->tensor) assert_true(gguf_declare(w, s->tensor, DTYPE_F32, 2, (uint64_t[]){2, 4}, &err));
    if (s->factors)
        assert_true(gguf_declare(w, "rope_freqs.weight", DTYPE_F32, 1, &s->factor_count, &err));
    assert_true(gguf_begin_data(w, &err));
    gguf_put_data(w, zeros, sizeof zeros);
    if (s->tensor) gguf_put_data(w, zeros, 32);
    if (s->factors) gguf_put_data(w, s->factors, s->factor_count * sizeof *s->factors);
    if (!gguf_commit(w, &err)) fail_msg("%s", err.text);
    return path;
}

static LlamaConfig read_sample(const Sample *s)
{
    Error err;
    LlamaConfig config;
    TestPath path = write_sample(s);
    if (!model_config_load(&config, path.text, &err)) fail_msg("%s", err.text);
    return config;
}

static void check_refused(const Sample *s, const char *part)
{
    Error err = {""};
    LlamaConfig config;
    TestPath path = write_sample(s);
    assert_false(model_config_load(&config, path.text, &err));
    assert_error(err, part);
    assert_error(err, "x.gguf");
}

// ---- keys --------------------------------------------------------------------------------------

static void reads_llama(void **state)
{
    (void)state;
    LlamaConfig c = read_sample(&(Sample){"llama"});
    assert_int_equal(c.kind, KIND_LLAMA);
    assert_int_equal(c.blocks, 3);
    assert_int_equal(c.width, 64);
    assert_int_equal(c.hidden, 172);
    assert_int_equal(c.heads, 4);
    assert_int_equal(c.kv_heads, 2);
    assert_int_equal(c.head_size, 16);
    assert_int_equal(c.vocab_size, 10);
    assert_int_equal(c.context, 512);
    assert_true(c.norm_epsilon == 1e-5); // and not what the f32 nearest to it is as a double
    assert_true(c.rope_theta == 10000);
    assert_true(c.tied);
    assert_false(c.qkv_bias || c.o_bias || c.mlp_bias);
    assert_int_equal(c.rope.kind, ROPE_DEFAULT);
    assert_int_equal(c.exit_count, 0);
    c = read_sample(&(Sample){"llama", .without = "llama.attention.head_count_kv"});
    assert_int_equal(c.kv_heads, 4);
    c = read_sample(&(Sample){"qwen2", .theta = 1e6f});
    assert_int_equal(c.kind, KIND_QWEN2);
    assert_true(c.qkv_bias && !c.o_bias && c.rope_theta == 1e6);
    c = read_sample(&(Sample){"qwen3"});
    assert_int_equal(c.kind, KIND_QWEN3);
    assert_true(c.qk_norm && !c.qkv_bias && !c.o_bias);
    c = read_sample(&(Sample){"llama", .tensor = "output.weight"});
    assert_false(c.tied);
}

static void put_head_size(GgufWriter *w, const char *arch)
{
    (void)arch;
    gguf_put_u32(w, "llama.attention.key_length", 24);
    gguf_put_u32(w, "llama.attention.value_length", 24);
    gguf_put_u32(w, "llama.rope.dimension_count", 24);
}

static void put_linear(GgufWriter *w, const char *arch)
{
    (void)arch;
    gguf_put_text(w, "llama.rope.scaling.type", "linear", 6);
    gguf_put_f32(w, "llama.rope.scaling.factor", 2.4f);
}

static void put_old_linear(GgufWriter *w, const char *arch)
{
    (void)arch;
    gguf_put_f32(w, "llama.rope.scale_linear", 4);
}

static void put_no_scaling(GgufWriter *w, const char *arch)
{
    (void)arch;
    gguf_put_text(w, "llama.rope.scaling.type", "none", 4);
    gguf_put_u32(w, "llama.expert_count", 0);
}

static void put_window(GgufWriter *w, const char *arch)
{
    (void)arch;
    gguf_put_u32(w, "llama.attention.sliding_window", 100);
}

static void put_tokens(GgufWriter *w, const char *arch)
{
    (void)arch;
    gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 3);
    gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 4);
    gguf_put_u32(w, "tokenizer.ggml.eot_token_id", 5);
}

static void reads_further_keys(void **state)
{
    (void)state;
    LlamaConfig c = read_sample(&(Sample){"llama", .more = put_head_size});
    assert_int_equal(c.head_size, 24);
    c = read_sample(&(Sample){"llama", .more = put_linear});
    assert_int_equal(c.rope.kind, ROPE_LINEAR);
    assert_true(c.rope.factor == 2.4);
    c = read_sample(&(Sample){"llama", .more = put_old_linear});
    assert_int_equal(c.rope.kind, ROPE_LINEAR);
    assert_true(c.rope.factor == 4);
    c = read_sample(&(Sample){"llama", .more = put_no_scaling});
    assert_int_equal(c.rope.kind, ROPE_DEFAULT);
    c = read_sample(&(Sample){"llama", .more = put_window});
    assert_int_equal(c.window, 100);
    c = read_sample(&(Sample){"llama", .more = put_tokens});
    assert_int_equal(c.bos, 3);
    assert_int_equal(c.eos_count, 2);
    assert_int_equal(c.eos[0], 4);
    assert_int_equal(c.eos[1], 5);
}

// ---- LLaMA 3's factors -------------------------------------------------------------------------

// As converters compute them: in f32, and by another order of operations than gguf_rope.c's.
static void converter_factors(float *out, float theta, int size, float factor, float context)
{
    for (int j = 0; j < size / 2; j++) {
        float frequency = 1.0f / powf(theta, (float)(2 * j) / (float)size);
        float wavelength = 2 * 3.14159265f / frequency;
        float smooth = (context / wavelength - 1) / 3;
        if (wavelength < context / 4)
            out[j] = 1;
        else if (wavelength > context)
            out[j] = factor;
        else
            out[j] = 1 / ((1 - smooth) / factor + smooth);
    }
}

static void put_wide_head(GgufWriter *w, const char *arch)
{
    (void)arch;
    gguf_put_u32(w, "llama.attention.key_length", 128);
}

static void fits_factors(void **state)
{
    (void)state;
    static const struct {
        float factor, context;
    } models[] = {{8, 8192}, {32, 8192}, {16, 4096}};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        float factors[64];
        converter_factors(factors, 500000, 128, models[i].factor, models[i].context);
        LlamaConfig c = read_sample(
            &(Sample){"llama", NULL, put_wide_head, NULL, factors, 64, .theta = 500000});
        assert_int_equal(c.rope.kind, ROPE_LLAMA3);
        assert_true(c.rope.factor == (double)models[i].factor);
        assert_true(c.rope.original == (double)models[i].context);
        assert_true(c.rope.low == 1 && c.rope.high == 4);
        for (uint32_t j = 0; j < 64; j++) {
            double expected = pow(500000, -2.0 * j / 128) / (double)factors[j];
            assert_true(fabs(config_rope_frequency(&c, j) - expected) <= 2e-6 * expected);
        }
    }
}

static void put_wide_and_linear(GgufWriter *w, const char *arch)
{
    put_wide_head(w, arch);
    put_linear(w, arch);
}

static void refuses_factors(void **state)
{
    (void)state;
    float factors[64];
    for (int j = 0; j < 64; j++) factors[j] = 1;
    Sample s = {"llama", NULL, put_wide_head, NULL, factors, 64, .theta = 500000};
    assert_int_equal(read_sample(&s).rope.kind, ROPE_DEFAULT);
    converter_factors(factors, 500000, 128, 8, 8192);
    s.more = put_wide_and_linear;
    check_refused(&s, "'llama.rope.scaling.type' is linear beside 'rope_freqs.weight'");
    s.more = put_wide_head;
    s.factor_count = 63;
    check_refused(&s, "'rope_freqs.weight' must be F32 of shape [64]");
    s.factor_count = 64;
    static const float wrong[] = {7.9f, 0, -1, NAN, INFINITY};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        for (int j = 0; j < 64; j += 63) {
            converter_factors(factors, 500000, 128, 8, 8192);
            factors[j] = wrong[i];
            check_refused(&s, "factors that no rope_scaling of kind llama3 gives");
        }
}

// ---- refused -----------------------------------------------------------------------------------

static void refuses_missing_keys(void **state)
{
    (void)state;
    static const char *const keys[] = {"general.architecture",
                                       "llama.block_count",
                                       "llama.embedding_length",
                                       "llama.feed_forward_length",
                                       "llama.attention.head_count",
                                       "llama.context_length",
                                       "llama.attention.layer_norm_rms_epsilon"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char part[96];
        snprintf(part, sizeof part, "key '%s' is missing", keys[i]);
        check_refused(&(Sample){"llama", .without = keys[i]}, part);
    }
    check_refused(&(Sample){"gemma2"}, "'general.architecture' is 'gemma2', expected 'llama'");
}

static void put_odd_heads(GgufWriter *w, const char *arch)
{
    (void)arch;
    gguf_put_u32(w, "llama.attention.key_length", 15);
}

static void put_other_values(GgufWriter *w, const char *arch)
{
    (void)arch;
    gguf_put_u32(w, "llama.attention.value_length", 32);
}

static void put_partial_rope(GgufWriter *w, const char *arch)
{
    (void)arch;
    gguf_put_u32(w, "llama.rope.dimension_count", 8);
}

static void put_experts(GgufWriter *w, const char *arch)
{
    (void)arch;
    gguf_put_u32(w, "llama.expert_count", 8);
}

static void put_yarn(GgufWriter *w, const char *arch)
{
    (void)arch;
    gguf_put_text(w, "llama.rope.scaling.type", "yarn", 4);
    gguf_put_f32(w, "llama.rope.scaling.factor", 4);
}

static void put_scale(GgufWriter *w, const char *arch)
{
    (void)arch;
    gguf_put_f32(w, "llama.logit_scale", 0.5f);
}

static void put_layered(GgufWriter *w, const char *arch)
{
    (void)arch;
    gguf_put_array(w, "llama.block_count", GGUF_U32, 1);
    gguf_put_elements(w, &(uint32_t){3}, 4);
}

static void put_exits(GgufWriter *w, const char *arch)
{
    (void)arch;
    gguf_put_array(w, "strata.exits", GGUF_U32, 2);
    gguf_put_elements(w, (uint32_t[]){2, 4}, 8);
}

static void refuses_keys(void **state)
{
    (void)state;
    check_refused(&(Sample){"llama", .more = put_odd_heads}, "heads of 15 values");
    check_refused(&(Sample){"llama", .more = put_other_values}, "value_length");
    check_refused(&(Sample){"llama", .more = put_partial_rope},
                  "'llama.rope.dimension_count' is 8, expected 16 to 16");
    check_refused(&(Sample){"llama", .more = put_experts}, "'llama.expert_count' is 8");
    check_refused(&(Sample){"llama", .more = put_yarn}, "yarn");
    check_refused(&(Sample){"llama", .more = put_scale}, "'llama.logit_scale' is 0.5");
    check_refused(&(Sample){"llama", .without = "llama.block_count", .more = put_layered},
                  "key 'llama.block_count' is an array of u32, expected an integer");
    check_refused(&(Sample){"llama", .more = put_exits}, "strata_exits");
    check_refused(&(Sample){"llama", .tensor = "blk.0.attn_q.bias"},
                  "'blk.0.attn_output.bias' is missing");
    check_refused(&(Sample){"qwen2", .tensor = "blk.0.attn_output.bias"}, "none of qwen2");
}

// ---- tensors -----------------------------------------------------------------------------------

static void refuses_tensors(void **state)
{
    (void)state;
    static const char *const wrong[] = {"blk.0.attn_sub_norm.weight",
                                        "blk.0.ffn_gate_inp.weight",
                                        "blk.00.attn_q.weight",
                                        "blk.attn_q.weight",
                                        "blk.0.attn_q",
                                        "rope_freqs",
                                        "blk.9999999.attn_q.weight"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Error err = {""};
        WeightFiles files;
        TestPath path = write_sample(&(Sample){"llama", .tensor = wrong[i]});
        assert_false(weight_files_open(&files, path.text, &err));
        assert_error(err, wrong[i]);
    }
    Error err = {""};
    WeightFiles files;
    TestPath path = write_sample(&(Sample){"llama", .tensor = "blk.0.attn_q.weight"});
    assert_false(weight_files_open(&files, path.text, &err));
    assert_error(err, "'blk.0.attn_q.weight' has 2 rows, expected a multiple of the head size 16");
    path = write_sample(&(Sample){"llama", .tensor = "blk.0.ffn_up.weight"});
    assert_true(weight_files_open(&files, path.text, &err));
    assert_null(weight_files_expect(&files, "model.layers.0.mlp.up_proj.weight", 4, 2, &err));
    assert_error(err, "tensor 'blk.0.ffn_up.weight' has shape [2, 4], expected [4, 2]");
    assert_null(weight_files_expect(&files, "lm_head.weight", 4, 2, &err));
    assert_error(err, "tensor 'lm_head.weight' is missing");
    weight_files_close(&files);
}

static void names_tensors(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"token_embd.weight", "model.embed_tokens.weight"},
        {"output_norm.weight", "model.norm.weight"},
        {"output.weight", "lm_head.weight"},
        {"blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight"},
        {"blk.12.attn_q.weight", "model.layers.12.self_attn.q_proj.weight"},
        {"blk.12.attn_k.bias", "model.layers.12.self_attn.k_proj.bias"},
        {"blk.1.attn_v.weight", "model.layers.1.self_attn.v_proj.weight"},
        {"blk.1.attn_q_norm.weight", "model.layers.1.self_attn.q_norm.weight"},
        {"blk.1.attn_k_norm.weight", "model.layers.1.self_attn.k_norm.weight"},
        {"blk.1.attn_output.weight", "model.layers.1.self_attn.o_proj.weight"},
        {"blk.1.ffn_norm.weight", "model.layers.1.post_attention_layernorm.weight"},
        {"blk.1.ffn_gate.weight", "model.layers.1.mlp.gate_proj.weight"},
        {"blk.1.ffn_up.weight", "model.layers.1.mlp.up_proj.weight"},
        {"blk.1.ffn_down.weight", "model.layers.1.mlp.down_proj.weight"},
        {"strata.exits.3.norm.weight", "strata.exits.3.norm.weight"},
        {"strata.exits.3.lm_head.weight", "strata.exits.3.lm_head.weight"},
    };
    char name[GGUF_HF_NAME];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_true(gguf_name_to_hf(name, names[i][0]));
        assert_string_equal(name, names[i][1]);
        assert_true(gguf_name_from_hf(name, names[i][1]));
        assert_string_equal(name, names[i][0]);
    }
    assert_false(gguf_name_from_hf(name, "model.layers.0.self_attn.rotary_emb.inv_freq"));
    assert_true(gguf_is_turned("blk.7.attn_q.weight") && gguf_is_turned("blk.7.attn_k.bias"));
    assert_false(gguf_is_turned("blk.7.attn_q_norm.weight"));
    assert_false(gguf_is_turned("blk.7.attn_v.weight") || gguf_is_turned("attn_q.weight"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_llama),     TEST(reads_further_keys), TEST(fits_factors),
        TEST(refuses_factors), TEST(refuses_keys),       TEST(refuses_missing_keys),
        TEST(refuses_tensors), TEST(names_tensors),
    };
    return cmocka_run_group_tests_name("gguf_config", tests, NULL, NULL);
}
