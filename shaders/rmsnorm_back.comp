// With n = 1 / sqrt(mean(x^2) + epsilon): dx (+)= n (gain dy - x n^2 mean(gain dy x)); keeps n for
// rmsnorm_gain_back. LANES invocations share a part of a row.
// variant vec4: VEC4
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
#include "reduce.glsl"
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer X { VALUE x[]; };             // (rows, parts, cols)
layout(binding = 2) readonly buffer Gain { VALUE gain[]; };       // (cols)
layout(binding = 3) readonly buffer Dy { VALUE dy[]; };           // (rows, parts, cols)
layout(binding = 4) buffer Dx { VALUE dx[]; };                    // (rows, parts, cols)
layout(binding = 5) writeonly buffer Inverse { float inverse[]; }; // (rows, parts)
layout(push_constant) uniform Push { RmsnormArgs args; };

void main()
{
    uint r = gl_GlobalInvocationID.x / LANES, lane = gl_GlobalInvocationID.x % LANES;
    bool inside = r < ROW_COUNT(args.rows);
    uint cols = inside ? args.cols / WIDTH : 0, first = (r * args.parts + gl_WorkGroupID.y) * cols;
    float squares = 0.0, products = 0.0;
    for (uint c = lane; c < cols; c += LANES) {
        VALUE value = x[first + c];
        squares = add_products(value, value, squares);
        products = add_products(gain[c] * dy[first + c], value, products);
    }
    float n = inversesqrt(reduce_sum(squares) / float(args.cols) + args.epsilon);
    float pull = reduce_sum(products) / float(args.cols) * n * n;
    for (uint c = lane; c < cols; c += LANES) {
        VALUE d = n * (gain[c] * dy[first + c] - x[first + c] * pull);
        dx[first + c] = args.accumulate != 0 ? dx[first + c] + d : d;
    }
    if (inside && lane == 0) inverse[r * args.parts + gl_WorkGroupID.y] = n;
}
