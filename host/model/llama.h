// A LLaMA's parameters on the GPU: the tensors by name, loading, saving, random initialisation. The
// same structure holds gradients and optimizer moments. What a block computes is in block.h.
#ifndef STRATA_MODEL_LLAMA_H
#define STRATA_MODEL_LLAMA_H

#include "gpu/gpu.h"
#include "model/config.h"
#include "model/weight_files.h"

// Letters as in config.h.
typedef struct {
    Tensor attn_norm;      // (1, D)
    Tensor q;              // (A * S, D)
    Tensor k, v;           // (G * S, D)
    Tensor o;              // (D, A * S)
    Tensor mlp_norm;       // (1, D)
    Tensor gate, up;       // (H, D)
    Tensor down;           // (D, H)
    Tensor q_norm, k_norm; // (1, S), NULL spans where q and k are not normed
    // Biases, NULL spans where the config has none.
    Tensor q_bias;             // (1, A * S)
    Tensor k_bias, v_bias;     // (1, G * S)
    Tensor o_bias, down_bias;  // (1, D)
    Tensor gate_bias, up_bias; // (1, H)
} BlockWeights;

// What an exit before the last block has of its own; NULL spans where it shares the model's.
typedef struct {
    Tensor norm; // (1, D) strata.exits.DEPTH.norm.weight
    Tensor head; // (V, D) strata.exits.DEPTH.lm_head.weight
} ExitWeights;

typedef struct {
    Gpu *gpu;
    LlamaConfig config;
    Tensor embed;                        // (V, D)
    BlockWeights *blocks;                // (L)
    Tensor norm;                         // (1, D)
    Tensor head;                         // (V, D); the very tensor `embed` where the head is tied
    ExitWeights exits[CONFIG_MAX_EXITS]; // (exit_count)
} Llama;

enum { QUANT_LEAST = 4096 };

// One parameter: its Hugging Face name and its tensor.
typedef struct {
    char name[96];
    Tensor *tensor;
    uint32_t rows, cols; // rows is 0 for a vector of cols values
    bool decay;          // weight decay applies (matrices, not norms and biases)
    bool bias;
} LlamaParameter;

// How many parameters (a tied head counts once), and the i-th, in the order of the files: the
// model's own, of which there are llama_shared_count, then those of its exits.
size_t llama_parameter_count(const LlamaConfig *config);
size_t llama_shared_count(const LlamaConfig *config);
LlamaParameter llama_parameter(Llama *llama, size_t i);

// What an exit at `depth` reads its logits through: its own norm and head where it has them, else
// the model's. A NULL span as norm: none.
Tensor llama_exit_norm(const Llama *llama, uint32_t depth);
Tensor llama_exit_head(const Llama *llama, uint32_t depth);

// Zeroed parameters of that shape. llama_free gives them back; llama may be zero.
bool llama_make(Llama *llama, Gpu *gpu, const LlamaConfig *config, Error *err);
// The same of the parameters from `first` on alone, all other spans are NULL; stored as llama_dtype
// says.
bool llama_make_as(Llama *llama, Gpu *gpu, const LlamaConfig *config, size_t first, Dtype dtype,
                   Error *err);
// The same of all, each with its own of dtypes (llama_parameter_count), stored as llama_dtype says.
bool llama_make_each(Llama *llama, Gpu *gpu, const LlamaConfig *config, const Dtype *dtypes,
                     Error *err);
// What a parameter is stored as where `dtype` is asked for: that, for matrices whose rows and cols
// are multiples of 4 (and, in 8 bits, that have QUANT_LEAST values), or, of quantised types, whose
// cols are whole blocks; else f32.
Dtype llama_dtype(const LlamaParameter *parameter, Dtype dtype);
// Writes values (rows, cols) to the parameter's tensor, in what that is stored as: f32, 16 bits to
// the nearest, ties to even, Q8_0 or Q4_0 (base/quant.h). False and the parameter's name where a
// value does not fit. Files' own blocks go through tensor_upload_blocks.
bool llama_upload(Gpu *gpu, const LlamaParameter *parameter, const float *values, Error *err);
// False and a message where a parameter is stored as anything else: "WHAT needs F32 weights ...".
bool llama_expect_f32(const Llama *llama, const char *what, Error *err);
void llama_free(Llama *llama);

// Gives the exits norms and heads of their own as config.exit_norm and config.separate_heads say,
// each a copy of the model's. The model has none yet.
bool llama_add_exits(Llama *llama, const uint32_t *exits, uint32_t count, ExitNorm norm,
                     bool separate_heads, Error *err);

// Takes them away again: every exit shares the model's norm and head.
void llama_share_exits(Llama *llama);

// False and a message where a GGUF file holds a tensor that is no parameter of the config: leaving
// out a bias, say, would change what a block computes. Folders may hold more.
bool llama_expect_no_more(const LlamaConfig *config, const WeightFiles *files, Error *err);

// How a model is loaded.
typedef struct {
    // What parameters are stored as, as llama_dtype says: rounded; or LLAMA_STORED: in the very
    // values, what is f16, bf16 or quantised in the file as that where the device can have it so.
    // Only F32 can be trained.
    Dtype dtype;
    // Called as it goes on, or NULL: bytes of the files that are on the device, and bytes in all.
    void (*progress)(void *user, uint64_t done, uint64_t all);
    void *user;
} LoadOptions;
#define LLAMA_STORED DTYPE_COUNT

// Reads a model: a Hugging Face folder (config.json and the weights) or a GGUF file (gguf_model.h).
// Tensors go from the mapped files to the device a few megabytes at a time.
bool llama_load_with(Llama *llama, Gpu *gpu, const char *path, const LoadOptions *options,
                     Error *err);
// The same in F32, and in that dtype.
bool llama_load(Llama *llama, Gpu *gpu, const char *path, Error *err);
bool llama_load_as(Llama *llama, Gpu *gpu, const char *path, Dtype dtype, Error *err);
// The first `blocks` (>= 1) of its blocks as a model of its own, without exits.
bool llama_load_first(Llama *llama, Gpu *gpu, const char *path, uint32_t blocks, Error *err);
// Normal weights with deviation 0.02 (Hugging Face's initializer_range), norms 1, biases 0.
bool llama_randomize(Llama *llama, uint64_t seed, Error *err);
// Writes f32 weights as model.safetensors, config.json and the small files beside it into folder,
// which must exist; each is written beside and renamed, the weights last. No tokenizer. A
// LLAMA_POLICIES of earlier weights is removed.
#define LLAMA_POLICIES "strata_policy.json" // depth policies of a folder: infer/policy_file.h
bool llama_save(Llama *llama, const char *folder, Error *err);

#endif
