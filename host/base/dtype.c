// Storage types: see dtype.h.
#include "base/dtype.h"

static const struct {
    const char *name;
    uint32_t size;
} TYPES[DTYPE_COUNT] = {[DTYPE_F32] = {"F32", 4},
                        [DTYPE_F16] = {"F16", 2},
                        [DTYPE_BF16] = {"BF16", 2},
                        [DTYPE_U8] = {"U8", 1}};

uint32_t dtype_size(Dtype dtype)
{
    return TYPES[dtype].size;
}

const char *dtype_name(Dtype dtype)
{
    return TYPES[dtype].name;
}
