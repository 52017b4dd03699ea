// Models loaded from GGUF files: logits to the bit those of the folder that the file was made from,
// in floats and in every type of blocks; what is stored on the device, and the progress of loading.
// Conversion without a device is in test_gguf_convert.c.
#include "base/quant.h"
#include "infer/session.h"
#include "model/export.h"
#include "model/gguf_convert.h"
#include "model/gguf_write.h"
#include "model/weight_files.h"
#include "support/device.h"
#include "support/models.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 30 };

// ---- what the tests share ----------------------------------------------------------------------

static Llama load_as(const char *path, Dtype dtype)
{
    Llama model;
    Error err;
    if (!llama_load_as(&model, device, path, dtype, &err)) fail_msg("%s", err.text);
    return model;
}

// Logits of every token of a prompt, (TOKENS, V), malloc'ed.
static float *logits_of(Llama *model)
{
    uint32_t tokens[TOKENS], vocab = model->config.vocab_size;
    float *logits = malloc((size_t)TOKENS * vocab * sizeof *logits);
    Error err;
    Session *session = session_open(model, TOKENS, &err);
    if (!session || !logits) fail_msg("%s", err.text);
    for (uint32_t i = 0; i < TOKENS; i++) tokens[i] = (i * 37 + 11) % vocab;
    if (!session_feed(session, tokens, TOKENS, model->config.blocks, TOKENS, logits, &err))
        fail_msg("%s", err.text);
    session_close(session);
    return logits;
}

// Both models, stored as those dtypes, have the same logits to the bit.
static void check_same_logits(const char *a, Dtype dtype_a, const char *b, Dtype dtype_b)
{
    Llama left = load_as(a, dtype_a), right = load_as(b, dtype_b);
    float *x = logits_of(&left), *y = logits_of(&right);
    assert_memory_equal(x, y, (size_t)TOKENS * left.config.vocab_size * sizeof *x);
    free(x);
    free(y);
    llama_free(&left);
    llama_free(&right);
}

static TestPath to_gguf(const char *folder, Dtype dtype)
{
    Error err;
    TestPath path = test_path(own_folder.text, "model.gguf");
    if (!gguf_from_folder(path.text, folder, dtype, &err)) fail_msg("%s", err.text);
    return path;
}

static TestPath write_model(const LlamaConfig *config)
{
    TestPath folder = test_path(own_folder.text, "model");
    model_write(folder.text, config, 9);
    return folder;
}

// ---- floats ------------------------------------------------------------------------------------

static void check_floats(const LlamaConfig *config)
{
    TestPath folder = write_model(config), file = to_gguf(folder.text, DTYPE_COUNT);
    check_same_logits(folder.text, DTYPE_F32, file.text, DTYPE_F32);
    check_same_logits(folder.text, DTYPE_F32, file.text, LLAMA_STORED);
    test_folder_remove(&folder);
}

static void logits_of_kinds(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    check_floats(&config);
    config.tied = false;
    config.qkv_bias = config.o_bias = config.mlp_bias = true;
    check_floats(&config);
    config = small_config();
    config.kind = KIND_QWEN2;
    config.qkv_bias = true;
    check_floats(&config);
    config = small_config();
    config.kind = KIND_QWEN3;
    config.qk_norm = true;
    check_floats(&config);
    config = small_config();
    config.kind = KIND_MISTRAL;
    config.window = 7;
    check_floats(&config);
    config = small_config();
    config.rope = (RopeScaling){ROPE_LLAMA3, 8, 1, 4, 64};
    check_floats(&config);
}

static void logits_of_halves(void **state)
{
    (void)state;
    static const Dtype dtypes[] = {DTYPE_F16, DTYPE_BF16};
    LlamaConfig config = small_config();
    TestPath folder = write_model(&config), out = test_path(own_folder.text, "half");
    for (int i = 0; i < 2; i++) {
        Error err;
        const ExportOptions options = {config.blocks, dtypes[i], EXPORT_SHARD_SIZE};
        if (!model_export(out.text, folder.text, &options, &err)) fail_msg("%s", err.text);
        TestPath file = to_gguf(out.text, DTYPE_COUNT);
        check_same_logits(out.text, DTYPE_F32, file.text, DTYPE_F32);
        check_same_logits(out.text, DTYPE_F32, file.text, LLAMA_STORED);
        Llama model = load_as(file.text, LLAMA_STORED);
        assert_int_equal(model.blocks[1].q.dtype, dtypes[i]);
        assert_int_equal(model.norm.dtype, DTYPE_F32);
        llama_free(&model);
        test_folder_remove(&out);
    }
}

static void logits_of_stories(void **state)
{
    (void)state;
    TestPath folder = test_data("stories260K"), file = to_gguf(folder.text, DTYPE_COUNT);
    check_same_logits(folder.text, DTYPE_F32, file.text, DTYPE_F32);
}

// ---- blocks ------------------------------------------------------------------------------------

// Rows of 256 values everywhere, so that every type of blocks fits.
static LlamaConfig wide_config(void)
{
    LlamaConfig config = small_config();
    config.blocks = 2;
    config.width = config.hidden = 256;
    config.head_size = 64;
    return config;
}

static void logits_of_rounded_blocks(void **state)
{
    (void)state;
    static const Dtype dtypes[] = {DTYPE_Q8_0, DTYPE_Q4_0};
    LlamaConfig config = wide_config();
    TestPath folder = write_model(&config);
    for (int i = 0; i < 2; i++) {
        TestPath file = to_gguf(folder.text, dtypes[i]);
        check_same_logits(folder.text, dtypes[i], file.text, LLAMA_STORED);
        check_same_logits(file.text, DTYPE_F32, file.text, LLAMA_STORED);
        Llama model = load_as(file.text, LLAMA_STORED);
        assert_int_equal(model.blocks[1].k.dtype, dtypes[i]);
        assert_int_equal(model.embed.dtype, dtypes[i]);
        llama_free(&model);
    }
}

// Blocks of any content but for scales that keep the values small; llama.cpp is what makes such.
static void fill_blocks(uint8_t *blocks, uint64_t size, Dtype dtype)
{
    static const uint8_t small[2] = {0x40, 0x08}; // 2^-13 and a bit, as f16
    uint64_t block = dtype_bytes(dtype, dtype_block(dtype)), at = dtype == DTYPE_Q6_K ? 208 : 0;
    for (uint64_t i = 0; i < size; i++) blocks[i] = (uint8_t)(i * 2654435761u >> 13);
    for (uint64_t i = 0; i < size; i += block) {
        memcpy(blocks + i + at, small, 2);
        if (dtype == DTYPE_Q4_K) memcpy(blocks + i + 2, small, 2);
    }
}

// The file's model with every matrix in blocks of that dtype.
static TestPath with_blocks(const char *path, Dtype dtype)
{
    Error err;
    Gguf file;
    TestPath out = test_path(own_folder.text, dtype_name(dtype));
    assert_true(gguf_open(&file, path, &err));
    GgufWriter *w = gguf_create(out.text, &err);
    assert_non_null(w);
    static const char *const sizes[] = {
        "llama.context_length",      "llama.embedding_length",     "llama.block_count",
        "llama.feed_forward_length", "llama.attention.head_count", "llama.attention.head_count_kv",
        "llama.attention.key_length"};
    gguf_put_text(w, "general.architecture", "llama", 5);
    gguf_put_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t value;
        assert_true(gguf_int(&value, &file, sizes[i], 0, UINT32_MAX, &err));
        gguf_put_u32(w, sizes[i], (uint32_t)value);
    }
    for (size_t i = 0; i < file.tensor_count; i++) {
        const GgufTensor *t = &file.tensors[i];
        assert_true(
            gguf_declare(w, t->name, t->rank == 2 ? dtype : t->dtype, t->rank, t->shape, &err));
    }
    assert_true(gguf_begin_data(w, &err));
    for (size_t i = 0; i < file.tensor_count; i++) {
        const GgufTensor *t = &file.tensors[i];
        uint64_t size = t->rank == 2 ? dtype_bytes(dtype, t->size / 4) : t->size;
        uint8_t *data = malloc(size);
        memcpy(data, t->data, t->rank == 2 ? 0 : size);
        if (t->rank == 2) fill_blocks(data, size, dtype);
        gguf_put_data(w, data, size);
        free(data);
    }
    if (!gguf_commit(w, &err)) fail_msg("%s", err.text);
    gguf_close(&file);
    return out;
}

// Rows of q and k are turned as whole rows of blocks: the way through a folder of F32 turns values.
static void logits_of_foreign_blocks(void **state)
{
    (void)state;
    static const Dtype dtypes[] = {DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q4_K, DTYPE_Q6_K};
    LlamaConfig config = wide_config();
    TestPath folder = write_model(&config), plain = to_gguf(folder.text, DTYPE_COUNT);
    for (int i = 0; i < 4; i++) {
        TestPath file = with_blocks(plain.text, dtypes[i]);
        Llama model = load_as(file.text, LLAMA_STORED), decoded = load_as(file.text, DTYPE_F32);
        assert_int_equal(model.blocks[0].q.dtype, dtypes[i]);
        WeightFiles files;
        Error err;
        assert_true(weight_files_open(&files, file.text, &err));
        float *values = malloc(256 * 256 * sizeof *values), *found = download(decoded.blocks[1].q);
        assert_true(weight_files_read(&files, "model.layers.1.self_attn.q_proj.weight", 256, 256,
                                      values, &err));
        assert_memory_equal(values, found, 256 * 256 * sizeof *values);
        free(values);
        free(found);
        weight_files_close(&files);
        float *a = logits_of(&model), *b = logits_of(&decoded);
        assert_memory_equal(a, b, (size_t)TOKENS * config.vocab_size * sizeof *a);
        free(a);
        free(b);
        llama_free(&model);
        llama_free(&decoded);
    }
}

// ---- progress ----------------------------------------------------------------------------------

typedef struct {
    uint64_t done, all, calls;
} Progress;

static void note(void *user, uint64_t done, uint64_t all)
{
    Progress *p = user;
    assert_true(done > p->done && done <= all && (!p->all || all == p->all));
    *p = (Progress){done, all, p->calls + 1};
}

static void tells_progress(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    config.hidden = 40000; // matrices of more than one stretch
    config.blocks = 1;
    TestPath folder = write_model(&config);
    static const Dtype dtypes[] = {DTYPE_F32, LLAMA_STORED, DTYPE_Q8_0};
    for (int i = 0; i < 3; i++) {
        Error err;
        Llama model;
        Progress p = {0};
        if (!llama_load_with(&model, device, folder.text, &(LoadOptions){dtypes[i], note, &p},
                             &err))
            fail_msg("%s", err.text);
        assert_int_equal(p.all, 4 * config_parameters(&config));
        assert_int_equal(p.done, p.all);
        assert_true(p.calls > llama_parameter_count(&config));
        llama_free(&model);
    }
}

// ---- refused -----------------------------------------------------------------------------------

static void refuses_files_without_tensors(void **state)
{
    (void)state;
    Llama model;
    Error err = {""};
    uint64_t used = gpu_memory_used(device);
    const char *path = test_data("tokenizers/vectors/ggml-vocab-llama-spm.gguf").text;
    assert_false(llama_load(&model, device, path, &err));
    assert_error(err, "'token_embd.weight' is missing");
    LlamaConfig config = small_config();
    TestPath folder = write_model(&config), file = to_gguf(folder.text, DTYPE_COUNT);
    size_t size;
    char *bytes = test_read(file.text, &size);
    for (size_t i = 0; i + 22 < size; i++)
        if (!memcmp(bytes + i, "blk.2.ffn_up.weight", 19)) bytes[i + 4] = '7';
    TestPath other = test_write(&own_folder, "other.gguf", bytes, size);
    free(bytes);
    assert_false(llama_load(&model, device, other.text, &err));
    assert_error(err, "tensor 'model.layers.2.mlp.up_proj.weight' is missing");
    config.qkv_bias = config.o_bias = true;
    test_folder_remove(&folder);
    folder = write_model(&config);
    file = to_gguf(folder.text, DTYPE_COUNT);
    bytes = test_read(file.text, &size);
    for (size_t i = 0; i + 22 < size; i++) // the first block looks as if there were no biases
        if (!memcmp(bytes + i, "blk.0.attn_q.bias", 17) ||
            !memcmp(bytes + i, "blk.0.attn_output.bias", 22))
            bytes[i + 4] = '7';
    other = test_write(&own_folder, "other.gguf", bytes, size);
    free(bytes);
    assert_false(llama_load(&model, device, other.text, &err));
    assert_error(err, ".bias' is none that its keys speak of");
    assert_false(gguf_to_folder(test_path(own_folder.text, "out").text, other.text, DTYPE_COUNT,
                                EXPORT_SHARD_SIZE, &err));
    assert_error(err, ".bias' is none that its keys speak of");
    assert_int_equal(gpu_memory_used(device), used);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(logits_of_kinds),
        TEST(logits_of_halves),
        TEST(logits_of_stories),
        TEST(logits_of_rounded_blocks),
        TEST(logits_of_foreign_blocks),
        TEST(tells_progress),
        TEST(refuses_files_without_tensors),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests_name("model_gguf", tests, device_open, device_close);
}
