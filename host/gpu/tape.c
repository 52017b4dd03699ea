// Tapes: recording of dispatches with automatic barriers, and replay.
#include "gpu/internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    // A part without a barrier at which to end goes on so many times as long.
    UNBROKEN = 4,
};

struct Tape {
    Gpu *gpu;
    char label[64];
    VkCommandPool commands;
    Part *parts; // (part_count) run one after the other
    size_t part_count;
    // Of the last part: all that is recorded goes into each.
    VkCommandBuffer buffers[PART_BUFFERS]; // (buffer_count)
    uint32_t buffer_count;
    uint64_t bytes; // of the tensors that the last part's commands have named
    Descriptors descriptors;
    uint32_t dispatches;
    uint64_t epoch; // of the barrier that was recorded last
    bool failed;
    Error error;
    Tape *next; // in gpu->tapes
};

#define FOR_BUFFERS(buffer, tape)                                                                  \
    for (const VkCommandBuffer *buffer = (tape)->buffers;                                          \
         buffer < (tape)->buffers + (tape)->buffer_count; buffer++)

static void fail(Tape *tape, VkResult result, const char *what)
{
    if (!tape->failed) gpu_fail(tape->gpu, result, what, &tape->error);
    tape->failed = true;
}

// ---- barriers ----------------------------------------------------------------------------------

static void barrier(Tape *tape)
{
    const VkMemoryBarrier all = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                         VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT |
                         VK_ACCESS_INDIRECT_COMMAND_READ_BIT,
    };
    const VkPipelineStageFlags stages =
        VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    FOR_BUFFERS(buffer, tape)
    vkCmdPipelineBarrier(*buffer, stages, stages | VK_PIPELINE_STAGE_DRAW_INDIRECT_BIT, 0, 1, &all,
                         0, NULL, 0, NULL);
    tape->epoch = ++tape->gpu->epoch;
}

static bool conflicts(const Tape *tape, const Span *span, bool writes)
{
    if (span->write_epoch == tape->epoch) return true;
    return writes && span->read_epoch == tape->epoch;
}

static void touch(const Tape *tape, Span *span, bool reads, bool writes)
{
    if (reads) span->read_epoch = tape->epoch;
    if (writes) span->write_epoch = tape->epoch;
}

// ---- parts -------------------------------------------------------------------------------------

static Part *last_part(Tape *tape)
{
    return &tape->parts[tape->part_count - 1];
}

// Begins with a barrier, so that tapes compose in any order, and so that synchronisation
// validation, which looks at one command buffer at a time, misses nothing between two parts.
static VkResult begin_part(Tape *tape)
{
    Part *parts = realloc(tape->parts, (tape->part_count + 1) * sizeof *parts);
    if (!parts) return VK_ERROR_OUT_OF_HOST_MEMORY;
    tape->parts = parts;
    const VkCommandBufferAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = tape->commands,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = tape->buffer_count,
    };
    const VkCommandBufferBeginInfo begin = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
        .flags = VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT,
    };
    VkResult result = vkAllocateCommandBuffers(tape->gpu->device, &info, tape->buffers);
    FOR_BUFFERS(buffer, tape)
    {
        if (result == VK_SUCCESS) result = vkBeginCommandBuffer(*buffer, &begin);
        if (result != VK_SUCCESS) return result;
        name_object(tape->gpu, VK_OBJECT_TYPE_COMMAND_BUFFER, (uint64_t)(uintptr_t)*buffer, "%s",
                    tape->label);
    }
    parts[tape->part_count++] = (Part){.buffer = tape->buffers[0]};
    tape->bytes = 0;
    barrier(tape);
    return profile_begin_part(tape->gpu, last_part(tape), tape->buffers);
}

static VkResult end_part(Tape *tape)
{
    VkResult result = VK_SUCCESS;
    profile_end_part(last_part(tape));
    FOR_BUFFERS(buffer, tape)
    if (result == VK_SUCCESS) result = vkEndCommandBuffer(*buffer);
    return result;
}

// A barrier where one is needed. A part that has become long ends here: bytes are what is known of
// a command's time while recording, and a kernel that does much to each byte names many.
static void order(Tape *tape, bool needed)
{
    uint64_t most = tape->gpu->part_bytes;
    if (tape->bytes >= (needed ? most : UNBROKEN * most) ||
        profile_part_full(tape->gpu, last_part(tape))) {
        VkResult result = end_part(tape);
        if (result == VK_SUCCESS) result = begin_part(tape);
        if (result != VK_SUCCESS) fail(tape, result, tape->label);
    } else if (needed) {
        barrier(tape);
    }
}

// Where the dispatch reads what this epoch wrote, or writes what it read or wrote.
static void order_dispatch(Tape *tape, const Dispatch *dispatch)
{
    KernelAccess access = tape->gpu->access[dispatch->kernel];
    bool needed = false;
    for (uint32_t i = 0; i < GPU_BINDINGS; i++)
        if (dispatch->tensors[i].span)
            needed |= conflicts(tape, dispatch->tensors[i].span, access.writes >> i & 1);
    order(tape, needed);
    for (uint32_t i = 0; i < GPU_BINDINGS; i++) {
        if (!dispatch->tensors[i].span) continue;
        touch(tape, dispatch->tensors[i].span, access.reads >> i & 1, access.writes >> i & 1);
        tape->bytes += tensor_bytes(dispatch->tensors[i]);
    }
}

// ---- recording ---------------------------------------------------------------------------------

Tape *tape_begin(Gpu *gpu, const char *label, Error *err)
{
    assert(!gpu->recording);
    Tape *tape = calloc(1, sizeof *tape);
    if (!tape) {
        error_set(err, "out of memory");
        return NULL;
    }
    tape->gpu = gpu;
    tape->buffer_count = profile_buffers(gpu);
    snprintf(tape->label, sizeof tape->label, "%s", label);
    tape->next = gpu->tapes;
    gpu->tapes = tape;
    const VkCommandPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .queueFamilyIndex = gpu->family,
    };
    VkResult result = vkCreateCommandPool(gpu->device, &pool, NULL, &tape->commands);
    if (result == VK_SUCCESS) result = begin_part(tape);
    if (result != VK_SUCCESS) {
        gpu_fail(gpu, result, label, err);
        tape_free(tape);
        return NULL;
    }
    gpu->recording = tape;
    return tape;
}

// A tensor larger than a binding or a texel view can see must come in slices of rows.
static bool check_bindings(Tape *tape, const Dispatch *dispatch)
{
    const GpuInfo *info = &tape->gpu->info;
    for (uint32_t i = 0; i < GPU_BINDINGS; i++) {
        uint64_t bytes = dispatch->tensors[i].span ? tensor_bytes(dispatch->tensors[i]) : 0;
        bool texels = tape->gpu->access[dispatch->kernel].texels >> i & 1;
        uint64_t view = info->texel_bytes / 16 * tensor_texel(dispatch->tensors[i]);
        uint64_t most = texels && view < info->binding_bytes ? view : info->binding_bytes;
        if (bytes <= most) continue;
        tape->failed = true;
        return error_set(&tape->error,
                         "device %s: %s: a tensor of %llu bytes, a binding sees at most %llu",
                         info->name, kernel_sources[dispatch->kernel].name,
                         (unsigned long long)bytes, (unsigned long long)most);
    }
    return true;
}

static bool check_groups(Tape *tape, const Dispatch *dispatch, uint32_t x, uint32_t y)
{
    const Gpu *gpu = tape->gpu;
    if (x <= gpu->group_count[0] && y <= gpu->group_count[1]) return true;
    tape->failed = true;
    return error_set(&tape->error, "device %s: %s: %u x %u workgroups, at most %u x %u",
                     gpu->info.name, kernel_sources[dispatch->kernel].name, x, y,
                     gpu->group_count[0], gpu->group_count[1]);
}

static void dispatch_groups(Tape *tape, VkCommandBuffer buffer, const Dispatch *dispatch)
{
    const Grid *grid = &dispatch->grid;
    if (!grid->rows.counts) {
        if (check_groups(tape, dispatch, grid->x, grid->y))
            vkCmdDispatch(buffer, grid->x, grid->y, 1);
        return;
    }
    uint32_t most = (grid->rows.max + grid->tile - 1) / grid->tile;
    if (!check_groups(tape, dispatch, grid->axis ? grid->x : most, grid->axis ? most : grid->y))
        return;
    Tensor commands = counts_commands(grid->rows.counts);
    uint64_t offset;
    if (!counts_command(grid->rows.counts, grid, &offset)) {
        fail(tape, VK_ERROR_OUT_OF_HOST_MEMORY, "too many different grids");
        return;
    }
    vkCmdDispatchIndirect(buffer, commands.span->block->buffer, commands.span->offset + offset);
}

static void record_dispatch(Tape *tape, VkCommandBuffer buffer, const Dispatch *dispatch,
                            VkPipeline pipeline, VkDescriptorSet set)
{
    label_begin(tape->gpu, buffer, tape->label, kernel_sources[dispatch->kernel].name);
    vkCmdBindPipeline(buffer, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vkCmdBindDescriptorSets(buffer, VK_PIPELINE_BIND_POINT_COMPUTE, tape->gpu->layout, 0, 1, &set,
                            0, NULL);
    if (dispatch->args_bytes)
        vkCmdPushConstants(buffer, tape->gpu->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                           dispatch->args_bytes, dispatch->args);
    dispatch_groups(tape, buffer, dispatch);
    label_end(tape->gpu, buffer);
}

// Tells the profiler of the command that was recorded last.
static void told(Tape *tape, CommandKind kind, const Dispatch *dispatch)
{
    VkResult result = profile_command(tape->gpu, last_part(tape), kind, tape->label, dispatch);
    if (result != VK_SUCCESS) fail(tape, result, tape->label);
}

void tape_dispatch(Tape *tape, const Dispatch *dispatch)
{
    assert(tape->gpu->recording == tape && dispatch->args_bytes <= GPU_ARGS_BYTES);
    if (tape->gpu->filter && !tape->gpu->filter(tape->gpu->filter_user, dispatch)) return;
    if (tape->failed || !check_bindings(tape, dispatch)) return;
    VkPipeline pipeline =
        kernel_pipeline(tape->gpu, dispatch->kernel, dispatch->constants, &tape->error);
    if (!pipeline) {
        tape->failed = true;
        return;
    }
    VkDescriptorSet set;
    VkResult result = descriptors_write(tape->gpu, &tape->descriptors, dispatch, &set);
    if (result != VK_SUCCESS) {
        fail(tape, result, tape->label);
        return;
    }
    order_dispatch(tape, dispatch);
    if (tape->failed) return;
    FOR_BUFFERS(buffer, tape) record_dispatch(tape, *buffer, dispatch, pipeline, set);
    tape->dispatches++;
    told(tape, COMMAND_DISPATCH, dispatch);
}

void tape_fill(Tape *tape, Tensor tensor, uint32_t word)
{
    assert(tape->gpu->recording == tape);
    if (!tape->failed) order(tape, conflicts(tape, tensor.span, true));
    if (tape->failed) return;
    touch(tape, tensor.span, false, true);
    tape->bytes += tensor_bytes(tensor);
    FOR_BUFFERS(buffer, tape)
    {
        label_begin(tape->gpu, *buffer, tape->label, "fill");
        vkCmdFillBuffer(*buffer, tensor.span->block->buffer, tensor.span->offset + tensor.offset,
                        tensor_bytes(tensor), word);
        label_end(tape->gpu, *buffer);
    }
    told(tape, COMMAND_FILL, &(Dispatch){.tensors = {tensor}});
}

void tape_copy(Tape *tape, Tensor to, Tensor from)
{
    assert(tape->gpu->recording == tape && tensor_bytes(to) == tensor_bytes(from));
    if (!tape->failed)
        order(tape, conflicts(tape, from.span, false) || conflicts(tape, to.span, true));
    if (tape->failed) return;
    touch(tape, from.span, true, false);
    touch(tape, to.span, false, true);
    tape->bytes += 2 * tensor_bytes(to);
    const VkBufferCopy region = {from.span->offset + from.offset, to.span->offset + to.offset,
                                 tensor_bytes(to)};
    FOR_BUFFERS(buffer, tape)
    {
        label_begin(tape->gpu, *buffer, tape->label, "copy");
        vkCmdCopyBuffer(*buffer, from.span->block->buffer, to.span->block->buffer, 1, &region);
        label_end(tape->gpu, *buffer);
    }
    told(tape, COMMAND_COPY, &(Dispatch){.tensors = {to, from}});
}

bool tape_end(Tape *tape, Error *err)
{
    assert(tape->gpu->recording == tape);
    tape->gpu->recording = NULL;
    if (tape->failed) return error_set(err, "%s", tape->error.text);
    const VkMemoryBarrier host = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_HOST_READ_BIT,
    };
    FOR_BUFFERS(buffer, tape)
    vkCmdPipelineBarrier(*buffer,
                         VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
                         VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &host, 0, NULL, 0, NULL);
    VkResult result = end_part(tape);
    return result == VK_SUCCESS || gpu_fail(tape->gpu, result, tape->label, err);
}

void tape_free(Tape *tape)
{
    if (!tape) return;
    Gpu *gpu = tape->gpu;
    if (gpu->recording == tape) gpu->recording = NULL;
    Tape **link = &gpu->tapes;
    while (*link != tape) link = &(*link)->next;
    *link = tape->next;
    descriptors_free(gpu, &tape->descriptors);
    vkDestroyCommandPool(gpu->device, tape->commands, NULL);
    for (size_t i = 0; i < tape->part_count; i++) profile_free_part(gpu, &tape->parts[i]);
    free(tape->parts);
    free(tape);
}

uint32_t tape_dispatches(const Tape *tape)
{
    return tape->dispatches;
}

Gpu *tape_gpu(const Tape *tape)
{
    return tape->gpu;
}

// ---- replay ------------------------------------------------------------------------------------

// The parts of the tapes, in gpu->parts: *total of them. False: out of memory.
static bool list_parts(Gpu *gpu, Tape *const *tapes, size_t count, size_t *total)
{
    *total = 0;
    for (size_t i = 0; i < count; i++)
        if (tapes[i]) *total += tapes[i]->part_count;
    if (*total > gpu->parts_room) {
        Part **parts = realloc(gpu->parts, *total * sizeof *parts);
        if (!parts) return false;
        gpu->parts = parts;
        gpu->parts_room = *total;
    }
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        assert(!tapes[i] || !tapes[i]->failed);
        for (size_t p = 0; tapes[i] && p < tapes[i]->part_count; p++)
            gpu->parts[n++] = &tapes[i]->parts[p];
    }
    return true;
}

bool gpu_run(Gpu *gpu, Tape *const *tapes, size_t count, Error *err)
{
    assert(!gpu->recording);
    size_t total;
    if (!list_parts(gpu, tapes, count, &total)) return error_set(err, "out of memory");
    profile_run_began(gpu);
    VkResult result = submit_run(gpu, gpu->parts, total);
    profile_run_ended(gpu);
    return result == VK_SUCCESS || gpu_fail(gpu, result, "running kernels", err);
}
