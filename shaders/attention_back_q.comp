// With p = exp(scale q k - lse) and delta = dy . y: dq = sum over keys of p (dy . v - delta) scale k.
// Keeps delta for attention_back_kv. LANES invocations share a row and head, as in attention.comp.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "args.h"
#include "common.glsl"
#include "merge.glsl"
layout(constant_id = 2) const uint SIZE = 64; // of a head
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer RowTable { uvec4 row_table[]; }; // (rows)
layout(binding = 2) readonly buffer Q { float q[]; };                // (rows, heads * SIZE)
layout(binding = 3) readonly buffer K { float k[]; };                // (rows, kv_heads * SIZE)
layout(binding = 4) readonly buffer V { float v[]; };                // (rows, kv_heads * SIZE)
layout(binding = 5) readonly buffer Y { float y[]; };                // (rows, heads * SIZE)
layout(binding = 6) readonly buffer Dy { float dy[]; };              // (rows, heads * SIZE)
layout(binding = 7) buffer Stats { float stats[]; };   // (rows, heads, 2): log-sum-exp, delta
layout(binding = 8) writeonly buffer Dq { float dq[]; };             // (rows, heads * SIZE)
layout(push_constant) uniform Push { AttentionArgs args; };

void main()
{
    uint r = gl_GlobalInvocationID.x / LANES, lane = gl_GlobalInvocationID.x % LANES;
    uint head = gl_WorkGroupID.y, kv_head = head / (args.heads / args.kv_heads);
    bool inside = r < ROW_COUNT(args.rows);
    uint first = 0, last = 0, row = 0;
    if (inside) {
        first = row_table[r][ROW_FIRST_KEY] + lane;
        last = row_table[r][ROW_LAST_KEY];
        row = r * args.heads + head;
    }
    uint at = row * SIZE;
    float query[SIZE], upper[SIZE], sums[SIZE];
    float delta = 0.0, log_total = stats[2 * row];
    [[unroll]] for (uint i = 0; i < SIZE; i++) {
        query[i] = q[at + i];
        upper[i] = dy[at + i];
        delta = fma(upper[i], y[at + i], delta);
        sums[i] = 0.0;
    }
    for (uint j = first; j < last; j += LANES) {
        uint key = (j * args.kv_heads + kv_head) * SIZE;
        float score = 0.0, pull = 0.0;
        [[unroll]] for (uint i = 0; i < SIZE; i++) {
            score = fma(query[i], k[key + i], score);
            pull = fma(upper[i], v[key + i], pull);
        }
        float change = exp(score * args.scale - log_total) * (pull - delta) * args.scale;
        [[unroll]] for (uint i = 0; i < SIZE; i++) sums[i] = fma(change, k[key + i], sums[i]);
    }
    STORE_MERGED(dq, at, sums, 1.0, inside)
    if (inside && lane == 0) stats[2 * row + 1] = delta;
}
