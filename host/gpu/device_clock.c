// The device's timestamps on the host's clock: by VK_EXT_calibrated_timestamps where that knows
// CLOCK_MONOTONIC, else by a few submissions that write a timestamp and nothing else, the shortest
// of which bounds the error.
#include "base/clock.h"
#include "gpu/internal.h"

#include <math.h>

enum { ATTEMPTS = 8 };

bool device_clock_open(DeviceClock *clock, Gpu *gpu)
{
    VkPhysicalDeviceProperties properties;
    VkQueueFamilyProperties families[32];
    uint32_t count = 32;
    vkGetPhysicalDeviceProperties(gpu->physical, &properties);
    vkGetPhysicalDeviceQueueFamilyProperties(gpu->physical, &count, families);
    uint32_t bits = families[gpu->family].timestampValidBits;
    *clock = (DeviceClock){.period = 1e-9 * (double)properties.limits.timestampPeriod,
                           .mask = bits < 64 ? (UINT64_C(1) << bits) - 1 : UINT64_MAX};
    return bits > 0 && !gpu->no_timestamps && properties.limits.timestampPeriod > 0;
}

// Ticks since the alignment, which may lie behind: the nearer way round the mask.
double device_clock_seconds(const DeviceClock *clock, uint64_t tick)
{
    uint64_t ahead = (tick - clock->tick) & clock->mask;
    uint64_t behind = (clock->tick - tick) & clock->mask;
    double ticks = ahead <= behind ? (double)ahead : -(double)behind;
    return clock->host + ticks * clock->period;
}

// ---- calibrated --------------------------------------------------------------------------------

static bool knows(VkPhysicalDevice physical, VkTimeDomainEXT wanted)
{
    VkTimeDomainEXT domains[16];
    uint32_t count = 16;
    vkGetPhysicalDeviceCalibrateableTimeDomainsEXT(physical, &count, domains);
    for (uint32_t i = 0; i < count; i++)
        if (domains[i] == wanted) return true;
    return false;
}

static bool can_calibrate(const Gpu *gpu)
{
    return gpu->optional.calibrated && knows(gpu->physical, VK_TIME_DOMAIN_DEVICE_EXT) &&
           knows(gpu->physical, VK_TIME_DOMAIN_CLOCK_MONOTONIC_EXT);
}

static VkResult calibrate(DeviceClock *clock, Gpu *gpu)
{
    const VkCalibratedTimestampInfoEXT infos[] = {
        {.sType = VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_EXT,
         .timeDomain = VK_TIME_DOMAIN_DEVICE_EXT},
        {.sType = VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_EXT,
         .timeDomain = VK_TIME_DOMAIN_CLOCK_MONOTONIC_EXT},
    };
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < ATTEMPTS; i++) {
        uint64_t times[2], deviation;
        VkResult result = vkGetCalibratedTimestampsEXT(gpu->device, 2, infos, times, &deviation);
        if (result != VK_SUCCESS) return result;
        if (deviation >= best) continue;
        best = deviation;
        clock->tick = times[0];
        clock->host = 1e-9 * (double)times[1];
        clock->error = 1e-9 * (double)deviation;
    }
    clock->calibrated = true;
    return VK_SUCCESS;
}

// ---- by submissions ----------------------------------------------------------------------------

static VkResult record_timestamp(Gpu *gpu, VkQueryPool pool)
{
    const VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    VkResult result = vkBeginCommandBuffer(gpu->copy, &begin);
    if (result != VK_SUCCESS) return result;
    vkCmdResetQueryPool(gpu->copy, pool, 0, 1);
    vkCmdWriteTimestamp(gpu->copy, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, pool, 0);
    return vkEndCommandBuffer(gpu->copy);
}

// One attempt; kept where it is the shortest so far.
static VkResult attempt(DeviceClock *clock, Gpu *gpu, VkQueryPool pool)
{
    const VkSubmitInfo info = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                               .commandBufferCount = 1,
                               .pCommandBuffers = &gpu->copy};
    uint64_t tick;
    double before = clock_seconds();
    VkResult result = vkQueueSubmit(gpu->queue, 1, &info, VK_NULL_HANDLE);
    if (result == VK_SUCCESS) result = vkQueueWaitIdle(gpu->queue);
    double after = clock_seconds();
    if (result == VK_SUCCESS)
        result = vkGetQueryPoolResults(gpu->device, pool, 0, 1, sizeof tick, &tick, sizeof tick,
                                       VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
    if (result != VK_SUCCESS || (after - before) / 2 >= clock->error) return result;
    clock->tick = tick;
    clock->host = (before + after) / 2;
    clock->error = (after - before) / 2;
    return VK_SUCCESS;
}

static VkResult align_by_submissions(DeviceClock *clock, Gpu *gpu)
{
    const VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                        .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                        .queryCount = 1};
    VkQueryPool pool;
    VkResult result = vkCreateQueryPool(gpu->device, &info, NULL, &pool);
    if (result != VK_SUCCESS) return result;
    clock->error = INFINITY;
    result = record_timestamp(gpu, pool);
    for (int i = 0; i < ATTEMPTS && result == VK_SUCCESS; i++) result = attempt(clock, gpu, pool);
    vkDestroyQueryPool(gpu->device, pool, NULL);
    return result;
}

VkResult device_clock_align(DeviceClock *clock, Gpu *gpu)
{
    return can_calibrate(gpu) ? calibrate(clock, gpu) : align_by_submissions(clock, gpu);
}
