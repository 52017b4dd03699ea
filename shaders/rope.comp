// Rotary embedding in the rotate-half layout, in place: for j < S/2 the pair (x[j], x[j + S/2]) of
// each head turns by sign * position * theta^(-2j/S). Backward is the same with sign -1.
// An invocation turns a few pairs.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
layout(constant_id = 2) const uint SIZE = 64; // of a head; a constant makes divisions cheap
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer RowTable { uint row_table[]; };  // (rows, 4)
layout(binding = 2) readonly buffer Turns { float turns[]; };        // (context, S): cosines, sines
layout(binding = 3) buffer X { float x[]; };                         // (rows, cols)
layout(push_constant) uniform Push { RopeArgs args; };

void main()
{
    uint r = gl_WorkGroupID.y;
    if (r >= ROW_COUNT(args.rows)) return;
    uint turn_row = row_table[r * ROW_WORDS + ROW_POSITION] * SIZE, row = r * args.cols;
    FOR_ELEMENTS(pair, args.cols / 2) {
        uint j = pair % (SIZE / 2), at = row + pair / (SIZE / 2) * SIZE + j;
        float cosine = turns[turn_row + j], sine = args.sign * turns[turn_row + SIZE / 2 + j];
        float a = x[at], b = x[at + SIZE / 2];
        x[at] = a * cosine - b * sine;
        x[at + SIZE / 2] = b * cosine + a * sine;
    }
}
