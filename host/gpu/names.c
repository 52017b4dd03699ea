// Names of objects and of stretches of commands (VK_EXT_debug_utils), so that RenderDoc, Nsight,
// Radeon GPU Profiler, Intel GPA and the validation layer show "block 7 / attention_paged" and not
// a handle. Labels are commands, too, so they are recorded only where somebody looks: a tool that
// says so, profiling, validation, or STRATA_LABELS=1.
#include "gpu/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Whether a tool that is attached shows labels (VK_EXT_tooling_info, which such tools bring along).
static bool tool_shows_labels(const Gpu *gpu)
{
    VkPhysicalDeviceToolPropertiesEXT tools[8];
    uint32_t count = 8;
    PFN_vkGetPhysicalDeviceToolPropertiesEXT get =
        (PFN_vkGetPhysicalDeviceToolPropertiesEXT)vkGetInstanceProcAddr(
            gpu->instance, "vkGetPhysicalDeviceToolPropertiesEXT");
    if (!get || !device_has_extension(gpu->physical, VK_EXT_TOOLING_INFO_EXTENSION_NAME))
        return false;
    for (uint32_t i = 0; i < count; i++)
        tools[i] = (VkPhysicalDeviceToolPropertiesEXT){
            .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TOOL_PROPERTIES_EXT};
    if (get(gpu->physical, &count, tools) < 0) return false;
    for (uint32_t i = 0; i < count; i++)
        if (tools[i].purposes & VK_TOOL_PURPOSE_DEBUG_MARKERS_BIT_EXT) return true;
    return false;
}

// Validation layers before 1.3.242 forget the labels of a command buffer that was freed in a thread
// of their own, unguarded (KhronosGroup/Vulkan-ValidationLayers, pull request 5312): where the next
// one's are recorded meanwhile, memory is overwritten. Debian 12 has 1.3.239.
static bool layer_races(const Gpu *gpu)
{
    return gpu->messenger && instance_validation_version() < VK_MAKE_API_VERSION(0, 1, 3, 242);
}

void names_on(Gpu *gpu)
{
    gpu->names = vkCmdBeginDebugUtilsLabelEXT && vkSetDebugUtilsObjectNameEXT;
    gpu->labels = gpu->names && !layer_races(gpu);
}

void names_open(Gpu *gpu)
{
    const char *wanted = getenv("STRATA_LABELS");
    bool asked = wanted && *wanted && strcmp(wanted, "0") != 0;
    if (asked || gpu->messenger || tool_shows_labels(gpu)) names_on(gpu);
}

void name_object(const Gpu *gpu, VkObjectType type, uint64_t handle, const char *format, ...)
{
    char name[256];
    va_list args;
    if (!gpu->names) return;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    const VkDebugUtilsObjectNameInfoEXT info = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT,
        .objectType = type,
        .objectHandle = handle,
        .pObjectName = name,
    };
    vkSetDebugUtilsObjectNameEXT(gpu->device, &info);
}

void label_begin(const Gpu *gpu, VkCommandBuffer buffer, const char *tape, const char *command)
{
    char name[256];
    if (!gpu->labels) return;
    snprintf(name, sizeof name, "%s / %s", tape, command);
    const VkDebugUtilsLabelEXT info = {.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_LABEL_EXT,
                                       .pLabelName = name};
    vkCmdBeginDebugUtilsLabelEXT(buffer, &info);
}

void label_end(const Gpu *gpu, VkCommandBuffer buffer)
{
    if (gpu->labels) vkCmdEndDebugUtilsLabelEXT(buffer);
}

void label_submission(const Gpu *gpu, bool begin)
{
    if (!gpu->labels || !gpu->phase[0]) return;
    const VkDebugUtilsLabelEXT info = {.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_LABEL_EXT,
                                       .pLabelName = gpu->phase};
    if (begin)
        vkQueueBeginDebugUtilsLabelEXT(gpu->queue, &info);
    else
        vkQueueEndDebugUtilsLabelEXT(gpu->queue);
}
