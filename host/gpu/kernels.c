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
    if (!spirv_access(access, words, count))
        return error_set(err, "kernel %s: not usable SPIR-V", name);
    VkResult result = vkCreateShaderModule(gpu->device, &info, NULL, module);
    return result == VK_SUCCESS || gpu_fail(gpu, result, name, err);
}

static bool open_kernel(Gpu *gpu, Kernel kernel, const char *folder, Error *err)
{
    const KernelSource *source = &kernel_sources[kernel];
    uint32_t *words = NULL;
    size_t count = 0;
    if (folder && !shader_folder_compile(&words, &count, folder, source, err)) return false;
    bool ok = kernel_module(gpu, &gpu->modules[kernel], &gpu->access[kernel], source->name,
                            words ? words : source->words, words ? count : source->count, err);
    free(words);
    return ok;
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
    for (int i = 0; i < KERNEL_COUNT; i++)
        vkDestroyShaderModule(gpu->device, gpu->modules[i], NULL);
    free(gpu->pipelines);
}

static VkResult create_pipeline(Gpu *gpu, const Pipeline *want, VkPipeline *handle)
{
    VkSpecializationMapEntry entries[GPU_CONSTANTS];
    for (uint32_t i = 0; i < GPU_CONSTANTS; i++)
        entries[i] = (VkSpecializationMapEntry){i, i * sizeof(uint32_t), sizeof(uint32_t)};
    const VkSpecializationInfo constants = {GPU_CONSTANTS, entries, sizeof want->constants,
                                            want->constants};
    const VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = want->module,
                  .pName = "main",
                  .pSpecializationInfo = &constants},
        .layout = gpu->layout,
    };
    return vkCreateComputePipelines(gpu->device, gpu->pipeline_cache, 1, &info, NULL, handle);
}

VkPipeline kernel_pipeline(Gpu *gpu, Kernel kernel, const uint32_t *constants, Error *err)
{
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
    VkResult result =
        list ? create_pipeline(gpu, &want, &want.handle) : VK_ERROR_OUT_OF_HOST_MEMORY;
    if (result != VK_SUCCESS) {
        gpu_fail(gpu, result, kernel_sources[kernel].name, err);
        return VK_NULL_HANDLE;
    }
    gpu->pipelines[gpu->pipeline_count++] = want;
    return want.handle;
}
