// y[r] += bias. An invocation adds a few values.
// variant vec4: VEC4
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer Bias { VALUE bias[]; }; // (cols)
layout(binding = 2) buffer Y { VALUE y[]; };                // (rows, cols)
layout(push_constant) uniform Push { ElementArgs args; };

void main()
{
    uint r = gl_WorkGroupID.y, cols = args.cols / WIDTH, row = r * cols;
    if (r >= ROW_COUNT(args.rows)) return;
    FOR_ELEMENTS(c, cols) y[row + c] += bias[c];
}
