// Small models for tests: see models.h.
#include "support/models.h"
#include "base/file.h"
#include "base/json.h"
#include "base/random.h"
#include "model/hf_folder.h"
#include "model/llama.h"
#include "model/safetensors.h"
#include "support/tokens.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- tokenizer ---------------------------------------------------------------------------------

enum { PIECES = 800, PIECE_SIZE = 32 };

static const char WORDS[] =
    " Below is an instruction that describes a task. Write response appropriately completes the"
    " request. \n ### Instruction: Response: Input:";

typedef struct {
    char text[PIECES][PIECE_SIZE];
    const char *pieces[PIECES];
    uint32_t count;
    uint32_t merges[PIECES][2];
    size_t merge_count;
} Words;

static uint32_t piece_id(Words *w, const char *text)
{
    for (uint32_t i = 0; i < w->count; i++)
        if (!strcmp(w->text[i], text)) return i;
    assert_true(w->count < PIECES && strlen(text) < PIECE_SIZE);
    strcpy(w->text[w->count], text);
    w->pieces[w->count] = w->text[w->count];
    return w->count++;
}

// The word grows from its left end, character by character, each a merge unless it is one already.
static void add_word(Words *w, const char *word, size_t size)
{
    char whole[PIECE_SIZE] = MARK;
    uint32_t left = piece_id(w, whole);
    for (size_t i = 1; i < size; i++) { // word[0] is the space
        const char letter[2] = {word[i], 0};
        uint32_t right = piece_id(w, letter), before = w->count;
        strcat(whole, letter);
        uint32_t joined = piece_id(w, whole);
        if (w->count > before) {
            w->merges[w->merge_count][0] = left;
            w->merges[w->merge_count++][1] = right;
        }
        left = joined;
    }
}

static void add_pieces(Words *w)
{
    char text[PIECE_SIZE];
    static const char *const control[] = {"<unk>", "<s>", "</s>"};
    for (int i = 0; i < 3; i++) piece_id(w, control[i]);
    for (int i = 0; i < 256; i++) {
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)i);
        piece_id(w, text);
    }
    for (const char *at = WORDS; *at;) {
        size_t size = 1 + strcspn(at + 1, " ");
        add_word(w, at, size);
        at += size;
    }
}

Tokenizer *words_tokenizer(void)
{
    Words *w = calloc(1, sizeof *w);
    assert_non_null(w);
    Error err;
    add_pieces(w);
    Tokenizer *tokenizer =
        tokenizer_build(w->pieces, w->count, (const uint32_t(*)[2])w->merges, w->merge_count, &err);
    if (!tokenizer) fail_msg("%s", err.text);
    free(w);
    return tokenizer;
}

// ---- model folders -----------------------------------------------------------------------------

LlamaConfig small_config(void)
{
    Tokenizer *tokenizer = words_tokenizer();
    const LlamaConfig config = {.blocks = 4,
                                .width = 32,
                                .hidden = 88,
                                .heads = 4,
                                .kv_heads = 2,
                                .head_size = 8,
                                .vocab_size = tokenizer_vocab_size(tokenizer),
                                .context = 160,
                                .norm_epsilon = 1e-5,
                                .rope_theta = 10000,
                                .tied = true,
                                .bos = 1,
                                .eos = {2},
                                .eos_count = 1};
    tokenizer_free(tokenizer);
    return config;
}

typedef struct {
    SafetensorsTensor *tensors; // (count)
    LlamaParameter *parameters; // (count): owns the names
    size_t count;
} Declared;

static Declared declare(const LlamaConfig *config)
{
    Llama shape = {.config = *config, .blocks = calloc(config->blocks, sizeof(BlockWeights))};
    size_t count = llama_parameter_count(config);
    Declared d = {calloc(count, sizeof *d.tensors), calloc(count, sizeof *d.parameters), count};
    assert_true(shape.blocks && d.tensors && d.parameters);
    for (size_t i = 0; i < count; i++) {
        LlamaParameter *p = &d.parameters[i];
        *p = llama_parameter(&shape, i);
        d.tensors[i] = p->rows ? (SafetensorsTensor){p->name, 2, {p->rows, p->cols}}
                               : (SafetensorsTensor){p->name, 1, {p->cols}};
    }
    free(shape.blocks);
    return d;
}

static void undeclare(Declared *d)
{
    free(d->tensors);
    free(d->parameters);
}

static SafetensorsWriter *begin_weights(const char *folder, const Declared *d)
{
    Error err;
    SafetensorsWriter *writer =
        safetensors_create(test_path(folder, "model.safetensors").text, d->tensors, d->count, &err);
    if (!writer) fail_msg("%s", err.text);
    return writer;
}

static void begin_folder(const char *folder, const LlamaConfig *config)
{
    Error err;
    if (!folder_make(folder, &err) || !config_save(config, folder, &err) ||
        !hf_folder_write_extras(folder, config, &err))
        fail_msg("%s", err.text);
}

// Matrices keep the size of what goes through them, the embedding is small, norms are near 1.
static float random_weight(Random *random, const LlamaParameter *p)
{
    double normal = random_normal(random);
    if (!p->rows) return (float)(!p->bias + 0.1 * normal);
    return (float)(normal * (strstr(p->name, "layers") ? 1 / sqrt(p->cols) : 0.3));
}

void model_write(const char *folder, const LlamaConfig *config, uint64_t seed)
{
    Error err;
    begin_folder(folder, config);
    Declared d = declare(config);
    SafetensorsWriter *writer = begin_weights(folder, &d);
    Random random = random_seed(seed);
    for (size_t i = 0; i < d.count; i++) {
        const LlamaParameter *p = &d.parameters[i];
        for (uint64_t n = (uint64_t)(p->rows ? p->rows : 1) * p->cols; n; n--) {
            float value = random_weight(&random, p);
            safetensors_put(writer, &value, 1);
        }
    }
    if (!safetensors_commit(writer, &err)) fail_msg("%s", err.text);
    undeclare(&d);
    Tokenizer *tokenizer = words_tokenizer();
    if (!tokenizer_save(tokenizer, test_path(folder, "tokenizer.json").text, &err))
        fail_msg("%s", err.text);
    tokenizer_free(tokenizer);
}

TestPath small_model(const TestPath *parent, const char *name, uint64_t seed)
{
    TestPath folder = test_path(parent->text, name);
    LlamaConfig config = small_config();
    model_write(folder.text, &config, seed);
    return folder;
}

TestPath small_exits_model(const TestPath *parent, const char *name, uint64_t seed)
{
    LlamaConfig config = small_config();
    TestPath path = test_path(parent->text, name);
    config.exit_count = 2;
    config.exits[0] = 2, config.exits[1] = 4;
    model_write(path.text, &config, seed);
    return path;
}

float *read_tensor(const char *path, const char *name, uint64_t rows, uint64_t cols)
{
    Error err;
    Safetensors file;
    if (!safetensors_open(&file, path, &err)) fail_msg("%s", err.text);
    float *values = malloc(rows * cols * sizeof *values);
    assert_non_null(values);
    if (!safetensors_read(&file, name, rows, cols, values, &err)) fail_msg("%s", err.text);
    safetensors_close(&file);
    return values;
}

void model_cut(const char *to, const char *from, uint32_t depth)
{
    Error err;
    LlamaConfig config;
    if (!config_load(&config, from, &err)) fail_msg("%s", err.text);
    assert_true(depth >= 1 && depth <= config.blocks);
    config.blocks = depth;
    config.exit_count = 0;
    begin_folder(to, &config);
    Declared d = declare(&config);
    SafetensorsWriter *writer = begin_weights(to, &d);
    TestPath weights = test_path(from, "model.safetensors");
    for (size_t i = 0; i < d.count; i++) {
        const LlamaParameter *p = &d.parameters[i];
        uint64_t rows = p->rows ? p->rows : 1;
        float *values = read_tensor(weights.text, p->name, rows, p->cols);
        safetensors_put(writer, values, rows * p->cols);
        free(values);
    }
    if (!safetensors_commit(writer, &err)) fail_msg("%s", err.text);
    undeclare(&d);
}

// ---- data --------------------------------------------------------------------------------------

TestPath write_records(const TestPath *folder, const char *name, const char *const (*pairs)[2],
                       size_t count)
{
    TestPath path = test_path(folder->text, name);
    Error err;
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < count; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "instruction", pairs[i][0]);
        cJSON_AddStringToObject(item, "input", "");
        cJSON_AddStringToObject(item, "output", pairs[i][1]);
        cJSON_AddItemToArray(list, item);
    }
    if (!json_write(path.text, list, &err)) fail_msg("%s", err.text);
    cJSON_Delete(list);
    return path;
}

void check_same_files(const char *a, const char *b)
{
    size_t size_a, size_b;
    char *bytes_a = test_read(a, &size_a), *bytes_b = test_read(b, &size_b);
    bool same = size_a == size_b && !memcmp(bytes_a, bytes_b, size_a);
    free(bytes_a);
    free(bytes_b);
    if (!same) fail_msg("%s and %s differ", a, b);
}
