// norm = unscale sqrt(sum of partials), of gradients of the loss times 1 / unscale; scale = unscale
// min(1, clip / (norm + 1e-6)), or unscale where clip is 0. One workgroup of LANES invocations.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "reduce.glsl"
layout(binding = 0) readonly buffer Partials { float partials[]; }; // (partials)
layout(binding = 1) readonly buffer Step { float step_values[]; };  // (STEP_VALUES)
layout(binding = 2) writeonly buffer Clip { float clip[]; };        // (2): norm, scale
layout(push_constant) uniform Push { ClipArgs args; };

void main()
{
    uint lane = gl_LocalInvocationID.x;
    float sum = 0.0;
    for (uint i = lane % LANES; i < args.partials; i += LANES) sum += partials[i];
    float unscale = step_values[STEP_UNSCALE], limit = step_values[STEP_CLIP];
    float norm = unscale * sqrt(reduce_sum(sum));
    if (lane != 0) return;
    clip[CLIP_NORM] = norm;
    clip[CLIP_SCALE] = unscale * (limit > 0.0 ? min(1.0, limit / (norm + 1e-6)) : 1.0);
}
