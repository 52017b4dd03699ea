// y[r][j] (+)= sum_i x[r][i] w[j][i]. An invocation computes TILE_ROWS x TILE_COLS of y in
// registers; no shared memory, no barrier. The order of summation depends on k alone, so that all
// variants and tiles give the same bits.
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
layout(constant_id = 3) const uint TILE_COLS = 4; // a multiple of 4
layout(constant_id = 4) const uint RUN = 1;       // vectors of a row that are loaded together
const uint LOADS = (TILE_ROWS + SHARED_LOADS - 1) / SHARED_LOADS; // vectors of x per invocation

layout(binding = 0) readonly buffer Counts { uint counts[]; };
INPUT(1, X, x); // (rows, k)
WEIGHT(2, W, w); // (n, k)
layout(binding = 3) buffer Y { OPERAND y[]; };          // (rows, n)
layout(push_constant) uniform Push { MatmulArgs args; };

void main()
{
    uint rows = ROW_COUNT(args.rows);
    uint row0 = (gl_WorkGroupID.y * (gl_WorkGroupSize.x / COL_LANES) + LANE / COL_LANES) * TILE_ROWS;
    uint col0 = (gl_WorkGroupID.x * COL_LANES + LANE % COL_LANES) * TILE_COLS;
    uint xs[LOADS], ws[TILE_COLS]; // where rows of x and w begin; past the end the last again
    [[unroll]] for (uint i = 0; i < LOADS; i++)
        xs[i] = min(row0 + i * SHARED_LOADS + LANE % SHARED_LOADS, rows - 1) * args.k;
    [[unroll]] for (uint c = 0; c < TILE_COLS; c++) ws[c] = min(col0 + c, args.n - 1) * args.k;
    float sums[TILE_ROWS * TILE_COLS];
    [[unroll]] for (uint i = 0; i < TILE_ROWS * TILE_COLS; i++) sums[i] = 0.0;

    for (uint k = 0; k < args.k; k += 4 * RUN) { // k is a multiple of 4 * RUN, or RUN is 1
        vec4 left[LOADS * RUN], right[TILE_COLS * RUN];
        [[unroll]] for (uint i = 0; i < LOADS * RUN; i++) {
            uint at = k + 4 * (i % RUN);
            left[i] = LOAD4(x, xs[i / RUN] + at, args.k - at);
        }
        [[unroll]] for (uint i = 0; i < TILE_COLS * RUN; i++) {
            uint at = k + 4 * (i % RUN);
            right[i] = LOAD_WEIGHT(w, ws[i / RUN] + at, args.k - at);
        }
        [[unroll]] for (uint i = 0; i < TILE_ROWS * RUN; i++) {
            uint r = i / RUN, run = i % RUN;
            vec4 a = from_lane(left[r / SHARED_LOADS * RUN + run], r % SHARED_LOADS);
            [[unroll]] for (uint c = 0; c < TILE_COLS; c++) {
                float sum = sums[r * TILE_COLS + c];
                vec4 b = right[c * RUN + run];
                [[unroll]] for (uint q = 0; q < 4; q++) sum = fma(a[q], b[q], sum);
                sums[r * TILE_COLS + c] = sum;
            }
        }
    }

    [[unroll]] for (uint r = 0; r < TILE_ROWS; r++) {
        [[unroll]] for (uint c = 0; c < TILE_COLS; c += 4) {
            uint i = r * TILE_COLS + c;
            vec4 four = vec4(sums[i], sums[i + 1], sums[i + 2], sums[i + 3]);
            if (row0 + r < rows && col0 + c < args.n)
                STORE4(y, (row0 + r) * args.stride + args.first + col0 + c, args.n - col0 - c, four,
                       args.accumulate != 0);
        }
    }
}
