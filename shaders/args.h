// Push constants and sizes of the kernels, included by C and by GLSL: each is said once, here.
#ifndef STRATA_ARGS_H
#define STRATA_ARGS_H

#ifdef VULKAN // glslc
#define ARGS_BEGIN(name) struct name
#define ARGS_END(name, words)
#else
#include <stdint.h>
typedef uint32_t uint;
#define ARGS_BEGIN(name) typedef struct
#define ARGS_END(name, words)                                                                      \
    name;                                                                                          \
    _Static_assert(sizeof(name) == 4 * (words) && sizeof(name) <= 128, #name)
#endif

// Which rows an op works on: counts[slot] - first of them, 0 to max.
ARGS_BEGIN(RowArgs)
{
    uint slot, first, max;
}
ARGS_END(RowArgs, 3);

// Elementwise ops and those that move rows.
ARGS_BEGIN(ElementArgs)
{
    RowArgs rows;
    uint cols;
}
ARGS_END(ElementArgs, 4);

ARGS_BEGIN(RmsnormArgs)
{
    RowArgs rows;
    uint cols;  // of what is normed by itself
    uint parts; // of a row
    float epsilon;
    uint accumulate; // backward: dx += instead of dx =
}
ARGS_END(RmsnormArgs, 7);

// y (rows, n), x (rows, k), w (n, k); see matmul.comp, matmul_dx.comp, matmul_dw.comp. Where w is a
// slice of a larger matrix, y and dy are columns of a wider one.
ARGS_BEGIN(MatmulArgs)
{
    RowArgs rows;
    uint n, k;
    uint accumulate;
    uint stride; // columns that y or dy has in all
    uint first;  // of these
}
ARGS_END(MatmulArgs, 8);

// A table of which rows first .. first + count - 1 are seen.
ARGS_BEGIN(EmbedArgs)
{
    RowArgs rows;
    uint cols;
    uint first, count;
}
ARGS_END(EmbedArgs, 6);

ARGS_BEGIN(RopeArgs)
{
    RowArgs rows;
    uint cols;  // heads * head size
    float sign; // 1 forward, -1 backward
}
ARGS_END(RopeArgs, 5);

ARGS_BEGIN(RopeCacheArgs)
{
    RowArgs rows;
    uint heads, kv_heads;
}
ARGS_END(RopeCacheArgs, 5);

ARGS_BEGIN(AttentionArgs)
{
    RowArgs rows;
    uint heads, kv_heads;
    float scale; // 1 / sqrt(head_size)
}
ARGS_END(AttentionArgs, 6);

ARGS_BEGIN(CrossEntropyArgs)
{
    RowArgs rows;
    uint cols;
    uint backward; // 1: logits become their gradient
    uint weight;   // index into the step's values: the factor of the gradient
}
ARGS_END(CrossEntropyArgs, 6);

ARGS_BEGIN(DistillArgs)
{
    RowArgs rows;
    uint cols;
    uint weight; // as in CrossEntropyArgs
}
ARGS_END(DistillArgs, 5);

ARGS_BEGIN(SumSquaresArgs)
{
    uint count; // values of x
    uint first; // where its partial sums begin
}
ARGS_END(SumSquaresArgs, 2);

ARGS_BEGIN(ClipArgs)
{
    uint partials;
}
ARGS_END(ClipArgs, 1);

ARGS_BEGIN(AdamwArgs)
{
    uint count;
    uint decay; // 1: weight decay applies
    uint first; // adamw_q8: the block that the slice begins with
    uint salt;  // adamw_q8: another one for each parameter, for the rounding
}
ARGS_END(AdamwArgs, 4);

// A whole parameter.
ARGS_BEGIN(NarrowArgs)
{
    uint count;
}
ARGS_END(NarrowArgs, 1);

// One row of the row table: uvec4 (position, first key, one past the last key, one past the last
// row that attends to this row).
#define ROW_POSITION 0
#define ROW_FIRST_KEY 1
#define ROW_LAST_KEY 2
#define ROW_UNTIL 3
#define ROW_PAGES 3 // where keys lie in pages: the row's first entry of the list of pages
#define ROW_WORDS 4

// The step's values: what changes from step to step, as f32.
#define STEP_RATE 0         // learning rate
#define STEP_BETA1 1
#define STEP_BETA2 2
#define STEP_EPSILON 3
#define STEP_DECAY 4        // weight decay
#define STEP_CORRECTION1 5  // 1 - beta1^t
#define STEP_CORRECTION2 6  // 1 - beta2^t
#define STEP_CLIP 7         // the largest gradient norm; 0: no clipping
#define STEP_REST1 8        // 1 - beta1, rounded once
#define STEP_REST2 9        // 1 - beta2
#define STEP_DISTILL 10     // lambda, the share of the distillation term
#define STEP_TEMPERATURE 11 // its temperature
#define STEP_LIMIT 12       // a larger gradient norm leaves the weights alone; 0: only one that is not
                            // finite does, below 0: any
#define STEP_UNSCALE 13     // what gradients are to be multiplied with: 1 / loss scale
#define STEP_TIME 14        // Adam's t
#define STEP_WEIGHTS 15     // from here on: the factor of each exit's gradient
#define STEP_VALUES 256

// The result of clip.comp.
#define CLIP_NORM 0
#define CLIP_SCALE 1

#define PAGE_POSITIONS 32 // of a sequence, a page of keys and values; a multiple of 8

// How a row of k quantised values lies in a tensor, in words of 32 bits, four to a vector: gpu/blocks.h.
// A format is a specialization constant of the kernels that read it.
#define FORMAT_Q8_0 0
#define FORMAT_Q4_0 1
#define FORMAT_Q4_K 2
#define FORMAT_Q6_K 3
#define BLOCK_GROUP 32  // values that are read together
#define BLOCK_SUPER 256 // values that share a vector of scales
// Vectors of its parts: codes, or their low bits; high bits; scales; scales of these.
#define BLOCK_CODES(format, k) ((k) / ((format) == FORMAT_Q8_0 ? 16 : 32))
#define BLOCK_HIGH(format, k) ((format) == FORMAT_Q6_K ? (k) / 64 : 0)
#define BLOCK_SCALES(k) (((k) + BLOCK_SUPER - 1) / BLOCK_SUPER)
#define BLOCK_FACTORS(format, k) ((format) == FORMAT_Q6_K ? ((k) / BLOCK_SUPER + 7) / 8 : 0)
#define BLOCK_ROW(format, k)                                                                       \
    (BLOCK_CODES(format, k) + BLOCK_HIGH(format, k) + BLOCK_SCALES(k) + BLOCK_FACTORS(format, k))

#define SUM_SQUARES_CHUNK 4096 // values per partial sum
#define ADAMW_PER_LANE 4       // values per invocation
#define QUANT_BLOCK 256        // values that share a scale, moments of 8 bits
#define ELEMENTS_PER_LANE 4    // the same, elementwise ops

// What kernels that measure a device's ceilings do; see peak_*.comp.
ARGS_BEGIN(PeakArgs)
{
    uint steps;
    uint blocks; // peak_copy: that there are, a power of two
    uint apart;  // peak_copy: blocks from one workgroup to the next
    float never; // a value that does not occur
}
ARGS_END(PeakArgs, 4);
#define PEAK_VECTORS 8 // loads of an invocation that do not wait for each other
#define PEAK_CHAIN 16  // multiply-adds of a chain in a step
#define PEAK_CHAINS 8  // chains of an invocation
#define PEAK_CHAINS_WIDE 12

#endif
