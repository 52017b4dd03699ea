// dw[j][i] += sum_r dy[r][j] x[r][i], all rows r. An invocation computes TILE_ROWS rows of
// TILE_VECTORS vectors of dw in registers. Rows are summed in their order.
#include "args.h"
#include "common.glsl"
#include "operand.glsl"
layout(constant_id = 2) const uint TILE_ROWS = 32; // a multiple of 4 * SHARED_LOADS
layout(constant_id = 3) const uint TILE_VECTORS = 1;
const uint LOADS = TILE_ROWS / (4 * SHARED_LOADS); // vectors of dy per invocation

layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer Dy { OPERAND dy[]; }; // (rows, n)
layout(binding = 2) readonly buffer X { OPERAND x[]; };   // (rows, k)
layout(binding = 3) buffer Dw { OPERAND dw[]; };          // (n, k)
layout(push_constant) uniform Push { MatmulArgs args; };

void main()
{
    uint rows = ROW_COUNT(args.rows);
    uint row0 = (gl_WorkGroupID.y * (gl_WorkGroupSize.x / COL_LANES) + LANE / COL_LANES) * TILE_ROWS;
    uint col0 = 4 * (gl_WorkGroupID.x * COL_LANES * TILE_VECTORS + LANE % COL_LANES);
    uint js[LOADS], cols[TILE_VECTORS]; // which vectors of dy and x are loaded, within bounds
    [[unroll]] for (uint i = 0; i < LOADS; i++)
        js[i] = min(row0 + 4 * (i * SHARED_LOADS + LANE % SHARED_LOADS), (args.n - 1) / 4 * 4);
    [[unroll]] for (uint c = 0; c < TILE_VECTORS; c++)
        cols[c] = min(col0 + 4 * COL_LANES * c, (args.k - 1) / 4 * 4);
    vec4 sums[TILE_ROWS * TILE_VECTORS];
    [[unroll]] for (uint i = 0; i < TILE_ROWS * TILE_VECTORS; i++) sums[i] = vec4(0.0);

    for (uint r = 0; r < rows; r++) {
        vec4 left[LOADS], right[TILE_VECTORS];
        [[unroll]] for (uint i = 0; i < LOADS; i++)
            left[i] = LOAD4(dy, r * args.n + js[i], args.n - js[i]);
        [[unroll]] for (uint c = 0; c < TILE_VECTORS; c++)
            right[c] = LOAD4(x, r * args.k + cols[c], args.k - cols[c]);
        [[unroll]] for (uint j = 0; j < TILE_ROWS; j += 4) {
            vec4 a = from_lane(left[j / (4 * SHARED_LOADS)], j / 4 % SHARED_LOADS);
            [[unroll]] for (uint q = 0; q < 4; q++) {
                [[unroll]] for (uint c = 0; c < TILE_VECTORS; c++) {
                    uint at = (j + q) * TILE_VECTORS + c;
                    sums[at] = fma(vec4(a[q]), right[c], sums[at]);
                }
            }
        }
    }

    [[unroll]] for (uint j = 0; j < TILE_ROWS; j++) {
        [[unroll]] for (uint c = 0; c < TILE_VECTORS; c++) {
            uint col = col0 + 4 * COL_LANES * c;
            vec4 four = sums[j * TILE_VECTORS + c];
            if (row0 + j < args.n && col < args.k)
                STORE4(dw, (row0 + j) * args.k + col, args.k - col, four, true);
        }
    }
}
