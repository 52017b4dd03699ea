// Which devices there are, what they can do, and which one is chosen.
#define _POSIX_C_SOURCE 200809L
#include "gpu/internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *kind_name(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return "discrete";
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return "integrated";
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return "virtual";
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return "cpu";
    default:
        return "other";
    }
}

// The order of preference: higher is better.
static int kind_rank(const char *kind)
{
    static const char *const order[] = {"cpu", "other", "virtual", "integrated", "discrete"};
    for (int i = 0; i < 5; i++)
        if (!strcmp(kind, order[i])) return i;
    return -1;
}

uint32_t device_queue_family(VkPhysicalDevice physical)
{
    VkQueueFamilyProperties families[32];
    uint32_t count = 32;
    vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, families);
    for (uint32_t i = 0; i < count; i++)
        if (families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) return i;
    return UINT32_MAX;
}

bool device_has_extension(VkPhysicalDevice physical, const char *name)
{
    uint32_t count = 0;
    vkEnumerateDeviceExtensionProperties(physical, NULL, &count, NULL);
    VkExtensionProperties *extensions = calloc(count + 1, sizeof *extensions);
    bool found = false;
    if (extensions && vkEnumerateDeviceExtensionProperties(physical, NULL, &count, extensions) >= 0)
        for (uint32_t i = 0; i < count && !found; i++)
            found = !strcmp(extensions[i].extensionName, name);
    free(extensions);
    return found;
}

// A CPU driver's memory is the host's, whatever its heap says: lavapipe 22.3 states 2 GiB on every
// machine and gives all there is.
static void read_host_memory(GpuInfo *info)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages < 0 || page < 0) return;
    uint64_t size = (uint64_t)pages * (uint64_t)page;
    if (size > info->local_bytes) info->local_bytes = size;
    if (size > info->host_bytes) info->host_bytes = size;
}

static void read_memory(GpuInfo *info, VkPhysicalDevice physical)
{
    VkPhysicalDeviceMemoryProperties memory;
    vkGetPhysicalDeviceMemoryProperties(physical, &memory);
    for (uint32_t i = 0; i < memory.memoryTypeCount; i++) {
        uint64_t size = memory.memoryHeaps[memory.memoryTypes[i].heapIndex].size;
        VkMemoryPropertyFlags flags = memory.memoryTypes[i].propertyFlags;
        if (flags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT && size > info->local_bytes)
            info->local_bytes = size;
        if (flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT && size > info->host_bytes)
            info->host_bytes = size;
    }
    if (!strcmp(info->kind, "cpu")) read_host_memory(info);
}

static void read_features(GpuInfo *info, VkPhysicalDevice physical)
{
    VkPhysicalDeviceVulkan11Features v11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES};
    VkPhysicalDeviceVulkan12Features v12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, .pNext = &v11};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                          .pNext = &v12};
    vkGetPhysicalDeviceFeatures2(physical, &features);
    info->float16 = v12.shaderFloat16;
    info->storage16 = v11.storageBuffer16BitAccess;
    info->storage8 = v12.storageBuffer8BitAccess;
    info->int64 = features.features.shaderInt64;
    info->cooperative_matrix = device_has_extension(physical, MATRIX_EXTENSION);
    info->integer_dot =
        device_has_extension(physical, VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME);
}

// llvmpipe (lavapipe) ends the loops of an invocation after so many iterations in all, and says
// nothing: LP_MAX_TGSI_LOOP_ITERATIONS of Mesa's sources.
static uint32_t loop_steps(VkDriverId driver)
{
    return driver == VK_DRIVER_ID_MESA_LLVMPIPE ? 65535 : 0;
}

static void read_limits(GpuInfo *info, VkPhysicalDevice physical)
{
    VkPhysicalDeviceVulkan11Properties v11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES};
    VkPhysicalDeviceVulkan12Properties v12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES, .pNext = &v11};
    VkPhysicalDeviceProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                       .pNext = &v12};
    vkGetPhysicalDeviceProperties2(physical, &all);
    const VkPhysicalDeviceLimits *limits = &all.properties.limits;
    snprintf(info->driver, sizeof info->driver, "%s %s", v12.driverName, v12.driverInfo);
    info->subgroup_size = v11.subgroupSize;
    VkSubgroupFeatureFlags subgroup = v11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT
                                          ? v11.subgroupSupportedOperations
                                          : 0;
    info->subgroup_arithmetic = subgroup & VK_SUBGROUP_FEATURE_ARITHMETIC_BIT;
    info->subgroup_shuffle = subgroup & VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
    info->shared_bytes = limits->maxComputeSharedMemorySize;
    info->group_lanes = limits->maxComputeWorkGroupInvocations;
    info->binding_bytes = limits->maxStorageBufferRange;
    info->texel_bytes = 16ull * limits->maxTexelBufferElements;
    info->allocation_bytes = v11.maxMemoryAllocationSize;
    info->loop_steps = loop_steps(v12.driverID);
    info->bindings = limits->maxPerStageDescriptorStorageBuffers;
    info->timestamps = limits->timestampComputeAndGraphics;
}

// Why strata cannot use the device, if so.
static void find_problem(GpuInfo *info, VkPhysicalDevice physical, uint32_t api)
{
    if (api < VK_API_VERSION_1_2)
        snprintf(info->problem, sizeof info->problem, "has Vulkan %s, 1.2 is needed", info->vulkan);
    else if (device_queue_family(physical) == UINT32_MAX)
        snprintf(info->problem, sizeof info->problem, "has no compute queue");
    else if (info->bindings < GPU_BINDINGS)
        snprintf(info->problem, sizeof info->problem, "has %u storage buffers a shader, %u needed",
                 info->bindings, (unsigned)GPU_BINDINGS);
}

static void read_device(GpuInfo *info, VkPhysicalDevice physical)
{
    *info = (GpuInfo){0};
    VkPhysicalDeviceProperties properties;
    vkGetPhysicalDeviceProperties(physical, &properties);
    uint32_t api = properties.apiVersion;
    snprintf(info->name, sizeof info->name, "%s", properties.deviceName);
    snprintf(info->kind, sizeof info->kind, "%s", kind_name(properties.deviceType));
    snprintf(info->vulkan, sizeof info->vulkan, "%u.%u.%u", VK_API_VERSION_MAJOR(api) & 0x7fu,
             VK_API_VERSION_MINOR(api) & 0x3ffu, VK_API_VERSION_PATCH(api) & 0xfffu);
    read_memory(info, physical);
    if (api >= VK_API_VERSION_1_2) {
        read_features(info, physical);
        read_limits(info, physical);
    }
    find_problem(info, physical, api);
}

static bool contains(const char *text, const char *part)
{
    size_t length = strlen(part);
    for (; *text; text++) {
        size_t i = 0;
        while (i < length && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
            i++;
        if (i == length) return true;
    }
    return length == 0;
}

// By number or by a part of the name.
static bool choose_named(DeviceList *list, const char *device, Error *err)
{
    char *end;
    unsigned long number = strtoul(device, &end, 10);
    bool numeric = isdigit((unsigned char)device[0]) && !*end;
    list->chosen = UINT32_MAX;
    for (uint32_t i = 0; i < list->count && list->chosen == UINT32_MAX; i++)
        if (numeric ? i == number : contains(list->infos[i].name, device)) list->chosen = i;
    if (list->chosen == UINT32_MAX)
        return error_set(err, "device '%.80s': no such device; `strata devices` lists the %u there",
                         device, list->count);
    const GpuInfo *info = &list->infos[list->chosen];
    if (info->problem[0]) return error_set(err, "device %s: %s", info->name, info->problem);
    return true;
}

static bool choose_best(DeviceList *list, Error *err)
{
    list->chosen = UINT32_MAX;
    int best = -2;
    for (uint32_t i = 0; i < list->count; i++) {
        int rank = kind_rank(list->infos[i].kind);
        if (list->infos[i].problem[0] || rank <= best) continue;
        best = rank;
        list->chosen = i;
    }
    if (list->chosen != UINT32_MAX) return true;
    return error_set(err, "device %s: %s; no other device is there", list->infos[0].name,
                     list->infos[0].problem);
}

bool device_list(DeviceList *list, VkInstance instance, const char *device, Error *err)
{
    list->count = GPU_MAX_DEVICES;
    VkResult result = vkEnumeratePhysicalDevices(instance, &list->count, list->handles);
    if (result < 0 || list->count == 0)
        return error_set(err, "no Vulkan device: a loader is there, but no driver offers a device");
    for (uint32_t i = 0; i < list->count; i++) read_device(&list->infos[i], list->handles[i]);
    if (!device || !*device) device = getenv("STRATA_DEVICE");
    if (!(device && *device ? choose_named(list, device, err) : choose_best(list, err)))
        return false;
    list->infos[list->chosen].chosen = true;
    return true;
}

bool gpu_list(GpuInfo *infos, size_t max, size_t *count, const char *device, Error *err)
{
    VkInstance instance;
    VkDebugUtilsMessengerEXT messenger;
    DeviceList list;
    *count = 0;
    bool ok =
        instance_open(&instance, &messenger, err) && device_list(&list, instance, device, err);
    for (size_t i = 0; ok && i < list.count && i < max; i++) infos[(*count)++] = list.infos[i];
    instance_close(instance, messenger);
    return ok;
}
