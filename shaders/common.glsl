// Shared by all kernels: specialization constants and the row count.
// constant 0: invocations of a workgroup; constant 1: LANES, how many of them work on one row
// (1: no reduction across invocations, no barrier; for CPU drivers).
layout(local_size_x_id = 0) in;
const uint TEXELS = 10; // tensor i is the storage buffer at binding i, its texel view at TEXELS + i
layout(constant_id = 1) const uint LANES = 1;

// Rows that there are in this step, for an op that begins at rows.first.
#define ROW_COUNT(rows) min(max(counts[rows.slot], rows.first) - rows.first, rows.max)

// Which item an invocation works on, where items are no rows; a second axis takes what one is too short
// for.
#define ITEM_INVOCATION                                                                            \
    (gl_GlobalInvocationID.y * (gl_NumWorkGroups.x * gl_WorkGroupSize.x) + gl_GlobalInvocationID.x)
#define ITEM (ITEM_INVOCATION / LANES)
