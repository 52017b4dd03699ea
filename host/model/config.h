// A LLaMA's shape and constants, as config.json states them. Not its weights.
#ifndef STRATA_MODEL_CONFIG_H
#define STRATA_MODEL_CONFIG_H

#include "base/error.h"

#include <stdint.h>

struct cJSON;

enum {
    CONFIG_MAX_BLOCKS = 4096,
    CONFIG_MAX_EXITS = 128,
    CONFIG_MAX_HEAD_SIZE = 256,
    CONFIG_MAX_EOS = 16
};
#define CONFIG_NO_TOKEN UINT32_MAX

// Whose file it is. All are one block with different switches; the kind says what an absent key
// means and what is written back.
typedef enum { KIND_LLAMA, KIND_MISTRAL, KIND_QWEN2, KIND_QWEN3, MODEL_KINDS } ModelKind;

// How RoPE's frequencies are changed for contexts longer than those of the first training; see
// config_rope_frequency.
typedef enum { ROPE_DEFAULT, ROPE_LINEAR, ROPE_LLAMA3, ROPE_KINDS } RopeKind;
typedef struct {
    RopeKind kind;
    double factor;    // linear and llama3, at least 1
    double low, high; // llama3: low_freq_factor < high_freq_factor
    double original;  // llama3: original_max_position_embeddings, a whole number
} RopeScaling;

// The norm before the head at an exit above which blocks remain: the model's own, one of the exit's
// own, or none.
typedef enum { EXIT_NORM_SHARED, EXIT_NORM_PER_EXIT, EXIT_NORM_NONE } ExitNorm;

// The letters of the model, declared once:
//   L blocks, D width, H hidden width of the MLP, A query heads, G key/value heads (A % G == 0),
//   S head size (even), V vocabulary, T context.
typedef struct {
    ModelKind kind;      // model_type
    uint32_t blocks;     // L, num_hidden_layers
    uint32_t width;      // D, hidden_size
    uint32_t hidden;     // H, intermediate_size
    uint32_t heads;      // A, num_attention_heads
    uint32_t kv_heads;   // G, num_key_value_heads
    uint32_t head_size;  // S, head_dim or D / A
    uint32_t vocab_size; // V
    uint32_t context;    // T, max_position_embeddings
    double norm_epsilon; // rms_norm_eps
    double rope_theta;
    RopeScaling rope;                 // rope_scaling
    bool qkv_bias, o_bias;            // attention_bias; Qwen2 has the first without saying so
    bool qk_norm;                     // q and k are normed head by head; Qwen3 is so
    bool mlp_bias;                    // gate, up and down have biases
    uint32_t window;                  // keys that a row sees, its own the last; 0: all up to there
    bool tied;                        // tie_word_embeddings: the head is the embedding
    uint32_t bos;                     // token id, or CONFIG_NO_TOKEN
    uint32_t eos[CONFIG_MAX_EOS];     // token ids: any of them ends a text
    uint32_t eos_count;               // 0: nothing does
    uint32_t exits[CONFIG_MAX_EXITS]; // ascending depths trained by SoFT ("strata_exits")
    uint32_t exit_count;              // 0: not trained with SoFT
    ExitNorm exit_norm;               // "strata_exit_norm"
    bool separate_heads; // "strata_exit_head": each exit before the last block has its own head
} LlamaConfig;

// Reads FOLDER/config.json, Hugging Face's format, of model_type llama, mistral, qwen2 or qwen3.
// Every
// value is checked; whatever the file asks for that strata does not do (another model_type or
// hidden_act, rope_scaling of another kind, quantization_config, a window in some blocks only ...)
// is refused by the key's name. RoPE may stand in rope_theta and rope_scaling or in rope_parameters
// (Transformers 5). The ids of eos_token_id in FOLDER/generation_config.json, where there is that
// file, join those of config.json: that is where chat models name the end of a turn.
bool config_load(LlamaConfig *config, const char *folder, Error *err);
// config.json alone, from a JSON object that came from `source` (named in messages).
bool config_read(LlamaConfig *config, const struct cJSON *object, const char *source, Error *err);

// Writes FOLDER/config.json so that Transformers loads it as what it was (float32); exits go into
// "strata_exits" where there are any.
bool config_save(const LlamaConfig *config, const char *folder, Error *err);

// Cuts the model down to its first `depth` blocks, 1 .. L, as a model of its own: exits up to there
// stay, but none with modules of its own. Where the exit at `depth` had a norm or a head of its
// own, that becomes the model's (and the head is no longer tied).
void config_first_blocks(LlamaConfig *config, uint32_t depth);
// Whether `depth` is an exit before the last block, the only ones that can have modules of their
// own.
bool config_is_early_exit(const LlamaConfig *config, uint32_t depth);

// Writes TO/config.json: what FROM/config.json says with every key that it has, but of `depth`
// blocks, without exits deeper than that, and with weights of torch_dtype `dtype`.
bool config_cut(const char *to, const char *from, uint32_t depth, const char *dtype, Error *err);

// Checks the relations between the fields (D, A, G, S; exits ascending within 1..L; sizes that
// fit 32 bits). `source` is named in the message.
bool config_check(const LlamaConfig *config, const char *source, Error *err);

// Whether the token ends a text.
bool config_ends(const LlamaConfig *config, uint32_t token);

// The first position that a row at `position` attends to: 0, or with a window the first in it.
uint32_t config_first_key(const LlamaConfig *config, uint32_t position);

// The angle by which the pair j (0 <= j < S / 2) of a head turns from one position to the next:
// theta^(-2j/S), scaled. Linear: divided by the factor. LLaMA 3.1's: as it is where its wavelength
// is below original / high, divided above original / low, between the two in between.
double config_rope_frequency(const LlamaConfig *config, uint32_t j);

// Parameters in all (tied head counted once).
uint64_t config_parameters(const LlamaConfig *config);

#endif
