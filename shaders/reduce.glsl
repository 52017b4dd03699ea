// Sums and maxima over the LANES invocations that share a row. All invocations of the workgroup
// must come here. The order of summation depends on LANES alone.
shared float reduce_memory[gl_WorkGroupSize.x];

float reduce_sum(float value)
{
    if (LANES == 1) return value;
    uint i = gl_LocalInvocationID.x;
    reduce_memory[i] = value;
    barrier();
    for (uint step = LANES / 2; step > 0; step /= 2) {
        if (i % LANES < step) reduce_memory[i] += reduce_memory[i + step];
        barrier();
    }
    float sum = reduce_memory[i - i % LANES];
    barrier();
    return sum;
}

float reduce_max(float value)
{
    if (LANES == 1) return value;
    uint i = gl_LocalInvocationID.x;
    reduce_memory[i] = value;
    barrier();
    for (uint step = LANES / 2; step > 0; step /= 2) {
        if (i % LANES < step) reduce_memory[i] = max(reduce_memory[i], reduce_memory[i + step]);
        barrier();
    }
    float most = reduce_memory[i - i % LANES];
    barrier();
    return most;
}
