// How the values of a tensor are stored, on the GPU and in files. Conversions are in half.h.
#ifndef STRATA_BASE_DTYPE_H
#define STRATA_BASE_DTYPE_H

#include <stdint.h>

typedef enum {
    DTYPE_F32, // on the GPU also u32
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_U8, // codes of block-quantised values
    DTYPE_COUNT
} Dtype;

uint32_t dtype_size(Dtype dtype);    // bytes of a value
const char *dtype_name(Dtype dtype); // as safetensors says it: "F32", ...

#endif
