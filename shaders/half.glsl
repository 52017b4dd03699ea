// Values of 16 bits, four in two words, the first in the lowest bits: f16 or, with BF16, bf16. In
// whole numbers alone, so that no device needs 16-bit storage or arithmetic and all round alike: to the
// nearest value, ties to even (what packHalf2x16 does with ties is left to the driver).
layout(constant_id = 5) const uint BF16 = 0;

vec4 widen(uvec2 words)
{
    if (BF16 != 0)
        return uintBitsToFloat(uvec4(words.x << 16, words.x & 0xFFFF0000u, words.y << 16,
                                     words.y & 0xFFFF0000u));
    return vec4(unpackHalf2x16(words.x), unpackHalf2x16(words.y));
}

// The magnitude of an f32 as f16: of a normal value, of a smaller one, of one too large or no number.
uvec4 narrow_f16(uvec4 bits)
{
    uvec4 normal = (bits + 0xC8000FFFu + (bits >> 13 & 1)) >> 13; // the exponent's bias becomes 15
    // 0.5 has its last bit at 2^-24, as subnormal f16 do: the addition rounds there.
    uvec4 small = floatBitsToUint(uintBitsToFloat(bits) + 0.5) - 0x3F000000u;
    uvec4 large = mix(uvec4(0x7C00), uvec4(0x7E00), greaterThan(bits, uvec4(0x7F800000)));
    uvec4 narrow = mix(normal, small, lessThan(bits, uvec4(0x38800000)));
    return mix(narrow, large, greaterThanEqual(bits, uvec4(0x47800000)));
}

uvec4 narrow_bf16(uvec4 bits)
{
    uvec4 rounded = (bits + 0x7FFFu + (bits >> 16 & 1)) >> 16;
    return mix(rounded, uvec4(0x7FC0), greaterThan(bits, uvec4(0x7F800000)));
}

uvec2 narrow(vec4 values)
{
    uvec4 bits = floatBitsToUint(values), sign = bits >> 16 & 0x8000u;
    bits &= 0x7FFFFFFFu;
    uvec4 halves = sign | (BF16 != 0 ? narrow_bf16(bits) : narrow_f16(bits));
    return halves.xz | halves.yw << 16;
}
