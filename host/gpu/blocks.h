// How quantised values lie on the device: the numbers of the files' blocks (base/quant.h) in an
// order that kernels read in words, four of them at once, and decode four values at a time. No
// value changes. Internal to host/gpu; shaders/blocks.glsl reads what this writes.
//
// A row is a run of vectors of four words, in the parts that shaders/args.h counts. Of each group
// of 32 values:
//   codes   4 bits: a vector; nibble v of word i is of value 4 v + i. 8 bits: two vectors; byte b
//   of
//           word i of vector h is of value 16 h + 4 b + i. Q4_0's are q - 8, signed.
//   high    Q6_K, a vector for two groups: bits 2 v, 2 v + 1 of word i are of value 4 v + i of the
//           64. With the codes' bits: q - 32, signed.
//   scales  a vector for 256 values. Q8_0, Q4_0: d of each group in 16 bits. Q6_K: two s of each
//           group, i8, in 16 bits. Q4_K: word 0 d and m; word 1 the low nibbles of s, one for each
//           group; word 2 those of t; word 3 the high 2 bits of s, then of t.
//   factors Q6_K, a vector for 8 x 256 values: d of each 256 in 16 bits.
#ifndef STRATA_GPU_BLOCKS_H
#define STRATA_GPU_BLOCKS_H

#include "base/dtype.h"

// Bytes of a row of `cols` values, a multiple of 16.
uint64_t blocks_row_bytes(Dtype dtype, uint32_t cols);
// row (blocks_row_bytes) from the blocks of `cols` values, a multiple of dtype_block.
void blocks_lay_out(Dtype dtype, uint32_t *row, const uint8_t *blocks, uint32_t cols);

#endif
