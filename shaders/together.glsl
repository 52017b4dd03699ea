// Runs of 8 invocations of a subgroup that walk over the same keys (or rows) together: each loads
// one of STRIDE and hands it round by shuffles. Vectors are read through texel views.
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
const uint STRIDE = 8;
// Full subgroups: the workgroup is one subgroup.
#define LANE gl_SubgroupInvocationID
#define TOGETHER (gl_SubgroupInvocationID % STRIDE)

float from(float value, uint lane)
{
    return subgroupShuffle(value, gl_SubgroupInvocationID - TOGETHER + lane);
}

vec4 from(vec4 value, uint lane)
{
    return subgroupShuffle(value, gl_SubgroupInvocationID - TOGETHER + lane);
}

vec4 load(samplerBuffer tensor, uint at)
{
    return texelFetch(tensor, int(at));
}

// sum + a . b, one product after the other.
float add_products(vec4 a, vec4 b, float sum)
{
    return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
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

float together_max(float value)
{
    for (uint t = 1; t < STRIDE; t *= 2)
        value = max(value, subgroupShuffle(value, gl_SubgroupInvocationID ^ t));
    return value;
}
