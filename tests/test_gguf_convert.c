// Models from Hugging Face folders to GGUF files and back: every weight to the bit, every key of
// the config, byte by byte the same file again; rounding and blocks; what is refused leaves
// nothing. Loading such files is in test_model_gguf.c, keys by themselves in test_gguf_config.c.
#include "base/file.h"
#include "base/half.h"
#include "base/quant.h"
#include "model/export.h"
#include "model/gguf_convert.h"
#include "model/gguf_model.h"
#include "model/weight_files.h"
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

// ---- what the tests share ----------------------------------------------------------------------

// own_folder/name.gguf, converted.
static TestPath to_gguf(const char *name, const char *folder, Dtype dtype)
{
    Error err;
    TestPath path = test_path(own_folder.text, name);
    if (!gguf_from_folder(path.text, folder, dtype, &err)) fail_msg("%s", err.text);
    return path;
}

// own_folder/name, converted.
static TestPath to_folder(const char *name, const char *file, Dtype dtype)
{
    Error err;
    TestPath path = test_path(own_folder.text, name);
    if (!gguf_to_folder(path.text, file, dtype, EXPORT_SHARD_SIZE, &err)) fail_msg("%s", err.text);
    return path;
}

// Both models have the same tensors in the same dtypes and bits.
static void check_same_weights(const char *a, const char *b)
{
    Error err;
    WeightFiles left, right;
    if (!weight_files_open(&left, a, &err) || !weight_files_open(&right, b, &err))
        fail_msg("%s", err.text);
    assert_int_equal(left.tensor_count, right.tensor_count);
    for (size_t i = 0; i < left.tensor_count; i++) {
        const WeightTensor *x = &left.tensors[i], *y = &right.tensors[i];
        assert_string_equal(x->name, y->name);
        if (x->dtype != y->dtype || x->size != y->size || memcmp(x->data, y->data, x->size) != 0)
            fail_msg("%s: %s and %s are not the same", x->name, x->type, y->type);
    }
    weight_files_close(&left);
    weight_files_close(&right);
}

static void check_same_config(const char *a, const char *b)
{
    Error err;
    LlamaConfig left, right;
    if (!config_load(&left, a, &err) || !config_load(&right, b, &err)) fail_msg("%s", err.text);
    assert_true(config_save(&left, test_path(own_folder.text, ".").text, &err));
    TestPath saved = test_path(own_folder.text, "config.json");
    size_t size, other_size;
    char *text = test_read(saved.text, &size);
    assert_true(config_save(&right, own_folder.text, &err));
    char *other = test_read(saved.text, &other_size);
    assert_string_equal(text, other);
    free(text);
    free(other);
}

// FOLDER to a file, to a folder, to a file: the same everywhere. The folders have one name, which
// is a key of the file.
static void check_round_trip(const char *folder)
{
    TestPath parent = test_path(own_folder.text, "back");
    const char *slash = strrchr(folder, '/');
    Error err;
    assert_true(folder_make(parent.text, &err));
    char name[256];
    snprintf(name, sizeof name, "back/%s", slash + 1);
    TestPath first = to_gguf("first.gguf", folder, DTYPE_COUNT);
    TestPath back = to_folder(name, first.text, DTYPE_COUNT);
    check_same_weights(folder, back.text);
    check_same_config(folder, back.text);
    check_same_files(test_path(folder, "tokenizer.json").text,
                     test_path(back.text, "tokenizer.json").text);
    TestPath second = to_gguf("second.gguf", back.text, DTYPE_COUNT);
    check_same_files(first.text, second.text);
}

static TestPath write_model(const LlamaConfig *config)
{
    TestPath folder = test_path(own_folder.text, "model");
    model_write(folder.text, config, 7);
    return folder;
}

// ---- round trips -------------------------------------------------------------------------------

static void round_trips_llama(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    config.tied = false;
    config.head_size = 12; // not width / heads
    config.rope_theta = 500000;
    config.norm_epsilon = 3e-6;
    check_round_trip(write_model(&config).text);
}

static void round_trips_biases(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    config.qkv_bias = config.o_bias = config.mlp_bias = true;
    check_round_trip(write_model(&config).text);
}

static void round_trips_qwen2(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    config.kind = KIND_QWEN2;
    config.qkv_bias = true;
    config.rope_theta = 1e6;
    check_round_trip(write_model(&config).text);
}

static void round_trips_qwen3(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    config.kind = KIND_QWEN3;
    config.qk_norm = true;
    config.head_size = 16;
    check_round_trip(write_model(&config).text);
}

static void round_trips_mistral(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    config.kind = KIND_MISTRAL;
    config.window = 40;
    config.tied = false;
    check_round_trip(write_model(&config).text);
}

static void round_trips_scaled_rope(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    config.rope = (RopeScaling){.kind = ROPE_LINEAR, .factor = 2.5};
    check_round_trip(write_model(&config).text);
}

static void round_trips_llama3(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    config.rope_theta = 500000;
    config.rope = (RopeScaling){ROPE_LLAMA3, 8.1, 1.2, 3.9, 100};
    config.eos[1] = 5;
    config.eos[2] = 9;
    config.eos_count = 3;
    check_round_trip(write_model(&config).text);
}

static void round_trips_exits(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    config.exit_count = 3;
    config.exits[0] = 1;
    config.exits[1] = 3;
    config.exits[2] = 4;
    TestPath folder = write_model(&config);
    check_round_trip(folder.text);
    test_folder_remove(&folder);
    TestPath back = test_path(own_folder.text, "back");
    test_folder_remove(&back);
    config.exit_norm = EXIT_NORM_PER_EXIT;
    config.separate_heads = true;
    check_round_trip(write_model(&config).text);
}

static void round_trips_halves(void **state)
{
    (void)state;
    static const Dtype dtypes[] = {DTYPE_F16, DTYPE_BF16};
    LlamaConfig config = small_config();
    TestPath model = write_model(&config);
    for (int i = 0; i < 2; i++) {
        Error err;
        const ExportOptions options = {config.blocks, dtypes[i], EXPORT_SHARD_SIZE};
        TestPath half = test_path(own_folder.text, dtype_name(dtypes[i]));
        if (!model_export(half.text, model.text, &options, &err)) fail_msg("%s", err.text);
        check_round_trip(half.text);
        TestPath back = test_path(own_folder.text, "back");
        test_folder_remove(&back);
    }
}

static void round_trips_stories(void **state)
{
    (void)state;
    check_round_trip(test_data("stories260K").text);
}

static void round_trips_asset(void **state)
{
    (void)state;
    check_round_trip(TEST_ROOT "/assets/base");
}

// ---- what lies in the file ---------------------------------------------------------------------

// Row 2j of a head is Hugging Face's row j, row 2j + 1 its row j + S/2; v keeps its order.
static void turns_rows_of_llama_alone(void **state)
{
    (void)state;
    for (int qwen = 0; qwen < 2; qwen++) {
        LlamaConfig config = small_config();
        config.kind = qwen ? KIND_QWEN2 : KIND_LLAMA;
        config.qkv_bias = true;
        config.o_bias = !qwen;
        TestPath folder = write_model(&config), path = to_gguf("x.gguf", folder.text, DTYPE_COUNT);
        Gguf file;
        Error err;
        assert_true(gguf_open(&file, path.text, &err));
        static const char *const parts[][2] = {
            {"blk.2.attn_q.weight", "model.layers.2.self_attn.q_proj.weight"},
            {"blk.2.attn_k.weight", "model.layers.2.self_attn.k_proj.weight"},
            {"blk.2.attn_v.weight", "model.layers.2.self_attn.v_proj.weight"},
            {"blk.2.attn_q.bias", "model.layers.2.self_attn.q_proj.bias"},
            {"blk.2.attn_k.bias", "model.layers.2.self_attn.k_proj.bias"}};
        for (int i = 0; i < 5; i++) {
            const GgufTensor *t = gguf_find_tensor(&file, parts[i][0]);
            bool bias = strstr(parts[i][0], "bias"), turned = !qwen && i != 2;
            uint64_t rows = t->shape[0], cols = bias ? 1 : 32;
            float *values = read_tensor(test_path(folder.text, "model.safetensors").text,
                                        parts[i][1], bias ? 1 : rows, bias ? rows : cols);
            for (uint64_t row = 0; row < rows; row++) {
                uint64_t j = row % 8, from = row - j + j / 2 + j % 2 * 4;
                assert_memory_equal(t->data + 4 * row * cols, values + (turned ? from : row) * cols,
                                    4 * cols);
            }
            free(values);
        }
        gguf_close(&file);
        test_folder_remove(&folder);
    }
}

// Matrices whose rows are whole blocks are rounded, the others f16; what comes back is what the
// blocks say.
static void quantises(void **state)
{
    (void)state;
    static const Dtype dtypes[] = {DTYPE_Q8_0, DTYPE_Q4_0};
    LlamaConfig config = small_config(); // rows of 32, of 88 in mlp.down_proj
    TestPath folder = write_model(&config);
    for (int i = 0; i < 2; i++) {
        Error err;
        TestPath file = to_gguf("q.gguf", folder.text, dtypes[i]);
        TestPath back = to_folder("decoded", file.text, DTYPE_COUNT);
        WeightFiles was, is, stored;
        assert_true(weight_files_open(&was, folder.text, &err));
        assert_true(weight_files_open(&is, back.text, &err));
        assert_true(weight_files_open(&stored, file.text, &err));
        for (size_t n = 0; n < was.tensor_count; n++) {
            const WeightTensor *t = &was.tensors[n], *u = &is.tensors[n];
            bool vector = t->rank == 1, down = strstr(t->name, "down_proj");
            Dtype expected = vector ? DTYPE_F32 : down ? DTYPE_F16 : dtypes[i];
            assert_int_equal(weight_files_find(&stored, t->name)->dtype, expected);
            uint64_t count = weight_tensor_count(t);
            float *a = malloc(count * sizeof *a), *b = malloc(count * sizeof *b);
            uint8_t *blocks = malloc(count * sizeof *a);
            weight_tensor_values(t, 0, count, a);
            weight_tensor_values(u, 0, count, b);
            if (dtype_blocked(expected)) {
                assert_true(quant_encode(expected, a, count, blocks));
                quant_decode(expected, blocks, count, a);
            }
            for (uint64_t v = 0; down && v < count; v++) {
                uint32_t bits;
                memcpy(&bits, &a[v], 4);
                bits = f16_widen(f16_narrow(bits));
                memcpy(&a[v], &bits, 4);
            }
            assert_memory_equal(a, b, count * sizeof *a);
            free(a);
            free(b);
            free(blocks);
        }
        weight_files_close(&was);
        weight_files_close(&is);
        weight_files_close(&stored);
        test_folder_remove(&back);
    }
}

// ---- refused -----------------------------------------------------------------------------------

static void check_refused(const char *folder, Dtype dtype, const char *part)
{
    Error err = {""};
    size_t before = test_folder_count(own_folder.text);
    assert_false(gguf_from_folder(test_path(own_folder.text, "x.gguf").text, folder, dtype, &err));
    assert_error(err, part);
    assert_int_equal(test_folder_count(own_folder.text), before);
}

static void refuses_what_does_not_fit(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    TestPath folder = write_model(&config), path = test_path(folder.text, "model.safetensors");
    size_t size;
    char *bytes = test_read(path.text, &size);
    const float large = 70000;
    memcpy(bytes + size - 4 * 40, &large, 4); // in the last block's mlp.down_proj
    test_write(&folder, "model.safetensors", bytes, size);
    check_refused(folder.text, DTYPE_F16, "holds 70000, which F16 cannot hold");
    const float infinite = INFINITY;
    memcpy(bytes + size - 4 * 40, &infinite, 4);
    test_write(&folder, "model.safetensors", bytes, size);
    TestPath file = to_gguf("x.gguf", folder.text, DTYPE_BF16);
    (void)file;
    free(bytes);
}

static void refuses_other_tokenizers(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    TestPath folder = write_model(&config);
    test_write_text(&folder, "tokenizer.json", "{\"model\":{\"type\":\"Unigram\"}}");
    check_refused(folder.text, DTYPE_COUNT, "tokenizer.json");
    test_write_text(&folder, "tokenizer.json", "{");
    check_refused(folder.text, DTYPE_COUNT, "tokenizer.json");
}

static void refuses_folders(void **state)
{
    (void)state;
    Error err = {""};
    LlamaConfig config = small_config();
    TestPath folder = write_model(&config), file = to_gguf("f.gguf", folder.text, DTYPE_COUNT);
    assert_false(gguf_to_folder(folder.text, file.text, DTYPE_COUNT, 1000, &err));
    assert_error(err, "not empty");
    assert_false(gguf_to_folder(test_path(own_folder.text, "new").text,
                                test_data("formats/gguf-tiny/tiny.gguf").text, DTYPE_COUNT, 1000,
                                &err));
    assert_error(err, "tiny.gguf");
    assert_false(file_exists(test_path(own_folder.text, "new").text));
    check_refused(test_path(own_folder.text, "none").text, DTYPE_COUNT, "config.json");
}

// A limit of shards holds on this way, too.
static void divides_into_shards(void **state)
{
    (void)state;
    Error err;
    LlamaConfig config = small_config();
    TestPath folder = write_model(&config), file = to_gguf("f.gguf", folder.text, DTYPE_COUNT);
    TestPath out = test_path(own_folder.text, "shards");
    if (!gguf_to_folder(out.text, file.text, DTYPE_COUNT, 50000, &err)) fail_msg("%s", err.text);
    assert_true(file_exists(test_path(out.text, "model.safetensors.index.json").text));
    check_same_weights(folder.text, out.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(round_trips_llama),   TEST(round_trips_biases),        TEST(round_trips_qwen2),
        TEST(round_trips_qwen3),   TEST(round_trips_mistral),       TEST(round_trips_scaled_rope),
        TEST(round_trips_llama3),  TEST(round_trips_exits),         TEST(round_trips_halves),
        TEST(round_trips_stories), TEST(round_trips_asset),         TEST(turns_rows_of_llama_alone),
        TEST(quantises),           TEST(refuses_what_does_not_fit), TEST(refuses_other_tokenizers),
        TEST(refuses_folders),     TEST(divides_into_shards),
    };
    return cmocka_run_group_tests_name("gguf_convert", tests, NULL, NULL);
}
