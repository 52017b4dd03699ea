// partial[i] = sum of x^2 over the i-th chunk of SUM_SQUARES_CHUNK values. LANES invocations share
// a chunk.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "reduce.glsl"
layout(binding = 0) readonly buffer X { float x[]; };              // (count)
layout(binding = 1) writeonly buffer Partials { float partials[]; };
layout(push_constant) uniform Push { SumSquaresArgs args; };

void main()
{
    uint chunk = gl_GlobalInvocationID.x / LANES, lane = gl_GlobalInvocationID.x % LANES;
    uint first = min(chunk * SUM_SQUARES_CHUNK, args.count);
    uint last = min(first + SUM_SQUARES_CHUNK, args.count);
    float sum = 0.0;
    for (uint i = first + lane; i < last; i += LANES) sum = fma(x[i], x[i], sum);
    sum = reduce_sum(sum);
    if (first < last && lane == 0) partials[args.first + chunk] = sum;
}
