// Values of files as f32: see values.h.
#include "base/values.h"
#include "base/half.h"
#include "base/quant.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

static uint16_t load16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

void values_widen(Dtype dtype, const uint8_t *data, uint64_t first, uint64_t count, float *out)
{
    assert(dtype != DTYPE_U8 && first % dtype_block(dtype) == 0);
    const uint8_t *at = data + dtype_bytes(dtype, first);
    if (dtype_blocked(dtype)) {
        quant_decode(dtype, at, count, out);
    } else if (dtype == DTYPE_F32) {
        memcpy(out, at, (size_t)count * sizeof *out);
    } else {
        for (uint64_t i = 0; i < count; i++) {
            uint16_t half = load16(at + 2 * i);
            uint32_t bits = dtype == DTYPE_F16 ? f16_widen(half) : bf16_widen(half);
            memcpy(&out[i], &bits, sizeof bits); // not by value: a signalling NaN stays one
        }
    }
}

const float *values_narrow(Dtype dtype, const float *values, uint64_t count, uint16_t *out)
{
    uint16_t infinity = dtype == DTYPE_F16 ? 0x7C00 : 0x7F80;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t wide;
        memcpy(&wide, &values[i], sizeof wide);
        out[i] = dtype == DTYPE_F16 ? f16_narrow(wide) : bf16_narrow(wide);
        if ((out[i] & 0x7FFF) == infinity && (wide & 0x7FFFFFFF) != 0x7F800000) return &values[i];
    }
    return NULL;
}
