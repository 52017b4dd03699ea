// y[r][j] (+)= sum_i x[r][i] w[j][i] with quantised w: matmul.comp in the same order of summation, so
// that it gives the bits that the decoded weights give there. An invocation decodes four values of
// TILE_COLS rows of w at a time. Rows hold whole groups of 32 values; n is any.
// variant shuffle: SHUFFLE
// variant texel: SHUFFLE TEXEL
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#define VEC4
#include "args.h"
#include "common.glsl"
#include "operand.glsl"
#include "blocks.glsl"
layout(constant_id = 2) const uint TILE_ROWS = 8;
layout(constant_id = 3) const uint TILE_COLS = 4;
const uint LOADS = (TILE_ROWS + SHARED_LOADS - 1) / SHARED_LOADS; // vectors of x per invocation

layout(binding = 0) readonly buffer Counts { uint counts[]; };
INPUT(1, X, x);                                  // (rows, k)
BLOCKS(2, W, w);                                 // (n, k)
layout(binding = 3) buffer Y { float y[]; };     // (rows, n)
layout(push_constant) uniform Push { MatmulArgs args; };

void main()
{
    uint rows = ROW_COUNT(args.rows);
    uint row0 = (gl_WorkGroupID.y * (gl_WorkGroupSize.x / COL_LANES) + LANE / COL_LANES) * TILE_ROWS;
    uint col0 = (gl_WorkGroupID.x * COL_LANES + LANE % COL_LANES) * TILE_COLS;
    uint xs[LOADS], ws[TILE_COLS]; // where rows of x and w begin; past the end the last again
    [[unroll]] for (uint i = 0; i < LOADS; i++)
        xs[i] = min(row0 + i * SHARED_LOADS + LANE % SHARED_LOADS, rows - 1) * args.k;
    [[unroll]] for (uint c = 0; c < TILE_COLS; c++)
        ws[c] = min(col0 + c, args.n - 1) * BLOCK_ROW(FORMAT, args.k);
    float sums[TILE_ROWS * TILE_COLS];
    [[unroll]] for (uint i = 0; i < TILE_ROWS * TILE_COLS; i++) sums[i] = 0.0;

    for (uint super = 0; super < args.k; super += BLOCK_SUPER) {
        Scales scales[TILE_COLS];
        [[unroll]] for (uint c = 0; c < TILE_COLS; c++)
            LOAD_SCALES(scales[c], w, ws[c], super / BLOCK_SUPER, args.k);
        for (uint k = super; k < min(super + BLOCK_SUPER, args.k); k += BLOCK_GROUP) {
            Group groups[TILE_COLS];
            [[unroll]] for (uint c = 0; c < TILE_COLS; c++) {
                LOAD_CODES(groups[c], w, ws[c], k / BLOCK_GROUP, args.k);
                group_scale(groups[c], scales[c], (k - super) / BLOCK_GROUP);
            }
            for (uint v = 0; v < BLOCK_GROUP / 4; v++) {
                vec4 left[LOADS], right[TILE_COLS];
                [[unroll]] for (uint i = 0; i < LOADS; i++) left[i] = LOAD4(x, xs[i] + k + 4 * v, 4);
                [[unroll]] for (uint c = 0; c < TILE_COLS; c++) right[c] = decode(groups[c], v);
                [[unroll]] for (uint r = 0; r < TILE_ROWS; r++) {
                    vec4 a = from_lane(left[r / SHARED_LOADS], r % SHARED_LOADS);
                    [[unroll]] for (uint c = 0; c < TILE_COLS; c++) {
                        float sum = sums[r * TILE_COLS + c];
                        [[unroll]] for (uint q = 0; q < 4; q++) sum = fma(a[q], right[c][q], sum);
                        sums[r * TILE_COLS + c] = sum;
                    }
                }
            }
        }
    }

    [[unroll]] for (uint r = 0; r < TILE_ROWS; r++) {
        [[unroll]] for (uint c = 0; c < TILE_COLS; c++) {
            uint at = (row0 + r) * args.stride + args.first + col0 + c;
            float sum = sums[r * TILE_COLS + c];
            if (row0 + r < rows && col0 + c < args.n) y[at] = args.accumulate != 0 ? y[at] + sum : sum;
        }
    }
}
