// Hardware counters: see counters.h. The only user of VK_KHR_performance_query. Source: the Vulkan
// specification, sections "Performance Queries" and "Profiling Lock".
#include "gpu/counters.h"
#include "gpu/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { LOCK_SECONDS = 2 };

// ---- which there are ---------------------------------------------------------------------------

typedef struct {
    VkPerformanceCounterKHR *counters; // (count)
    VkPerformanceCounterDescriptionKHR *descriptions;
    uint32_t count;
} Offer;

static void offer_free(Offer *offer)
{
    free(offer->counters);
    free(offer->descriptions);
    *offer = (Offer){0};
}

static bool offer_read(Offer *offer, const Gpu *gpu, Error *err)
{
    *offer = (Offer){0};
    if (!gpu->optional.counters) return true;
    VkResult result = vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR(
        gpu->physical, gpu->family, &offer->count, NULL, NULL);
    offer->counters = calloc(offer->count + 1, sizeof *offer->counters);
    offer->descriptions = calloc(offer->count + 1, sizeof *offer->descriptions);
    if (!offer->counters || !offer->descriptions) result = VK_ERROR_OUT_OF_HOST_MEMORY;
    for (uint32_t i = 0; result == VK_SUCCESS && i < offer->count; i++) {
        offer->counters[i].sType = VK_STRUCTURE_TYPE_PERFORMANCE_COUNTER_KHR;
        offer->descriptions[i].sType = VK_STRUCTURE_TYPE_PERFORMANCE_COUNTER_DESCRIPTION_KHR;
    }
    if (result == VK_SUCCESS && offer->count)
        result = vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR(
            gpu->physical, gpu->family, &offer->count, offer->counters, offer->descriptions);
    if (result == VK_SUCCESS) return true;
    offer_free(offer);
    return error_set(err, "device %s: cannot list counters (Vulkan error %d)", gpu->info.name,
                     result);
}

static const char *unit_name(VkPerformanceCounterUnitKHR unit)
{
    static const char *const names[] = {"",  "%", "ns", "bytes", "bytes/s", "K",
                                        "W", "V", "A",  "Hz",    "cycles"};
    return (uint32_t)unit < sizeof names / sizeof *names ? names[unit] : "";
}

static const char *scope_name(VkPerformanceCounterScopeKHR scope)
{
    static const char *const names[] = {"command buffer", "render pass", "command"};
    return (uint32_t)scope < 3 ? names[scope] : "";
}

bool counters_list(Counter **list, uint32_t *count, const Gpu *gpu, Error *err)
{
    Offer offer;
    *count = 0;
    *list = NULL;
    if (!offer_read(&offer, gpu, err)) return false;
    *list = calloc(offer.count + 1, sizeof **list);
    for (uint32_t i = 0; *list && i < offer.count; i++) {
        Counter *to = &(*list)[i];
        memcpy(to->name, offer.descriptions[i].name, sizeof to->name);
        memcpy(to->category, offer.descriptions[i].category, sizeof to->category);
        memcpy(to->description, offer.descriptions[i].description, sizeof to->description);
        to->unit = unit_name(offer.counters[i].unit);
        to->scope = scope_name(offer.counters[i].scope);
    }
    *count = *list ? offer.count : 0;
    offer_free(&offer);
    return *list || error_set(err, "out of memory");
}

// ---- some of them ------------------------------------------------------------------------------

struct Counting {
    Gpu *gpu;
    uint32_t count, passes;
    uint32_t *indices;                      // (count) of the driver's list
    VkPerformanceCounterStorageKHR *stored; // (count)
    VkPerformanceCounterResultKHR *results; // (count)
    VkQueryPool pool;
    VkFence fence;
    VkCommandBuffer reset, work;
    Descriptors descriptors;
    // Of this device: volk's are those of the one opened last, which may have no counters.
    PFN_vkAcquireProfilingLockKHR acquire;
    PFN_vkReleaseProfilingLockKHR release;
};

static bool find_counters(Counting *counting, const char *const *names, const Offer *offer,
                          Error *err)
{
    for (uint32_t n = 0; n < counting->count; n++) {
        uint32_t i = 0;
        while (i < offer->count && strcmp(offer->descriptions[i].name, names[n])) i++;
        if (i == offer->count)
            return error_set(err, "device %s: no counter '%.80s' among its %u",
                             counting->gpu->info.name, names[n], offer->count);
        counting->indices[n] = i;
        counting->stored[n] = offer->counters[i].storage;
        for (uint32_t m = 0; m < n; m++)
            if (counting->indices[m] == i)
                return error_set(err, "counter '%.80s' is named twice", names[n]);
    }
    return true;
}

// The query pool and what else a run needs, once indices are known.
static VkResult make_pool(Counting *counting)
{
    Gpu *gpu = counting->gpu;
    const VkQueryPoolPerformanceCreateInfoKHR performance = {
        .sType = VK_STRUCTURE_TYPE_QUERY_POOL_PERFORMANCE_CREATE_INFO_KHR,
        .queueFamilyIndex = gpu->family,
        .counterIndexCount = counting->count,
        .pCounterIndices = counting->indices,
    };
    const VkQueryPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
        .pNext = &performance,
        .queryType = VK_QUERY_TYPE_PERFORMANCE_QUERY_KHR,
        .queryCount = 1,
    };
    vkGetPhysicalDeviceQueueFamilyPerformanceQueryPassesKHR(gpu->physical, &performance,
                                                            &counting->passes);
    return vkCreateQueryPool(gpu->device, &pool, NULL, &counting->pool);
}

static VkResult make_commands(Counting *counting)
{
    Gpu *gpu = counting->gpu;
    const VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    const VkCommandBufferAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = gpu->commands,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1,
    };
    VkResult result = vkCreateFence(gpu->device, &fence, NULL, &counting->fence);
    if (result == VK_SUCCESS)
        result = vkAllocateCommandBuffers(gpu->device, &info, &counting->reset);
    if (result == VK_SUCCESS)
        result = vkAllocateCommandBuffers(gpu->device, &info, &counting->work);
    return result;
}

static bool prepare(Counting *counting, const char *const *names, const Offer *offer, Error *err)
{
    uint32_t count = counting->count;
    counting->indices = calloc(count, sizeof *counting->indices);
    counting->stored = calloc(count, sizeof *counting->stored);
    counting->results = calloc(count, sizeof *counting->results);
    if (!counting->indices || !counting->stored || !counting->results)
        return error_set(err, "out of memory");
    if (!find_counters(counting, names, offer, err)) return false;
    VkDevice device = counting->gpu->device;
    counting->acquire =
        (PFN_vkAcquireProfilingLockKHR)vkGetDeviceProcAddr(device, "vkAcquireProfilingLockKHR");
    counting->release =
        (PFN_vkReleaseProfilingLockKHR)vkGetDeviceProcAddr(device, "vkReleaseProfilingLockKHR");
    VkResult result = make_pool(counting);
    if (result == VK_SUCCESS) result = make_commands(counting);
    return result == VK_SUCCESS || gpu_fail(counting->gpu, result, "counters", err);
}

Counting *counting_open(Gpu *gpu, const char *const *names, uint32_t count, Error *err)
{
    Offer offer;
    assert(count);
    if (!gpu->optional.counters) {
        error_set(err, "device %s: has no counters (VK_KHR_performance_query)", gpu->info.name);
        return NULL;
    }
    if (!offer_read(&offer, gpu, err)) return NULL;
    Counting *counting = calloc(1, sizeof *counting);
    bool ok = counting || error_set(err, "out of memory");
    if (ok) {
        *counting = (Counting){.gpu = gpu, .count = count};
        ok = prepare(counting, names, &offer, err);
    }
    offer_free(&offer);
    if (ok) return counting;
    counting_close(counting);
    return NULL;
}

void counting_close(Counting *counting)
{
    if (!counting) return;
    Gpu *gpu = counting->gpu;
    descriptors_free(gpu, &counting->descriptors);
    if (counting->reset) vkFreeCommandBuffers(gpu->device, gpu->commands, 1, &counting->reset);
    if (counting->work) vkFreeCommandBuffers(gpu->device, gpu->commands, 1, &counting->work);
    vkDestroyFence(gpu->device, counting->fence, NULL);
    vkDestroyQueryPool(gpu->device, counting->pool, NULL);
    free(counting->indices);
    free(counting->stored);
    free(counting->results);
    free(counting);
}

uint32_t counting_passes(const Counting *counting)
{
    return counting->passes;
}

// ---- a run -------------------------------------------------------------------------------------

static void barrier(VkCommandBuffer buffer)
{
    const VkMemoryBarrier all = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT,
    };
    vkCmdPipelineBarrier(buffer, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                         VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 1, &all, 0, NULL, 0, NULL);
}

// The groups along an axis that the grid has now.
static uint32_t groups(const Grid *grid, uint32_t axis)
{
    const Rows *rows = &grid->rows;
    if (!rows->counts || grid->axis != axis) return axis ? grid->y : grid->x;
    uint32_t all = counts_get(rows->counts, rows->slot);
    uint32_t count = all > rows->first ? all - rows->first : 0;
    if (count > rows->max) count = rows->max;
    return (count + grid->tile - 1) / grid->tile;
}

static bool record_dispatch(Counting *counting, const Dispatch *dispatch, Error *err)
{
    Gpu *gpu = counting->gpu;
    VkDescriptorSet set;
    VkPipeline pipeline = kernel_pipeline(gpu, dispatch->kernel, dispatch->constants, err);
    if (!pipeline) return false;
    VkResult result = descriptors_write(gpu, &counting->descriptors, dispatch, &set);
    if (result != VK_SUCCESS) return gpu_fail(gpu, result, "counters", err);
    barrier(counting->work);
    vkCmdBindPipeline(counting->work, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vkCmdBindDescriptorSets(counting->work, VK_PIPELINE_BIND_POINT_COMPUTE, gpu->layout, 0, 1, &set,
                            0, NULL);
    if (dispatch->args_bytes)
        vkCmdPushConstants(counting->work, gpu->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                           dispatch->args_bytes, dispatch->args);
    vkCmdDispatch(counting->work, groups(&dispatch->grid, 0), groups(&dispatch->grid, 1), 1);
    return true;
}

// A query is reset in a command buffer of its own. What is counted around a command buffer begins
// and ends with the query. The buffer goes to the queue once a pass, so it may be used again.
static bool record(Counting *counting, const Dispatch *dispatches, uint32_t count, Error *err)
{
    const VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    VkResult result = vkBeginCommandBuffer(counting->reset, &begin);
    if (result == VK_SUCCESS) {
        vkCmdResetQueryPool(counting->reset, counting->pool, 0, 1);
        result = vkEndCommandBuffer(counting->reset);
    }
    if (result == VK_SUCCESS) result = vkBeginCommandBuffer(counting->work, &begin);
    if (result != VK_SUCCESS) return gpu_fail(counting->gpu, result, "counters", err);
    vkCmdBeginQuery(counting->work, counting->pool, 0, 0);
    bool ok = true;
    for (uint32_t i = 0; ok && i < count; i++) ok = record_dispatch(counting, &dispatches[i], err);
    barrier(counting->work);
    vkCmdEndQuery(counting->work, counting->pool, 0);
    result = vkEndCommandBuffer(counting->work);
    return ok && (result == VK_SUCCESS || gpu_fail(counting->gpu, result, "counters", err));
}

static VkResult submit(Counting *counting, VkCommandBuffer buffer, const void *extra)
{
    const VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .pNext = extra,
        .commandBufferCount = 1,
        .pCommandBuffers = &buffer,
    };
    Gpu *gpu = counting->gpu;
    VkResult result = vkQueueSubmit(gpu->queue, 1, &info, counting->fence);
    if (result == VK_SUCCESS)
        result = vkWaitForFences(gpu->device, 1, &counting->fence, VK_TRUE, UINT64_MAX);
    if (result == VK_SUCCESS) result = vkResetFences(gpu->device, 1, &counting->fence);
    return result;
}

// Results do not wait for what the fence did not show: a driver could wait for ever.
static VkResult run_passes(Counting *counting)
{
    VkResult result = submit(counting, counting->reset, NULL);
    for (uint32_t pass = 0; result == VK_SUCCESS && pass < counting->passes; pass++) {
        const VkPerformanceQuerySubmitInfoKHR which = {
            .sType = VK_STRUCTURE_TYPE_PERFORMANCE_QUERY_SUBMIT_INFO_KHR,
            .counterPassIndex = pass,
        };
        result = submit(counting, counting->work, &which);
    }
    size_t size = counting->count * sizeof *counting->results;
    if (result == VK_SUCCESS)
        result = vkGetQueryPoolResults(counting->gpu->device, counting->pool, 0, 1, size,
                                       counting->results, size, 0);
    return result;
}

static double value_of(VkPerformanceCounterResultKHR result, VkPerformanceCounterStorageKHR stored)
{
    switch (stored) {
    case VK_PERFORMANCE_COUNTER_STORAGE_INT32_KHR:
        return result.int32;
    case VK_PERFORMANCE_COUNTER_STORAGE_INT64_KHR:
        return (double)result.int64;
    case VK_PERFORMANCE_COUNTER_STORAGE_UINT32_KHR:
        return result.uint32;
    case VK_PERFORMANCE_COUNTER_STORAGE_UINT64_KHR:
        return (double)result.uint64;
    case VK_PERFORMANCE_COUNTER_STORAGE_FLOAT32_KHR:
        return (double)result.float32;
    default:
        return result.float64;
    }
}

static bool run_locked(Counting *counting, const Dispatch *dispatches, uint32_t count, Error *err)
{
    Gpu *gpu = counting->gpu;
    if (!record(counting, dispatches, count, err)) return false;
    VkResult result = run_passes(counting);
    if (result == VK_NOT_READY)
        return error_set(err, "device %s: ran the kernel, but gave no counters for it",
                         gpu->info.name);
    gpu->failed |= result != VK_SUCCESS;
    return result == VK_SUCCESS || gpu_fail(gpu, result, "counters", err);
}

bool counting_run(Counting *counting, const Dispatch *dispatches, uint32_t count, double *values,
                  Error *err)
{
    Gpu *gpu = counting->gpu;
    assert(!gpu->recording);
    const VkAcquireProfilingLockInfoKHR lock = {
        .sType = VK_STRUCTURE_TYPE_ACQUIRE_PROFILING_LOCK_INFO_KHR,
        .timeout = LOCK_SECONDS * UINT64_C(1000000000),
    };
    VkResult result = counting->acquire(gpu->device, &lock); // before recording begins
    if (result == VK_TIMEOUT)
        return error_set(err, "device %s: counters are in use by another program, or not allowed",
                         gpu->info.name);
    if (result != VK_SUCCESS) return gpu_fail(gpu, result, "profiling lock", err);
    bool ok = run_locked(counting, dispatches, count, err);
    counting->release(gpu->device);
    descriptors_free(gpu, &counting->descriptors);
    counting->descriptors = (Descriptors){0};
    for (uint32_t i = 0; ok && i < counting->count; i++)
        values[i] = value_of(counting->results[i], counting->stored[i]);
    return ok;
}
