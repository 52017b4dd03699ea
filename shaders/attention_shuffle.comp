// What attention.comp computes, for subgroups that shuffle and heads of a multiple of 4 values: the
// invocations of a subgroup do rows side by side of one head and walk over the keys together. Each
// loads one key of a run of STRIDE and hands it round, so that a key is loaded once for all of them.
// Runs begin at multiples of STRIDE: a row's result does not depend on the rows beside it.
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
layout(binding = TEXELS + 3) uniform samplerBuffer k;                // (keys, kv_heads * SIZE)
layout(binding = TEXELS + 4) uniform samplerBuffer v;                // (keys, kv_heads * SIZE)
layout(binding = 5) writeonly buffer Y { vec4 y[]; };                // (rows, heads * SIZE)
layout(binding = 6) writeonly buffer Stats { float stats[]; };       // (rows, heads, 2): log-sum-exp, -
layout(push_constant) uniform Push { AttentionArgs args; };

void main()
{
    uint rows = ROW_COUNT(args.rows), r = gl_WorkGroupID.x * gl_WorkGroupSize.x + LANE;
    uint head = gl_WorkGroupID.y, kv_head = head / (args.heads / args.kv_heads);
    uvec4 table = row_table[min(r, rows - 1)];
    uint first = table[ROW_FIRST_KEY], last = table[ROW_LAST_KEY];
    uint begin = together_min(first) / STRIDE * STRIDE, end = together_max(last);
    uint at = (min(r, rows - 1) * args.heads + head) * VECTORS;
    vec4 query[VECTORS], sums[VECTORS];
    [[unroll]] for (uint i = 0; i < VECTORS; i++) {
        query[i] = load(q, at + i);
        sums[i] = vec4(0.0);
    }
    float most = -1e30, total = 0.0;
    for (uint j = begin; j < end; j += STRIDE) {
        uint mine = (min(j + TOGETHER, end - 1) * args.kv_heads + kv_head) * VECTORS;
        float scores[STRIDE];
        [[unroll]] for (uint t = 0; t < STRIDE; t++) scores[t] = 0.0;
        [[unroll]] for (uint i = 0; i < VECTORS; i++) {
            vec4 key = load(k, mine + i);
            [[unroll]] for (uint t = 0; t < STRIDE; t++)
                scores[t] = add_products(query[i], from(key, t), scores[t]);
        }
        float higher = most;
        [[unroll]] for (uint t = 0; t < STRIDE; t++) {
            bool visible = j + t >= first && j + t < last;
            scores[t] = visible ? scores[t] * args.scale : -1e30;
            higher = max(higher, scores[t]);
        }
        float keep = exp(most - higher);
        total *= keep;
        [[unroll]] for (uint t = 0; t < STRIDE; t++) {
            scores[t] = scores[t] > -1e30 ? exp(scores[t] - higher) : 0.0;
            total += scores[t];
        }
        [[unroll]] for (uint i = 0; i < VECTORS; i++) {
            vec4 value = load(v, mine + i), sum = sums[i] * keep;
            [[unroll]] for (uint t = 0; t < STRIDE; t++)
                sum = fma(vec4(scores[t]), from(value, t), sum);
            sums[i] = sum;
        }
        most = higher;
    }
    if (r >= rows) return;
    [[unroll]] for (uint i = 0; i < VECTORS; i++) y[at + i] = sums[i] / total;
    stats[2 * (r * args.heads + head)] = most + log(total);
}
