// Kernels: their SPIR-V (embedded, or compiled from STRATA_SHADER_DIR) and their pipelines.
#include "gpu/internal.h"

#include <stdlib.h>
#include <string.h>

bool kernel_module(Gpu *gpu, VkShaderModule *module, KernelAccess *access, const char *name,
                   const uint32_t *words, size_t count, Error *err)
{
    const VkShaderModuleCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
        .codeSize = count * sizeof *words,
        .pCode = words,
    };
    *module = VK_NULL_HANDLE;
    if (!spirv_access(access, words, count))
        return error_set(err, "kernel %s: not usable SPIR-V", name);
    if (access->needs & ~gpu->optional.needs) return true;
    VkResult result = vkCreateShaderModule(gpu->device, &info, NULL, module);
    return result == VK_SUCCESS || gpu_fail(gpu, result, name, err);
}

static bool open_kernel(Gpu *gpu, Kernel kernel, const char *folder, Error *err)
{
    const KernelSource *source = &kernel_sources[kernel];
    KernelWords *own = &gpu->words[kernel];
    *own = (KernelWords){.words = source->words, .count = source->count};
    size_t count = 0;
    if (folder && !shader_folder_compile(&own->own, &count, folder, source, err)) return false;
    if (own->own) *own = (KernelWords){own->own, count, own->own};
    return kernel_module(gpu, &gpu->modules[kernel], &gpu->access[kernel], source->name, own->words,
                         own->count, err);
}

bool gpu_has_kernel(const Gpu *gpu, Kernel kernel)
{
    return !(gpu->access[kernel].needs & ~gpu->optional.needs);
}

const char *gpu_kernel_lacks(const Gpu *gpu, Kernel kernel)
{
    static const struct {
        uint32_t need;
        const char *name;
    } needs[] = {{NEEDS_FLOAT16, "f16 arithmetic"},
                 {NEEDS_INT8, "8-bit integers"},
                 {NEEDS_DOT, "integer dot products"},
                 {NEEDS_MATRIX, "cooperative matrices"}};
    uint32_t missing = gpu->access[kernel].needs & ~gpu->optional.needs;
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        if (missing & needs[i].need) return needs[i].name;
    return NULL;
}

bool kernels_open(Gpu *gpu, Error *err)
{
    const char *folder = getenv("STRATA_SHADER_DIR");
    if (folder && !*folder) folder = NULL;
    for (int i = 0; i < KERNEL_COUNT; i++)
        if (!open_kernel(gpu, (Kernel)i, folder, err)) return false;
    return true;
}

void kernels_close(Gpu *gpu)
{
    for (size_t i = 0; i < gpu->pipeline_count; i++)
        vkDestroyPipeline(gpu->device, gpu->pipelines[i].handle, NULL);
    replacements_close(gpu);
    for (int i = 0; i < KERNEL_COUNT; i++) {
        vkDestroyShaderModule(gpu->device, gpu->modules[i], NULL);
        free(gpu->words[i].own);
    }
    free(gpu->pipelines);
}

VkResult kernel_build(Gpu *gpu, Kernel kernel, const uint32_t *constants,
                      VkPipelineCreateFlags flags, VkPipelineCache cache, VkPipeline *handle)
{
    VkSpecializationMapEntry entries[GPU_CONSTANTS];
    for (uint32_t i = 0; i < GPU_CONSTANTS; i++)
        entries[i] = (VkSpecializationMapEntry){i, i * sizeof(uint32_t), sizeof(uint32_t)};
    const VkSpecializationInfo values = {GPU_CONSTANTS, entries, GPU_CONSTANTS * sizeof *constants,
                                         constants};
    bool matrices = gpu->access[kernel].needs & NEEDS_MATRIX;
    const VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .flags = flags,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .flags =
                      matrices ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT_EXT : 0,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = gpu->modules[kernel],
                  .pName = "main",
                  .pSpecializationInfo = &values},
        .layout = gpu->layout,
    };
    return vkCreateComputePipelines(gpu->device, cache, 1, &info, NULL, handle);
}

VkPipeline kernel_pipeline(Gpu *gpu, Kernel kernel, const uint32_t *constants, Error *err)
{
    if (!gpu_has_kernel(gpu, kernel)) {
        error_set(err, "device %s: kernel %s needs %s", gpu->info.name, kernel_sources[kernel].name,
                  gpu_kernel_lacks(gpu, kernel));
        return VK_NULL_HANDLE;
    }
    Pipeline want = {.kernel = kernel, .module = gpu->modules[kernel]};
    memcpy(want.constants, constants, sizeof want.constants);
    for (size_t i = 0; i < gpu->pipeline_count; i++) {
        const Pipeline *have = &gpu->pipelines[i];
        if (have->module == want.module &&
            !memcmp(have->constants, constants, sizeof want.constants))
            return have->handle;
    }
    Pipeline *list = realloc(gpu->pipelines, (gpu->pipeline_count + 1) * sizeof *list);
    if (list) gpu->pipelines = list;
    VkResult result = VK_ERROR_OUT_OF_HOST_MEMORY;
    if (list) result = kernel_build(gpu, kernel, constants, 0, gpu->pipeline_cache, &want.handle);
    if (result != VK_SUCCESS) {
        gpu_fail(gpu, result, kernel_sources[kernel].name, err);
        return VK_NULL_HANDLE;
    }
    name_object(gpu, VK_OBJECT_TYPE_PIPELINE, (uint64_t)want.handle, "%s",
                kernel_sources[kernel].name);
    gpu->pipelines[gpu->pipeline_count++] = want;
    return want.handle;
}
