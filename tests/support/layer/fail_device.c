// A Vulkan layer for tests: the driver below it fails when told to. Not part of strata.
//   STRATA_TEST_FAIL="submit N RESULT", "wait N RESULT", "probe N RESULT" or "compile N RESULT":
//   the N-th vkQueueSubmit with work, vkWaitForFences, vkQueueSubmit without work, or
//   vkCreateComputePipelines returns that VkResult. With
//   STRATA_TEST_FAIL_AFTER=PATH it counts from when that file is there. After VK_ERROR_DEVICE_LOST
//   (-4) no call reaches the queue any more, and whoever waits for the device to become idle is
//   ended: a driver might let him wait in vain.
#include <vulkan/vk_layer.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Of the one instance and device that are open.
static struct {
    VkInstance instance;
    VkQueue queue; // that was last submitted to
    PFN_vkGetInstanceProcAddr instance_proc;
    PFN_vkGetDeviceProcAddr device_proc;
    PFN_vkQueueSubmit submit;
    PFN_vkWaitForFences wait;
    PFN_vkQueueWaitIdle queue_idle;
    PFN_vkDeviceWaitIdle device_idle;
    PFN_vkCreateComputePipelines compile;
} next;

static struct {
    char call[8]; // "submit", "wait", "probe" or "compile"
    unsigned at;  // 0: done
    int result;
    const char *after; // or NULL
    int lost;
} plan;

// What this call is to return. A lost device does nothing any more: what runs on the one below
// ends.
static VkResult planned(const char *call)
{
    if (plan.lost) return VK_ERROR_DEVICE_LOST;
    if (!plan.at || strcmp(plan.call, call)) return VK_SUCCESS;
    if (plan.after && access(plan.after, F_OK)) return VK_SUCCESS;
    if (--plan.at) return VK_SUCCESS;
    plan.lost = plan.result == VK_ERROR_DEVICE_LOST;
    if (plan.lost) next.queue_idle(next.queue);
    return (VkResult)plan.result;
}

static VKAPI_ATTR VkResult VKAPI_CALL queue_submit(VkQueue queue, uint32_t count,
                                                   const VkSubmitInfo *infos, VkFence fence)
{
    next.queue = queue;
    VkResult result = planned(count ? "submit" : "probe");
    return result == VK_SUCCESS ? next.submit(queue, count, infos, fence) : result;
}

static VKAPI_ATTR VkResult VKAPI_CALL wait_for_fences(VkDevice device, uint32_t count,
                                                      const VkFence *fences, VkBool32 all,
                                                      uint64_t timeout)
{
    VkResult result = planned("wait");
    return result == VK_SUCCESS ? next.wait(device, count, fences, all, timeout) : result;
}

static VKAPI_ATTR VkResult VKAPI_CALL compile(VkDevice device, VkPipelineCache cache,
                                              uint32_t count,
                                              const VkComputePipelineCreateInfo *infos,
                                              const VkAllocationCallbacks *allocator,
                                              VkPipeline *pipelines)
{
    VkResult result = planned("compile");
    if (result == VK_SUCCESS)
        return next.compile(device, cache, count, infos, allocator, pipelines);
    for (uint32_t i = 0; i < count; i++) pipelines[i] = VK_NULL_HANDLE;
    return result;
}

static void refuse_to_wait(void)
{
    if (!plan.lost) return;
    fprintf(stderr, "a lost device is waited for\n");
    abort();
}

static VKAPI_ATTR VkResult VKAPI_CALL queue_wait_idle(VkQueue queue)
{
    refuse_to_wait();
    return next.queue_idle(queue);
}

static VKAPI_ATTR VkResult VKAPI_CALL device_wait_idle(VkDevice device)
{
    refuse_to_wait();
    return next.device_idle(device);
}

// ---- how a layer comes between -----------------------------------------------------------------

static VKAPI_ATTR VkResult VKAPI_CALL create_instance(const VkInstanceCreateInfo *info,
                                                      const VkAllocationCallbacks *allocator,
                                                      VkInstance *instance)
{
    VkLayerInstanceCreateInfo *chain = (VkLayerInstanceCreateInfo *)info->pNext;
    while (chain->sType != VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO ||
           chain->function != VK_LAYER_LINK_INFO)
        chain = (VkLayerInstanceCreateInfo *)chain->pNext;
    next.instance_proc = chain->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    chain->u.pLayerInfo = chain->u.pLayerInfo->pNext;
    PFN_vkCreateInstance create =
        (PFN_vkCreateInstance)next.instance_proc(NULL, "vkCreateInstance");
    VkResult result = create(info, allocator, instance);
    next.instance = *instance;
    return result;
}

#define NEXT(name) (PFN_##name) next.device_proc(*device, #name)

static VKAPI_ATTR VkResult VKAPI_CALL create_device(VkPhysicalDevice physical,
                                                    const VkDeviceCreateInfo *info,
                                                    const VkAllocationCallbacks *allocator,
                                                    VkDevice *device)
{
    VkLayerDeviceCreateInfo *chain = (VkLayerDeviceCreateInfo *)info->pNext;
    while (chain->sType != VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO ||
           chain->function != VK_LAYER_LINK_INFO)
        chain = (VkLayerDeviceCreateInfo *)chain->pNext;
    next.device_proc = chain->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    chain->u.pLayerInfo = chain->u.pLayerInfo->pNext;
    PFN_vkCreateDevice create =
        (PFN_vkCreateDevice)next.instance_proc(next.instance, "vkCreateDevice");
    VkResult result = create(physical, info, allocator, device);
    if (result != VK_SUCCESS) return result;
    next.submit = NEXT(vkQueueSubmit);
    next.wait = NEXT(vkWaitForFences);
    next.queue_idle = NEXT(vkQueueWaitIdle);
    next.device_idle = NEXT(vkDeviceWaitIdle);
    next.compile = NEXT(vkCreateComputePipelines);
    const char *text = getenv("STRATA_TEST_FAIL");
    memset(&plan, 0, sizeof plan);
    plan.after = getenv("STRATA_TEST_FAIL_AFTER");
    if (text && sscanf(text, "%7s %u %d", plan.call, &plan.at, &plan.result) != 3) abort();
    return result;
}

PFN_vkVoidFunction fail_device_proc(VkDevice device, const char *name);
PFN_vkVoidFunction fail_instance_proc(VkInstance instance, const char *name);

static const struct {
    const char *name;
    PFN_vkVoidFunction function;
} own[] = {
    {"vkGetInstanceProcAddr", (PFN_vkVoidFunction)fail_instance_proc},
    {"vkCreateInstance", (PFN_vkVoidFunction)create_instance},
    {"vkCreateDevice", (PFN_vkVoidFunction)create_device},
    {"vkGetDeviceProcAddr", (PFN_vkVoidFunction)fail_device_proc},
    {"vkQueueSubmit", (PFN_vkVoidFunction)queue_submit},
    {"vkWaitForFences", (PFN_vkVoidFunction)wait_for_fences},
    {"vkQueueWaitIdle", (PFN_vkVoidFunction)queue_wait_idle},
    {"vkDeviceWaitIdle", (PFN_vkVoidFunction)device_wait_idle},
    {"vkCreateComputePipelines", (PFN_vkVoidFunction)compile},
};
enum { OF_DEVICES = 3 }; // from here on they belong to devices

PFN_vkVoidFunction fail_device_proc(VkDevice device, const char *name)
{
    for (size_t i = OF_DEVICES; i < sizeof own / sizeof *own; i++)
        if (!strcmp(own[i].name, name)) return own[i].function;
    return next.device_proc(device, name);
}

PFN_vkVoidFunction fail_instance_proc(VkInstance instance, const char *name)
{
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!strcmp(own[i].name, name)) return own[i].function;
    return next.instance_proc(instance, name);
}
