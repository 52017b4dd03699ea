// Small models for tests, made without a GPU: a folder with random weights large enough that every
// block matters, a tokenizer of a few hundred words, and the same model cut to its first blocks.
// Fails the running cmocka test itself.
#ifndef STRATA_TESTS_SUPPORT_MODELS_H
#define STRATA_TESTS_SUPPORT_MODELS_H

#include "model/config.h"
#include "support/files.h"
#include "text/tokenizer.h"

#include <stddef.h>
#include <stdint.h>

// 4 blocks, 4 query heads over 2 key/value heads, tied; the vocabulary is words_tokenizer's.
LlamaConfig small_config(void);
// Bytes, letters and the words of the Alpaca prompt, so that a record takes some 40 tokens.
Tokenizer *words_tokenizer(void);

// Makes FOLDER as Hugging Face lays it out: config, random weights, tokenizer.
void model_write(const char *folder, const LlamaConfig *config, uint64_t seed);
// The same in PARENT/name, with small_config.
TestPath small_model(const TestPath *parent, const char *name, uint64_t seed);
// The same, trained with exits 2 and 4.
TestPath small_exits_model(const TestPath *parent, const char *name, uint64_t seed);
// Copies `from` without its blocks depth and up, as if the model had only `depth` blocks.
void model_cut(const char *to, const char *from, uint32_t depth);

// A tensor of a safetensors file as `count` floats, malloc'ed.
float *read_tensor(const char *path, const char *name, uint64_t rows, uint64_t cols);

// A file of records {"instruction": i, "input": "", "output": o}, given as pairs.
TestPath write_records(const TestPath *folder, const char *name, const char *const (*pairs)[2],
                       size_t count);

// Both files hold the same bytes.
void check_same_files(const char *a, const char *b);

#endif
