// loss[r] = log(sum exp(logits[r])) - logits[r][target], and whether target is the (first) largest
// logit. With backward, logits become their gradient: weight (softmax(logits) - onehot(target)).
// LANES invocations share a row.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "reduce.glsl"
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer Targets { uint targets[]; };  // (all rows)
layout(binding = 2) readonly buffer Step { float step_values[]; }; // (STEP_VALUES)
layout(binding = 3) buffer Logits { float logits[]; };            // (rows, cols)
layout(binding = 4) writeonly buffer Loss { float losses[]; };    // (all rows, 2): loss, 1 if hit
layout(push_constant) uniform Push { CrossEntropyArgs args; };

void main()
{
    uint r = gl_GlobalInvocationID.x / LANES, lane = gl_GlobalInvocationID.x % LANES;
    bool inside = r < ROW_COUNT(args.rows);
    uint first = inside ? r * args.cols : 0, cols = inside ? args.cols : 0;
    uint row = args.rows.first + r, target = inside ? targets[row] : 0;
    float most = -1e30;
    uint where = 0;
    for (uint c = lane; c < cols; c += LANES) {
        float logit = logits[first + c];
        if (logit > most) {
            most = logit;
            where = c;
        }
    }
    float highest = reduce_max(most);
    float best = -reduce_max(most == highest ? -float(where) : -1e30); // exact below 2^24
    float sum = 0.0;
    for (uint c = lane; c < cols; c += LANES) sum += exp(logits[first + c] - highest);
    sum = reduce_sum(sum);
    if (inside && lane == 0) {
        losses[2 * row] = log(sum) + (highest - logits[first + target]);
        losses[2 * row + 1] = best == float(target) ? 1.0 : 0.0;
    }
    if (args.backward == 0) return;
    if (LANES > 1) barrier(); // the loss above read a logit that another invocation overwrites
    float weight = step_values[STEP_WEIGHTS + args.weight];
    for (uint c = lane; c < cols; c += LANES) {
        float p = exp(logits[first + c] - highest) / sum;
        logits[first + c] = weight * (p - (c == target ? 1.0 : 0.0));
    }
}
