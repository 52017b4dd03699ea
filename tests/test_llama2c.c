// llama2.c checkpoints: the real one becomes the real Hugging Face folder, bit by bit; a made one
// shows where every value goes; broken ones are refused and leave nothing behind.
#define _XOPEN_SOURCE 700 // getrlimit
#include "base/file.h"
#include "base/json.h"
#include "model/config.h"
#include "model/llama2c.h"
#include "model/safetensors.h"
#include "support/files.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static void assert_same_weights(const char *ours_path, const char *theirs_path)
{
    Safetensors ours, theirs;
    Error err;
    assert_true(safetensors_open(&ours, ours_path, &err));
    assert_true(safetensors_open(&theirs, theirs_path, &err));
    assert_int_equal(ours.count, theirs.count);
    for (size_t i = 0; i < ours.count; i++) {
        const SafetensorsEntry *a = &ours.entries[i], *b = &theirs.entries[i];
        assert_string_equal(a->name, b->name);
        assert_string_equal(a->dtype, b->dtype);
        assert_int_equal(a->rank, b->rank);
        assert_memory_equal(a->shape, b->shape, sizeof a->shape);
        assert_int_equal(a->size, b->size);
        if (memcmp(a->data, b->data, a->size) != 0) fail_msg("%s differs", a->name);
    }
    safetensors_close(&ours);
    safetensors_close(&theirs);
}

static void converts_stories(void **state)
{
    (void)state;
    Error err;
    TestPath data = test_data("stories260K"), out = test_path(own_folder.text, "deep/er/out");
    TestPath model = test_path(data.text, "stories260K.bin");
    TestPath words = test_path(data.text, "tok512.bin");
    if (!llama2c_convert(model.text, words.text, out.text, &err)) fail_msg("%s", err.text);
    assert_same_weights(test_path(out.text, "model.safetensors").text,
                        test_path(data.text, "model.safetensors").text);
    LlamaConfig ours, theirs;
    assert_true(config_load(&ours, out.text, &err));
    assert_true(config_load(&theirs, data.text, &err));
    assert_memory_equal(&ours, &theirs, sizeof ours);
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "tokenizer_config.json" : "generation_config.json";
        cJSON *a = json_read(test_path(out.text, name).text, &err);
        cJSON *b = json_read(test_path(data.text, name).text, &err);
        assert_true(cJSON_Compare(a, b, true));
        cJSON_Delete(a);
        cJSON_Delete(b);
    }
    assert_true(file_exists(test_path(out.text, "tokenizer.json").text));
    assert_int_equal(test_folder_count(out.text), 5);
    assert_int_equal(test_folder_count(test_path(own_folder.text, "deep/er").text), 1);
    assert_false(llama2c_convert(model.text, words.text, out.text, &err));
    assert_error(err, "deep/er/out: the folder exists and is not empty");
    assert_int_equal(test_folder_count(out.text), 5);
}

// A made checkpoint: value i of the file is the number i, so that every value shows where it came
// from. Untied; D = 8, H = 6, L = 2, A = 2, G = 1, S = 4, V = 260, T = 3.
enum { D = 8, H = 6, L = 2, A = 2, G = 1, S = 4, V = 260, T = 3 };
enum {
    EMBEDDING = 0,
    NORM = EMBEDDING + V * D,
    WQ = NORM + L * D,
    WK = WQ + L * A * S * D,
    WV = WK + L * G * S * D,
    WO = WV + L * G * S * D,
    POST = WO + L * D * A * S,
    GATE = POST + L * D,
    DOWN = GATE + L * H * D,
    UP = DOWN + L * D * H,
    FINAL = UP + L * H * D,
    FREQS = FINAL + D,
    HEAD = FREQS + T * S,
    VALUES = HEAD + V * D,
    BIN_SIZE = 28 + 4 * VALUES
};

static const int32_t HEADER[7] = {D, H, L, A, G, -V, T};

static void make_checkpoint(uint8_t bytes[BIN_SIZE])
{
    memcpy(bytes, HEADER, sizeof HEADER);
    for (int i = 0; i < VALUES; i++) {
        float value = (float)i;
        memcpy(bytes + 28 + 4 * i, &value, sizeof value);
    }
}

// <unk>, BOS, EOS, the 256 bytes and "a" (up to vocab tokens).
static TestPath write_tokenizer(int vocab)
{
    uint8_t bytes[8192];
    int32_t longest = 7;
    size_t used = 4;
    memcpy(bytes, &longest, 4);
    for (int id = 0; id < vocab; id++) {
        char text[16] = "<unk>";
        if (id == 1 || id == 2) snprintf(text, sizeof text, "\n%s\n", id == 1 ? "<s>" : "</s>");
        if (id >= 3) snprintf(text, sizeof text, "<0x%02X>", (id - 3) & 0xFF);
        if (id >= 259) snprintf(text, sizeof text, "%c", 'a' + id - 259);
        float score = (float)-id;
        int32_t length = (int32_t)strlen(text);
        memcpy(bytes + used, &score, 4);
        memcpy(bytes + used + 4, &length, 4);
        memcpy(bytes + used + 8, text, (size_t)length);
        used += 8 + (size_t)length;
    }
    return test_write(&own_folder, "tok.bin", bytes, used);
}

static void assert_run(const float *values, size_t count, int first)
{
    for (size_t i = 0; i < count; i++)
        if (values[i] != (float)(first + (int)i))
            fail_msg("value %zu is %g, expected %d", i, (double)values[i], first + (int)i);
}

static void read_part(float *out, const Safetensors *file, int block, const char *part,
                      uint64_t rows, uint64_t cols)
{
    char name[80];
    Error err;
    snprintf(name, sizeof name, "model.layers.%d.%s.weight", block, part);
    if (!safetensors_read(file, name, rows, cols, out, &err)) fail_msg("%s", err.text);
}

static void check_block(const Safetensors *file, int l)
{
    static const int ROTATED[S] = {0, 2, 1, 3}; // row of a head in the file, by row written
    float values[A * S * D];
    read_part(values, file, l, "input_layernorm", 1, D);
    assert_run(values, D, NORM + l * D);
    read_part(values, file, l, "post_attention_layernorm", 1, D);
    assert_run(values, D, POST + l * D);
    read_part(values, file, l, "self_attn.q_proj", A * S, D);
    for (int row = 0; row < A * S; row++)
        assert_run(values + row * D, D, WQ + (l * A * S + row / S * S + ROTATED[row % S]) * D);
    read_part(values, file, l, "self_attn.k_proj", G * S, D);
    for (int row = 0; row < G * S; row++)
        assert_run(values + row * D, D, WK + (l * G * S + ROTATED[row]) * D);
    read_part(values, file, l, "self_attn.v_proj", G * S, D);
    assert_run(values, G * S * D, WV + l * G * S * D);
    read_part(values, file, l, "self_attn.o_proj", D, A * S);
    assert_run(values, D * A * S, WO + l * D * A * S);
    read_part(values, file, l, "mlp.gate_proj", H, D);
    assert_run(values, H * D, GATE + l * H * D);
    read_part(values, file, l, "mlp.down_proj", D, H);
    assert_run(values, D * H, DOWN + l * D * H);
    read_part(values, file, l, "mlp.up_proj", H, D);
    assert_run(values, H * D, UP + l * H * D);
}

static void puts_every_value(void **state)
{
    (void)state;
    static uint8_t bytes[BIN_SIZE];
    static float values[V * D];
    Error err;
    make_checkpoint(bytes);
    TestPath model = test_write(&own_folder, "m.bin", bytes, BIN_SIZE), words = write_tokenizer(V);
    TestPath out = test_path(own_folder.text, "out");
    assert_true(folder_make(out.text, &err)); // an empty folder is fine
    if (!llama2c_convert(model.text, words.text, out.text, &err)) fail_msg("%s", err.text);
    LlamaConfig config;
    assert_true(config_load(&config, out.text, &err));
    assert_int_equal(config.head_size, S);
    assert_int_equal(config.kv_heads, G);
    assert_int_equal(config.context, T);
    assert_int_equal(config.vocab_size, V);
    assert_false(config.tied);
    assert_true(config.norm_epsilon == 1e-5);
    assert_true(config.rope_theta == 10000);
    Safetensors file;
    assert_true(safetensors_open(&file, test_path(out.text, "model.safetensors").text, &err));
    assert_int_equal(file.count, 3 + 9 * L);
    for (int l = 0; l < L; l++) check_block(&file, l);
    assert_true(safetensors_read(&file, "model.embed_tokens.weight", V, D, values, &err));
    assert_run(values, V * D, EMBEDDING);
    assert_true(safetensors_read(&file, "lm_head.weight", V, D, values, &err));
    assert_run(values, V * D, HEAD);
    assert_true(safetensors_read(&file, "model.norm.weight", 1, D, values, &err));
    assert_run(values, D, FINAL);
    safetensors_close(&file);
    assert_int_equal(test_folder_count(own_folder.text), 3);
}

static void refuses_every_truncation(void **state)
{
    (void)state;
    static uint8_t bytes[BIN_SIZE + 1];
    Error err;
    make_checkpoint(bytes);
    TestPath words = write_tokenizer(V), out = test_path(own_folder.text, "out");
    for (size_t size = 0; size <= BIN_SIZE + 1;
         size += size < 200 || size > BIN_SIZE - 9 ? 1 : 97) {
        if (size == BIN_SIZE) continue;
        char expected[80];
        snprintf(expected, sizeof expected, "m.bin: %zu bytes, expected %d by its header", size,
                 (int)BIN_SIZE);
        TestPath model = test_write(&own_folder, "m.bin", bytes, size);
        assert_false(llama2c_convert(model.text, words.text, out.text, &err));
        assert_error(err, size < 28 ? "bytes are too few for a llama2.c checkpoint" : expected);
    }
    assert_int_equal(test_folder_count(own_folder.text), 2);
}

static const struct {
    int field;
    int32_t value;
    const char *part;
} BAD[] = {
    {0, 0, "m.bin: header field dim is 0, expected at least 1"},
    {0, -8, "header field dim is -8, expected at least 1"},
    {0, 9, "header field dim is 9, expected a multiple of n_heads 2"},
    {0, 6, "head_dim is 3, expected an even number"},
    {0, 1024, "head_dim is 512, expected 2 to 256"},
    {0, INT32_MAX - 1, "hidden_size is 2147483646, expected 1 to 1048576"},
    {0, 0x616b3432, "a llama2.c checkpoint of version 6, expected version 0"},
    {1, 0, "header field hidden_dim is 0"},
    {1, INT32_MIN, "header field hidden_dim is -2147483648"},
    {1, INT32_MAX, "intermediate_size is 2147483647"},
    {2, 0, "header field n_layers is 0"},
    {2, INT32_MAX, "num_hidden_layers is 2147483647, expected 1 to 4096"},
    {2, 3, "bytes, expected"},
    {3, 0, "header field n_heads is 0"},
    {3, -2, "header field n_heads is -2"},
    {4, 0, "header field n_kv_heads is 0"},
    {4, 3, "num_attention_heads 2 is not a multiple of num_key_value_heads 3"},
    {5, 0, "header field vocab_size is 0"},
    {5, INT32_MIN, "vocab_size is 2147483648, expected 1 to 16777216"},
    {5, INT32_MAX, "vocab_size is 2147483647"},
    {5, V, "bytes, expected"}, // tied: the head's values are too many
    {6, 0, "header field seq_len is 0"},
    {6, -1, "header field seq_len is -1"},
    {6, INT32_MAX, "max_position_embeddings is 2147483647"},
    {6, T + 1, "bytes, expected"},
};

static void refuses_bad_headers(void **state)
{
    (void)state;
    static uint8_t bytes[BIN_SIZE];
    Error err;
    TestPath words = write_tokenizer(V), out = test_path(own_folder.text, "out");
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        make_checkpoint(bytes);
        memcpy(bytes + 4 * BAD[i].field, &BAD[i].value, 4);
        TestPath model = test_write(&own_folder, "m.bin", bytes, BIN_SIZE);
        if (llama2c_convert(model.text, words.text, out.text, &err))
            fail_msg("accepted: %s", BAD[i].part);
        assert_error(err, BAD[i].part);
        assert_error(err, "m.bin: ");
    }
    assert_int_equal(test_folder_count(own_folder.text), 2);
}

static void refuses_other_vocabularies(void **state)
{
    (void)state;
    static uint8_t bytes[BIN_SIZE];
    Error err;
    make_checkpoint(bytes);
    TestPath model = test_write(&own_folder, "m.bin", bytes, BIN_SIZE);
    TestPath out = test_path(own_folder.text, "out");
    for (int vocab = V - 1; vocab <= V + 1; vocab += 2) {
        TestPath words = write_tokenizer(vocab);
        assert_false(llama2c_convert(model.text, words.text, out.text, &err));
        assert_error(err, "tok.bin: ");
    }
    assert_int_equal(test_folder_count(own_folder.text), 2);
    assert_false(
        llama2c_convert(model.text, test_path(own_folder.text, "none").text, out.text, &err));
    assert_error(err, "none: cannot open");
    assert_false(llama2c_convert(test_path(own_folder.text, "none").text, "x", out.text, &err));
    assert_error(err, "none: cannot open");
}

static void refuses_bad_targets(void **state)
{
    (void)state;
    static uint8_t bytes[BIN_SIZE];
    Error err;
    make_checkpoint(bytes);
    TestPath model = test_write(&own_folder, "m.bin", bytes, BIN_SIZE), words = write_tokenizer(V);
    assert_false(llama2c_convert(model.text, words.text, own_folder.text, &err));
    assert_error(err, "the folder exists and is not empty");
    assert_false(llama2c_convert(model.text, words.text, model.text, &err));
    assert_error(err, "m.bin: exists and is not a folder");
    assert_false(llama2c_convert(model.text, words.text, "", &err));
    assert_error(err, "the name of the folder to write is empty");
    TestPath below = test_path(model.text, "out");
    assert_false(llama2c_convert(model.text, words.text, below.text, &err));
    assert_error(err, "m.bin/out: cannot write there: Not a directory");
    assert_int_equal(test_folder_count(own_folder.text), 2);
}

// The disk is full after some bytes, wherever that is: nothing is left, and the next try succeeds.
static void leaves_nothing_behind(void **state)
{
    (void)state;
    static uint8_t bytes[BIN_SIZE];
    Error err;
    struct rlimit before, limit;
    make_checkpoint(bytes);
    TestPath model = test_write(&own_folder, "m.bin", bytes, BIN_SIZE), words = write_tokenizer(V);
    TestPath out = test_path(own_folder.text, "out");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t room = 0; room < BIN_SIZE; room += 1000) {
        limit = (struct rlimit){room, before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        bool ok = llama2c_convert(model.text, words.text, out.text, &err);
        setrlimit(RLIMIT_FSIZE, &before); // before any check could end the test
        assert_false(ok);
        assert_error(err, ": cannot write");
        assert_int_equal(test_folder_count(own_folder.text), 2);
    }
    signal(SIGXFSZ, SIG_DFL);
    assert_true(llama2c_convert(model.text, words.text, out.text, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(converts_stories),           TEST(puts_every_value),
        TEST(refuses_every_truncation),   TEST(refuses_bad_headers),
        TEST(refuses_other_vocabularies), TEST(refuses_bad_targets),
        TEST(leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
