// f16 and bf16: see half.h.
#include "base/half.h"

#include <stdbool.h>

#define F32_INFINITY 0x7F800000u
enum { F32_MANTISSA = 23, F32_BIAS = 127, F16_MANTISSA = 10, F16_BIAS = 15, BF16_MANTISSA = 7 };

uint32_t f16_widen(uint16_t pattern)
{
    uint32_t sign = (pattern & 0x8000u) << 16;
    uint32_t exponent = pattern >> F16_MANTISSA & 0x1Fu;
    uint32_t mantissa = pattern & 0x3FFu;
    const uint32_t shift = F32_MANTISSA - F16_MANTISSA;
    if (exponent == 0x1F) return sign | F32_INFINITY | mantissa << shift;
    if (exponent)
        return sign | (exponent + F32_BIAS - F16_BIAS) << F32_MANTISSA | mantissa << shift;
    if (!mantissa) return sign;
    exponent = F32_BIAS - F16_BIAS + 1; // subnormal: shift until the leading one is the hidden bit
    while (!(mantissa & 0x400u)) {
        mantissa <<= 1;
        exponent--;
    }
    return sign | exponent << F32_MANTISSA | (mantissa & 0x3FFu) << shift;
}

uint32_t bf16_widen(uint16_t pattern)
{
    return (uint32_t)pattern << 16;
}

// value / 2^shift, 1 <= shift <= 31, to the nearest whole number, ties to even.
static uint32_t shift_rounded(uint32_t value, uint32_t shift)
{
    uint32_t whole = value >> shift;
    uint32_t rest = value & ((1u << shift) - 1), half = 1u << (shift - 1);
    bool up = rest > half || (rest == half && (whole & 1));
    return whole + up;
}

// The payload's high bits; the quiet bit where these are zero, or it would pass for an infinity.
static uint32_t narrow_nan(uint32_t magnitude, uint32_t mantissa_bits)
{
    uint32_t payload = (magnitude & 0x7FFFFFu) >> (F32_MANTISSA - mantissa_bits);
    return payload ? payload : 1u << (mantissa_bits - 1);
}

uint16_t f16_narrow(uint32_t pattern)
{
    uint32_t sign = pattern >> 16 & 0x8000u, magnitude = pattern & 0x7FFFFFFFu;
    uint32_t exponent = magnitude >> F32_MANTISSA;
    const uint32_t shift = F32_MANTISSA - F16_MANTISSA, first = F32_BIAS - F16_BIAS + 1;
    uint32_t out;
    if (magnitude > F32_INFINITY) {
        out = 0x7C00u | narrow_nan(magnitude, F16_MANTISSA);
    } else if (exponent >= first + 30) { // 2^16 and more
        out = 0x7C00u;
    } else if (exponent >= first) { // rounding up may carry into the exponent, to infinity too
        out = shift_rounded(magnitude - ((first - 1) << F32_MANTISSA), shift);
    } else if (exponent + F16_MANTISSA + 1 >= first) { // subnormal, counted in 2^-24
        uint32_t mantissa = (magnitude & 0x7FFFFFu) | 1u << F32_MANTISSA;
        out = shift_rounded(mantissa, shift + first - exponent);
    } else { // below half the smallest subnormal
        out = 0;
    }
    return (uint16_t)(sign | out);
}

uint16_t bf16_narrow(uint32_t pattern)
{
    uint32_t sign = pattern >> 16 & 0x8000u, magnitude = pattern & 0x7FFFFFFFu;
    uint32_t out = magnitude > F32_INFINITY
                       ? F32_INFINITY >> 16 | narrow_nan(magnitude, BF16_MANTISSA)
                       : shift_rounded(magnitude, 16);
    return (uint16_t)(sign | out);
}
