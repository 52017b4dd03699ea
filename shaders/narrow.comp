// y = x in 16 bits, a whole parameter. An invocation converts ADAMW_PER_LANE values.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "half.glsl"
layout(binding = 0) readonly buffer X { vec4 x[]; };   // (count)
layout(binding = 1) writeonly buffer Y { uvec2 y[]; }; // (count) halves
layout(push_constant) uniform Push { NarrowArgs args; };

void main()
{
    uint i = ITEM_INVOCATION;
    if (i < args.count / 4) y[i] = narrow(x[i]);
}
