// How the values of a tensor are stored, on the GPU and in files. Conversions are in half.h and, of
// values in blocks, in quant.h.
#ifndef STRATA_BASE_DTYPE_H
#define STRATA_BASE_DTYPE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum {
    DTYPE_F32, // on the GPU also u32
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_U8,   // codes of 8-bit optimizer moments
    DTYPE_Q8_0, // from here on blocks of values along a row with their scales: see quant.h
    DTYPE_Q4_0,
    DTYPE_Q4_K,
    DTYPE_Q6_K,
    DTYPE_COUNT
} Dtype;

const char *dtype_name(Dtype dtype); // as safetensors and GGUF say it: "F32", "Q8_0" ...
bool dtype_blocked(Dtype dtype);     // stored in blocks
// Bytes of a value; not of a type in blocks.
uint32_t dtype_size(Dtype dtype);
// Values of a block, 1 where the type has none. A row holds whole blocks.
uint32_t dtype_block(Dtype dtype);
// Bytes that `count` values take in a file, whole blocks; UINT64_MAX where 64 bits do not hold it.
uint64_t dtype_bytes(Dtype dtype, uint64_t count);

#endif
