// llama2.c checkpoints (.bin, version 0) as Hugging Face directories. Source: karpathy/llama2.c.
#ifndef STRATA_MODEL_LLAMA2C_H
#define STRATA_MODEL_LLAMA2C_H

#include "base/error.h"

// Reads checkpoint (.bin) and tokenizer (llama2.c tokenizer .bin) and writes OUT/ as a Hugging Face
// directory: config.json, model.safetensors (q and k rows turned from interleaved to rotate-half
// RoPE), tokenizer.json, tokenizer_config.json, generation_config.json. OUT must not exist or be an
// empty folder; it is written beside and renamed, so that nothing half-written is left on failure.
bool llama2c_convert(const char *checkpoint, const char *tokenizer, const char *out, Error *err);

#endif
