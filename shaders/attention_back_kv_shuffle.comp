// What attention_back_kv.comp computes, for subgroups that shuffle: the invocations of a subgroup do
// keys side by side and walk over the rows together; see attention_shuffle.comp.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "args.h"
#include "common.glsl"
#include "together.glsl"
layout(constant_id = 2) const uint SIZE = 64; // of a head
const uint VECTORS = SIZE / 4;
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer RowTable { uvec4 row_table[]; }; // (rows)
layout(binding = TEXELS + 2) uniform samplerBuffer q;                // (rows, heads * SIZE)
layout(binding = TEXELS + 3) uniform samplerBuffer k;                // (rows, kv_heads * SIZE)
layout(binding = TEXELS + 4) uniform samplerBuffer v;                // (rows, kv_heads * SIZE)
layout(binding = TEXELS + 5) uniform samplerBuffer dy;               // (rows, heads * SIZE)
layout(binding = 6) readonly buffer Stats { vec2 stats[]; };         // (rows, heads): lse, delta
layout(binding = 7) writeonly buffer Dk { vec4 dk[]; };              // (rows, kv_heads * SIZE)
layout(binding = 8) writeonly buffer Dv { vec4 dv[]; };              // (rows, kv_heads * SIZE)
layout(push_constant) uniform Push { AttentionArgs args; };

void main()
{
    uint rows = ROW_COUNT(args.rows), j = gl_WorkGroupID.x * gl_WorkGroupSize.x + LANE;
    uint kv_head = gl_WorkGroupID.y, group = args.heads / args.kv_heads;
    uint first = min(j, rows - 1), last = row_table[first][ROW_UNTIL];
    uint begin = together_min(first) / STRIDE * STRIDE, end = together_max(last);
    uint at = (first * args.kv_heads + kv_head) * VECTORS;
    vec4 key[VECTORS], value[VECTORS], dkey[VECTORS], dvalue[VECTORS];
    [[unroll]] for (uint i = 0; i < VECTORS; i++) {
        key[i] = load(k, at + i);
        value[i] = load(v, at + i);
        dkey[i] = vec4(0.0);
        dvalue[i] = vec4(0.0);
    }
    for (uint r = begin; r < end; r += STRIDE) {
        for (uint h = 0; h < group; h++) {
            uint mine = min(r + TOGETHER, end - 1) * args.heads + kv_head * group + h;
            vec2 stat = stats[mine];
            vec4 uppers[VECTORS], queries[VECTORS];
            float scores[STRIDE], pulls[STRIDE];
            [[unroll]] for (uint t = 0; t < STRIDE; t++) scores[t] = pulls[t] = 0.0;
            [[unroll]] for (uint i = 0; i < VECTORS; i++) {
                queries[i] = load(q, mine * VECTORS + i);
                uppers[i] = load(dy, mine * VECTORS + i);
                [[unroll]] for (uint t = 0; t < STRIDE; t++) {
                    scores[t] = add_products(from(queries[i], t), key[i], scores[t]);
                    pulls[t] = add_products(from(uppers[i], t), value[i], pulls[t]);
                }
            }
            [[unroll]] for (uint t = 0; t < STRIDE; t++) {
                bool visible = r + t >= first && r + t < last;
                scores[t] = visible ? exp(scores[t] * args.scale - from(stat.x, t)) : 0.0;
                pulls[t] = scores[t] * (pulls[t] - from(stat.y, t)) * args.scale;
            }
            [[unroll]] for (uint i = 0; i < VECTORS; i++) {
                [[unroll]] for (uint t = 0; t < STRIDE; t++) {
                    dvalue[i] = fma(vec4(scores[t]), from(uppers[i], t), dvalue[i]);
                    dkey[i] = fma(vec4(pulls[t]), from(queries[i], t), dkey[i]);
                }
            }
        }
    }
    if (j >= rows) return;
    [[unroll]] for (uint i = 0; i < VECTORS; i++) {
        dk[at + i] = dkey[i];
        dv[at + i] = dvalue[i];
    }
}
