// KL term of self-distillation: with p = softmax(teacher / T) and q = softmax(logits / T),
// loss[r] = T^2 sum p log(p / q); the teacher's logits become the gradient of the logits,
// weight lambda T (q - p). LANES invocations share a row.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
#include "common.glsl"
#include "reduce.glsl"
layout(binding = 0) readonly buffer Counts { uint counts[]; };
layout(binding = 1) readonly buffer Step { float step_values[]; }; // (STEP_VALUES)
layout(binding = 2) readonly buffer Logits { float logits[]; };    // (rows, cols)
layout(binding = 3) buffer Teacher { float teacher[]; };           // (rows, cols)
layout(binding = 4) writeonly buffer Loss { float losses[]; };     // (all rows)
layout(push_constant) uniform Push { DistillArgs args; };

void main()
{
    uint r = gl_GlobalInvocationID.x / LANES, lane = gl_GlobalInvocationID.x % LANES;
    bool inside = r < ROW_COUNT(args.rows);
    uint first = inside ? r * args.cols : 0, cols = inside ? args.cols : 0;
    float temperature = step_values[STEP_TEMPERATURE], inverse = 1.0 / temperature;
    float most_q = -1e30, most_p = -1e30;
    for (uint c = lane; c < cols; c += LANES) {
        most_q = max(most_q, logits[first + c]);
        most_p = max(most_p, teacher[first + c]);
    }
    most_q = reduce_max(most_q);
    most_p = reduce_max(most_p);
    float sum_q = 0.0, sum_p = 0.0;
    for (uint c = lane; c < cols; c += LANES) {
        sum_q += exp((logits[first + c] - most_q) * inverse);
        sum_p += exp((teacher[first + c] - most_p) * inverse);
    }
    float log_q = log(reduce_sum(sum_q)), log_p = log(reduce_sum(sum_p)), divergence = 0.0;
    float scale =
        step_values[STEP_WEIGHTS + args.weight] * step_values[STEP_DISTILL] * temperature;
    for (uint c = lane; c < cols; c += LANES) {
        float q = (logits[first + c] - most_q) * inverse - log_q; // logarithms
        float p = (teacher[first + c] - most_p) * inverse - log_p;
        divergence = fma(exp(p), p - q, divergence);
        teacher[first + c] = scale * (exp(q) - exp(p));
    }
    divergence = reduce_sum(divergence);
    if (inside && lane == 0)
        losses[args.rows.first + r] = temperature * temperature * divergence;
}
