// y[r] = table[token[r]]. An invocation copies a few values.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer Tokens { uint tokens[]; }; // (rows)
layout(binding = 2) readonly buffer Table { float table[]; };  // (vocabulary, cols)
layout(binding = 3) writeonly buffer Y { float y[]; };         // (rows, cols)
layout(push_constant) uniform Push { ElementArgs args; };

void main()
{
    uint r = gl_WorkGroupID.y;
    if (r >= ROW_COUNT(args.rows)) return;
    uint from = tokens[r] * args.cols, to = r * args.cols;
    FOR_ELEMENTS(c, args.cols) y[to + c] = table[from + c];
}
