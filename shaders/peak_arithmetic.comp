// x_i = x_i a + b, PEAK_CHAIN times a step, for CHAINS values at once that do not wait for each
// other: the rate of multiply-adds and nothing else. HALF: two values of f16 in a word; DOT: x_i +=
// x_i . a, both taken for four integers of 8 bits. How many chains fill the units without spilling
// differs among devices, so there are more widths than one.
// variant wide: WIDE
// variant half: HALF
// variant half_wide: HALF WIDE
// variant dot: DOT
// variant dot_wide: DOT WIDE
#version 450
#extension GL_GOOGLE_include_directive : require
#ifdef HALF
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#endif
#ifdef DOT
#extension GL_EXT_spirv_intrinsics : require
#endif
#include "args.h"
layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer X { float x[]; };  // (2): a, b
layout(binding = 1) writeonly buffer Y { float y[]; }; // (invocations)
layout(push_constant) uniform Push { PeakArgs args; };

#if defined(HALF)
#define VALUE f16vec2
#define NEXT(v) v = fma(v, a, b);
#define OUT(v) float(v.x + v.y)
#elif defined(DOT)
// OpSDot of vectors packed into words, which GLSL of this compiler has no name for.
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6018, 6019],
                  id = 4450) int dot_packed(uint a, uint b, spirv_literal int packed4x8);
#define VALUE uint
#define NEXT(v) v += uint(dot_packed(v, a, 0));
#define OUT(v) float(v)
#else
#define VALUE float
#define NEXT(v) v = fma(v, a, b);
#define OUT(v) v
#endif

#define FOUR(f, i) f(i##0) f(i##1) f(i##2) f(i##3)
#if defined(WIDE)
#define CHAINS(f) FOUR(f, v0) FOUR(f, v1) FOUR(f, v2)
#else
#define CHAINS(f) FOUR(f, v0) FOUR(f, v1)
#endif

#define LINKS CHAINS(NEXT) CHAINS(NEXT) CHAINS(NEXT) CHAINS(NEXT)
#define FIRST(v) VALUE v = first; first += one;
#define ADD(v) sum += OUT(v);

void main()
{
    uint i = gl_GlobalInvocationID.x;
    VALUE a = VALUE(x[0]), b = VALUE(x[1]), first = VALUE(i & 15), one = VALUE(1);
    CHAINS(FIRST)
    for (uint s = 0; s < args.steps; s++) {
        // PEAK_CHAIN of them
        LINKS LINKS LINKS LINKS
    }
    float sum = 0.0;
    CHAINS(ADD)
    y[i] = sum;
}
