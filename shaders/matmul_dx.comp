// dx[r][i] (+)= sum_j dy[r][j] w[j][i]. An invocation computes TILE_ROWS rows of TILE_VECTORS
// vectors of dx in registers. The order of summation depends on n alone.
// variant vec4: VEC4
// variant shuffle: VEC4 SHUFFLE
// variant texel: VEC4 SHUFFLE TEXEL
// variant vec4_half: VEC4 HALF
// variant shuffle_half: VEC4 SHUFFLE HALF
// variant texel_half: VEC4 SHUFFLE TEXEL HALF
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "args.h"
#include "common.glsl"
#include "operand.glsl"
layout(constant_id = 2) const uint TILE_ROWS = 8;
layout(constant_id = 3) const uint TILE_VECTORS = 1;
const uint LOADS = (TILE_ROWS + SHARED_LOADS - 1) / SHARED_LOADS; // vectors of dy per invocation

layout(binding = 0) readonly buffer Counts { uint counts[]; };
INPUT(1, Dy, dy); // (rows, n)
WEIGHT(2, W, w); // (n, k)
layout(binding = 3) buffer Dx { OPERAND dx[]; };          // (rows, k)
layout(push_constant) uniform Push { MatmulArgs args; };

void main()
{
    uint rows = ROW_COUNT(args.rows);
    uint row0 = (gl_WorkGroupID.y * (gl_WorkGroupSize.x / COL_LANES) + LANE / COL_LANES) * TILE_ROWS;
    uint col0 = 4 * (gl_WorkGroupID.x * COL_LANES * TILE_VECTORS + LANE % COL_LANES);
    uint ys[LOADS], cols[TILE_VECTORS]; // where rows of dy and vectors of w begin, within bounds
    [[unroll]] for (uint i = 0; i < LOADS; i++)
        ys[i] = min(row0 + i * SHARED_LOADS + LANE % SHARED_LOADS, rows - 1) * args.stride + args.first;
    [[unroll]] for (uint c = 0; c < TILE_VECTORS; c++)
        cols[c] = min(col0 + 4 * COL_LANES * c, (args.k - 1) / 4 * 4);
    vec4 sums[TILE_ROWS * TILE_VECTORS];
    [[unroll]] for (uint i = 0; i < TILE_ROWS * TILE_VECTORS; i++) sums[i] = vec4(0.0);

    for (uint n = 0; n < args.n; n += 4) {
        vec4 left[LOADS], right[4 * TILE_VECTORS];
        [[unroll]] for (uint i = 0; i < LOADS; i++) left[i] = LOAD4(dy, ys[i] + n, args.n - n);
        [[unroll]] for (uint q = 0; q < 4; q++) {
            [[unroll]] for (uint c = 0; c < TILE_VECTORS; c++)
                right[q * TILE_VECTORS + c] =
                    LOAD_WEIGHT(w, min(n + q, args.n - 1) * args.k + cols[c], args.k - cols[c]);
        }
        [[unroll]] for (uint r = 0; r < TILE_ROWS; r++) {
            vec4 a = from_lane(left[r / SHARED_LOADS], r % SHARED_LOADS);
            [[unroll]] for (uint c = 0; c < TILE_VECTORS; c++) {
                vec4 sum = sums[r * TILE_VECTORS + c];
                [[unroll]] for (uint q = 0; q < 4; q++)
                    sum = fma(vec4(a[q]), right[q * TILE_VECTORS + c], sum);
                sums[r * TILE_VECTORS + c] = sum;
            }
        }
    }

    [[unroll]] for (uint r = 0; r < TILE_ROWS; r++) {
        [[unroll]] for (uint c = 0; c < TILE_VECTORS; c++) {
            uint col = col0 + 4 * COL_LANES * c;
            vec4 four = sums[r * TILE_VECTORS + c];
            if (row0 + r < rows && col < args.k)
                STORE4(dx, (row0 + r) * args.k + col, args.k - col, four, args.accumulate != 0);
        }
    }
}
