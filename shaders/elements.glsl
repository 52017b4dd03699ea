// The values of a row that an invocation works on: ELEMENTS_PER_LANE of them, a workgroup apart, so
// that neighbours touch neighbouring memory. With VEC4 (rows of a multiple of 4 values) a VALUE is a
// vector: fewer loads, which are what these kernels spend their time on.
#ifdef VEC4
#define VALUE vec4
#define WIDTH 4
#else
#define VALUE float
#define WIDTH 1
#endif

// `cols` and c count VALUEs.
#define FOR_ELEMENTS(c, cols)                                                                      \
    for (uint c = gl_WorkGroupID.x * gl_WorkGroupSize.x * (ELEMENTS_PER_LANE / WIDTH) +            \
                  gl_LocalInvocationID.x,                                                          \
              c##_end = min(c + gl_WorkGroupSize.x * (ELEMENTS_PER_LANE / WIDTH - 1) + 1, cols);   \
         c < c##_end; c += gl_WorkGroupSize.x)

// sum + a . b, one product after the other: both widths add in the same order.
float add_products(VALUE a, VALUE b, float sum)
{
#ifdef VEC4
    return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
#else
    return fma(a, b, sum);
#endif
}
