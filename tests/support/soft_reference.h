// The small LLaMA of tests/reference, its batch, and the gradients that PyTorch found for it: what
// the tests of the SoFT step share. See tests/reference/README.md.
#ifndef STRATA_TESTS_SOFT_REFERENCE_H
#define STRATA_TESTS_SOFT_REFERENCE_H

#include "train/step.h"

#include "support/models.h"

enum {
    REFERENCE_ROWS = 41,
    REFERENCE_SEQUENCES = 3,
    REFERENCE_VOCAB = 48,
    REFERENCE_EXITS = 3,
    REFERENCE_BLOCKS = 4
};
extern const uint32_t REFERENCE_LENGTHS[REFERENCE_SEQUENCES]; // of the sequences
extern const uint32_t REFERENCE_DEPTHS[REFERENCE_EXITS];

typedef struct {
    char path[TEST_PATH_SIZE];
    Llama model;
    uint32_t tokens[REFERENCE_ROWS];
    int targets[REFERENCE_ROWS]; // -1: not supervised
    uint32_t supervised;
} Reference;

// The model and the batch of soft_tied or soft_untied. Fails the test where something is missing.
Reference *reference_open(bool tied);
// A model of that config with the weights and the batch of tests/reference/NAME.safetensors.
Reference *reference_open_as(const LlamaConfig *config, const char *name);
void reference_close(Reference *ref);

// Sequences first .. last - 1 with the reference's own supervised rows, which are no suffixes.
void reference_fill(Batch *batch, const Reference *ref, uint32_t first, uint32_t last);
// A parameter's gradient against tests/reference/`ref->path`: at most 1e-4 of its norm apart.
void reference_check(const Reference *ref, LlamaParameter p);
// All that have memory.
void reference_check_all(const Reference *ref, Step *step);

#endif
