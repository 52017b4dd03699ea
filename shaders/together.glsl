// Runs of 8 invocations of a subgroup that walk over the same keys (or rows) together: each loads
// one of STRIDE and hands it round by shuffles.
const uint STRIDE = 8;
#define LANE (gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID)
#define TOGETHER (gl_SubgroupInvocationID % STRIDE)

float from(float value, uint lane)
{
    return subgroupShuffle(value, gl_SubgroupInvocationID - TOGETHER + lane);
}

// The smallest and the largest value of the run.
uint together_min(uint value)
{
    for (uint t = 1; t < STRIDE; t *= 2)
        value = min(value, subgroupShuffle(value, gl_SubgroupInvocationID ^ t));
    return value;
}

uint together_max(uint value)
{
    for (uint t = 1; t < STRIDE; t *= 2)
        value = max(value, subgroupShuffle(value, gl_SubgroupInvocationID ^ t));
    return value;
}
