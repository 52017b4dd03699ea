// Quantised values as the device holds them: see blocks.h.
#include "gpu/blocks.h"
#include "base/quant.h"

#include "../../shaders/args.h"

#include <assert.h>
#include <string.h>

enum { VECTOR = 4, GROUP = BLOCK_GROUP, SUPER = BLOCK_SUPER, GROUPS = SUPER / GROUP };

// Where the parts of a row begin.
typedef struct {
    uint32_t *codes, *high, *scales, *factors;
} Parts;

static uint32_t format_of(Dtype dtype)
{
    return (uint32_t)(dtype - DTYPE_Q8_0) + FORMAT_Q8_0;
}

uint64_t blocks_row_bytes(Dtype dtype, uint32_t cols)
{
    uint32_t format = format_of(dtype);
    return UINT64_C(16) * BLOCK_ROW(format, (uint64_t)cols);
}

static Parts parts_of(uint32_t format, uint32_t *row, uint32_t cols)
{
    Parts parts = {.codes = row};
    parts.high = parts.codes + VECTOR * BLOCK_CODES(format, cols);
    parts.scales = parts.high + VECTOR * BLOCK_HIGH(format, cols);
    parts.factors = parts.scales + VECTOR * BLOCK_SCALES(cols);
    return parts;
}

// vector (4) = the low 4 bits of 32 codes.
static void put_nibbles(uint32_t *vector, const uint8_t *codes)
{
    for (int i = 0; i < VECTOR; i++) {
        uint32_t word = 0;
        for (int v = 0; v < 8; v++) word |= (uint32_t)(codes[4 * v + i] & 15) << 4 * v;
        vector[i] = word;
    }
}

// The i-th of the numbers of 16 bits.
static void put_half(uint32_t *words, uint64_t i, const uint8_t *bytes)
{
    words[i / 2] |= (uint32_t)(bytes[0] | bytes[1] << 8) << 16 * (i % 2);
}

static void lay_out_q8_0(Parts to, const uint8_t *block, uint32_t group)
{
    uint32_t *vectors = to.codes + 2 * VECTOR * (size_t)group;
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < VECTOR; i++) {
            const uint8_t *q = block + 2 + 16 * h + i;
            vectors[VECTOR * h + i] =
                q[0] | (uint32_t)q[4] << 8 | (uint32_t)q[8] << 16 | (uint32_t)q[12] << 24;
        }
    put_half(to.scales, group, block);
}

static void lay_out_q4_0(Parts to, const uint8_t *block, uint32_t group)
{
    uint8_t codes[GROUP];
    for (int i = 0; i < GROUP / 2; i++) {
        codes[i] = block[2 + i] ^ 8;
        codes[GROUP / 2 + i] = (uint8_t)(block[2 + i] >> 4 ^ 8);
    }
    put_nibbles(to.codes + VECTOR * (size_t)group, codes);
    put_half(to.scales, group, block);
}

static void lay_out_q4_k(Parts to, const uint8_t *block, uint32_t super)
{
    uint32_t *scales = to.scales + VECTOR * (size_t)super;
    uint8_t s[GROUPS], t[GROUPS], codes[GROUP];
    quant_q4_k_scales(block + 4, s, t);
    memset(scales, 0, 4 * VECTOR);
    put_half(scales, 0, block);
    put_half(scales, 1, block + 2);
    for (uint32_t g = 0; g < GROUPS; g++) {
        scales[1] |= (s[g] & 15u) << 4 * g;
        scales[2] |= (t[g] & 15u) << 4 * g;
        scales[3] |= (uint32_t)(s[g] >> 4) << 2 * g | (uint32_t)(t[g] >> 4) << (16 + 2 * g);
        const uint8_t *shared = block + 16 + g / 2 * GROUP;
        for (int i = 0; i < GROUP; i++) codes[i] = (uint8_t)(shared[i] >> 4 * (g % 2));
        put_nibbles(to.codes + VECTOR * ((size_t)super * GROUPS + g), codes);
    }
}

static void lay_out_q6_k(Parts to, const uint8_t *block, uint32_t super)
{
    uint8_t codes[SUPER];
    quant_q6_k_codes(block, codes);
    for (int i = 0; i < SUPER; i++) codes[i] ^= 32;
    for (uint32_t g = 0; g < GROUPS; g++)
        put_nibbles(to.codes + VECTOR * ((size_t)super * GROUPS + g), codes + g * GROUP);
    uint32_t *high = to.high + SUPER / 64 * VECTOR * (size_t)super;
    for (int i = 0; i < SUPER / 16; i++) { // vector i / 4, word i % 4
        uint32_t word = 0;
        for (int v = 0; v < 16; v++)
            word |= (uint32_t)(codes[i / 4 * 64 + 4 * v + i % 4] >> 4) << 2 * v;
        high[i] = word;
    }
    for (uint32_t g = 0; g < GROUPS; g++)
        put_half(to.scales, (uint64_t)super * GROUPS + g, block + 192 + 2 * g);
    put_half(to.factors, super, block + 208);
}

void blocks_lay_out(Dtype dtype, uint32_t *row, const uint8_t *blocks, uint32_t cols)
{
    static void (*const each[])(Parts, const uint8_t *, uint32_t) = {
        [FORMAT_Q8_0] = lay_out_q8_0,
        [FORMAT_Q4_0] = lay_out_q4_0,
        [FORMAT_Q4_K] = lay_out_q4_k,
        [FORMAT_Q6_K] = lay_out_q6_k,
    };
    uint32_t format = format_of(dtype), bytes = (uint32_t)dtype_bytes(dtype, dtype_block(dtype));
    Parts parts = parts_of(format, row, cols);
    assert(cols % dtype_block(dtype) == 0);
    // What scales are added to, bit by bit, begins as 0.
    memset(parts.scales, 0,
           blocks_row_bytes(dtype, cols) - 4 * (uint64_t)(parts.scales - parts.codes));
    for (uint32_t b = 0; b < cols / dtype_block(dtype); b++)
        each[format](parts, blocks + (size_t)b * bytes, b);
}
