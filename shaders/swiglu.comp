// h = silu(gate) * up, silu(g) = g / (1 + exp(-g)). An invocation computes a few values.
// variant vec4: VEC4
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer Gate { VALUE gate[]; }; // (rows, cols)
layout(binding = 2) readonly buffer Up { VALUE up[]; };     // (rows, cols)
layout(binding = 3) writeonly buffer Hidden { VALUE h[]; }; // (rows, cols)
layout(push_constant) uniform Push { ElementArgs args; };

void main()
{
    uint r = gl_WorkGroupID.y, cols = args.cols / WIDTH, row = r * cols;
    if (r >= ROW_COUNT(args.rows)) return;
    FOR_ELEMENTS(c, cols) {
        VALUE g = gate[row + c];
        h[row + c] = g / (1.0 + exp(-g)) * up[row + c];
    }
}
