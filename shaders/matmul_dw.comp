// dw[j][i] += sum_r dy[r][j] x[r][i], all rows r. An invocation computes TILE_ROWS rows of
// TILE_VECTORS vectors of dw in registers. Rows are summed in their order.
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
layout(constant_id = 2) const uint TILE_ROWS = 32; // a multiple of 4 * SHARED_LOADS
layout(constant_id = 3) const uint TILE_VECTORS = 1;
layout(constant_id = 4) const uint RUN = 1; // rows that are loaded together
const uint LOADS = TILE_ROWS / (4 * SHARED_LOADS); // vectors of dy per invocation and row

layout(binding = 0) readonly buffer Counts { uint counts[]; };
INPUT(1, Dy, dy); // (rows, n)
INPUT(2, X, x); // (rows, k)
#ifdef HALF
layout(binding = 3) buffer Dw { uvec2 dw[]; };            // (n, k) halves
#define ADD(at, left, value) dw[(at) / 4] = narrow(widen(dw[(at) / 4]) + value)
#else
layout(binding = 3) buffer Dw { OPERAND dw[]; };          // (n, k)
#define ADD(at, left, value) STORE4(dw, at, left, value, true)
#endif
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

    for (uint first = 0; first < rows; first += RUN) {
        vec4 left[LOADS * RUN], right[TILE_VECTORS * RUN];
        [[unroll]] for (uint i = 0; i < LOADS * RUN; i++) { // rows past the end add 0
            uint r = first + i % RUN, j = js[i / RUN];
            vec4 value = LOAD4(dy, min(r, rows - 1) * args.stride + args.first + j, args.n - j);
            left[i] = r < rows ? value : vec4(0.0);
        }
        [[unroll]] for (uint i = 0; i < TILE_VECTORS * RUN; i++) {
            uint col = cols[i / RUN];
            right[i] = LOAD4(x, min(first + i % RUN, rows - 1) * args.k + col, args.k - col);
        }
        [[unroll]] for (uint i = 0; i < TILE_ROWS / 4 * RUN; i++) {
            uint j = i / RUN * 4, run = i % RUN;
            vec4 a = from_lane(left[j / (4 * SHARED_LOADS) * RUN + run], j / 4 % SHARED_LOADS);
            [[unroll]] for (uint q = 0; q < 4 * TILE_VECTORS; q++) {
                uint at = (j + q / TILE_VECTORS) * TILE_VECTORS + q % TILE_VECTORS;
                vec4 b = right[q % TILE_VECTORS * RUN + run];
                sums[at] = fma(vec4(a[q / TILE_VECTORS]), b, sums[at]);
            }
        }
    }

    [[unroll]] for (uint j = 0; j < TILE_ROWS; j++) {
        [[unroll]] for (uint c = 0; c < TILE_VECTORS; c++) {
            uint col = col0 + 4 * COL_LANES * c;
            vec4 four = sums[j * TILE_VECTORS + c];
            if (row0 + j < args.n && col < args.k)
                ADD((row0 + j) * args.k + col, args.k - col, four);
        }
    }
}
