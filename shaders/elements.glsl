// The values of a row that an invocation works on: ELEMENTS_PER_LANE of them, a workgroup apart, so
// that neighbours touch neighbouring memory.
#define FOR_ELEMENTS(c, cols)                                                                      \
    for (uint c = gl_WorkGroupID.x * gl_WorkGroupSize.x * ELEMENTS_PER_LANE +                      \
                  gl_LocalInvocationID.x,                                                          \
              c##_end = min(c + gl_WorkGroupSize.x * (ELEMENTS_PER_LANE - 1) + 1, cols);           \
         c < c##_end; c += gl_WorkGroupSize.x)
