// What attention_back_kv.comp computes, for subgroups that shuffle: the invocations of a subgroup do
// keys side by side and walk over the rows together; see attention_shuffle.comp.
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
layout(binding = 5) readonly buffer Dy { float dy[]; };              // (rows, heads * SIZE)
layout(binding = 6) readonly buffer Stats { float stats[]; };        // (rows, heads, 2): lse, delta
layout(binding = 7) writeonly buffer Dk { float dk[]; };             // (rows, kv_heads * SIZE)
layout(binding = 8) writeonly buffer Dv { float dv[]; };             // (rows, kv_heads * SIZE)
layout(push_constant) uniform Push { AttentionArgs args; };

void main()
{
    uint rows = ROW_COUNT(args.rows), j = gl_WorkGroupID.x * gl_WorkGroupSize.x + LANE;
    uint kv_head = gl_WorkGroupID.y, group = args.heads / args.kv_heads;
    uint first = min(j, rows - 1), last = row_table[first][ROW_UNTIL];
    uint begin = together_min(first) / STRIDE * STRIDE, end = together_max(last);
    uint at = (first * args.kv_heads + kv_head) * SIZE;
    float key[SIZE], value[SIZE], dkey[SIZE], dvalue[SIZE];
    [[unroll]] for (uint i = 0; i < SIZE; i++) {
        key[i] = k[at + i];
        value[i] = v[at + i];
        dkey[i] = 0.0;
        dvalue[i] = 0.0;
    }
    for (uint r = begin; r < end; r += STRIDE) {
        for (uint h = 0; h < group; h++) {
            uint mine = min(r + TOGETHER, end - 1) * args.heads + kv_head * group + h;
            float log_total = stats[2 * mine], delta = stats[2 * mine + 1];
            float uppers[SIZE], queries[SIZE], scores[STRIDE], pulls[STRIDE];
            [[unroll]] for (uint t = 0; t < STRIDE; t++) scores[t] = pulls[t] = 0.0;
            [[unroll]] for (uint i = 0; i < SIZE; i++) {
                queries[i] = q[mine * SIZE + i];
                uppers[i] = dy[mine * SIZE + i];
                [[unroll]] for (uint t = 0; t < STRIDE; t++) {
                    scores[t] = fma(from(queries[i], t), key[i], scores[t]);
                    pulls[t] = fma(from(uppers[i], t), value[i], pulls[t]);
                }
            }
            [[unroll]] for (uint t = 0; t < STRIDE; t++) {
                bool visible = r + t >= first && r + t < last;
                scores[t] = visible ? exp(scores[t] * args.scale - from(log_total, t)) : 0.0;
                pulls[t] = scores[t] * (pulls[t] - from(delta, t)) * args.scale;
            }
            [[unroll]] for (uint i = 0; i < SIZE; i++) {
                [[unroll]] for (uint t = 0; t < STRIDE; t++) {
                    dvalue[i] = fma(scores[t], from(uppers[i], t), dvalue[i]);
                    dkey[i] = fma(pulls[t], from(queries[i], t), dkey[i]);
                }
            }
        }
    }
    if (j >= rows) return;
    [[unroll]] for (uint i = 0; i < SIZE; i++) {
        dk[at + i] = dkey[i];
        dv[at + i] = dvalue[i];
    }
}
