// kept = x in 16 bits, and x = what is kept: whatever reads x from now on sees the values that
// backward will. An invocation converts a few values.
// variant round: ROUND
#version 450
#extension GL_GOOGLE_include_directive : require
#define VEC4
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
#include "half.glsl"
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) buffer X { vec4 x[]; };                 // (rows, cols)
#ifndef ROUND // x is rounded, but not kept
layout(binding = 2) writeonly buffer Kept { uvec2 kept[]; }; // (rows, cols) halves
#endif
layout(push_constant) uniform Push { ElementArgs args; };

void main()
{
    uint r = gl_WorkGroupID.y, cols = args.cols / 4, row = r * cols;
    if (r >= ROW_COUNT(args.rows)) return;
    FOR_ELEMENTS(c, cols) {
        uvec2 halves = narrow(x[row + c]);
        x[row + c] = widen(halves);
#ifndef ROUND
        kept[row + c] = halves;
#endif
    }
}
