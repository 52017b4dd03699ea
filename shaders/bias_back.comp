// dbias[c] += sum_r dy[r][c]. An invocation sums one column, rows in their order.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer Dy { float dy[]; }; // (rows, cols)
layout(binding = 2) buffer Dbias { float dbias[]; };    // (cols)
layout(push_constant) uniform Push { ElementArgs args; };

void main()
{
    uint c = ITEM_INVOCATION, rows = ROW_COUNT(args.rows);
    if (c >= args.cols) return;
    float sum = 0.0;
    for (uint r = 0; r < rows; r++) sum += dy[r * args.cols + c];
    dbias[c] += sum;
}
