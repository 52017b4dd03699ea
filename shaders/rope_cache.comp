// Between a block's projections and its attention over a cache: each row's q turns in place as
// rope.comp says, its k goes into its slot turned, its v as it is. An invocation does a few pairs.
// variant vec4: VEC4
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
layout(constant_id = 2) const uint SIZE = 64; // of a head; a constant makes divisions cheap
const uint HALF = SIZE / 2 / WIDTH;
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer RowTable { uint row_table[]; }; // (rows, 4)
layout(binding = 2) readonly buffer Turns { VALUE turns[]; };       // (context, S): cosines, sines
layout(binding = 3) readonly buffer Slots { uint slots[]; };        // (rows)
layout(binding = 4) buffer Q { VALUE q[]; };                        // (rows, heads * SIZE)
layout(binding = 5) readonly buffer K { VALUE k[]; };               // (rows, kv_heads * SIZE)
layout(binding = 6) readonly buffer V { VALUE v[]; };               // (rows, kv_heads * SIZE)
layout(binding = 7) writeonly buffer CacheK { VALUE cache_k[]; };   // (slots, kv_heads * SIZE)
layout(binding = 8) writeonly buffer CacheV { VALUE cache_v[]; };   // (slots, kv_heads * SIZE)
layout(push_constant) uniform Push { RopeCacheArgs args; };

void main()
{
    uint r = gl_WorkGroupID.y, heads = args.heads, kv_heads = args.kv_heads;
    if (r >= ROW_COUNT(args.rows)) return;
    uint turn_row = row_table[r * ROW_WORDS + ROW_POSITION] * 2 * HALF;
    uint row = r * kv_heads * 2 * HALF, slot = slots[r] * kv_heads * 2 * HALF;
    FOR_ELEMENTS(pair, (heads + 2 * kv_heads) * HALF) {
        uint j = pair % HALF, head = pair / HALF;
        VALUE cosine = turns[turn_row + j], sine = turns[turn_row + HALF + j];
        if (head < heads) {
            uint at = (r * heads + head) * 2 * HALF + j;
            VALUE a = q[at], b = q[at + HALF];
            q[at] = a * cosine - b * sine;
            q[at + HALF] = b * cosine + a * sine;
        } else if (head < heads + kv_heads) {
            uint at = (head - heads) * 2 * HALF + j;
            VALUE a = k[row + at], b = k[row + at + HALF];
            cache_k[slot + at] = a * cosine - b * sine;
            cache_k[slot + at + HALF] = b * cosine + a * sine;
        } else {
            uint at = (head - heads - kv_heads) * 2 * HALF + j;
            cache_v[slot + at] = v[row + at];
            cache_v[slot + at + HALF] = v[row + at + HALF];
        }
    }
}
