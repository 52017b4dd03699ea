// Kernels that others take the place of while somebody writes them: see gpu.h, "for those who write
// kernels". Pipelines are found by module (kernels.c), so that a tape keeps what it was recorded
// with.
#include "gpu/internal.h"

#include <stdlib.h>
#include <string.h>

// Tensors that the module sees and the kernel does not: the op may not bind them.
static bool check_access(const KernelAccess *access, const KernelAccess *original, const char *path,
                         const char *name, Error *err)
{
    uint32_t more = (access->reads | access->writes) & ~(original->reads | original->writes);
    for (uint32_t i = 0; i < GPU_BINDINGS; i++)
        if (more >> i & 1)
            return error_set(err, "%s: binding %u: kernel %s has no such tensor", path, i, name);
    return true;
}

static bool add(Gpu *gpu, Kernel kernel, VkShaderModule module, Error *err)
{
    Replacement *list = realloc(gpu->replacements, (gpu->replacement_count + 1) * sizeof *list);
    if (!list) return error_set(err, "out of memory");
    gpu->replacements = list;
    list[gpu->replacement_count++] =
        (Replacement){kernel, module, gpu->modules[kernel], gpu->access[kernel], false};
    return true;
}

bool gpu_replace_kernel(Gpu *gpu, Kernel kernel, const char *path, Error *err)
{
    const KernelSource *source = &kernel_sources[kernel];
    uint32_t *words;
    size_t count;
    VkShaderModule module;
    KernelAccess access;
    gpu_restore_kernel(gpu, kernel);
    if (!shader_file_compile(&words, &count, path, source, err)) return false;
    bool ok = kernel_module(gpu, &module, &access, path, words, count, err);
    free(words);
    if (!ok) return false;
    if (!check_access(&access, &gpu->access[kernel], path, source->name, err) ||
        !add(gpu, kernel, module, err)) {
        vkDestroyShaderModule(gpu->device, module, NULL);
        return false;
    }
    gpu->modules[kernel] = module;
    gpu->access[kernel] = access;
    return true;
}

void gpu_restore_kernel(Gpu *gpu, Kernel kernel)
{
    for (size_t i = 0; i < gpu->replacement_count; i++) {
        Replacement *r = &gpu->replacements[i];
        if (r->kernel != kernel || r->restored) continue;
        gpu->modules[kernel] = r->original;
        gpu->access[kernel] = r->original_access;
        r->restored = true;
    }
}

void replacements_close(Gpu *gpu)
{
    for (int i = 0; i < KERNEL_COUNT; i++) gpu_restore_kernel(gpu, (Kernel)i);
    for (size_t i = 0; i < gpu->replacement_count; i++)
        vkDestroyShaderModule(gpu->device, gpu->replacements[i].module, NULL);
    free(gpu->replacements);
}

const char *gpu_shader_text(const char *name)
{
    for (const ShaderText *text = shader_texts; text->name; text++)
        if (!strcmp(text->name, name)) return text->text;
    return NULL;
}

void gpu_filter(Gpu *gpu, DispatchFilter *filter, void *user)
{
    gpu->filter = filter;
    gpu->filter_user = user;
}
