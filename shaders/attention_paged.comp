// For row r and head h: y = softmax(scale q k^T) v over the keys that the row table gives, which lie
// in pages of PAGE_POSITIONS, in one pass with a running maximum. LANES invocations share a row and
// head, each takes every LANES-th key; they merge at the end. Inference: nothing is kept.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "args.h"
#include "common.glsl"
#include "reduce.glsl"
#include "merge.glsl"
layout(constant_id = 2) const uint SIZE = 64; // of a head
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer RowTable { uvec4 row_table[]; }; // (rows)
layout(binding = 2) readonly buffer Pages { uint pages[]; };         // the pages of each sequence
layout(binding = 3) readonly buffer Q { float q[]; };                // (rows, heads * SIZE)
layout(binding = 4) readonly buffer K { float k[]; };                // (slots, kv_heads * SIZE)
layout(binding = 5) readonly buffer V { float v[]; };                // (slots, kv_heads * SIZE)
layout(binding = 6) writeonly buffer Y { float y[]; };               // (rows, heads * SIZE)
layout(push_constant) uniform Push { AttentionArgs args; };

void main()
{
    uint r = gl_GlobalInvocationID.x / LANES, lane = gl_GlobalInvocationID.x % LANES;
    uint head = gl_WorkGroupID.y, kv_head = head / (args.heads / args.kv_heads);
    bool inside = r < ROW_COUNT(args.rows);
    uint first = 0, last = 0, list = 0, at = 0;
    if (inside) {
        first = row_table[r][ROW_FIRST_KEY] + lane;
        last = row_table[r][ROW_LAST_KEY];
        list = row_table[r][ROW_PAGES];
        at = (r * args.heads + head) * SIZE;
    }
    float query[SIZE], sums[SIZE];
    [[unroll]] for (uint i = 0; i < SIZE; i++) {
        query[i] = q[at + i];
        sums[i] = 0.0;
    }
    float most = -1e30, total = 0.0;
    for (uint j = first; j < last; j += LANES) {
        uint slot = pages[list + j / PAGE_POSITIONS] * PAGE_POSITIONS + j % PAGE_POSITIONS;
        uint key = (slot * args.kv_heads + kv_head) * SIZE;
        float score = 0.0;
        [[unroll]] for (uint i = 0; i < SIZE; i++) score = fma(query[i], k[key + i], score);
        score *= args.scale;
        float higher = max(most, score);
        float keep = exp(most - higher), weight = exp(score - higher);
        total = fma(total, keep, weight);
        [[unroll]] for (uint i = 0; i < SIZE; i++)
            sums[i] = fma(sums[i], keep, weight * v[key + i]);
        most = higher;
    }
    float highest = reduce_max(most), keep = exp(most - highest);
    total = reduce_sum(total * keep);
    STORE_MERGED(y, at, sums, keep / total, inside)
}
