// y[r] = x[r] / sqrt(mean(x[r]^2) + epsilon) * gain, for each part of a row by itself. LANES invocations
// share a part.
// variant vec4: VEC4
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
#include "reduce.glsl"
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer X { VALUE x[]; };       // (rows, parts, cols)
layout(binding = 2) readonly buffer Gain { VALUE gain[]; }; // (cols)
layout(binding = 3) writeonly buffer Y { VALUE y[]; };      // (rows, parts, cols)
layout(push_constant) uniform Push { RmsnormArgs args; };

void main()
{
    uint r = gl_GlobalInvocationID.x / LANES, lane = gl_GlobalInvocationID.x % LANES;
    bool inside = r < ROW_COUNT(args.rows);
    uint cols = inside ? args.cols / WIDTH : 0, first = (r * args.parts + gl_WorkGroupID.y) * cols;
    float squares = 0.0;
    for (uint c = lane; c < cols; c += LANES) squares = add_products(x[first + c], x[first + c], squares);
    float inverse = inversesqrt(reduce_sum(squares) / float(args.cols) + args.epsilon);
    for (uint c = lane; c < cols; c += LANES) y[first + c] = x[first + c] * inverse * gain[c];
}
