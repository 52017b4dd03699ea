// A LLaMA's shape and constants, as config.json states them. Not its weights.
#ifndef STRATA_MODEL_CONFIG_H
#define STRATA_MODEL_CONFIG_H

#include "base/error.h"

#include <stdint.h>

struct cJSON;

enum { CONFIG_MAX_BLOCKS = 4096, CONFIG_MAX_EXITS = 128, CONFIG_MAX_HEAD_SIZE = 256 };

// The norm before the head at an exit above which blocks remain: the model's own, one of the exit's
// own, or none.
typedef enum { EXIT_NORM_SHARED, EXIT_NORM_PER_EXIT, EXIT_NORM_NONE } ExitNorm;

// The letters of the model, declared once:
//   L blocks, D width, H hidden width of the MLP, A query heads, G key/value heads (A % G == 0),
//   S head size (even), V vocabulary, T context.
typedef struct {
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
    bool tied;                        // tie_word_embeddings: the head is the embedding
    uint32_t bos, eos;                // token ids
    uint32_t exits[CONFIG_MAX_EXITS]; // ascending depths trained by SoFT ("strata_exits")
    uint32_t exit_count;              // 0: not trained with SoFT
    ExitNorm exit_norm;               // "strata_exit_norm"
    bool separate_heads; // "strata_exit_head": each exit before the last block has its own head
} LlamaConfig;

// Reads FOLDER/config.json, Hugging Face's format. Every value is checked; whatever the file asks
// for that strata does not do (rope_scaling, attention_bias, quantization_config, another
// hidden_act or architecture, ...) is refused by the key's name. Accepts rope_theta at the top and
// in rope_parameters (Transformers 5), eos_token_id as number or list (the first is taken).
bool config_load(LlamaConfig *config, const char *folder, Error *err);
// The same from a JSON object that came from `source` (named in messages).
bool config_read(LlamaConfig *config, const struct cJSON *object, const char *source, Error *err);

// Writes FOLDER/config.json so that Transformers loads it as LlamaForCausalLM (float32); exits go
// into "strata_exits" where there are any.
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

// Parameters in all (tied head counted once).
uint64_t config_parameters(const LlamaConfig *config);

#endif
