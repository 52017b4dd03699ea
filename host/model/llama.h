// A LLaMA's parameters on the GPU: the tensors by name, loading, saving, random initialisation. The
// same structure holds gradients and optimizer moments. What a block computes is in block.h.
#ifndef STRATA_MODEL_LLAMA_H
#define STRATA_MODEL_LLAMA_H

#include "gpu/gpu.h"
#include "model/config.h"

// Letters as in config.h.
typedef struct {
    Tensor attn_norm; // (1, D)
    Tensor q;         // (A * S, D)
    Tensor k, v;      // (G * S, D)
    Tensor o;         // (D, A * S)
    Tensor mlp_norm;  // (1, D)
    Tensor gate, up;  // (H, D)
    Tensor down;      // (D, H)
} BlockWeights;

typedef struct {
    Gpu *gpu;
    LlamaConfig config;
    Tensor embed;         // (V, D)
    BlockWeights *blocks; // (L)
    Tensor norm;          // (1, D)
    Tensor head;          // (V, D); the very tensor `embed` where the head is tied
} Llama;

// One parameter: its Hugging Face name and its tensor.
typedef struct {
    char name[96];
    Tensor *tensor;
    uint32_t rows, cols; // rows is 0 for a vector of cols values
    bool decay;          // weight decay applies (matrices, not norms)
} LlamaParameter;

// How many parameters (a tied head counts once), and the i-th, in the order of the files.
size_t llama_parameter_count(const LlamaConfig *config);
LlamaParameter llama_parameter(Llama *llama, size_t i);

// Zeroed parameters of that shape. llama_free gives them back; llama may be zero.
bool llama_make(Llama *llama, Gpu *gpu, const LlamaConfig *config, Error *err);
void llama_free(Llama *llama);

// Reads a Hugging Face folder (config.json, model.safetensors).
bool llama_load(Llama *llama, Gpu *gpu, const char *folder, Error *err);
// Normal weights with deviation 0.02 (Hugging Face's initializer_range), norms 1.
bool llama_randomize(Llama *llama, uint64_t seed, Error *err);
// Writes model.safetensors, config.json and the small files beside it into folder, which must
// exist; each is written beside and renamed, the weights last. No tokenizer.
bool llama_save(Llama *llama, const char *folder, Error *err);

#endif
