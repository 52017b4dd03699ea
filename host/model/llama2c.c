// llama2.c checkpoints to Hugging Face directories: see llama2c.h.
#include "model/llama2c.h"
#include "base/file.h"
#include "model/config.h"
#include "model/hf_folder.h"
#include "model/safetensors.h"
#include "text/tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Later versions begin with this word, which as a width would be 1.6 billion.
enum { HEADER_INTS = 7, HEADER_BYTES = 4 * HEADER_INTS, NEWER_MAGIC = 0x616b3432 };
enum { TENSORS_PER_BLOCK = 9, TENSORS_OUTSIDE = 3, NAME_SIZE = 64 };

// The weights as they lie in the mapping, each for all blocks together. Letters as in config.h.
typedef struct {
    const float *embedding;  // (V, D)
    const float *norm;       // (L, D)
    const float *wq, *wk;    // (L, A S, D), (L, G S, D), rows of a head interleaved for RoPE
    const float *wv, *wo;    // (L, G S, D), (L, D, A S)
    const float *post_norm;  // (L, D)
    const float *gate;       // (L, H, D)
    const float *down;       // (L, D, H)
    const float *up;         // (L, H, D)
    const float *final_norm; // (D)
    const float *head;       // (V, D), NULL where tied
} Weights;

static int64_t load_int(const uint8_t *at)
{
    uint32_t bits =
        (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
    int32_t value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool read_header(LlamaConfig *config, const FileMap *map, const char *path, Error *err)
{
    static const char *const NAMES[HEADER_INTS] = {
        "dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"};
    uint32_t sizes[HEADER_INTS];
    if (map->size < HEADER_BYTES)
        return error_set(err, "%s: %zu bytes are too few for a llama2.c checkpoint", path,
                         map->size);
    if (load_int(map->bytes) == NEWER_MAGIC)
        return error_set(err, "%s: a llama2.c checkpoint of version %lld, expected version 0", path,
                         (long long)load_int(map->bytes + 4));
    for (int i = 0; i < HEADER_INTS; i++) {
        int64_t value = load_int(map->bytes + 4 * i);
        bool untied = i == 5 && value < 0; // the sign of vocab_size is a flag
        if (!untied && value < 1)
            return error_set(err, "%s: header field %s is %lld, expected at least 1", path,
                             NAMES[i], (long long)value);
        sizes[i] = (uint32_t)(untied ? -value : value);
    }
    if (sizes[0] % sizes[3])
        return error_set(err,
                         "%s: header field dim is %" PRIu32 ", expected a multiple of n_heads "
                         "%" PRIu32,
                         path, sizes[0], sizes[3]);
    *config = (LlamaConfig){.width = sizes[0],
                            .hidden = sizes[1],
                            .blocks = sizes[2],
                            .heads = sizes[3],
                            .kv_heads = sizes[4],
                            .head_size = sizes[0] / sizes[3],
                            .vocab_size = sizes[5],
                            .context = sizes[6],
                            .norm_epsilon = 1e-5,
                            .rope_theta = 10000,
                            .tied = load_int(map->bytes + 20) > 0};
    return config_check(config, path, err);
}

// Hands out the next `count` values; *at is in values and may pass the end, which the caller checks
// before it reads anything.
static const float *take(const FileMap *map, uint64_t *at, uint64_t count)
{
    uint64_t begin = *at;
    *at += count;
    // The header is 28 bytes and a mapping begins at a page: values are aligned.
    return *at <= map->size / 4 ? (const float *)(const void *)map->bytes + begin : NULL;
}

static bool find_weights(Weights *w, const LlamaConfig *config, const FileMap *map,
                         const char *path, Error *err)
{
    uint64_t L = config->blocks, D = config->width, H = config->hidden, V = config->vocab_size;
    uint64_t queries = (uint64_t)config->heads * config->head_size;
    uint64_t keys = (uint64_t)config->kv_heads * config->head_size;
    uint64_t at = HEADER_INTS;
    w->embedding = take(map, &at, V * D);
    w->norm = take(map, &at, L * D);
    w->wq = take(map, &at, L * queries * D);
    w->wk = take(map, &at, L * keys * D);
    w->wv = take(map, &at, L * keys * D);
    w->wo = take(map, &at, L * D * queries);
    w->post_norm = take(map, &at, L * D);
    w->gate = take(map, &at, L * H * D);
    w->down = take(map, &at, L * D * H);
    w->up = take(map, &at, L * H * D);
    w->final_norm = take(map, &at, D);
    at += (uint64_t)config->context * config->head_size; // RoPE tables, which are computed anew
    w->head = config->tied ? NULL : take(map, &at, V * D);
    if (at * 4 == map->size) return true;
    return error_set(err, "%s: %zu bytes, expected %" PRIu64 " by its header", path, map->size,
                     at * 4);
}

// The list of tensors being declared.
typedef struct {
    SafetensorsTensor *tensors; // (count)
    char (*names)[NAME_SIZE];   // (count)
    size_t count;
} Declaration;

static void declare(Declaration *list, const char *name, uint64_t rows, uint64_t cols)
{
    size_t i = list->count++;
    snprintf(list->names[i], NAME_SIZE, "%s", name);
    list->tensors[i] =
        (SafetensorsTensor){list->names[i], rows ? 2 : 1, {rows ? rows : cols, cols}};
}

// The order is the one in which put_weights writes: by name within a block.
static void declare_block(Declaration *list, const LlamaConfig *config, uint32_t block)
{
    uint64_t D = config->width, H = config->hidden;
    uint64_t queries = (uint64_t)config->heads * config->head_size;
    uint64_t keys = (uint64_t)config->kv_heads * config->head_size;
    const struct {
        const char *name;
        uint64_t rows, cols; // rows 0: a vector
    } parts[TENSORS_PER_BLOCK] = {
        {"input_layernorm", 0, D},
        {"mlp.down_proj", D, H},
        {"mlp.gate_proj", H, D},
        {"mlp.up_proj", H, D},
        {"post_attention_layernorm", 0, D},
        {"self_attn.k_proj", keys, D},
        {"self_attn.o_proj", D, queries},
        {"self_attn.q_proj", queries, D},
        {"self_attn.v_proj", keys, D},
    };
    for (int i = 0; i < TENSORS_PER_BLOCK; i++) {
        char name[NAME_SIZE];
        snprintf(name, sizeof name, "model.layers.%" PRIu32 ".%s.weight", block, parts[i].name);
        declare(list, name, parts[i].rows, parts[i].cols);
    }
}

static SafetensorsWriter *create(const char *path, const LlamaConfig *config, Error *err)
{
    size_t most = (size_t)config->blocks * TENSORS_PER_BLOCK + TENSORS_OUTSIDE;
    Declaration list = {calloc(most, sizeof *list.tensors), calloc(most, sizeof *list.names), 0};
    SafetensorsWriter *writer = NULL;
    if (list.tensors && list.names) {
        if (!config->tied) declare(&list, "lm_head.weight", config->vocab_size, config->width);
        declare(&list, "model.embed_tokens.weight", config->vocab_size, config->width);
        for (uint32_t l = 0; l < config->blocks; l++) declare_block(&list, config, l);
        declare(&list, "model.norm.weight", 0, config->width);
        writer = safetensors_create(path, list.tensors, list.count, err);
    } else {
        error_set(err, "%s: out of memory", path);
    }
    free(list.tensors);
    free(list.names);
    return writer;
}

// Rows (heads * S, D) of q or k: llama2.c rotates the pair of rows (2j, 2j + 1) of a head, Hugging
// Face the pair (j, j + S/2).
static void put_rotated(SafetensorsWriter *writer, const float *rows, uint32_t heads,
                        const LlamaConfig *config)
{
    uint64_t D = config->width, S = config->head_size;
    for (uint32_t h = 0; h < heads; h++)
        for (uint64_t j = 0; j < S; j++) {
            uint64_t from = j < S / 2 ? 2 * j : 2 * (j - S / 2) + 1;
            safetensors_put(writer, rows + (h * S + from) * D, D);
        }
}

static void put_weights(SafetensorsWriter *writer, const LlamaConfig *config, const Weights *w)
{
    uint64_t D = config->width, mlp = D * config->hidden;
    uint64_t queries = (uint64_t)config->heads * config->head_size * D;
    uint64_t keys = (uint64_t)config->kv_heads * config->head_size * D;
    if (w->head) safetensors_put(writer, w->head, config->vocab_size * D);
    safetensors_put(writer, w->embedding, config->vocab_size * D);
    for (uint64_t l = 0; l < config->blocks; l++) {
        safetensors_put(writer, w->norm + l * D, D);
        safetensors_put(writer, w->down + l * mlp, mlp);
        safetensors_put(writer, w->gate + l * mlp, mlp);
        safetensors_put(writer, w->up + l * mlp, mlp);
        safetensors_put(writer, w->post_norm + l * D, D);
        put_rotated(writer, w->wk + l * keys, config->kv_heads, config);
        safetensors_put(writer, w->wo + l * queries, queries);
        put_rotated(writer, w->wq + l * queries, config->heads, config);
        safetensors_put(writer, w->wv + l * keys, keys);
    }
    safetensors_put(writer, w->final_norm, D);
}

static bool write_weights(const char *folder, const LlamaConfig *config, const Weights *w,
                          Error *err)
{
    char path[1024];
    if (!path_join(path, sizeof path, folder, "model.safetensors", err)) return false;
    SafetensorsWriter *writer = create(path, config, err);
    if (!writer) return false;
    put_weights(writer, config, w);
    return safetensors_commit(writer, err);
}

static bool write_files(const char *folder, const LlamaConfig *config, const Weights *w,
                        const Tokenizer *tokenizer, Error *err)
{
    char path[1024];
    return path_join(path, sizeof path, folder, "tokenizer.json", err) &&
           tokenizer_save(tokenizer, path, err) && config_save(config, folder, err) &&
           hf_folder_write_extras(folder, config, err) && write_weights(folder, config, w, err);
}

static bool write_folder(const char *out, const LlamaConfig *config, const Weights *w,
                         const Tokenizer *tokenizer, Error *err)
{
    HfFolder folder;
    if (!hf_folder_begin(&folder, out, err)) return false;
    if (write_files(folder.temp, config, w, tokenizer, err)) return hf_folder_commit(&folder, err);
    hf_folder_abort(&folder);
    return false;
}

// Ids of the header's vocabulary that the tokenizer does not know could never be turned into text.
static Tokenizer *load_tokenizer(LlamaConfig *config, const char *path, Error *err)
{
    Tokenizer *tokenizer = tokenizer_load_llama2c(path, config->vocab_size, err);
    if (!tokenizer) return NULL;
    config->bos = tokenizer_bos(tokenizer);
    config->eos[0] = tokenizer_eos(tokenizer);
    config->eos_count = 1;
    uint32_t found = tokenizer_vocab_size(tokenizer);
    if (found == config->vocab_size) return tokenizer;
    error_set(err, "%s: %" PRIu32 " tokens, expected the %" PRIu32 " of the checkpoint", path,
              found, config->vocab_size);
    tokenizer_free(tokenizer);
    return NULL;
}

bool llama2c_convert(const char *checkpoint, const char *tokenizer, const char *out, Error *err)
{
    FileMap map;
    LlamaConfig config;
    Weights weights;
    if (!hf_folder_check(out, err) || !file_map(&map, checkpoint, err)) return false;
    bool ok = read_header(&config, &map, checkpoint, err) &&
              find_weights(&weights, &config, &map, checkpoint, err);
    Tokenizer *words = ok ? load_tokenizer(&config, tokenizer, err) : NULL;
    ok = words && write_folder(out, &config, &weights, words, err);
    tokenizer_free(words);
    file_unmap(&map);
    return ok;
}
