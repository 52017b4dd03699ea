// Bytes that passes read: see cost.h.
#include "infer/cost.h"
#include "infer/runner.h"

#include <stdio.h>

uint64_t cost_model_bytes(Llama *model)
{
    uint64_t bytes = 0;
    size_t count = llama_parameter_count(&model->config);
    for (size_t i = 0; i < count; i++) bytes += tensor_bytes(*llama_parameter(model, i).tensor);
    return bytes;
}

// Of the first so many blocks. Parameters are told by their names, so that every kind of them that
// a block may have is counted.
static uint64_t block_bytes(Llama *model, uint32_t depth)
{
    uint64_t bytes = 0;
    size_t count = llama_shared_count(&model->config);
    for (size_t i = 0; i < count; i++) {
        LlamaParameter p = llama_parameter(model, i);
        unsigned block;
        if (sscanf(p.name, "model.layers.%u.", &block) == 1 && block < depth)
            bytes += tensor_bytes(*p.tensor);
    }
    return bytes;
}

uint64_t cost_read_bytes(Llama *model, uint32_t depth, uint32_t tokens, uint32_t passes,
                         uint32_t exits)
{
    Tensor norm = llama_exit_norm(model, depth), head = llama_exit_head(model, depth);
    uint64_t row = tensor_bytes(model->embed) / model->config.vocab_size;
    return tokens * row + passes * block_bytes(model, depth) +
           exits * (tensor_bytes(norm) + tensor_bytes(head));
}

uint32_t cost_prompt_passes(uint32_t tokens)
{
    return tokens / RUNNER_ROWS + (tokens % RUNNER_ROWS != 0);
}

double cost_share_reached(double speedup, double bytes, double full_bytes)
{
    return full_bytes > 0 ? speedup * bytes / full_bytes : 0;
}
