// y[index[r]] (+)= x[r]; no index stands twice. An invocation moves a few values.
// variant vec4: VEC4
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
layout(constant_id = 2) const uint ADD = 0; // 1: +=, 0: =
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer Index { uint index[]; }; // (all rows)
layout(binding = 2) readonly buffer X { VALUE x[]; };        // (rows, cols)
layout(binding = 3) buffer Y { VALUE y[]; };                 // (any, cols)
layout(push_constant) uniform Push { ElementArgs args; };

void main()
{
    uint r = gl_WorkGroupID.y, cols = args.cols / WIDTH;
    if (r >= ROW_COUNT(args.rows)) return;
    uint from = r * cols, to = index[args.rows.first + r] * cols;
    FOR_ELEMENTS(c, cols) y[to + c] = (ADD != 0 ? y[to + c] : VALUE(0.0)) + x[from + c];
}
