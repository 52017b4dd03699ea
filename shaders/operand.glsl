// How the matrix kernels read their operands, four values at a time.
// VEC4: every row length is a multiple of 4, so that whole vectors are loaded. Else any shape.
// TEXEL: vectors are read through texel views. lavapipe 22.3 loads from a storage buffer lane by
// lane in a loop, from a texel view with one gather: matrix-vector products take half the time.
// HALF: the parameter, w or dw, has values of 16 bits; only with VEC4.
// SHUFFLE: the 8 invocations that work on the same rows load different vectors of the left operand
// and hand them round. On CPU drivers a load costs far more than arithmetic; this halves the time.
#ifdef TEXEL
#define INPUT(at, Block, name) layout(binding = TEXELS + at) uniform samplerBuffer name
#else
#define INPUT(at, Block, name) layout(binding = at) readonly buffer Block { OPERAND name[]; }
#endif

#ifdef VEC4
#define OPERAND vec4
#ifdef TEXEL
#define LOAD4(buffer, at, left) texelFetch(buffer, int((at) / 4))
#else
#define LOAD4(buffer, at, left) buffer[(at) / 4]
#endif
#define STORE4(buffer, at, left, value, add)                                                       \
    buffer[(at) / 4] = (add) ? buffer[(at) / 4] + value : value
#else
#define OPERAND float
#define LOAD1(buffer, at, left, i) (left > i ? buffer[at + min(i, left - 1)] : 0.0)
// Four values from `at`, of which `left` exist (at least 1); the others are 0.
#define LOAD4(buffer, at, left)                                                                    \
    vec4(buffer[at], LOAD1(buffer, (at), (left), 1u), LOAD1(buffer, (at), (left), 2u),             \
         LOAD1(buffer, (at), (left), 3u))
// Stores, or adds, the first `left` of four values.
#define STORE4(buffer, at, left, value, add)                                                       \
    for (uint q = 0; q < min(4u, left); q++)                                                       \
    buffer[(at) + q] = (add) ? buffer[(at) + q] + value[q] : value[q]
#endif

// A parameter that is read.
#ifdef HALF
#include "half.glsl"
#ifdef TEXEL
#define WEIGHT(at, Block, name) layout(binding = TEXELS + at) uniform usamplerBuffer name
#define LOAD_WEIGHT(buffer, at, left) widen(texelFetch(buffer, int((at) / 4)).xy)
#else
#define WEIGHT(at, Block, name) layout(binding = at) readonly buffer Block { uvec2 name[]; }
#define LOAD_WEIGHT(buffer, at, left) widen(buffer[(at) / 4])
#endif
#else
#define WEIGHT(at, Block, name) INPUT(at, Block, name)
#define LOAD_WEIGHT(buffer, at, left) LOAD4(buffer, at, left)
#endif

const uint COL_LANES = 8; // invocations side by side along the columns, on the same rows

#ifdef SHUFFLE
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
// Full subgroups: the workgroup is a multiple of the subgroup. Where a driver runs narrower subgroups
// than it names (Intel), invocations are taken to fill them in their order.
#define LANE                                                                                       \
    (gl_NumSubgroups * gl_SubgroupSize == gl_WorkGroupSize.x                                       \
         ? gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID                               \
         : gl_LocalInvocationID.x)
#define SHARED_LOADS COL_LANES
vec4 from_lane(vec4 value, uint lane)
{
    return subgroupShuffle(value, (gl_SubgroupInvocationID & ~(COL_LANES - 1)) + lane);
}
#else
#define LANE gl_LocalInvocationID.x
#define SHARED_LOADS 1
#define from_lane(value, lane) (value)
#endif
