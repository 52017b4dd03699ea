// From f32 values to what a parameter's tensor holds: see llama.h.
#include "model/llama.h"
#include "base/half.h"
#include "base/quant.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE_ROWS = 256 }; // encoded at a time; so many rows begin where a tensor may

// False where a finite value becomes infinite.
static bool narrow(Dtype dtype, const float *values, uint64_t count, uint16_t *out)
{
    const uint32_t infinity = 0x7F800000, infinite = dtype == DTYPE_F16 ? 0x7C00 : 0x7F80;
    bool fits = true;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        out[i] = dtype == DTYPE_F16 ? f16_narrow(bits) : bf16_narrow(bits);
        fits &= (out[i] & 0x7FFF) != infinite || (bits & 0x7FFFFFFF) == infinity;
    }
    return fits;
}

static bool upload_piece(Gpu *gpu, Tensor piece, const char *name, const float *values,
                         void *buffer, Error *err)
{
    uint64_t count = (uint64_t)piece.rows * piece.cols;
    bool blocked = dtype_blocked(piece.dtype);
    bool fits = blocked ? quant_encode(piece.dtype, values, count, buffer)
                        : narrow(piece.dtype, values, count, buffer);
    if (!fits)
        return error_set(err, "tensor '%s' has a value that %s cannot hold: too large%s", name,
                         dtype_name(piece.dtype), blocked ? ", or not finite" : "");
    return blocked ? tensor_upload_blocks(gpu, piece, buffer, err)
                   : tensor_upload(gpu, piece, buffer, err);
}

bool llama_upload(Gpu *gpu, const LlamaParameter *parameter, const float *values, Error *err)
{
    Tensor tensor = *parameter->tensor;
    if (tensor.dtype == DTYPE_F32) return tensor_upload(gpu, tensor, values, err);
    uint32_t most = tensor.rows < PIECE_ROWS ? tensor.rows : PIECE_ROWS;
    void *buffer = malloc(dtype_bytes(tensor.dtype, (uint64_t)most * tensor.cols));
    bool ok = buffer || error_set(err, "out of memory");
    for (uint32_t row = 0; ok && row < tensor.rows; row += most) {
        uint32_t rows = tensor.rows - row < most ? tensor.rows - row : most;
        ok = upload_piece(gpu, tensor_rows(tensor, row, rows), parameter->name,
                          values + (uint64_t)row * tensor.cols, buffer, err);
    }
    free(buffer);
    return ok;
}

bool llama_expect_f32(const Llama *llama, const char *what, Error *err)
{
    Llama view = *llama; // llama_parameter hands out places that may be written
    for (size_t i = 0; i < llama_parameter_count(&llama->config); i++) {
        LlamaParameter p = llama_parameter(&view, i);
        if (p.tensor->dtype != DTYPE_F32)
            return error_set(err, "%s needs F32 weights, but '%s' is held as %s", what, p.name,
                             dtype_name(p.tensor->dtype));
    }
    return true;
}
