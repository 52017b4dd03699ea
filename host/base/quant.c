// Blocks of quantised values: see quant.h.
#include "base/quant.h"
#include "base/half.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { GROUP = 32, SUPER = 256 };
// Where the parts of a block begin.
enum { Q4_K_SCALES = 4, Q4_K_CODES = 16, Q6_K_HIGH = 128, Q6_K_SCALES = 192, Q6_K_D = 208 };

// ---- decoding ----------------------------------------------------------------------------------

static float read_f16(const uint8_t *at)
{
    uint32_t bits = f16_widen((uint16_t)(at[0] | at[1] << 8));
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int read_i8(uint8_t byte)
{
    return byte < 128 ? byte : byte - 256;
}

static void decode_q8_0(const uint8_t *block, float *out)
{
    float d = read_f16(block);
    for (int i = 0; i < GROUP; i++) out[i] = d * (float)read_i8(block[2 + i]);
}

// Byte i holds value i in its low half and value i + 16 in its high one.
static void decode_q4_0(const uint8_t *block, float *out)
{
    float d = read_f16(block);
    for (int i = 0; i < GROUP / 2; i++) {
        out[i] = d * (float)((block[2 + i] & 15) - 8);
        out[i + GROUP / 2] = d * (float)((block[2 + i] >> 4) - 8);
    }
}

// Groups 0 to 3 have their 6 bits in bytes of their own, minima in the 4 bytes behind the scales;
// the top 2 bits of these 8 bytes complete the nibbles of groups 4 to 7 in the last 4 bytes.
void quant_q4_k_scales(const uint8_t *packed, uint8_t *scales, uint8_t *minima)
{
    for (int i = 0; i < 4; i++) {
        scales[i] = packed[i] & 63;
        minima[i] = packed[4 + i] & 63;
        scales[4 + i] = (uint8_t)((packed[8 + i] & 15) | packed[i] >> 6 << 4);
        minima[4 + i] = (uint8_t)(packed[8 + i] >> 4 | packed[4 + i] >> 6 << 4);
    }
}

// Two groups share 32 bytes: the first has the low nibbles.
static void decode_q4_k(const uint8_t *block, float *out)
{
    float d = read_f16(block), m = read_f16(block + 2);
    uint8_t scales[8], minima[8];
    quant_q4_k_scales(block + Q4_K_SCALES, scales, minima);
    for (int group = 0; group < 8; group++) {
        float scale = d * (float)scales[group], minimum = m * (float)minima[group];
        const uint8_t *codes = block + Q4_K_CODES + group / 2 * GROUP;
        for (int i = 0; i < GROUP; i++) {
            int code = group % 2 ? codes[i] >> 4 : codes[i] & 15;
            out[group * GROUP + i] = scale * (float)code - minimum;
        }
    }
}

// Four groups, 128 values, share 64 bytes of nibbles and 32 bytes of high bits: the first two have
// the low nibbles, a byte of high bits has two for each group.
void quant_q6_k_codes(const uint8_t *block, uint8_t *codes)
{
    for (int group = 0; group < SUPER / GROUP; group++) {
        const uint8_t *low = block + group / 4 * 64 + group % 2 * GROUP;
        const uint8_t *high = block + Q6_K_HIGH + group / 4 * GROUP;
        for (int i = 0; i < GROUP; i++) {
            int nibble = group % 4 < 2 ? low[i] & 15 : low[i] >> 4;
            codes[group * GROUP + i] = (uint8_t)(nibble | (high[i] >> 2 * (group % 4) & 3) << 4);
        }
    }
}

static void decode_q6_k(const uint8_t *block, float *out)
{
    float d = read_f16(block + Q6_K_D);
    uint8_t codes[SUPER];
    quant_q6_k_codes(block, codes);
    for (int i = 0; i < SUPER; i++) {
        float scale = d * (float)read_i8(block[Q6_K_SCALES + i / 16]);
        out[i] = scale * (float)(codes[i] - 32);
    }
}

void quant_decode(Dtype dtype, const uint8_t *blocks, uint64_t count, float *out)
{
    void (*decode)(const uint8_t *, float *) = dtype == DTYPE_Q8_0   ? decode_q8_0
                                               : dtype == DTYPE_Q4_0 ? decode_q4_0
                                               : dtype == DTYPE_Q4_K ? decode_q4_k
                                                                     : decode_q6_k;
    uint32_t values = dtype_block(dtype), bytes = (uint32_t)dtype_bytes(dtype, values);
    assert(dtype_blocked(dtype) && count % values == 0);
    for (; count; count -= values, blocks += bytes, out += values) decode(blocks, out);
}

// ---- encoding ----------------------------------------------------------------------------------

static uint32_t magnitude(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & 0x7FFFFFFF;
}

// The value of largest magnitude, the first of several; NaN where one is not finite. Patterns are
// in the order of magnitudes, those of infinity and NaN behind all others.
static float find_largest(const float *values)
{
    uint32_t most = 0;
    int first = 0;
    for (int i = 0; i < GROUP; i++)
        most = magnitude(values[i]) > most ? magnitude(values[i]) : most;
    if (most >= 0x7F800000) return NAN;
    while (magnitude(values[first]) != most) first++;
    return values[first];
}

// Stores d; *inverse = 1 / d, or 0 where there is none. False where d is no finite f16.
static bool put_scale(uint8_t *block, float d, float *inverse)
{
    uint32_t bits;
    memcpy(&bits, &d, sizeof bits);
    uint16_t half = f16_narrow(bits);
    block[0] = (uint8_t)half;
    block[1] = (uint8_t)(half >> 8);
    *inverse = d != 0 ? 1 / d : 0;
    if (!isfinite(*inverse)) *inverse = 0; // of values far below what f16 tells from 0
    return (half & 0x7C00) != 0x7C00;
}

static bool encode_q8_0(const float *values, uint8_t *block)
{
    float inverse;
    if (!put_scale(block, fabsf(find_largest(values)) / 127, &inverse)) return false;
    for (int i = 0; i < GROUP; i++) {
        float scaled = values[i] * inverse;
        int code = (int)scaled; // roundf, which is a call
        code += (scaled - (float)code >= 0.5f) - (scaled - (float)code <= -0.5f);
        block[2 + i] = (uint8_t)(code & 255);
    }
    return true;
}

static int code_q4_0(float scaled)
{
    int code = (int)(scaled + 8.5f);
    return code < 15 ? code : 15;
}

static bool encode_q4_0(const float *values, uint8_t *block)
{
    float inverse;
    if (!put_scale(block, find_largest(values) / -8, &inverse)) return false;
    for (int i = 0; i < GROUP / 2; i++) {
        int low = code_q4_0(values[i] * inverse), high = code_q4_0(values[i + GROUP / 2] * inverse);
        block[2 + i] = (uint8_t)(low | high << 4);
    }
    return true;
}

bool quant_encode(Dtype dtype, const float *values, uint64_t count, uint8_t *blocks)
{
    bool (*encode)(const float *, uint8_t *) = dtype == DTYPE_Q8_0 ? encode_q8_0 : encode_q4_0;
    uint64_t bytes = dtype_bytes(dtype, GROUP);
    assert((dtype == DTYPE_Q8_0 || dtype == DTYPE_Q4_0) && count % GROUP == 0);
    for (; count; count -= GROUP, values += GROUP, blocks += bytes)
        if (!encode(values, blocks)) return false;
    return true;
}
