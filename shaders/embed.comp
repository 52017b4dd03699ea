// y[r] = table[token[r]], where the table has that row. An invocation copies, or decodes, a few
// values. HALF: the table in 16 bits; BLOCKED: in blocks of quantised values.
// variant vec4: VEC4
// variant half: VEC4 HALF
// variant blocks: VEC4 BLOCKED
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer Tokens { uint tokens[]; }; // (rows)
#if defined(HALF)
#include "half.glsl"
layout(binding = 2) readonly buffer Table { uvec2 table[]; };  // (vocabulary, cols) halves
#elif defined(BLOCKED)
#include "blocks.glsl"
BLOCKS(2, Table, table);                                       // (vocabulary, cols)
#else
layout(binding = 2) readonly buffer Table { VALUE table[]; };  // (vocabulary, cols)
#endif
layout(binding = 3) writeonly buffer Y { VALUE y[]; };         // (rows, cols)
layout(push_constant) uniform Push { EmbedArgs args; };

// Value, or vector, c of a row of the table.
VALUE lookup(uint token, uint c)
{
#if defined(HALF)
    return widen(table[token * (args.cols / 4) + c]);
#elif defined(BLOCKED)
    uint row = token * BLOCK_ROW(FORMAT, args.cols), g = c / (BLOCK_GROUP / 4);
    Scales scales;
    Group group;
    LOAD_SCALES(scales, table, row, g / 8, args.cols);
    LOAD_CODES(group, table, row, g, args.cols);
    group_scale(group, scales, g % 8);
    return decode(group, c % (BLOCK_GROUP / 4));
#else
    return table[token * (args.cols / WIDTH) + c];
#endif
}

void main()
{
    uint r = gl_WorkGroupID.y, cols = args.cols / WIDTH;
    if (r >= ROW_COUNT(args.rows)) return;
    uint token = tokens[r] - args.first;
    if (token >= args.count) return;
    FOR_ELEMENTS(c, cols) y[r * cols + c] = lookup(token, c);
}
