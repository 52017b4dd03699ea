// What attention_paged.comp computes, for subgroups that shuffle and heads of a multiple of 4 values:
// 8 invocations of a subgroup share a row and head. Of a run of 8 keys each scores one; then each sums
// up its part of the values behind all of them. Runs begin at multiples of 8 and lie in one page, so
// that a row's result depends on its keys alone, not on the rows beside it or on where pages lie.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "args.h"
#include "common.glsl"
#include "together.glsl"
layout(constant_id = 2) const uint SIZE = 64; // of a head
const uint VECTORS = SIZE / 4;
const uint OWN = (VECTORS + STRIDE - 1) / STRIDE; // vectors of y that an invocation sums up
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer RowTable { uvec4 row_table[]; }; // (rows)
layout(binding = 2) readonly buffer Pages { uint pages[]; };         // the pages of each sequence
layout(binding = TEXELS + 3) uniform samplerBuffer q;                // (rows, heads * SIZE)
layout(binding = TEXELS + 4) uniform samplerBuffer k;                // (slots, kv_heads * SIZE)
layout(binding = TEXELS + 5) uniform samplerBuffer v;                // (slots, kv_heads * SIZE)
layout(binding = 6) writeonly buffer Y { vec4 y[]; };                // (rows, heads * SIZE)
layout(push_constant) uniform Push { AttentionArgs args; };

void main()
{
    uint rows = ROW_COUNT(args.rows);
    uint r = (gl_WorkGroupID.x * gl_WorkGroupSize.x + LANE) / STRIDE;
    uint head = gl_WorkGroupID.y, kv_head = head / (args.heads / args.kv_heads);
    uvec4 table = row_table[min(r, rows - 1)];
    uint first = table[ROW_FIRST_KEY], last = table[ROW_LAST_KEY], list = table[ROW_PAGES];
    uint at = (min(r, rows - 1) * args.heads + head) * VECTORS;
    vec4 query[VECTORS], sums[OWN];
    [[unroll]] for (uint i = 0; i < VECTORS; i++) query[i] = load(q, at + i);
    [[unroll]] for (uint i = 0; i < OWN; i++) sums[i] = vec4(0.0);
    float most = -1e30, total = 0.0;
    // The 8 of a run loop alike; runs of other rows in the subgroup may loop longer.
    for (uint j = first / STRIDE * STRIDE; j < last; j += STRIDE) {
        uint slot = pages[list + j / PAGE_POSITIONS] * PAGE_POSITIONS + j % PAGE_POSITIONS;
        uint run = (slot * args.kv_heads + kv_head) * VECTORS, step = args.kv_heads * VECTORS;
        uint mine = run + TOGETHER * step;
        float score = 0.0;
        [[unroll]] for (uint i = 0; i < VECTORS; i++)
            score = add_products(query[i], load(k, mine + i), score);
        bool visible = j + TOGETHER >= first && j + TOGETHER < last;
        score = visible ? score * args.scale : -1e30;
        float higher = max(most, together_max(score)), keep = exp(most - higher);
        float weight = visible ? exp(score - higher) : 0.0;
        float weights[STRIDE];
        total *= keep;
        [[unroll]] for (uint t = 0; t < STRIDE; t++) {
            weights[t] = from(weight, t);
            total += weights[t];
        }
        // What lies before the first key or behind the last may be no number, which a weight of 0
        // does not hide: a key that is visible stands in.
        uint low = max(first, j) - j, high = last - 1 - j;
        [[unroll]] for (uint i = 0; i < OWN; i++) {
            uint own = min(i * STRIDE + TOGETHER, VECTORS - 1);
            vec4 sum = sums[i] * keep;
            [[unroll]] for (uint t = 0; t < STRIDE; t++)
                sum = fma(vec4(weights[t]), load(v, run + clamp(t, low, high) * step + own), sum);
            sums[i] = sum;
        }
        most = higher;
    }
    if (r >= rows) return;
    [[unroll]] for (uint i = 0; i < OWN; i++)
        if (i * STRIDE + TOGETHER < VECTORS) y[at + i * STRIDE + TOGETHER] = sums[i] / total;
}
