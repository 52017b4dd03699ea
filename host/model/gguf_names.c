// Names of tensors in GGUF files and in Hugging Face's: see gguf_model.h.
#include "model/gguf_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The parts of a name between the block's number and ".weight" or ".bias".
static const struct {
    const char *gguf, *hf;
} BLOCK_PARTS[] = {
    {"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},       {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
};
static const struct {
    const char *gguf, *hf;
} OTHERS[] = {
    {"token_embd.weight", "model.embed_tokens.weight"},
    {"output_norm.weight", "model.norm.weight"},
    {"output.weight", "lm_head.weight"},
};
enum {
    BLOCK_PART_COUNT = sizeof BLOCK_PARTS / sizeof *BLOCK_PARTS,
    OTHER_COUNT = sizeof OTHERS / sizeof *OTHERS
};

static const char GGUF_BLOCK[] = "blk.", HF_BLOCK[] = "model.layers.", EXITS[] = "strata.exits.";

// PREFIX N.REST: the number, without leading zeros, and where REST begins; NULL where it is not so.
static const char *split(unsigned long *number, const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    if (strncmp(name, prefix, length) != 0) return NULL;
    const char *at = name + length;
    char *end;
    if (*at < '0' || *at > '9' || (*at == '0' && at[1] != '.')) return NULL;
    *number = strtoul(at, &end, 10);
    return *end == '.' && end - at <= 6 ? end + 1 : NULL;
}

// Whether `name` is `part` and then .weight or .bias; *suffix is that.
static bool is_part(const char **suffix, const char *name, const char *part)
{
    size_t length = strlen(part);
    if (strncmp(name, part, length) != 0) return false;
    *suffix = name + length;
    return !strcmp(*suffix, ".weight") || !strcmp(*suffix, ".bias");
}

// What an exit has of its own is called the same in both.
static bool is_exit(const char *name)
{
    unsigned long depth;
    const char *rest = split(&depth, name, EXITS);
    return rest && (!strcmp(rest, "norm.weight") || !strcmp(rest, "lm_head.weight"));
}

bool gguf_name_to_hf(char *out, const char *name)
{
    unsigned long block;
    const char *suffix, *rest = split(&block, name, GGUF_BLOCK);
    for (int i = 0; rest && i < BLOCK_PART_COUNT; i++) {
        if (!is_part(&suffix, rest, BLOCK_PARTS[i].gguf)) continue;
        snprintf(out, GGUF_HF_NAME, "%s%lu.%s%s", HF_BLOCK, block, BLOCK_PARTS[i].hf, suffix);
        return true;
    }
    for (int i = 0; i < OTHER_COUNT; i++)
        if (!strcmp(name, OTHERS[i].gguf)) {
            snprintf(out, GGUF_HF_NAME, "%s", OTHERS[i].hf);
            return true;
        }
    if (!is_exit(name)) return false;
    snprintf(out, GGUF_HF_NAME, "%s", name);
    return true;
}

bool gguf_name_from_hf(char *out, const char *name)
{
    unsigned long block;
    const char *suffix, *rest = split(&block, name, HF_BLOCK);
    for (int i = 0; rest && i < BLOCK_PART_COUNT; i++) {
        if (!is_part(&suffix, rest, BLOCK_PARTS[i].hf)) continue;
        snprintf(out, GGUF_NAME_LIMIT + 1, "%s%lu.%s%s", GGUF_BLOCK, block, BLOCK_PARTS[i].gguf,
                 suffix);
        return true;
    }
    for (int i = 0; i < OTHER_COUNT; i++)
        if (!strcmp(name, OTHERS[i].hf)) {
            snprintf(out, GGUF_NAME_LIMIT + 1, "%s", OTHERS[i].gguf);
            return true;
        }
    if (!is_exit(name)) return false;
    snprintf(out, GGUF_NAME_LIMIT + 1, "%s", name);
    return true;
}

bool gguf_is_table(const char *name)
{
    return !strcmp(name, "rope_freqs.weight");
}

bool gguf_is_turned(const char *name)
{
    unsigned long block;
    const char *suffix, *rest = split(&block, name, GGUF_BLOCK);
    return rest && (is_part(&suffix, rest, "attn_q") || is_part(&suffix, rest, "attn_k"));
}
