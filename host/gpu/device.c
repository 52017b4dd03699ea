// Opening and closing a device.
#include "gpu/counters.h"
#include "gpu/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool gpu_fail(Gpu *gpu, VkResult result, const char *what, Error *err)
{
    const char *reason = "unexpected error";
    if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY) reason = "out of device memory";
    if (result == VK_ERROR_OUT_OF_HOST_MEMORY) reason = "out of host memory";
    if (result == VK_ERROR_DEVICE_LOST) {
        reason = "the device was lost (a driver reset, a watchdog or a removed card)";
        gpu->lost = true;
    }
    return error_set(err, "device %s: %s: %s (Vulkan error %d)", gpu->info.name, what, reason,
                     result);
}

static bool create_device(Gpu *gpu, bool counters, Error *err)
{
    gpu->family = device_queue_family(gpu->physical);
    const float priority = 1.0f;
    optional_choose(&gpu->optional, gpu->physical, counters);
    const VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
        .queueFamilyIndex = gpu->family,
        .queueCount = 1,
        .pQueuePriorities = &priority,
    };
    const VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = &gpu->optional.features,
        .queueCreateInfoCount = 1,
        .pQueueCreateInfos = &queue,
        .enabledExtensionCount = gpu->optional.name_count,
        .ppEnabledExtensionNames = gpu->optional.names,
    };
    VkResult result = vkCreateDevice(gpu->physical, &info, NULL, &gpu->device);
    if (result != VK_SUCCESS) return gpu_fail(gpu, result, "cannot be opened", err);
    volkLoadDevice(gpu->device);
    vkGetDeviceQueue(gpu->device, gpu->family, 0, &gpu->queue);
    return true;
}

// Every tensor has two bindings: a storage buffer, and behind all of those its texel view.
static bool create_layouts(Gpu *gpu, Error *err)
{
    VkDescriptorSetLayoutBinding bindings[2 * GPU_BINDINGS];
    for (uint32_t i = 0; i < 2 * GPU_BINDINGS; i++)
        bindings[i] = (VkDescriptorSetLayoutBinding){
            .binding = i,
            .descriptorType = i < GPU_BINDINGS ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
                                               : VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER,
            .descriptorCount = 1,
            .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT,
        };
    const VkDescriptorSetLayoutCreateInfo set_info = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
        .bindingCount = 2 * GPU_BINDINGS,
        .pBindings = bindings,
    };
    VkResult result = vkCreateDescriptorSetLayout(gpu->device, &set_info, NULL, &gpu->set_layout);
    if (result != VK_SUCCESS) return gpu_fail(gpu, result, "descriptor layout", err);
    const VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, GPU_ARGS_BYTES};
    const VkPipelineLayoutCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
        .setLayoutCount = 1,
        .pSetLayouts = &gpu->set_layout,
        .pushConstantRangeCount = 1,
        .pPushConstantRanges = &range,
    };
    result = vkCreatePipelineLayout(gpu->device, &info, NULL, &gpu->layout);
    return result == VK_SUCCESS || gpu_fail(gpu, result, "pipeline layout", err);
}

static bool create_commands(Gpu *gpu, Error *err)
{
    const VkCommandPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
        .queueFamilyIndex = gpu->family,
    };
    VkResult result = vkCreateCommandPool(gpu->device, &pool, NULL, &gpu->commands);
    if (result != VK_SUCCESS) return gpu_fail(gpu, result, "command pool", err);
    const VkCommandBufferAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = gpu->commands,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1,
    };
    result = vkAllocateCommandBuffers(gpu->device, &info, &gpu->copy);
    return result == VK_SUCCESS || gpu_fail(gpu, result, "command buffer", err);
}

static bool choose_device(Gpu *gpu, const char *device, Error *err)
{
    DeviceList list;
    if (!device_list(&list, gpu->instance, device, err)) return false;
    gpu->physical = list.handles[list.chosen];
    gpu->info = list.infos[list.chosen];
    VkPhysicalDeviceProperties properties;
    vkGetPhysicalDeviceProperties(gpu->physical, &properties);
    memcpy(gpu->group_count, properties.limits.maxComputeWorkGroupCount, sizeof gpu->group_count);
    vkGetPhysicalDeviceMemoryProperties(gpu->physical, &gpu->memory_types);
    return true;
}

static Gpu *open_device(const char *device, bool counters, Error *err)
{
    Gpu *gpu = calloc(1, sizeof *gpu);
    if (!gpu) {
        error_set(err, "out of memory");
        return NULL;
    }
    gpu->part_bytes = PART_BYTES;
    gpu->phase = "";
    bool ok = instance_open(&gpu->instance, &gpu->messenger, err) &&
              choose_device(gpu, device, err) && create_device(gpu, counters, err);
    if (ok) names_open(gpu);
    ok = ok && create_layouts(gpu, err) && create_commands(gpu, err) && submit_open(gpu, err) &&
         memory_open(gpu, err) && pipeline_cache_open(gpu, err) && kernels_open(gpu, err);
    if (ok) return gpu;
    gpu_close(gpu);
    return NULL;
}

Gpu *gpu_open(const char *device, Error *err)
{
    return open_device(device, false, err);
}

Gpu *gpu_open_counting(const char *device, Error *err)
{
    return open_device(device, true, err);
}

void gpu_close(Gpu *gpu)
{
    if (!gpu) return;
    if (gpu->device) {
        if (!gpu->lost) vkDeviceWaitIdle(gpu->device);
        while (gpu->tapes) tape_free(gpu->tapes);
        if (gpu->pipeline_cache) pipeline_cache_close(gpu);
        kernels_close(gpu);
        submit_close(gpu);
        profile_close(gpu);
        vkDestroyCommandPool(gpu->device, gpu->commands, NULL);
        vkDestroyPipelineLayout(gpu->device, gpu->layout, NULL);
        vkDestroyDescriptorSetLayout(gpu->device, gpu->set_layout, NULL);
        memory_close(gpu);
        vkDestroyDevice(gpu->device, NULL);
    }
    instance_close(gpu->instance, gpu->messenger);
    free(gpu->parts);
    free(gpu);
}

void gpu_set_phase(Gpu *gpu, const char *phase)
{
    gpu->phase = phase;
}

bool gpu_failed(const Gpu *gpu)
{
    return gpu->failed;
}

bool gpu_lost(const Gpu *gpu)
{
    return gpu->lost;
}

const GpuInfo *gpu_info(const Gpu *gpu)
{
    return &gpu->info;
}

void gpu_identity(const Gpu *gpu, char *out, size_t size)
{
    VkPhysicalDeviceProperties properties;
    vkGetPhysicalDeviceProperties(gpu->physical, &properties);
    char uuid[2 * VK_UUID_SIZE + 1];
    for (size_t i = 0; i < VK_UUID_SIZE; i++)
        snprintf(uuid + 2 * i, 3, "%02x", properties.pipelineCacheUUID[i]);
    snprintf(out, size, "%04x-%04x-%s", properties.vendorID, properties.deviceID, uuid);
}
