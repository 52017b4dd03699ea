// LLaMA 3's scaling of RoPE as factors and back: see gguf_model.h.
#include "model/gguf_model.h"

#include <math.h>

static const double PI = 3.14159265358979323846;

// Formula: f_j = theta^(-2j/S), w = 2 pi / f_j; factor 1 where w < context / high, `factor` where
// w > context / low, between 1 / ((1 - s) / factor + s), s = (context / w - low) / (high - low).
void gguf_rope_factors(float *out, const RopeScaling3 *scaling, double theta, uint32_t head_size)
{
    for (uint32_t j = 0; j < head_size / 2; j++) {
        double wavelength = 2 * PI * pow(theta, 2.0 * j / head_size);
        double s = (scaling->context / wavelength - scaling->low) / (scaling->high - scaling->low);
        double between = 1 / ((1 - s) / scaling->factor + s);
        bool keep = wavelength < scaling->context / scaling->high;
        bool whole = wavelength > scaling->context / scaling->low;
        out[j] = (float)(keep ? 1 : whole ? scaling->factor : between);
    }
}

// Converters compute the factors in f32, so that their last digits differ.
static bool same_factors(const float *a, const float *b, uint32_t count)
{
    for (uint32_t j = 0; j < count; j++)
        if (!(fabs((double)a[j] - (double)b[j]) <= 1e-4 * (double)b[j])) return false;
    return true;
}

// Every released model has low 1 and high 4, a whole factor that is seen at the lowest frequency,
// and a context that is a power of two.
bool gguf_rope_fit(RopeScaling3 *scaling, const float *factors, double theta, uint32_t head_size)
{
    float computed[CONFIG_MAX_HEAD_SIZE / 2];
    uint32_t count = head_size / 2;
    *scaling = (RopeScaling3){(double)factors[count - 1], 1, 4, 8192};
    if (!(scaling->factor >= 1 && scaling->factor <= 1e6)) return false;
    for (int bits = 13; bits <= 24; bits = bits == 13 ? 8 : bits == 12 ? 14 : bits + 1) {
        scaling->context = (double)(1 << bits);
        gguf_rope_factors(computed, scaling, theta, head_size);
        if (same_factors(factors, computed, count)) return true;
    }
    return false;
}
