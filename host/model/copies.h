// Copies of a model's matrices in 16 bits, which kernels compute with, while the optimizer moves
// the f32 originals. The embedding's rows are looked up in the original.
#ifndef STRATA_MODEL_COPIES_H
#define STRATA_MODEL_COPIES_H

#include "model/llama.h"

typedef struct {
    // What to compute with: copies where there are some, the model's own tensors elsewhere. Not to
    // be given to llama_free.
    Llama llama;
    struct CopyPair *pairs; // (count)
    size_t count;
} Copies;

// Zeroed copies of all matrices that pack (llama_dtype); DTYPE_F32: none. model must outlive them.
bool copies_make(Copies *copies, Llama *model, Dtype dtype, Error *err);
void copies_free(Copies *copies); // copies may be zero
// Records: copies = the model's matrices, rounded to the nearest value.
void copies_record(const Copies *copies, Tape *tape);

#endif
