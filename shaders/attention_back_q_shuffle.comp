// What attention_back_q.comp computes, for subgroups that shuffle: see attention_shuffle.comp.
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
layout(binding = TEXELS + 5) uniform samplerBuffer y;                // (rows, heads * SIZE)
layout(binding = TEXELS + 6) uniform samplerBuffer dy;               // (rows, heads * SIZE)
layout(binding = 7) buffer Stats { vec2 stats[]; };    // (rows, heads): log-sum-exp, delta
layout(binding = 8) writeonly buffer Dq { vec4 dq[]; };              // (rows, heads * SIZE)
layout(push_constant) uniform Push { AttentionArgs args; };

void main()
{
    uint rows = ROW_COUNT(args.rows), r = gl_WorkGroupID.x * gl_WorkGroupSize.x + LANE;
    uint head = gl_WorkGroupID.y, kv_head = head / (args.heads / args.kv_heads);
    uvec4 table = row_table[min(r, rows - 1)];
    uint first = table[ROW_FIRST_KEY], last = table[ROW_LAST_KEY];
    uint begin = together_min(first) / STRIDE * STRIDE, end = together_max(last);
    uint row = min(r, rows - 1) * args.heads + head, at = row * VECTORS;
    vec4 query[VECTORS], upper[VECTORS], sums[VECTORS];
    float delta = 0.0, log_total = stats[row].x;
    [[unroll]] for (uint i = 0; i < VECTORS; i++) {
        query[i] = load(q, at + i);
        upper[i] = load(dy, at + i);
        delta = add_products(upper[i], load(y, at + i), delta);
        sums[i] = vec4(0.0);
    }
    for (uint j = begin; j < end; j += STRIDE) {
        uint mine = (min(j + TOGETHER, end - 1) * args.kv_heads + kv_head) * VECTORS;
        float scores[STRIDE], pulls[STRIDE];
        vec4 keys[VECTORS];
        [[unroll]] for (uint t = 0; t < STRIDE; t++) scores[t] = pulls[t] = 0.0;
        [[unroll]] for (uint i = 0; i < VECTORS; i++) {
            vec4 value = load(v, mine + i);
            keys[i] = load(k, mine + i);
            [[unroll]] for (uint t = 0; t < STRIDE; t++) {
                scores[t] = add_products(query[i], from(keys[i], t), scores[t]);
                pulls[t] = add_products(upper[i], from(value, t), pulls[t]);
            }
        }
        [[unroll]] for (uint t = 0; t < STRIDE; t++) {
            bool visible = j + t >= first && j + t < last;
            float p = visible ? exp(scores[t] * args.scale - log_total) : 0.0;
            scores[t] = p * (pulls[t] - delta) * args.scale;
        }
        [[unroll]] for (uint i = 0; i < VECTORS; i++) {
            vec4 sum = sums[i];
            [[unroll]] for (uint t = 0; t < STRIDE; t++)
                sum = fma(vec4(scores[t]), from(keys[i], t), sum);
            sums[i] = sum;
        }
    }
    if (r >= rows) return;
    [[unroll]] for (uint i = 0; i < VECTORS; i++) dq[at + i] = sums[i];
    stats[row].y = delta;
}
