// y = x, `steps` times over: memory's speed where x is far larger than every cache and seen once, a
// cache's where it is small. READ: only the sum of what an invocation sees is kept. A workgroup takes
// a block of PEAK_VECTORS vectors per invocation, in every step another one.
// variant texel: TEXEL
// variant read: READ
// variant read_texel: READ TEXEL
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#ifdef TEXEL
layout(binding = TEXELS) uniform samplerBuffer x;
#define LOAD(i) texelFetch(x, int(i))
#else
layout(binding = 0) readonly buffer X { vec4 x[]; };
#define LOAD(i) x[i]
#endif
layout(binding = 1) writeonly buffer Y { vec4 y[]; };
layout(push_constant) uniform Push { PeakArgs args; };

void main()
{
    uint block = gl_WorkGroupSize.x * PEAK_VECTORS, lane = gl_LocalInvocationID.x;
#ifdef READ
    vec4 sum = vec4(0.0);
#endif
    for (uint s = 0; s < args.steps; s++) {
        uint at = ((gl_WorkGroupID.x * args.apart + s) & (args.blocks - 1)) * block + lane;
        vec4 values[PEAK_VECTORS];
        for (uint i = 0; i < PEAK_VECTORS; i++) values[i] = LOAD(at + i * gl_WorkGroupSize.x);
        for (uint i = 0; i < PEAK_VECTORS; i++)
#ifdef READ
            sum += values[i];
#else
            y[at + i * gl_WorkGroupSize.x] = values[i];
#endif
    }
#ifdef READ
    if (sum == vec4(args.never)) y[0] = sum;
#endif
}
