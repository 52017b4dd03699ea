// Quantised values as gpu/blocks.h lays them out: read in vectors of four words, decoded four values
// at a time, in the bits of base/quant.c: every product is exact in f32. With TEXEL through a texel
// view.
layout(constant_id = 5) const uint FORMAT = FORMAT_Q8_0;
#ifdef TEXEL
#define BLOCKS(at, Block, name) layout(binding = TEXELS + at) uniform usamplerBuffer name
#define LOAD_BLOCKS(buffer, at) texelFetch(buffer, int(at))
#else
#define BLOCKS(at, Block, name) layout(binding = at) readonly buffer Block { uvec4 name[]; }
#define LOAD_BLOCKS(buffer, at) buffer[at]
#endif

// What the groups of 256 values share.
struct Scales {
    uvec4 scales;
    float factor; // Q6_K
};

// A group of 32 values.
struct Group {
    uvec4 codes[2]; // the second: Q8_0
    uvec4 high;     // Q6_K
    vec2 factors;   // of the first and the last 16 values
    float offset;   // Q4_K
};

// The i-th of 8 numbers of 16 bits.
uint half_of(uvec4 words, uint i)
{
    uint word = i < 4 ? (i < 2 ? words.x : words.y) : (i < 6 ? words.z : words.w);
    return word >> 16 * (i & 1) & 0xFFFFu;
}

// An f16. A driver may take subnormal ones for 0, and with them whole blocks: they are counted in 2^-24.
float widen_scale(uint bits)
{
    float small = float(bits & 0x3FFu) * (1.0 / (1 << 24));
    if ((bits & 0x7C00u) != 0) return unpackHalf2x16(bits).x;
    return (bits & 0x8000u) != 0 ? -small : small;
}

// vector `at` of a row of k values, that begins at vector `row`, has the scales of 256 values.
#define LOAD_SCALES(to, buffer, row, at, k)                                                        \
    {                                                                                              \
        uint parts = (row) + BLOCK_CODES(FORMAT, k) + BLOCK_HIGH(FORMAT, k);                       \
        to.scales = LOAD_BLOCKS(buffer, parts + (at));                                             \
        if (FORMAT == FORMAT_Q6_K)                                                                 \
            to.factor = widen_scale(half_of(                                                       \
                LOAD_BLOCKS(buffer, parts + BLOCK_SCALES(k) + (at) / 8), (at) % 8));               \
    }

// The codes of group g, counted along the row.
#define LOAD_CODES(to, buffer, row, g, k)                                                          \
    {                                                                                              \
        if (FORMAT == FORMAT_Q8_0) {                                                               \
            to.codes[0] = LOAD_BLOCKS(buffer, (row) + 2 * (g));                                    \
            to.codes[1] = LOAD_BLOCKS(buffer, (row) + 2 * (g) + 1);                                \
        } else {                                                                                   \
            to.codes[0] = LOAD_BLOCKS(buffer, (row) + (g));                                        \
        }                                                                                          \
        if (FORMAT == FORMAT_Q6_K)                                                                 \
            to.high = LOAD_BLOCKS(buffer, (row) + BLOCK_CODES(FORMAT, k) + (g) / 2) >> 16 * ((g) & 1); \
    }

// The factors of group g, of the 8 that `s` is of.
void group_scale(inout Group group, Scales s, uint g)
{
    if (FORMAT == FORMAT_Q4_K) {
        vec2 dm = vec2(widen_scale(s.scales.x & 0xFFFFu), widen_scale(s.scales.x >> 16));
        uint scale = (s.scales.y >> 4 * g & 15) | (s.scales.w >> 2 * g & 3) << 4;
        uint minimum = (s.scales.z >> 4 * g & 15) | (s.scales.w >> 16 + 2 * g & 3) << 4;
        group.factors.x = dm.x * float(scale);
        group.offset = -(dm.y * float(minimum));
    } else if (FORMAT == FORMAT_Q6_K) {
        int both = int(half_of(s.scales, g));
        group.factors = s.factor * vec2(both << 24 >> 24, both << 16 >> 24);
    } else {
        group.factors.x = widen_scale(half_of(s.scales, g));
    }
}

// Values 4 v to 4 v + 3 of a group.
vec4 decode(Group group, uint v)
{
    if (FORMAT == FORMAT_Q8_0) {
        uvec4 codes = v < 4 ? group.codes[0] : group.codes[1];
        return group.factors.x * vec4(ivec4(codes << (24 - 8 * (v & 3))) >> 24);
    }
    if (FORMAT == FORMAT_Q4_0)
        return group.factors.x * vec4(ivec4(group.codes[0] << (28 - 4 * v)) >> 28);
    uvec4 low = group.codes[0] >> 4 * v & 15u;
    if (FORMAT == FORMAT_Q4_K) return fma(vec4(low), vec4(group.factors.x), vec4(group.offset));
    ivec4 codes = ivec4(group.high << (30 - 2 * v)) >> 30 << 4 | ivec4(low);
    return (v < 4 ? group.factors.x : group.factors.y) * vec4(codes);
}
