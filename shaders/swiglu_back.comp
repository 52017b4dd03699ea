// s = 1 / (1 + exp(-gate)): dup = dh gate s; dgate = dh up s (1 + gate (1 - s)).
// An invocation computes a few values of each.
// variant vec4: VEC4
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer Gate { VALUE gate[]; };     // (rows, cols)
layout(binding = 2) readonly buffer Up { VALUE up[]; };         // (rows, cols)
layout(binding = 3) readonly buffer Dh { VALUE dh[]; };         // (rows, cols)
layout(binding = 4) writeonly buffer Dgate { VALUE dgate[]; };  // (rows, cols)
layout(binding = 5) writeonly buffer Dup { VALUE dup[]; };      // (rows, cols)
layout(push_constant) uniform Push { ElementArgs args; };

void main()
{
    uint r = gl_WorkGroupID.y, cols = args.cols / WIDTH, row = r * cols;
    if (r >= ROW_COUNT(args.rows)) return;
    FOR_ELEMENTS(c, cols) {
        VALUE g = gate[row + c], d = dh[row + c], s = 1.0 / (1.0 + exp(-g));
        dup[row + c] = d * g * s;
        dgate[row + c] = d * up[row + c] * s * (1.0 + g * (1.0 - s));
    }
}
