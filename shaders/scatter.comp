// y[index[r]] (+)= x[r]; no index stands twice. An invocation moves a few values.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
layout(constant_id = 2) const uint ADD = 0; // 1: +=, 0: =
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer Index { uint index[]; }; // (all rows)
layout(binding = 2) readonly buffer X { float x[]; };        // (rows, cols)
layout(binding = 3) buffer Y { float y[]; };                 // (any, cols)
layout(push_constant) uniform Push { ElementArgs args; };

void main()
{
    uint r = gl_WorkGroupID.y;
    if (r >= ROW_COUNT(args.rows)) return;
    uint from = r * args.cols, to = index[args.rows.first + r] * args.cols;
    FOR_ELEMENTS(c, args.cols) y[to + c] = (ADD != 0 ? y[to + c] : 0.0) + x[from + c];
}
