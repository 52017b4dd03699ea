// A model at one depth as a model folder of its own, from file to file: no GPU, and no more memory
// than a stretch of one tensor.
#ifndef STRATA_MODEL_EXPORT_H
#define STRATA_MODEL_EXPORT_H

#include "base/error.h"
#include "model/safetensors.h"

#define EXPORT_WHOLE UINT32_MAX
#define EXPORT_SHARD_SIZE 5000000000u // Hugging Face's default: 5 GB, decimal

typedef struct {
    uint32_t depth;      // blocks, 1 .. L; EXPORT_WHOLE: all, with what exits have of their own
    Dtype dtype;         // of all weights; rounded to the nearest value, ties to even. DTYPE_COUNT:
                         // as gguf_to_folder says (gguf_convert.h)
    uint64_t shard_size; // most bytes of tensors in a file; a larger tensor gets one of its own
} ExportOptions;

// Writes the first `depth` blocks of the model folder FROM (or of a GGUF file, whole), its norm and
// head, as the model folder TO: config.json (config_cut), the weights (an index only where they are
// in several files), and the tokenizer's and generation's files that FROM has. TO must not exist or
// be an empty folder; it is written beside and renamed. A finite weight that is infinite in that
// dtype is refused.
bool model_export(const char *to, const char *from, const ExportOptions *options, Error *err);

#endif
