// Copies of a model's matrices in 16 bits: see copies.h.
#include "model/copies.h"
#include "ops/ops.h"

#include <stdlib.h>
#include <string.h>

typedef struct CopyPair {
    Tensor copy, original; // (rows, cols)
} CopyPair;

// Puts a copy in the place of `*tensor`, which is the original's. Room for the pair is there.
static bool copy_tensor(Copies *copies, Tensor *tensor, Dtype dtype, Error *err)
{
    Tensor original = *tensor;
    Tensor copy =
        tensor_make_as(copies->llama.gpu, MEMORY_DEVICE, dtype, original.rows, original.cols, err);
    if (!copy.span) return false;
    copies->pairs[copies->count++] = (CopyPair){copy, original};
    *tensor = copy;
    return true;
}

static bool copy_all(Copies *copies, Dtype dtype, Error *err)
{
    Llama *llama = &copies->llama;
    LlamaParameter embed = llama_parameter(llama, 0);
    Dtype tied = llama->config.tied ? llama_dtype(&embed, dtype) : DTYPE_F32;
    bool ok = tied == DTYPE_F32 || copy_tensor(copies, &llama->head, tied, err);
    for (size_t i = 1; ok && i < llama_parameter_count(&llama->config); i++) {
        LlamaParameter p = llama_parameter(llama, i);
        Dtype stored = llama_dtype(&p, dtype);
        if (stored != DTYPE_F32) ok = copy_tensor(copies, p.tensor, stored, err);
    }
    return ok;
}

bool copies_make(Copies *copies, Llama *model, Dtype dtype, Error *err)
{
    uint32_t blocks = model->config.blocks;
    *copies = (Copies){.llama = *model};
    copies->llama.blocks = calloc(blocks, sizeof *model->blocks);
    copies->pairs = calloc(llama_parameter_count(&model->config) + 1, sizeof *copies->pairs);
    bool ok = copies->llama.blocks && copies->pairs;
    if (!ok)
        error_set(err, "out of memory");
    else
        memcpy(copies->llama.blocks, model->blocks, blocks * sizeof *model->blocks);
    if (ok && dtype != DTYPE_F32) ok = copy_all(copies, dtype, err);
    if (!ok) copies_free(copies);
    return ok;
}

void copies_free(Copies *copies)
{
    for (size_t i = 0; i < copies->count; i++)
        tensor_free(copies->llama.gpu, &copies->pairs[i].copy);
    free(copies->llama.blocks);
    free(copies->pairs);
    *copies = (Copies){0};
}

void copies_record(const Copies *copies, Tape *tape)
{
    for (size_t i = 0; i < copies->count; i++)
        op_narrow(tape, copies->pairs[i].copy, copies->pairs[i].original);
}
