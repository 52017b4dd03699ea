// Storage types: see dtype.h.
#include "base/dtype.h"

#include <assert.h>

static const struct {
    const char *name;
    uint32_t block, bytes; // values and bytes of a block
} TYPES[DTYPE_COUNT] = {
    [DTYPE_F32] = {"F32", 1, 4},       [DTYPE_F16] = {"F16", 1, 2},
    [DTYPE_BF16] = {"BF16", 1, 2},     [DTYPE_U8] = {"U8", 1, 1},
    [DTYPE_Q8_0] = {"Q8_0", 32, 34},   [DTYPE_Q4_0] = {"Q4_0", 32, 18},
    [DTYPE_Q4_K] = {"Q4_K", 256, 144}, [DTYPE_Q6_K] = {"Q6_K", 256, 210},
};

const char *dtype_name(Dtype dtype)
{
    return TYPES[dtype].name;
}

bool dtype_blocked(Dtype dtype)
{
    return TYPES[dtype].block > 1;
}

uint32_t dtype_size(Dtype dtype)
{
    assert(!dtype_blocked(dtype));
    return TYPES[dtype].bytes;
}

uint32_t dtype_block(Dtype dtype)
{
    return TYPES[dtype].block;
}

uint64_t dtype_bytes(Dtype dtype, uint64_t count)
{
    uint64_t block = TYPES[dtype].block, bytes = TYPES[dtype].bytes;
    uint64_t blocks = count / block + (count % block != 0);
    return blocks > UINT64_MAX / bytes ? UINT64_MAX : blocks * bytes;
}
