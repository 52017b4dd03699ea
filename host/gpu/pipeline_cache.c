// The pipeline cache on disk, under the user's cache folder. A file that is damaged or comes from
// another device or driver is ignored and replaced; a folder that cannot be written is no error.
#include "gpu/internal.h"
#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CACHE_LIMIT = 256 << 20 };

// In front of the driver's own data, which some drivers trust blindly.
typedef struct {
    char magic[8];
    uint64_t bytes, checksum;
} CacheHeader;

static const char MAGIC[8] = {'s', 't', 'r', 'a', 't', 'a', 'P', '1'};

static uint64_t checksum(const uint8_t *bytes, size_t size)
{
    uint64_t hash = 14695981039346656037u; // FNV-1a
    for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
    return hash;
}

// Named after the device and the cache UUID, which changes with the driver.
static void set_path(Gpu *gpu)
{
    char folder[900];
    char identity[64];
    if (!cache_folder(folder, sizeof folder, NULL)) return;
    gpu_identity(gpu, identity, sizeof identity);
    snprintf(gpu->cache_path, sizeof gpu->cache_path, "%s/pipelines-%s.bin", folder, identity);
}

// The driver's data within the file, or NULL where the file is not whole.
static const uint8_t *check_file(const char *text, size_t size, size_t *data_size)
{
    CacheHeader header;
    *data_size = 0;
    if (size < sizeof header) return NULL;
    memcpy(&header, text, sizeof header);
    const uint8_t *data = (const uint8_t *)text + sizeof header;
    if (memcmp(header.magic, MAGIC, sizeof MAGIC) || header.bytes != size - sizeof header ||
        header.checksum != checksum(data, header.bytes))
        return NULL;
    *data_size = header.bytes;
    return data;
}

bool pipeline_cache_open(Gpu *gpu, Error *err)
{
    char *text = NULL;
    size_t size = 0, data_size = 0;
    const uint8_t *data = NULL;
    set_path(gpu);
    if (gpu->cache_path[0] && file_read(&text, &size, gpu->cache_path, CACHE_LIMIT, NULL))
        data = check_file(text, size, &data_size);
    if (data) gpu->cache_checksum = checksum(data, data_size);
    VkPipelineCacheCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
        .initialDataSize = data_size,
        .pInitialData = data,
    };
    VkResult result = vkCreatePipelineCache(gpu->device, &info, NULL, &gpu->pipeline_cache);
    if (result != VK_SUCCESS && data) {
        info.initialDataSize = 0;
        result = vkCreatePipelineCache(gpu->device, &info, NULL, &gpu->pipeline_cache);
    }
    free(text);
    return result == VK_SUCCESS || gpu_fail(gpu, result, "pipeline cache", err);
}

static void save(const Gpu *gpu, const uint8_t *data, size_t size)
{
    CacheHeader header = {.bytes = size, .checksum = checksum(data, size)};
    memcpy(header.magic, MAGIC, sizeof MAGIC);
    FileWriter writer;
    if (header.checksum == gpu->cache_checksum) return;
    if (!file_writer_open(&writer, gpu->cache_path, NULL)) return;
    file_writer_put(&writer, &header, sizeof header);
    file_writer_put(&writer, data, size);
    file_writer_commit(&writer, NULL);
}

void pipeline_cache_close(Gpu *gpu)
{
    size_t size = 0;
    if (gpu->cache_path[0] && !gpu->lost)
        vkGetPipelineCacheData(gpu->device, gpu->pipeline_cache, &size, NULL);
    uint8_t *data = size ? malloc(size) : NULL;
    if (data && vkGetPipelineCacheData(gpu->device, gpu->pipeline_cache, &size, data) == VK_SUCCESS)
        save(gpu, data, size);
    free(data);
    vkDestroyPipelineCache(gpu->device, gpu->pipeline_cache, NULL);
}
