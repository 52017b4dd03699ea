// partial[i] = sum of x^2 over the i-th chunk of SUM_SQUARES_CHUNK values. LANES invocations share
// a chunk. HALF: x in 16 bits.
// variant half: HALF
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "reduce.glsl"
#ifdef HALF
#include "half.glsl"
layout(binding = 0) readonly buffer X { uvec2 x[]; };              // (count) halves
#else
layout(binding = 0) readonly buffer X { float x[]; };              // (count)
layout(binding = 0) readonly buffer Fours { vec4 fours[]; };       // the same: fewer loads
#endif
layout(binding = 1) writeonly buffer Partials { float partials[]; };
layout(push_constant) uniform Push { SumSquaresArgs args; };

void main()
{
    uint chunk = ITEM, lane = gl_GlobalInvocationID.x % LANES;
    uint first = min(chunk * SUM_SQUARES_CHUNK, args.count);
    uint last = min(first + SUM_SQUARES_CHUNK, args.count);
    float sum = 0.0;
#ifdef HALF
    for (uint i = first / 4 + lane; i < last / 4; i += LANES) {
        vec4 four = widen(x[i]);
        sum += dot(four, four);
    }
#else
    vec4 even = vec4(0.0), odd = vec4(0.0); // eight short sums at a time
    uint i = first / 4 + lane;
    for (; i + LANES < last / 4; i += 2 * LANES) {
        vec4 a = fours[i], b = fours[i + LANES];
        even = fma(a, a, even);
        odd = fma(b, b, odd);
    }
    if (i < last / 4) even = fma(fours[i], fours[i], even);
    even += odd;
    sum = (even.x + even.y) + (even.z + even.w);
    for (uint j = last / 4 * 4 + lane; j < last; j += LANES) sum = fma(x[j], x[j], sum);
#endif
    sum = reduce_sum(sum);
    if (first < last && lane == 0) partials[args.first + chunk] = sum;
}
