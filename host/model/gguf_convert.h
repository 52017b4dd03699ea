// Models between Hugging Face folders and GGUF files, from file to file: no GPU, and no more memory
// than a row of a tensor and the tokenizer.
#ifndef STRATA_MODEL_GGUF_CONVERT_H
#define STRATA_MODEL_GGUF_CONVERT_H

#include "base/error.h"
#include "model/gguf.h"

// Writes the model of a folder as the GGUF file OUT, for llama.cpp as well: config, weights and
// tokenizer. Matrices become `dtype`, F32, F16, BF16, Q8_0 or Q4_0, or stay as they are where it is
// DTYPE_COUNT; vectors are F32. A matrix whose rows are no multiple of a block of Q8_0 or Q4_0 is
// F16. Exits of SoFT go into keys strata.*; norms and heads of their own go along under their own
// names, which llama.cpp refuses. A finite weight that is infinite in its dtype is refused. The
// file is written beside and renamed.
bool gguf_from_folder(const char *out, const char *folder, Dtype dtype, Error *err);

// Writes the model of a GGUF file as the folder OUT: config.json, weights, tokenizer.json,
// tokenizer_config.json, generation_config.json. Weights become `dtype`, F32, F16 or BF16;
// DTYPE_COUNT: matrices stay as they are, those in blocks are decoded to F32, and vectors become
// what the embedding is where all of their values are that exactly. shard_size as in ExportOptions.
bool gguf_to_folder(const char *out, const char *file, Dtype dtype, uint64_t shard_size,
                    Error *err);

// The files of such a folder but the weights, into TO, which exists; config.json says torch_dtype.
bool gguf_write_small_files(const char *to, const char *file, const char *torch_dtype, Error *err);

#endif
