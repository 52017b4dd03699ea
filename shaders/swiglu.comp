// h = silu(gate) * up, silu(g) = g / (1 + exp(-g)). An invocation computes a few values.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer Gate { float gate[]; }; // (rows, cols)
layout(binding = 2) readonly buffer Up { float up[]; };     // (rows, cols)
layout(binding = 3) writeonly buffer Hidden { float h[]; }; // (rows, cols)
layout(push_constant) uniform Push { ElementArgs args; };

void main()
{
    uint r = gl_WorkGroupID.y, row = r * args.cols;
    if (r >= ROW_COUNT(args.rows)) return;
    FOR_ELEMENTS(c, args.cols) {
        float g = gate[row + c];
        h[row + c] = g / (1.0 + exp(-g)) * up[row + c];
    }
}
