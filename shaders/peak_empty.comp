// Nothing, for what a launch costs. ORDERED: each launch waits for the one before, as by its
// buffer's decoration it may write.
// variant ordered: ORDERED
#version 450
#extension GL_GOOGLE_include_directive : require
#include "args.h"
layout(local_size_x_id = 0) in;
#ifdef ORDERED
layout(binding = 0) buffer X { float x[]; };
layout(push_constant) uniform Push { PeakArgs args; };
#endif

void main()
{
#ifdef ORDERED
    if (args.steps == 0) x[0] = 0.0; // steps is 1
#endif
}
