// A parameter's gradient as the optimizer reads it: VALUEs, or with HALF vectors in 16 bits.
#ifdef HALF
#include "half.glsl"
#define GRADIENT(at) layout(binding = at) readonly buffer Gradient { uvec2 gradient[]; }
#define GRADIENT_AT(i) widen(gradient[i])
#else
#define GRADIENT(at) layout(binding = at) readonly buffer Gradient { VALUE gradient[]; }
#define GRADIENT_AT(i) gradient[i]
#endif
