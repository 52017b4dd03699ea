// For key row j and key/value head g, over the rows r that attend to j and the heads of the group:
// dv = sum p dy[r]; dk = sum p (dy[r] . v - delta[r]) scale q[r]; p, delta as in attention_back_q.
// LANES invocations share a key row and head, each takes every LANES-th row; they add at the end.
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
layout(binding = 5) readonly buffer Dy { float dy[]; };              // (rows, heads * SIZE)
layout(binding = 6) readonly buffer Stats { float stats[]; };        // (rows, heads, 2): lse, delta
layout(binding = 7) writeonly buffer Dk { float dk[]; };             // (rows, kv_heads * SIZE)
layout(binding = 8) writeonly buffer Dv { float dv[]; };             // (rows, kv_heads * SIZE)
layout(push_constant) uniform Push { AttentionArgs args; };

void main()
{
    uint j = gl_GlobalInvocationID.x / LANES, lane = gl_GlobalInvocationID.x % LANES;
    uint kv_head = gl_WorkGroupID.y, group = args.heads / args.kv_heads;
    bool inside = j < ROW_COUNT(args.rows);
    uint first = 0, last = 0, at = 0;
    if (inside) {
        first = j + lane;
        last = row_table[j][ROW_UNTIL];
        at = (j * args.kv_heads + kv_head) * SIZE;
    }
    float key[SIZE], value[SIZE], dkey[SIZE], dvalue[SIZE];
    [[unroll]] for (uint i = 0; i < SIZE; i++) {
        key[i] = k[at + i];
        value[i] = v[at + i];
        dkey[i] = 0.0;
        dvalue[i] = 0.0;
    }
    for (uint r = first; r < last; r += LANES) {
        for (uint h = 0; h < group; h++) {
            uint row = r * args.heads + kv_head * group + h;
            float upper[SIZE], query[SIZE];
            float score = 0.0, pull = 0.0;
            [[unroll]] for (uint i = 0; i < SIZE; i++) {
                query[i] = q[row * SIZE + i];
                upper[i] = dy[row * SIZE + i];
                score = fma(query[i], key[i], score);
                pull = fma(upper[i], value[i], pull);
            }
            float p = exp(score * args.scale - stats[2 * row]);
            float change = p * (pull - stats[2 * row + 1]) * args.scale;
            [[unroll]] for (uint i = 0; i < SIZE; i++) {
                dvalue[i] = fma(p, upper[i], dvalue[i]);
                dkey[i] = fma(change, query[i], dkey[i]);
            }
        }
    }
    STORE_MERGED(dk, at, dkey, 1.0, inside)
    STORE_MERGED(dv, at, dvalue, 1.0, inside)
}
