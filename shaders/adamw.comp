// AdamW (Loshchilov and Hutter, decoupled decay) with g = gradient * clip scale:
// p -= rate decay p; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
// p -= rate (m / c1) / (sqrt(v / c2) + epsilon). Nothing happens where the gradient norm is not
// finite or beyond the step's limit. An invocation updates ADAMW_PER_LANE values. HALF: the gradient
// in 16 bits.
// variant vec4: VEC4
// variant half: VEC4 HALF
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "elements.glsl"
#include "gradient.glsl"
layout(binding = 0) readonly buffer Step { float step_values[]; }; // (STEP_VALUES)
layout(binding = 1) readonly buffer Clip { float clip[]; };        // (2): norm, scale
GRADIENT(2);                                                       // (count)
layout(binding = 3) buffer Weight { VALUE weight[]; };             // (count)
layout(binding = 4) buffer Mean { VALUE mean[]; };                 // (count): m
layout(binding = 5) buffer Square { VALUE square[]; };             // (count): v
layout(push_constant) uniform Push { AdamwArgs args; };

void main()
{
    float limit = step_values[STEP_LIMIT];
    if (!(clip[CLIP_NORM] <= (limit == 0.0 ? 3.4e38 : limit))) return;
    float rate = step_values[STEP_RATE], b1 = step_values[STEP_BETA1], b2 = step_values[STEP_BETA2];
    float shrink = args.decay != 0 ? rate * step_values[STEP_DECAY] : 0.0;
    uint lane = ITEM_INVOCATION;
    uint count = args.count / WIDTH, each = ADAMW_PER_LANE / WIDTH, first = min(lane * each, count);
    for (uint i = first; i < min(first + each, count); i++) {
        VALUE g = GRADIENT_AT(i) * clip[CLIP_SCALE], p = weight[i];
        VALUE m = b1 * mean[i] + step_values[STEP_REST1] * g;
        VALUE v = b2 * square[i] + step_values[STEP_REST2] * g * g;
        mean[i] = m;
        square[i] = v;
        p -= shrink * p;
        float step_size = rate / step_values[STEP_CORRECTION1];
        weight[i] = p - step_size * m / (sqrt(v / step_values[STEP_CORRECTION2]) +
                                         step_values[STEP_EPSILON]);
    }
}
