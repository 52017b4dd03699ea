// z = x + y. An invocation adds a few values.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer X { float x[]; };  // (rows, cols)
layout(binding = 2) readonly buffer Y { float y[]; };  // (rows, cols)
layout(binding = 3) writeonly buffer Z { float z[]; }; // (rows, cols)
layout(push_constant) uniform Push { ElementArgs args; };

void main()
{
    uint r = gl_WorkGroupID.y, row = r * args.cols;
    if (r >= ROW_COUNT(args.rows)) return;
    FOR_ELEMENTS(c, args.cols) z[row + c] = x[row + c] + y[row + c];
}
