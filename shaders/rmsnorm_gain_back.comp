// dgain[c] += sum_r dy[r][c] x[r][c] inverse[r]. An invocation sums one column, rows and
// their parts in their order.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer X { float x[]; };             // (rows, parts, cols)
layout(binding = 2) readonly buffer Dy { float dy[]; };           // (rows, parts, cols)
layout(binding = 3) readonly buffer Inverse { float inverse[]; }; // (rows, parts)
layout(binding = 4) buffer Dgain { float dgain[]; };              // (cols)
layout(push_constant) uniform Push { RmsnormArgs args; };

void main()
{
    uint c = ITEM_INVOCATION, rows = ROW_COUNT(args.rows) * args.parts;
    if (c >= args.cols) return;
    float sum = 0.0;
    for (uint r = 0; r < rows; r++)
        sum = fma(dy[r * args.cols + c], x[r * args.cols + c] * inverse[r], sum);
    dgain[c] += sum;
}
