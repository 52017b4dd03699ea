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

static bool check_needs(const Gpu *gpu, const KernelAccess *access, const char *path, Error *err)
{
    return !(access->needs & ~gpu->optional.needs) ||
           error_set(err, "%s: needs what device %s has not", path, gpu->info.name);
}

static bool add(Gpu *gpu, Kernel kernel, VkShaderModule module, uint32_t *words, Error *err)
{
    Replacement *list = realloc(gpu->replacements, (gpu->replacement_count + 1) * sizeof *list);
    if (!list) return error_set(err, "out of memory");
    gpu->replacements = list;
    list[gpu->replacement_count++] =
        (Replacement){kernel, module, gpu->modules[kernel], gpu->access[kernel], gpu->words[kernel],
                      words,  false};
    return true;
}

bool gpu_replace_kernel_words(Gpu *gpu, Kernel kernel, const char *name, uint32_t *words,
                              size_t count, Error *err)
{
    VkShaderModule module = VK_NULL_HANDLE;
    KernelAccess access;
    gpu_restore_kernel(gpu, kernel);
    bool ok = kernel_module(gpu, &module, &access, name, words, count, err) &&
              check_needs(gpu, &access, name, err) &&
              check_access(&access, &gpu->access[kernel], name, kernel_sources[kernel].name, err) &&
              add(gpu, kernel, module, words, err);
    if (!ok) {
        vkDestroyShaderModule(gpu->device, module, NULL);
        free(words);
        return false;
    }
    gpu->modules[kernel] = module;
    gpu->access[kernel] = access;
    gpu->words[kernel] = (KernelWords){.words = words, .count = count};
    return true;
}

bool gpu_replace_kernel(Gpu *gpu, Kernel kernel, const char *path, Error *err)
{
    uint32_t *words;
    size_t count;
    gpu_restore_kernel(gpu, kernel);
    return shader_file_compile(&words, &count, path, &kernel_sources[kernel], err) &&
           gpu_replace_kernel_words(gpu, kernel, path, words, count, err);
}

void gpu_restore_kernel(Gpu *gpu, Kernel kernel)
{
    for (size_t i = 0; i < gpu->replacement_count; i++) {
        Replacement *r = &gpu->replacements[i];
        if (r->kernel != kernel || r->restored) continue;
        gpu->modules[kernel] = r->original;
        gpu->access[kernel] = r->original_access;
        gpu->words[kernel] = r->original_words;
        r->restored = true;
    }
}

void replacements_close(Gpu *gpu)
{
    for (int i = 0; i < KERNEL_COUNT; i++) gpu_restore_kernel(gpu, (Kernel)i);
    for (size_t i = 0; i < gpu->replacement_count; i++) {
        vkDestroyShaderModule(gpu->device, gpu->replacements[i].module, NULL);
        free(gpu->replacements[i].words);
    }
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
