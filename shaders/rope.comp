// Rotary embedding in the rotate-half layout, in place: for j < S/2 the pair (x[j], x[j + S/2]) of
// each head turns by sign * position * theta^(-2j/S). Backward is the same with sign -1.
// An invocation turns a few pairs.
// variant vec4: VEC4
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
layout(constant_id = 2) const uint SIZE = 64; // of a head; a constant makes divisions cheap
const uint HALF = SIZE / 2 / WIDTH;
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer RowTable { uint row_table[]; };  // (rows, 4)
layout(binding = 2) readonly buffer Turns { VALUE turns[]; };        // (context, S): cosines, sines
layout(binding = 3) buffer X { VALUE x[]; };                         // (rows, cols)
layout(push_constant) uniform Push { RopeArgs args; };

void main()
{
    uint r = gl_WorkGroupID.y;
    if (r >= ROW_COUNT(args.rows)) return;
    uint turn_row = row_table[r * ROW_WORDS + ROW_POSITION] * 2 * HALF;
    uint row = r * (args.cols / WIDTH);
    FOR_ELEMENTS(pair, args.cols / 2 / WIDTH) {
        uint j = pair % HALF, at = row + pair / HALF * 2 * HALF + j;
        VALUE cosine = turns[turn_row + j], sine = args.sign * turns[turn_row + HALF + j];
        VALUE a = x[at], b = x[at + HALF];
        x[at] = a * cosine - b * sine;
        x[at + HALF] = b * cosine + a * sine;
    }
}
