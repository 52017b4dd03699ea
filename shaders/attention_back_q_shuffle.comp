// What attention_back_q.comp computes, for subgroups that shuffle: see attention_shuffle.comp.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "args.h"
#include "common.glsl"
#include "together.glsl"
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
    uint rows = ROW_COUNT(args.rows), r = gl_WorkGroupID.x * gl_WorkGroupSize.x + LANE;
    uint head = gl_WorkGroupID.y, kv_head = head / (args.heads / args.kv_heads);
    uvec4 table = row_table[min(r, rows - 1)];
    uint first = table[ROW_FIRST_KEY], last = table[ROW_LAST_KEY];
    uint begin = together_min(first) / STRIDE * STRIDE, end = together_max(last);
    uint row = min(r, rows - 1) * args.heads + head, at = row * SIZE;
    float query[SIZE], upper[SIZE], sums[SIZE];
    float delta = 0.0, log_total = stats[2 * row];
    [[unroll]] for (uint i = 0; i < SIZE; i++) {
        query[i] = q[at + i];
        upper[i] = dy[at + i];
        delta = fma(upper[i], y[at + i], delta);
        sums[i] = 0.0;
    }
    for (uint j = begin; j < end; j += STRIDE) {
        uint mine = (min(j + TOGETHER, end - 1) * args.kv_heads + kv_head) * SIZE;
        float scores[STRIDE], pulls[STRIDE], keys[SIZE];
        [[unroll]] for (uint t = 0; t < STRIDE; t++) scores[t] = pulls[t] = 0.0;
        [[unroll]] for (uint i = 0; i < SIZE; i++) {
            float value = v[mine + i];
            keys[i] = k[mine + i];
            [[unroll]] for (uint t = 0; t < STRIDE; t++) {
                scores[t] = fma(query[i], from(keys[i], t), scores[t]);
                pulls[t] = fma(upper[i], from(value, t), pulls[t]);
            }
        }
        [[unroll]] for (uint t = 0; t < STRIDE; t++) {
            bool visible = j + t >= first && j + t < last;
            float p = visible ? exp(scores[t] * args.scale - log_total) : 0.0;
            scores[t] = p * (pulls[t] - delta) * args.scale;
        }
        [[unroll]] for (uint i = 0; i < SIZE; i++) {
            float sum = sums[i];
            [[unroll]] for (uint t = 0; t < STRIDE; t++)
                sum = fma(scores[t], from(keys[i], t), sum);
            sums[i] = sum;
        }
    }
    if (r >= rows) return;
    [[unroll]] for (uint i = 0; i < SIZE; i++) dq[at + i] = sums[i];
    stats[2 * row + 1] = delta;
}
