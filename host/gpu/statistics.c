// Statistics of pipelines: see statistics.h. The only user of
// VK_KHR_pipeline_executable_properties.
#include "gpu/statistics.h"
#include "base/clock.h"
#include "gpu/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- from the driver ---------------------------------------------------------------------------

static Statistic convert(const VkPipelineExecutableStatisticKHR *from)
{
    Statistic to = {.format = STATISTIC_DOUBLE};
    memcpy(to.name, from->name, sizeof to.name);
    memcpy(to.description, from->description, sizeof to.description);
    switch (from->format) {
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR:
        to.format = STATISTIC_BOOL;
        to.value.b = from->value.b32;
        break;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR:
        to.format = STATISTIC_INT;
        to.value.i = from->value.i64;
        break;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR:
        to.format = STATISTIC_UINT;
        to.value.u = from->value.u64;
        break;
    default:
        to.value.d = from->value.f64;
    }
    return to;
}

static VkResult read_values(Gpu *gpu, VkPipeline pipeline, uint32_t index, Executable *to)
{
    const VkPipelineExecutableInfoKHR which = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
        .pipeline = pipeline,
        .executableIndex = index,
    };
    uint32_t count = 0;
    VkResult result = vkGetPipelineExecutableStatisticsKHR(gpu->device, &which, &count, NULL);
    VkPipelineExecutableStatisticKHR *values = calloc(count + 1, sizeof *values);
    to->values = calloc(count + 1, sizeof *to->values);
    if (!values || !to->values) result = VK_ERROR_OUT_OF_HOST_MEMORY;
    for (uint32_t i = 0; values && i < count; i++)
        values[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
    if (result == VK_SUCCESS && count)
        result = vkGetPipelineExecutableStatisticsKHR(gpu->device, &which, &count, values);
    for (uint32_t i = 0; result == VK_SUCCESS && i < count; i++)
        to->values[i] = convert(&values[i]);
    to->value_count = result == VK_SUCCESS ? count : 0;
    free(values);
    return result;
}

static VkResult read_executable(Gpu *gpu, VkPipeline pipeline, uint32_t index, Executable *to,
                                const VkPipelineExecutablePropertiesKHR *properties)
{
    memcpy(to->name, properties->name, sizeof to->name);
    memcpy(to->description, properties->description, sizeof to->description);
    to->subgroup_size = properties->subgroupSize;
    return read_values(gpu, pipeline, index, to);
}

static VkResult read_executables(PipelineStatistics *out, Gpu *gpu, VkPipeline pipeline)
{
    const VkPipelineInfoKHR which = {.sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR,
                                     .pipeline = pipeline};
    uint32_t count = 0;
    VkResult result = vkGetPipelineExecutablePropertiesKHR(gpu->device, &which, &count, NULL);
    VkPipelineExecutablePropertiesKHR *properties = calloc(count + 1, sizeof *properties);
    out->executables = calloc(count + 1, sizeof *out->executables);
    if (!properties || !out->executables) result = VK_ERROR_OUT_OF_HOST_MEMORY;
    for (uint32_t i = 0; properties && i < count; i++)
        properties[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR;
    if (result == VK_SUCCESS && count)
        result = vkGetPipelineExecutablePropertiesKHR(gpu->device, &which, &count, properties);
    for (uint32_t i = 0; result == VK_SUCCESS && i < count; i++, out->executable_count++)
        result = read_executable(gpu, pipeline, i, &out->executables[i], &properties[i]);
    free(properties);
    return result;
}

// What the SPIR-V and the device say where the driver says nothing.
static void complete(PipelineStatistics *out, const Gpu *gpu, Kernel kernel,
                     const uint32_t *constants)
{
    const KernelWords *own = &gpu->words[kernel];
    SpirvGroup group;
    if (spirv_group(&group, own->words, own->count, constants)) {
        if (isnan(out->fields[FIELD_LANES])) out->fields[FIELD_LANES] = group.lanes;
        if (isnan(out->fields[FIELD_SHARED]))
            out->fields[FIELD_SHARED] = (double)group.shared_bytes;
    }
    if (isnan(out->fields[FIELD_SUBGROUP]) && gpu->info.subgroup_size)
        out->fields[FIELD_SUBGROUP] = gpu->info.subgroup_size;
}

bool pipeline_statistics_read(PipelineStatistics *out, Gpu *gpu, Kernel kernel,
                              const uint32_t *constants, Error *err)
{
    *out = (PipelineStatistics){0};
    if (!gpu_has_kernel(gpu, kernel))
        return error_set(err, "device %s: kernel %s needs %s", gpu->info.name,
                         kernel_sources[kernel].name, gpu_kernel_lacks(gpu, kernel));
    bool capture = gpu->optional.statistics;
    VkPipelineCreateFlags flags = capture ? VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR : 0;
    VkPipeline pipeline = VK_NULL_HANDLE;
    double began = clock_seconds();
    VkResult result = kernel_build(gpu, kernel, constants, flags, VK_NULL_HANDLE, &pipeline);
    out->compile_ms = 1e3 * (clock_seconds() - began);
    if (result == VK_SUCCESS && capture) result = read_executables(out, gpu, pipeline);
    vkDestroyPipeline(gpu->device, pipeline, NULL);
    if (result != VK_SUCCESS) {
        pipeline_statistics_free(out);
        return gpu_fail(gpu, result, kernel_sources[kernel].name, err);
    }
    statistics_normalize(out->fields, gpu->info.driver, out->executables, out->executable_count);
    complete(out, gpu, kernel, constants);
    return true;
}

void pipeline_statistics_free(PipelineStatistics *statistics)
{
    for (uint32_t i = 0; i < statistics->executable_count; i++)
        free(statistics->executables[i].values);
    free(statistics->executables);
    *statistics = (PipelineStatistics){0};
}

bool gpu_has_statistics(const Gpu *gpu)
{
    return gpu->optional.statistics;
}
