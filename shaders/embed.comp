// y[r] = table[token[r]], where the table has that row. An invocation copies a few values.
// variant vec4: VEC4
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer Tokens { uint tokens[]; }; // (rows)
layout(binding = 2) readonly buffer Table { VALUE table[]; };  // (vocabulary, cols)
layout(binding = 3) writeonly buffer Y { VALUE y[]; };         // (rows, cols)
layout(push_constant) uniform Push { EmbedArgs args; };

void main()
{
    uint r = gl_WorkGroupID.y, cols = args.cols / WIDTH;
    if (r >= ROW_COUNT(args.rows)) return;
    uint token = tokens[r] - args.first;
    if (token >= args.count) return;
    uint from = token * cols, to = r * cols;
    FOR_ELEMENTS(c, cols) y[to + c] = table[from + c];
}
