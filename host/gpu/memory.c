// Device memory: few large buffers that are cut into spans, and copies through a staging span.
#include "base/clock.h"
#include "gpu/blocks.h"
#include "gpu/dry.h"
#include "gpu/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 64 << 20, HOST_BLOCK_BYTES = 8 << 20, STAGING_BYTES = 4 << 20 };

static uint64_t align_up(uint64_t value)
{
    return (value + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

// ---- blocks ------------------------------------------------------------------------------------

// How well a memory type serves a kind; -1: not at all.
static int type_score(VkMemoryPropertyFlags flags, Memory kind)
{
    const VkMemoryPropertyFlags host =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    if (flags & (VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT | VK_MEMORY_PROPERTY_PROTECTED_BIT))
        return -1;
    if (kind == MEMORY_HOST) {
        if ((flags & host) != host) return -1;
        return flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT ? 2 : 1;
    }
    if (!(flags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT)) return 0;
    return flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT ? 1 : 2;
}

static uint32_t find_type(const Gpu *gpu, uint32_t allowed, Memory kind)
{
    uint32_t best = UINT32_MAX;
    int best_score = -1;
    for (uint32_t i = 0; i < gpu->memory_types.memoryTypeCount; i++) {
        int score = type_score(gpu->memory_types.memoryTypes[i].propertyFlags, kind);
        if (!(allowed & 1u << i) || score <= best_score) continue;
        best = i;
        best_score = score;
    }
    return best;
}

static VkResult allocate_block(Gpu *gpu, Block *block)
{
    const VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = block->size,
        .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT |
                 VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                 VK_BUFFER_USAGE_TRANSFER_DST_BIT,
    };
    VkResult result = vkCreateBuffer(gpu->device, &info, NULL, &block->buffer);
    if (result != VK_SUCCESS) return result;
    VkMemoryRequirements need;
    vkGetBufferMemoryRequirements(gpu->device, block->buffer, &need);
    const VkMemoryAllocateInfo allocate = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .allocationSize = need.size,
        .memoryTypeIndex = find_type(gpu, need.memoryTypeBits, block->kind),
    };
    if (allocate.memoryTypeIndex == UINT32_MAX) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    result = vkAllocateMemory(gpu->device, &allocate, NULL, &block->memory);
    if (result == VK_SUCCESS)
        result = vkBindBufferMemory(gpu->device, block->buffer, block->memory, 0);
    if (result == VK_SUCCESS && block->kind == MEMORY_HOST) {
        void *host = NULL;
        result = vkMapMemory(gpu->device, block->memory, 0, VK_WHOLE_SIZE, 0, &host);
        block->host = host;
    }
    return result;
}

static void block_free(Gpu *gpu, Block *block)
{
    for (Span *span = block->first, *next; span; span = next) {
        next = span->next;
        free(span);
    }
    vkDestroyBuffer(gpu->device, block->buffer, NULL);
    vkFreeMemory(gpu->device, block->memory, NULL);
    free(block);
}

static Block *block_make(Gpu *gpu, Memory kind, uint64_t size, Error *err)
{
    uint64_t least = kind == MEMORY_HOST ? HOST_BLOCK_BYTES : BLOCK_BYTES;
    Block **blocks = realloc(gpu->blocks, (gpu->block_count + 1) * sizeof *blocks);
    if (blocks) gpu->blocks = blocks;
    Block *block = blocks ? calloc(1, sizeof *block) : NULL;
    if (!block) {
        error_set(err, "out of memory");
        return NULL;
    }
    block->kind = kind;
    block->size = size > least ? size : least;
    VkResult result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    if (block->size <= gpu->info.allocation_bytes) result = allocate_block(gpu, block);
    if (result == VK_SUCCESS) {
        gpu->blocks[gpu->block_count++] = block;
        gpu->memory_allocated += block->size;
        name_object(gpu, VK_OBJECT_TYPE_BUFFER, (uint64_t)block->buffer, "%s memory %zu",
                    kind == MEMORY_HOST ? "host" : "device", gpu->block_count - 1);
        return block;
    }
    gpu_fail(gpu, result, "allocation", NULL);
    error_set(err,
              "device %s: cannot allocate %llu bytes (Vulkan error %d): %llu are held, the largest "
              "allocation is %llu, device memory %llu",
              gpu->info.name, (unsigned long long)block->size, result,
              (unsigned long long)gpu->memory_allocated,
              (unsigned long long)gpu->info.allocation_bytes,
              (unsigned long long)gpu->info.local_bytes);
    block_free(gpu, block);
    return NULL;
}

// ---- spans -------------------------------------------------------------------------------------

// First fit: the first gap between the spans of the block that holds size bytes.
static Span *span_in_block(Block *block, uint64_t size)
{
    uint64_t at = 0;
    Span **link = &block->first;
    while (*link && (*link)->offset - at < size) {
        at = align_up((*link)->offset + (*link)->size);
        link = &(*link)->next;
    }
    if (at > block->size || block->size - at < size) return NULL;
    Span *span = calloc(1, sizeof *span);
    if (!span) return NULL;
    *span = (Span){.block = block, .offset = at, .size = size, .next = *link};
    *link = span;
    return span;
}

static void count_used(Gpu *gpu, uint64_t size)
{
    gpu->memory_used += size;
    if (gpu->memory_used > gpu->memory_peak) gpu->memory_peak = gpu->memory_used;
}

static Span *span_find(Gpu *gpu, Memory kind, uint64_t size, Error *err)
{
    for (size_t i = 0; i < gpu->block_count; i++) {
        Span *span = gpu->blocks[i]->kind == kind ? span_in_block(gpu->blocks[i], size) : NULL;
        if (span) return span;
    }
    Block *block = block_make(gpu, kind, size, err);
    Span *span = block ? span_in_block(block, size) : NULL;
    if (block && !span) error_set(err, "out of memory");
    return span;
}

static Span *span_make(Gpu *gpu, Memory kind, uint64_t size, Error *err)
{
    Span *span = span_find(gpu, kind, size, err);
    if (span) count_used(gpu, size);
    return span;
}

static uint64_t row_bytes(Tensor tensor)
{
    if (dtype_blocked(tensor.dtype)) return blocks_row_bytes(tensor.dtype, tensor.cols);
    return (uint64_t)tensor.cols * dtype_size(tensor.dtype);
}

Tensor tensor_make_as(Gpu *gpu, Memory memory, Dtype dtype, uint32_t rows, uint32_t cols,
                      Error *err)
{
    assert(rows && cols && (dtype == DTYPE_F32 || cols % 4 == 0) && cols % dtype_block(dtype) == 0);
    const uint64_t most = UINT64_MAX / 16; // no device has it
    Tensor tensor = {.rows = rows, .cols = cols, .dtype = dtype};
    uint64_t each = row_bytes(tensor), bytes = each > most / rows ? most : each * rows;
    tensor.span = span_make(gpu, memory, align_up(bytes), err);
    if (!tensor.span) return tensor;
    Tape *zero = tape_begin(gpu, "zero", err);
    if (zero) tape_fill(zero, tensor, 0);
    if (!zero || !tape_end(zero, err) || !gpu_run(gpu, &zero, 1, err)) tensor_free(gpu, &tensor);
    if (zero) tape_free(zero);
    return tensor;
}

Tensor tensor_make(Gpu *gpu, Memory memory, uint32_t rows, uint32_t cols, Error *err)
{
    return tensor_make_as(gpu, memory, DTYPE_F32, rows, cols, err);
}

Tensor tensor_imagine(Dtype dtype, uint32_t rows, uint32_t cols)
{
    static Span nowhere;
    return (Tensor){.span = &nowhere, .rows = rows, .cols = cols, .dtype = dtype};
}

void tensor_free(Gpu *gpu, Tensor *tensor)
{
    if (!tensor->span) return;
    gpu->memory_used -= tensor->span->size;
    Span **link = &tensor->span->block->first;
    while (*link != tensor->span) link = &(*link)->next;
    *link = tensor->span->next;
    free(tensor->span);
    *tensor = (Tensor){0};
}

uint64_t tensor_bytes(Tensor tensor)
{
    return tensor.rows * row_bytes(tensor);
}

uint32_t tensor_texel(Tensor tensor)
{
    return dtype_blocked(tensor.dtype) ? 16 : 4 * dtype_size(tensor.dtype);
}

Tensor tensor_rows(Tensor tensor, uint32_t first, uint32_t rows)
{
    assert(first <= tensor.rows && rows <= tensor.rows - first);
    tensor.offset += first * row_bytes(tensor);
    tensor.rows = rows;
    assert(tensor.offset % ALIGNMENT == 0);
    return tensor;
}

void *tensor_host(Tensor tensor)
{
    uint8_t *host = tensor.span->block->host;
    return host ? host + tensor.span->offset + tensor.offset : NULL;
}

uint64_t gpu_memory_used(const Gpu *gpu)
{
    return gpu->memory_used;
}

uint64_t gpu_memory_allocated(const Gpu *gpu)
{
    return gpu->memory_allocated;
}

uint64_t gpu_memory_peak(const Gpu *gpu)
{
    return gpu->memory_peak;
}

// ---- copies ------------------------------------------------------------------------------------

// Copies size bytes between the staging span and the tensor, and waits.
static bool copy_run(Gpu *gpu, Tensor tensor, uint64_t at, uint64_t size, bool upload, Error *err)
{
    const VkCommandBufferBeginInfo begin = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
        .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
    };
    const Span *staging = gpu->staging.span, *span = tensor.span;
    double began = clock_seconds();
    VkBuffer buffers[2] = {staging->block->buffer, span->block->buffer};
    uint64_t offsets[2] = {staging->offset, span->offset + tensor.offset + at};
    const VkBufferCopy region = {offsets[!upload], offsets[upload], size};
    // Whatever ran before on this queue comes first; afterwards shaders or the host may look.
    const VkMemoryBarrier before = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
    };
    const VkMemoryBarrier after = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT,
    };
    VkResult result = vkBeginCommandBuffer(gpu->copy, &begin);
    if (result != VK_SUCCESS) return gpu_fail(gpu, result, "copy", err);
    vkCmdPipelineBarrier(gpu->copy, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                         VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 1, &before, 0, NULL, 0, NULL);
    vkCmdCopyBuffer(gpu->copy, buffers[!upload], buffers[upload], 1, &region);
    vkCmdPipelineBarrier(gpu->copy, VK_PIPELINE_STAGE_TRANSFER_BIT,
                         VK_PIPELINE_STAGE_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_HOST_BIT, 0, 1,
                         &after, 0, NULL, 0, NULL);
    result = vkEndCommandBuffer(gpu->copy);
    if (result == VK_SUCCESS) result = submit_run(gpu, (Part *[]){&(Part){.buffer = gpu->copy}}, 1);
    // A wait may report success on a lost device; a further call to the queue tells it.
    if (result == VK_SUCCESS) result = vkQueueSubmit(gpu->queue, 0, NULL, VK_NULL_HANDLE);
    profile_transfer(gpu, upload, size, began);
    return result == VK_SUCCESS || gpu_fail(gpu, result, "copy", err);
}

// Copies `total` bytes of values to the tensor, `first` bytes into it.
static bool upload(Gpu *gpu, Tensor tensor, uint64_t first, const void *values, uint64_t total,
                   Error *err)
{
    for (uint64_t at = 0; at < total; at += STAGING_BYTES) {
        uint64_t size = total - at < STAGING_BYTES ? total - at : STAGING_BYTES;
        memcpy(tensor_host(gpu->staging), (const uint8_t *)values + at, size);
        if (!copy_run(gpu, tensor, first + at, size, true, err)) return false;
    }
    return true;
}

bool tensor_upload(Gpu *gpu, Tensor tensor, const void *values, Error *err)
{
    return upload(gpu, tensor, 0, values, tensor_bytes(tensor), err);
}

bool tensor_upload_blocks(Gpu *gpu, Tensor tensor, const uint8_t *blocks, Error *err)
{
    uint64_t each = row_bytes(tensor), bytes = dtype_bytes(tensor.dtype, tensor.cols);
    uint64_t fit = each < STAGING_BYTES ? STAGING_BYTES / each : 1; // rows at a time
    if (fit > tensor.rows) fit = tensor.rows;
    uint32_t *words = malloc(fit * each);
    bool ok = words || error_set(err, "out of memory");
    for (uint64_t row = 0; ok && row < tensor.rows; row += fit) {
        uint64_t rows = tensor.rows - row < fit ? tensor.rows - row : fit;
        for (uint64_t r = 0; r < rows; r++)
            blocks_lay_out(tensor.dtype, words + r * (each / 4), blocks + (row + r) * bytes,
                           tensor.cols);
        ok = upload(gpu, tensor, row * each, words, rows * each, err);
    }
    free(words);
    return ok;
}

bool tensor_download(Gpu *gpu, Tensor tensor, void *values, Error *err)
{
    uint64_t total = tensor_bytes(tensor);
    for (uint64_t at = 0; at < total; at += STAGING_BYTES) {
        uint64_t size = total - at < STAGING_BYTES ? total - at : STAGING_BYTES;
        if (!copy_run(gpu, tensor, at, size, false, err)) return false;
        memcpy((uint8_t *)values + at, tensor_host(gpu->staging), size);
    }
    return true;
}

bool memory_open(Gpu *gpu, Error *err)
{
    gpu->staging = (Tensor){.rows = 1, .cols = STAGING_BYTES / 4};
    gpu->staging.span = span_make(gpu, MEMORY_HOST, STAGING_BYTES, err);
    return gpu->staging.span != NULL;
}

void memory_close(Gpu *gpu)
{
    for (size_t i = 0; i < gpu->block_count; i++) block_free(gpu, gpu->blocks[i]);
    free(gpu->blocks);
}
