// Fuzz target: a GGUF file is opened, its config, tokenizer and tensors are read.
#include "input.h"
#include "model/gguf_model.h"
#include "model/gguf_tokenizer.h"
#include "model/weight_files.h"

enum { VALUES = 512 };

static void read_tensors(const char *path)
{
    Error err;
    WeightFiles files;
    float values[VALUES];
    if (!weight_files_open(&files, path, &err)) return;
    for (size_t i = 0; i < files.tensor_count; i++) {
        const WeightTensor *t = &files.tensors[i];
        uint64_t count = weight_tensor_count(t) < VALUES ? weight_tensor_count(t) : VALUES;
        count -= count % dtype_block(t->dtype);
        uint64_t last = weight_tensor_count(t) - count; // a multiple of the block, too
        weight_tensor_values(t, 0, count, values);
        weight_tensor_values(t, last, count, values);
    }
    weight_files_close(&files);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Error err;
    Gguf file;
    GgufText text;
    LlamaConfig config;
    const char *path = input_file("model.gguf", data, size);
    if (gguf_open(&file, path, &err)) {
        gguf_config_read(&config, &file, &err);
        gguf_chat_template(&text, &file, &err);
        gguf_token_text(&text, &file, 1, &err);
        tokenizer_free(gguf_tokenizer_read(&file, &err));
        gguf_close(&file);
    }
    read_tensors(path);
    return 0;
}
