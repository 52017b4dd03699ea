// AdamW as in adamw.comp with moments of 8 bits (Dettmers et al., arXiv 2110.02861: blocks with a scale
// each). Of a block of QUANT_BLOCK values with scale s: m = +-s (c / 127)^2, the sign in the code's
// highest bit; v = s (c / 255)^4, so that values far below the largest keep a code. A value between two
// codes takes either with the probability that makes its mean right: moments that move by less than a
// code a step still move. v > 0 never becomes 0, which would make its update immense. LANES
// invocations share a block. HALF: the gradient in 16 bits.
// variant half: HALF
#version 450
#extension GL_GOOGLE_include_directive : require
#define VEC4
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
#include "gradient.glsl"
#include "reduce.glsl"
layout(binding = 0) readonly buffer Step { float step_values[]; };    // (STEP_VALUES)
layout(binding = 1) readonly buffer Clip { float clip[]; };           // (2): norm, scale
GRADIENT(2);                                                          // (count)
layout(binding = 3) buffer Weight { vec4 weight[]; };                 // (count)
layout(binding = 4) buffer Mean { uint mean[]; };                     // (count) codes
layout(binding = 5) buffer Square { uint square[]; };                 // (count) codes
layout(binding = 6) buffer MeanScales { float mean_scales[]; };       // (blocks of the parameter)
layout(binding = 7) buffer SquareScales { float square_scales[]; };   // (blocks of the parameter)
layout(push_constant) uniform Push { AdamwArgs args; };

vec4 bytes(uint codes)
{
    return vec4(codes & 0xFF, codes >> 8 & 0xFF, codes >> 16 & 0xFF, codes >> 24);
}

uint word(uvec4 codes)
{
    return codes.x | codes.y << 8 | codes.z << 16 | codes.w << 24;
}

vec4 mean_of(uint codes, float scale)
{
    vec4 c = bytes(codes & 0x7F7F7F7Fu) / 127.0, sign = 1.0 - 2.0 * bytes(codes >> 7 & 0x01010101u);
    return sign * scale * c * c;
}

vec4 square_of(uint codes, float scale)
{
    vec4 c = bytes(codes) / 255.0;
    return scale * (c * c) * (c * c);
}

// Four numbers from 0 to 1 that look random: the PCG hash (Jarzynski and Olano, JCGT 9(3), 2020).
vec4 noise(uint seed)
{
    uvec4 v = uvec4(seed) * 747796405u + uvec4(2891336453u, 1181783497u, 3266489917u, 668265263u);
    v = (v >> ((v >> 28) + 4u) ^ v) * 277803737u;
    return vec4((v >> 22 ^ v) >> 8) / 16777216.0;
}

// The code at or above: share is how far x lies from the code below, in values.
uvec4 choose(vec4 below, vec4 share, vec4 random, float most)
{
    return uvec4(min(below + vec4(lessThan(random, share)), most));
}

uvec4 mean_codes(vec4 m, float scale, vec4 random)
{
    vec4 x = scale > 0.0 ? min(abs(m) / scale, 1.0) * (127.0 * 127.0) : vec4(0.0);
    vec4 below = floor(sqrt(x)), share = (x - below * below) / (2.0 * below + 1.0);
    return choose(below, share, random, 127.0) | uvec4(lessThan(m, vec4(0.0))) << 7;
}

uvec4 square_codes(vec4 v, float scale, vec4 random)
{
    vec4 x = scale > 0.0 ? min(v / scale, 1.0) : vec4(0.0);
    vec4 below = floor(255.0 * sqrt(sqrt(x)));
    vec4 low = below / 255.0, high = (below + 1.0) / 255.0;
    low = low * low * (low * low);
    high = high * high * (high * high);
    uvec4 codes = choose(below, (x - low) / (high - low), random, 255.0);
    return max(codes, uvec4(greaterThan(v, vec4(0.0))));
}

void main()
{
    float limit = step_values[STEP_LIMIT];
    if (!(clip[CLIP_NORM] <= (limit == 0.0 ? 3.4e38 : limit))) return;
    float rate = step_values[STEP_RATE], b1 = step_values[STEP_BETA1], b2 = step_values[STEP_BETA2];
    float shrink = args.decay != 0 ? rate * step_values[STEP_DECAY] : 0.0;
    uint block = ITEM, lane = gl_GlobalInvocationID.x % LANES;
    uint count = args.count / 4, first = min(block * (QUANT_BLOCK / 4), count);
    uint last = min(first + QUANT_BLOCK / 4, count), scales = args.first + block;
    bool inside = first < last;
    float mean_scale = inside ? mean_scales[scales] : 0.0;
    float square_scale = inside ? square_scales[scales] : 0.0;

    float most_mean = 0.0, most_square = 0.0;
    for (uint i = first + lane; i < last; i += LANES) {
        vec4 g = GRADIENT_AT(i) * clip[CLIP_SCALE];
        vec4 m = abs(b1 * mean_of(mean[i], mean_scale) + step_values[STEP_REST1] * g);
        vec4 v = b2 * square_of(square[i], square_scale) + step_values[STEP_REST2] * g * g;
        most_mean = max(most_mean, max(max(m.x, m.y), max(m.z, m.w)));
        most_square = max(most_square, max(max(v.x, v.y), max(v.z, v.w)));
    }
    most_mean = reduce_max(most_mean);
    most_square = reduce_max(most_square);

    for (uint i = first + lane; i < last; i += LANES) {
        vec4 g = GRADIENT_AT(i) * clip[CLIP_SCALE], p = weight[i];
        vec4 m = b1 * mean_of(mean[i], mean_scale) + step_values[STEP_REST1] * g;
        vec4 v = b2 * square_of(square[i], square_scale) + step_values[STEP_REST2] * g * g;
        uint seed = (args.first * (QUANT_BLOCK / 4) + i) * 2u ^ args.salt * 0x9E3779B9u ^
                    uint(step_values[STEP_TIME]) * 0x85EBCA6Bu;
        mean[i] = word(mean_codes(m, most_mean, noise(seed)));
        square[i] = word(square_codes(v, most_square, noise(seed + 1u)));
        p -= shrink * p;
        float step_size = rate / step_values[STEP_CORRECTION1];
        weight[i] = p - step_size * m / (sqrt(v / step_values[STEP_CORRECTION2]) +
                                         step_values[STEP_EPSILON]);
    }
    if (inside && lane == 0) {
        mean_scales[scales] = most_mean;
        square_scales[scales] = most_square;
    }
}
