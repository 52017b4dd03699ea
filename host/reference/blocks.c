// What tests of quantised values share: see blocks.h.
#include "reference/blocks.h"

#include <math.h>

const Dtype BLOCKS[BLOCK_TYPES] = {DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q4_K, DTYPE_Q6_K};

// ---- the reference -----------------------------------------------------------------------------

static double half_at(const uint8_t *at)
{
    int pattern = at[0] + 256 * at[1], exponent = pattern / 1024 % 32, mantissa = pattern % 1024;
    double size = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return pattern >= 32768 ? -size : size;
}

static double signed_at(const uint8_t *at)
{
    return *at < 128 ? *at : *at - 256.0;
}

static int bits(const uint8_t *at, int first, int count)
{
    return *at >> first & ((1 << count) - 1);
}

// The 6-bit numbers of group g: which = 0 the scale, 1 the minimum.
static int six_bits(const uint8_t *packed, int g, int which)
{
    if (g < 4) return bits(packed + g + 4 * which, 0, 6);
    return bits(packed + g + 4, 4 * which, 4) + 16 * bits(packed + g - 4 + 4 * which, 6, 2);
}

static double q4_k_value(const uint8_t *block, int i)
{
    int g = i / 32;
    int code = bits(block + 16 + i / 64 * 32 + i % 32, g % 2 * 4, 4);
    return half_at(block) * six_bits(block + 4, g, 0) * code -
           half_at(block + 2) * six_bits(block + 4, g, 1);
}

static double q6_k_value(const uint8_t *block, int i)
{
    int half = i / 128, quarter = i % 128 / 32, l = i % 32;
    int low = bits(block + 64 * half + quarter % 2 * 32 + l, quarter / 2 * 4, 4);
    int high = bits(block + 128 + 32 * half + l, 2 * quarter, 2);
    return half_at(block + 208) * signed_at(block + 192 + i / 16) * (low + 16 * high - 32);
}

double blocks_value(Dtype dtype, const uint8_t *blocks, uint64_t index)
{
    const uint8_t *block =
        blocks + dtype_bytes(dtype, index / dtype_block(dtype) * dtype_block(dtype));
    int i = (int)(index % dtype_block(dtype));
    switch (dtype) {
    case DTYPE_Q8_0:
        return half_at(block) * signed_at(block + 2 + i);
    case DTYPE_Q4_0:
        return half_at(block) * (bits(block + 2 + i % 16, i / 16 * 4, 4) - 8);
    case DTYPE_Q4_K:
        return q4_k_value(block, i);
    default:
        return q6_k_value(block, i);
    }
}

// ---- blocks ------------------------------------------------------------------------------------

static uint32_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

// Where the scales of 16 bits lie.
static int scales_of(Dtype dtype, uint32_t at[2])
{
    at[0] = dtype == DTYPE_Q6_K ? 208 : 0;
    at[1] = 2;
    return dtype == DTYPE_Q4_K ? 2 : 1;
}

bool blocks_finite(Dtype dtype, const uint8_t *block)
{
    uint32_t at[2];
    int count = scales_of(dtype, at);
    for (int i = 0; i < count; i++)
        if ((block[at[i] + 1] & 0x7c) == 0x7c) return false;
    return true;
}

static uint16_t any_half(uint64_t *state)
{
    static const uint16_t edges[] = {0, 0x8000, 1, 0x8001, 0x03ff, 0x0400, 0x7bff, 0xfbff};
    uint32_t draw = next(state);
    if (draw % 4 == 0) return edges[draw / 4 % 8];
    uint16_t pattern = (uint16_t)(draw >> 4);
    return (pattern & 0x7c00) == 0x7c00 ? (uint16_t)(pattern & 0xbfff) : pattern;
}

// A magnitude from 2^-(least + 2) to below 2^-least.
static uint16_t half_near(uint64_t *state, int least)
{
    uint32_t draw = next(state);
    return (uint16_t)(draw % 2 << 15 | (14u - (uint32_t)least - draw / 2 % 2) << 10 |
                      (draw >> 8) % 1024);
}

static void fill(Dtype dtype, uint8_t *blocks, uint64_t count, uint64_t seed, int least)
{
    uint64_t state = seed * 2654435761u + 99, bytes = dtype_bytes(dtype, count);
    uint64_t each = dtype_bytes(dtype, dtype_block(dtype));
    uint32_t at[2];
    int scales = scales_of(dtype, at);
    for (uint64_t i = 0; i < bytes; i++) blocks[i] = (uint8_t)next(&state);
    for (uint64_t b = 0; b < bytes; b += each)
        for (int i = 0; i < scales; i++) {
            uint16_t pattern = least ? half_near(&state, least) : any_half(&state);
            blocks[b + at[i]] = (uint8_t)pattern;
            blocks[b + at[i] + 1] = (uint8_t)(pattern >> 8);
        }
}

void blocks_random(Dtype dtype, uint8_t *blocks, uint64_t count, uint64_t seed)
{
    fill(dtype, blocks, count, seed, 0);
}

void blocks_random_small(Dtype dtype, uint8_t *blocks, uint64_t count, uint64_t seed)
{
    static const int least[DTYPE_COUNT] = {
        [DTYPE_Q8_0] = 7, [DTYPE_Q4_0] = 3, [DTYPE_Q4_K] = 10, [DTYPE_Q6_K] = 12};
    fill(dtype, blocks, count, seed, least[dtype]);
}

void blocks_random_floats(float *values, uint64_t count, uint64_t seed, float size)
{
    uint64_t state = seed * 2654435761u + 7;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t draw = next(&state);
        values[i] = draw % 16 ? size * (2 * (float)(draw >> 7) / (1 << 24) - 1) : 0;
    }
}
