// The descriptor sets of a tape: pools, and the views through which kernels see tensors as texels.
// Written once, while recording.
#include "gpu/internal.h"

#include <stdlib.h>

enum { SETS_PER_POOL = 64 };

static VkResult add_pool(Gpu *gpu, Descriptors *own)
{
    const VkDescriptorPoolSize sizes[] = {
        {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, SETS_PER_POOL * GPU_BINDINGS},
        {VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, SETS_PER_POOL * GPU_BINDINGS},
    };
    const VkDescriptorPoolCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
        .maxSets = SETS_PER_POOL,
        .poolSizeCount = sizeof sizes / sizeof *sizes,
        .pPoolSizes = sizes,
    };
    VkDescriptorPool *pools = realloc(own->pools, (own->pool_count + 1) * sizeof *pools);
    if (!pools) return VK_ERROR_OUT_OF_HOST_MEMORY;
    own->pools = pools;
    VkResult result = vkCreateDescriptorPool(gpu->device, &info, NULL, &pools[own->pool_count]);
    if (result != VK_SUCCESS) return result;
    own->pool_count++;
    own->sets_left = SETS_PER_POOL;
    return VK_SUCCESS;
}

static VkResult allocate_set(Gpu *gpu, Descriptors *own, VkDescriptorSet *set)
{
    VkResult result = own->sets_left ? VK_SUCCESS : add_pool(gpu, own);
    if (result != VK_SUCCESS) return result;
    const VkDescriptorSetAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
        .descriptorPool = own->pools[own->pool_count - 1],
        .descriptorSetCount = 1,
        .pSetLayouts = &gpu->set_layout,
    };
    result = vkAllocateDescriptorSets(gpu->device, &info, set);
    if (result == VK_SUCCESS) own->sets_left--;
    return result;
}

// By the bytes of a vector: four values of f32, of 16 bits, or any words of quantised values.
static VkFormat texel_format(Tensor tensor)
{
    if (dtype_blocked(tensor.dtype)) return VK_FORMAT_R32G32B32A32_UINT;
    return tensor.dtype == DTYPE_F32 ? VK_FORMAT_R32G32B32A32_SFLOAT : VK_FORMAT_R32G32_UINT;
}

// The tensor as a texel buffer of vectors; its view lives as long as the descriptors.
static VkResult make_view(Gpu *gpu, Descriptors *own, Tensor tensor, VkBufferView *view)
{
    VkBufferView *views = realloc(own->views, (own->view_count + 1) * sizeof *views);
    if (!views) return VK_ERROR_OUT_OF_HOST_MEMORY;
    own->views = views;
    const VkBufferViewCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO,
        .buffer = tensor.span->block->buffer,
        .format = texel_format(tensor),
        .offset = tensor.span->offset + tensor.offset,
        .range = tensor_bytes(tensor),
    };
    VkResult result = vkCreateBufferView(gpu->device, &info, NULL, view);
    if (result == VK_SUCCESS) views[own->view_count++] = *view;
    return result;
}

static void write(Gpu *gpu, VkDescriptorSet set, uint32_t binding, VkDescriptorType type,
                  const VkDescriptorBufferInfo *buffer, const VkBufferView *view)
{
    const VkWriteDescriptorSet info = {
        .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
        .dstSet = set,
        .dstBinding = binding,
        .descriptorCount = 1,
        .descriptorType = type,
        .pBufferInfo = buffer,
        .pTexelBufferView = view,
    };
    vkUpdateDescriptorSets(gpu->device, 1, &info, 0, NULL);
}

static void write_buffer(Gpu *gpu, VkDescriptorSet set, uint32_t i, Tensor tensor)
{
    const VkDescriptorBufferInfo buffer = {
        tensor.span->block->buffer, tensor.span->offset + tensor.offset, tensor_bytes(tensor)};
    write(gpu, set, i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, &buffer, NULL);
}

static VkResult write_texels(Gpu *gpu, Descriptors *own, VkDescriptorSet set, uint32_t i,
                             Tensor tensor)
{
    VkBufferView view;
    VkResult result = make_view(gpu, own, tensor, &view);
    if (result == VK_SUCCESS)
        write(gpu, set, GPU_BINDINGS + i, VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, NULL, &view);
    return result;
}

VkResult descriptors_write(Gpu *gpu, Descriptors *own, const Dispatch *dispatch,
                           VkDescriptorSet *set)
{
    uint32_t texels = gpu->access[dispatch->kernel].texels;
    VkResult result = allocate_set(gpu, own, set);
    for (uint32_t i = 0; i < GPU_BINDINGS && result == VK_SUCCESS; i++) {
        if (!dispatch->tensors[i].span) continue;
        write_buffer(gpu, *set, i, dispatch->tensors[i]);
        if (texels >> i & 1) result = write_texels(gpu, own, *set, i, dispatch->tensors[i]);
    }
    return result;
}

void descriptors_free(Gpu *gpu, Descriptors *own)
{
    for (size_t i = 0; i < own->pool_count; i++)
        vkDestroyDescriptorPool(gpu->device, own->pools[i], NULL);
    for (size_t i = 0; i < own->view_count; i++)
        vkDestroyBufferView(gpu->device, own->views[i], NULL);
    free(own->pools);
    free(own->views);
}
