// dtable[t] += sum of dy[r] over the rows r whose token is t, where the table has t. One
// workgroup row per distinct token; its rows are summed in their order, so there are no atomics and no
// races. HALF: dtable in 16 bits.
// variant vec4: VEC4
// variant half: VEC4 HALF
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
#ifdef HALF
#include "half.glsl"
#endif
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer Uses { uint uses[]; };   // (distinct + 1, 2): token, first in order
layout(binding = 2) readonly buffer Order { uint order[]; }; // (rows): rows sorted by token
layout(binding = 3) readonly buffer Dy { VALUE dy[]; };      // (rows, cols)
#ifdef HALF
layout(binding = 4) buffer Dtable { uvec2 dtable[]; };       // (vocabulary, cols) halves
#else
layout(binding = 4) buffer Dtable { VALUE dtable[]; };       // (vocabulary, cols)
#endif
layout(push_constant) uniform Push { EmbedArgs args; };      // rows: the distinct tokens

void main()
{
    uint u = gl_WorkGroupID.y;
    if (u >= ROW_COUNT(args.rows)) return;
    uint token = uses[2 * u] - args.first, first = uses[2 * u + 1], last = uses[2 * u + 3];
    if (token >= args.count) return;
    uint cols = args.cols / WIDTH, to = token * cols;
    FOR_ELEMENTS(c, cols) {
        VALUE sum = VALUE(0.0);
        for (uint i = first; i < last; i++) sum += dy[order[i] * cols + c];
#ifdef HALF
        dtable[to + c] = narrow(widen(dtable[to + c]) + sum);
#else
        dtable[to + c] += sum;
#endif
    }
}
