// x = what is kept in 16 bits. An invocation converts a few values.
#version 450
#extension GL_GOOGLE_include_directive : require
#define VEC4
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
#include "half.glsl"
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer Kept { uvec2 kept[]; }; // (rows, cols) halves
layout(binding = 2) writeonly buffer X { vec4 x[]; };       // (rows, cols)
layout(push_constant) uniform Push { ElementArgs args; };

void main()
{
    uint r = gl_WorkGroupID.y, cols = args.cols / 4, row = r * cols;
    if (r >= ROW_COUNT(args.rows)) return;
    FOR_ELEMENTS(c, cols) x[row + c] = widen(kept[row + c]);
}
