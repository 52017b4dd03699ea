// Submissions: how many parts of tapes go into one, and several of them in flight. See
// submit_internal.h. Drivers reset a device on which one submission takes too long (Windows after 2
// seconds, amdgpu after 10), and how long one takes is only known from those that ran before.
#include "gpu/internal.h"
#include "base/clock.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#define DEFAULT_MS 500.0 // a quarter of the shortest watchdog: a step may hold more rows than usual

// ---- groups and what they took -----------------------------------------------------------------

size_t submit_group(Part *const *parts, size_t count, double limit)
{
    if (count > SUBMIT_PARTS) count = SUBMIT_PARTS;
    if (!count || parts[0]->seconds == 0) return count > 0;
    size_t n = 1;
    double sum = parts[0]->seconds;
    while (n < count && parts[n]->seconds > 0 && sum + parts[n]->seconds <= limit)
        sum += parts[n++]->seconds;
    return n;
}

void submit_learn(Part *const *parts, size_t count, double seconds)
{
    double sum = 0, shares[SUBMIT_PARTS];
    assert(count <= SUBMIT_PARTS);
    if (seconds < 1e-9) seconds = 1e-9; // 0 would mean that they have not run
    for (size_t i = 0; i < count; i++) sum += parts[i]->seconds;
    for (size_t i = 0; i < count; i++)
        shares[i] = seconds * (sum > 0 ? parts[i]->seconds / sum : 1.0 / (double)count);
    for (size_t i = 0; i < count; i++) {
        double before = parts[i]->seconds;
        parts[i]->seconds = shares[i] > before ? shares[i] : (before + shares[i]) / 2;
    }
}

// ---- the queue ---------------------------------------------------------------------------------

void gpu_set_submit_limit(Gpu *gpu, double ms)
{
    assert(ms > 0);
    gpu->submissions.limit = 1e-3 * ms;
}

static bool read_limit(Gpu *gpu, Error *err)
{
    const char *text = getenv("STRATA_SUBMIT_MS");
    char *end;
    double ms = text && *text ? strtod(text, &end) : DEFAULT_MS;
    if (text && *text && (*end || !isfinite(ms) || ms <= 0))
        return error_set(err, "STRATA_SUBMIT_MS: '%.40s', expected milliseconds above 0", text);
    gpu_set_submit_limit(gpu, ms);
    return true;
}

bool submit_open(Gpu *gpu, Error *err)
{
    const VkFenceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    VkResult result = VK_SUCCESS;
    for (int i = 0; i < SUBMITS_IN_FLIGHT && result == VK_SUCCESS; i++)
        result = vkCreateFence(gpu->device, &info, NULL, &gpu->submissions.ring[i].fence);
    if (result != VK_SUCCESS) return gpu_fail(gpu, result, "fence", err);
    return read_limit(gpu, err);
}

void submit_close(Gpu *gpu)
{
    for (int i = 0; i < SUBMITS_IN_FLIGHT; i++)
        vkDestroyFence(gpu->device, gpu->submissions.ring[i].fence, NULL);
}

static VkResult send(Gpu *gpu, Submission *own, Part *const *parts, size_t count)
{
    VkCommandBuffer buffers[SUBMIT_PARTS];
    for (size_t i = 0; i < count; i++) buffers[i] = profile_buffer(parts[i]);
    const VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .commandBufferCount = (uint32_t)count,
        .pCommandBuffers = buffers,
    };
    own->parts = parts;
    own->count = count;
    own->began = clock_seconds();
    label_submission(gpu, true);
    VkResult result = vkQueueSubmit(gpu->queue, 1, &info, own->fence);
    label_submission(gpu, false);
    if (result == VK_SUCCESS) profile_sent(gpu, own);
    return result;
}

// Waits for a submission; *idle is when the device was done with the one before, and is set to when
// it was done with this one.
static VkResult receive(Gpu *gpu, Submission *own, double *idle)
{
    VkResult result = vkWaitForFences(gpu->device, 1, &own->fence, VK_TRUE, UINT64_MAX);
    if (result == VK_SUCCESS) result = vkResetFences(gpu->device, 1, &own->fence);
    if (result != VK_SUCCESS) return result;
    double end = clock_seconds();
    submit_learn(own->parts, own->count, end - (own->began > *idle ? own->began : *idle));
    profile_received(gpu, own, end);
    *idle = end;
    return VK_SUCCESS;
}

// After a failure: the caller may free what the submissions in flight use, so they end first. Not
// those of a lost device, which do nothing any more, and for which a driver might wait in vain.
static VkResult abandon(Gpu *gpu, size_t received, size_t sent, VkResult why)
{
    if (why != VK_ERROR_DEVICE_LOST && vkQueueWaitIdle(gpu->queue) == VK_ERROR_DEVICE_LOST)
        why = VK_ERROR_DEVICE_LOST;
    for (; why != VK_ERROR_DEVICE_LOST && received < sent; received++)
        vkResetFences(gpu->device, 1, &gpu->submissions.ring[received % SUBMITS_IN_FLIGHT].fence);
    return why;
}

static size_t next_group(const Gpu *gpu, Part *const *parts, size_t count)
{
    return profile_group(gpu, parts, submit_group(parts, count, gpu->submissions.limit));
}

VkResult submit_run(Gpu *gpu, Part *const *parts, size_t count)
{
    Submissions *s = &gpu->submissions;
    size_t at = 0, sent = 0, received = 0;
    double idle = clock_seconds();
    VkResult result = gpu->lost ? VK_ERROR_DEVICE_LOST : VK_SUCCESS;
    while (result == VK_SUCCESS && (at < count || received < sent)) {
        size_t n = next_group(gpu, parts + at, count - at);
        bool wait = !n || sent - received == SUBMITS_IN_FLIGHT ||
                    (sent > received && profile_must_wait(gpu, parts + at, n));
        if (wait) {
            result = receive(gpu, &s->ring[received % SUBMITS_IN_FLIGHT], &idle);
            received += result == VK_SUCCESS;
            continue;
        }
        result = send(gpu, &s->ring[sent % SUBMITS_IN_FLIGHT], parts + at, n);
        sent += result == VK_SUCCESS;
        at += n;
    }
    if (result == VK_SUCCESS) return result;
    gpu->failed = true;
    profile_abandoned(gpu, parts, count);
    return abandon(gpu, received, sent, result);
}
