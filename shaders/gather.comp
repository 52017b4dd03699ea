// y[r] = x[index[r]]. An invocation copies a few values.
// variant vec4: VEC4
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer Index { uint index[]; }; // (all rows)
layout(binding = 2) readonly buffer X { VALUE x[]; };        // (any, cols)
layout(binding = 3) writeonly buffer Y { VALUE y[]; };       // (rows, cols)
layout(push_constant) uniform Push { ElementArgs args; };

void main()
{
    uint r = gl_WorkGroupID.y, cols = args.cols / WIDTH;
    if (r >= ROW_COUNT(args.rows)) return;
    uint from = index[args.rows.first + r] * cols, to = r * cols;
    FOR_ELEMENTS(c, cols) y[to + c] = x[from + c];
}
