// Values quantised in blocks, as llama.cpp's files hold them (ggml's block formats, in its
// ggml-common.h and ggml-quants.c; little-endian). Not how the GPU holds them: gpu/blocks.h.
//
//   Q8_0  32 values,  34 bytes: f16 d; i8 q[32]                            d q
//   Q4_0  32 values,  18 bytes: f16 d; 16 bytes of nibbles                 d (q - 8)
//   Q4_K  256 values, 144 bytes: f16 d, f16 m; 12 bytes of 6-bit scales s and minima t, one for
//         each 32 values; 128 bytes of nibbles                             (d s) q - (m t)
//   Q6_K  256 values, 210 bytes: 128 bytes of low nibbles; 64 bytes of high bits; i8 s[16], one
//         for each 16 values; f16 d                                        d s (q - 32)
//
// Every product is exact in f32; Q4_K's difference is rounded once.
#ifndef STRATA_BASE_QUANT_H
#define STRATA_BASE_QUANT_H

#include "base/dtype.h"

// out (count) = what the blocks hold, as f32. count is a multiple of dtype_block; blocks are
// dtype_bytes(dtype, count) bytes, at any alignment and with any content.
void quant_decode(Dtype dtype, const uint8_t *blocks, uint64_t count, float *out);

// Rounds count values, a multiple of dtype_block, to blocks of Q8_0 or Q4_0 as ggml's reference
// quantisers do: Q8_0's largest magnitude becomes +-127, ties go away from zero; Q4_0's becomes -8
// (code 0), the others are rounded to the nearest, ties up, at most 7. False where a value is not
// finite, or so large that its scale is no f16; what blocks hold then is undefined.
bool quant_encode(Dtype dtype, const float *values, uint64_t count, uint8_t *blocks);

// The parts of a block of K-quants, for those who lay them out otherwise. scales, minima (8): the
// 6-bit numbers of a Q4_K block's 8 groups of 32 values, from its 12 bytes `packed`.
void quant_q4_k_scales(const uint8_t *packed, uint8_t *scales, uint8_t *minima);
// codes (256): the codes 0 to 63 of a Q6_K block, in the order of the values.
void quant_q6_k_codes(const uint8_t *block, uint8_t *codes);

#endif
