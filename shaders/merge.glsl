// Sums of vectors over the LANES invocations that share a row, stored to memory: MERGE components at
// a time go through shared memory, so that there are two barriers for MERGE sums and not many for
// each (drivers that run on CPUs take minutes to compile those).
const uint MERGE = 16;
shared float merge_memory[LANES == 1 ? 1 : gl_WorkGroupSize.x * MERGE];

// target[at + i] = sum over the row's invocations of sums[i] * factor, for i < SIZE.
#define STORE_MERGED(target, at, sums, factor, inside)                                             \
    [[unroll]] for (uint tile = 0; tile < SIZE; tile += MERGE) {                                   \
        uint parts = min(MERGE, SIZE - tile);                                                      \
        if (LANES == 1) {                                                                          \
            [[unroll]] for (uint m = 0; m < parts; m++)                                            \
                if (inside) target[at + tile + m] = sums[tile + m] * (factor);                     \
        } else {                                                                                   \
            uint me = gl_LocalInvocationID.x, row = me - me % LANES;                               \
            [[unroll]] for (uint m = 0; m < parts; m++)                                            \
                merge_memory[me * MERGE + m] = sums[tile + m] * (factor);                          \
            barrier();                                                                             \
            for (uint m = me % LANES; m < parts; m += LANES) {                                     \
                float total_of_row = 0.0;                                                          \
                for (uint t = 0; t < LANES; t++)                                                   \
                    total_of_row += merge_memory[(row + t) * MERGE + m];                           \
                if (inside) target[at + tile + m] = total_of_row;                                  \
            }                                                                                      \
            barrier();                                                                             \
        }                                                                                          \
    }
