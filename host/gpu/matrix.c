// The shapes of cooperative matrices that a device lists.
#include "gpu/internal.h"

#include <stdio.h>
#include <stdlib.h>

// VkComponentTypeKHR in words; numbers of the registry, those of later extensions included.
static void name_type(char out[8], int32_t type)
{
    static const char *const names[] = {"f16", "f32", "f64", "s8",  "s16", "s32",
                                        "s64", "u8",  "u16", "u32", "u64"};
    if (type >= 0 && type < (int32_t)(sizeof names / sizeof *names))
        snprintf(out, 8, "%s", names[type]);
    else if (type == 1000141000)
        snprintf(out, 8, "bf16");
    else if (type == 1000491002)
        snprintf(out, 8, "e4m3");
    else if (type == 1000491003)
        snprintf(out, 8, "e5m2");
    else
        snprintf(out, 8, "other");
}

static MatrixProperties *query(const Gpu *gpu, uint32_t *count)
{
    GetMatrixProperties get = (GetMatrixProperties)vkGetInstanceProcAddr(
        gpu->instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
    *count = 0;
    if (!get || get(gpu->physical, count, NULL) < 0) return NULL;
    MatrixProperties *list = calloc(*count + 1, sizeof *list);
    for (uint32_t i = 0; list && i < *count; i++)
        list[i].sType = (VkStructureType)MATRIX_PROPERTIES_TYPE;
    if (list && get(gpu->physical, count, list) >= 0) return list;
    free(list);
    return NULL;
}

size_t gpu_matrix_shapes(const Gpu *gpu, GpuMatrixShape *out, size_t most)
{
    uint32_t count;
    size_t found = 0;
    if (!(gpu->optional.needs & NEEDS_MATRIX)) return 0;
    MatrixProperties *list = query(gpu, &count);
    for (uint32_t i = 0; list && i < count && found < most; i++) {
        const MatrixProperties *p = &list[i];
        if (p->scope != MATRIX_SUBGROUP) continue;
        GpuMatrixShape *shape = &out[found++];
        *shape = (GpuMatrixShape){p->MSize, p->NSize, p->KSize, "", "", "", "", false};
        shape->saturating = p->saturatingAccumulation;
        name_type(shape->a, p->AType);
        name_type(shape->b, p->BType);
        name_type(shape->c, p->CType);
        name_type(shape->result, p->ResultType);
    }
    free(list);
    return found;
}
