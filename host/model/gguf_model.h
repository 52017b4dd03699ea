// What keys and tensors of a GGUF file mean for a LLaMA: its config.json, Hugging Face's names of
// its tensors, and which rows lie in another order. Not the container (gguf.h), not its tokenizer
// (gguf_tokenizer.h). Source: the GGUF specification and llama.cpp's conversion of LLaMA, Mistral
// and Qwen models.
#ifndef STRATA_MODEL_GGUF_MODEL_H
#define STRATA_MODEL_GGUF_MODEL_H

#include "model/config.h"
#include "model/gguf.h"

struct cJSON;

enum { GGUF_HF_NAME = 96 }; // bytes that Hugging Face's name of any tensor fits in

// Whether a model's path is that of a file and not of a folder.
bool gguf_is_file(const char *path);

// The config of a model, a folder's config.json or a GGUF file's keys.
bool model_config_load(LlamaConfig *config, const char *path, Error *err);
// What the file's keys say, as Hugging Face's config.json would; the caller frees with
// cJSON_Delete. Architectures llama (which Mistral's files are, too), qwen2 and qwen3; others, and
// keys that ask for what no config.json says, are refused by name. NULL and a message on failure.
struct cJSON *gguf_config_json(const Gguf *file, Error *err);
bool gguf_config_read(LlamaConfig *config, const Gguf *file, Error *err);

// Between a tensor's name in a GGUF file (at most GGUF_NAME_LIMIT bytes) and Hugging Face's (less
// than GGUF_HF_NAME bytes): blk.3.attn_q.weight and model.layers.3.self_attn.q_proj.weight. False
// where the tensor is none of a LLaMA's.
bool gguf_name_to_hf(char *out, const char *name);
bool gguf_name_from_hf(char *out, const char *name);
// Whether it is no parameter but a table that the config stands for: rope_freqs.weight.
bool gguf_is_table(const char *name);
// Whether a tensor is of q or k, whose rows (or values, of a bias) llama files have in the order of
// interleaved RoPE, by heads of *rows rows; 0 where the architecture has them as Hugging Face does.
bool gguf_is_turned(const char *name);
bool gguf_turned_rows(uint32_t *rows, const Gguf *file, Error *err);

// LLaMA 3's scaling of RoPE, which GGUF holds as one factor for each pair: frequency j is divided
// by out[j] (head_size / 2 of them). The formula is Hugging Face's _compute_llama3_parameters.
typedef struct {
    double factor, low, high; // factor, low_freq_factor, high_freq_factor
    double context;           // original_max_position_embeddings
} RopeScaling3;
void gguf_rope_factors(float *out, const RopeScaling3 *scaling, double theta, uint32_t head_size);
// The scaling whose factors (head_size / 2) these are, as far as f32 tells; false where there is
// none among those of released models.
bool gguf_rope_fit(RopeScaling3 *scaling, const float *factors, double theta, uint32_t head_size);

// The shortest decimal that is read as this f32, as a double: keys hold 1e-5 as f32.
double gguf_short_decimal(double value);

#endif
