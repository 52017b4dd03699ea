// AdamW's moments: see moments.h.
#include "train/moments.h"

#include <stdlib.h>

static bool make_scales(Tensor *scales, Llama *values, size_t first, Error *err)
{
    for (size_t i = first; i < llama_parameter_count(&values->config); i++) {
        Tensor codes = *llama_parameter(values, i).tensor;
        if (codes.dtype != DTYPE_U8) continue;
        scales[i] = tensor_make(values->gpu, MEMORY_DEVICE, 1,
                                op_moment_scales(codes.rows, codes.cols), err);
        if (!scales[i].span) return false;
    }
    return true;
}

bool moments_make(MomentSet *set, Gpu *gpu, const LlamaConfig *config, size_t first, Dtype dtype,
                  Error *err)
{
    size_t count = llama_parameter_count(config);
    *set = (MomentSet){.mean_scales = calloc(count, sizeof(Tensor)),
                       .square_scales = calloc(count, sizeof(Tensor))};
    bool ok = set->mean_scales && set->square_scales;
    if (!ok) error_set(err, "out of memory");
    ok = ok && llama_make_as(&set->means, gpu, config, first, dtype, err) &&
         llama_make_as(&set->squares, gpu, config, first, dtype, err) &&
         make_scales(set->mean_scales, &set->means, first, err) &&
         make_scales(set->square_scales, &set->squares, first, err);
    if (!ok) moments_free(set);
    return ok;
}

static void free_scales(Tensor *scales, const Llama *values)
{
    for (size_t i = 0; values->gpu && scales && i < llama_parameter_count(&values->config); i++)
        tensor_free(values->gpu, &scales[i]);
    free(scales);
}

void moments_free(MomentSet *set)
{
    free_scales(set->mean_scales, &set->means);
    free_scales(set->square_scales, &set->squares);
    llama_free(&set->means);
    llama_free(&set->squares);
    *set = (MomentSet){0};
}

Moments moments_of(MomentSet *set, size_t i)
{
    return (Moments){*llama_parameter(&set->means, i).tensor,
                     *llama_parameter(&set->squares, i).tensor, set->mean_scales[i],
                     set->square_scales[i]};
}
