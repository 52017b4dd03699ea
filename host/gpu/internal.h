// What the files of host/gpu share. Nobody else includes this.
#ifndef STRATA_GPU_INTERNAL_H
#define STRATA_GPU_INTERNAL_H

#include "gpu/gpu.h"
#include "gpu/matrix_extension.h"
#include "gpu/profile_internal.h"
#include "gpu/submit_internal.h"

enum { ALIGNMENT = 256 }; // the largest minStorageBufferOffsetAlignment that Vulkan allows

// Which tensors a kernel's code reads and writes, and which it sees as texel views; a bit each;
// and what it needs (NEEDS_...).
typedef struct {
    uint32_t reads, writes, texels;
    uint32_t needs;
} KernelAccess;

// A kernel's SPIR-V.
typedef struct {
    const uint32_t *words; // (count)
    size_t count;
    uint32_t *own; // what of it is to be freed, or NULL
} KernelWords;

typedef struct {
    Kernel kernel;
    VkShaderModule module; // of the kernel when it was made: gpu_replace_kernel changes it
    uint32_t constants[GPU_CONSTANTS];
    VkPipeline handle;
} Pipeline;

// A module that took another one's place. Both live until the device closes, as pipelines are found
// by their module, and a handle must not come again.
typedef struct {
    Kernel kernel;
    VkShaderModule module, original;
    KernelAccess original_access;
    KernelWords original_words;
    uint32_t *words; // malloc'ed
    bool restored;
} Replacement;

// A VkBuffer with memory, cut into spans. Lives until the device closes: lavapipe 22.3 reads freed
// memory when buffers are destroyed that were once bound.
typedef struct {
    VkBuffer buffer;
    VkDeviceMemory memory;
    uint8_t *host; // mapping, or NULL
    uint64_t size;
    Memory kind;
    Span *first; // spans of this block by offset
} Block;

struct Span {
    Block *block;
    uint64_t offset, size;            // bytes into the block
    uint64_t read_epoch, write_epoch; // the last epoch that read and wrote it
    Span *next;                       // in the block
};

// What a kernel's code needs beyond the floor; a bit each.
enum { NEEDS_FLOAT16 = 1, NEEDS_INT8 = 2, NEEDS_DOT = 4, NEEDS_MATRIX = 8 };

// optional.c: what a device has beyond the floor, as it was opened.
typedef struct {
    const char *names[12]; // (name_count) extensions that are turned on
    uint32_t name_count;
    VkPhysicalDeviceFeatures2 features; // the chain for vkCreateDevice
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executable;
    VkPhysicalDevicePerformanceQueryFeaturesKHR performance;
    bool statistics; // VK_KHR_pipeline_executable_properties
    bool calibrated; // VK_EXT_calibrated_timestamps
    VkPhysicalDeviceShaderFloat16Int8Features small;
    VkPhysicalDeviceVulkanMemoryModelFeatures memory_model;
    VkPhysicalDeviceShaderIntegerDotProductFeaturesKHR dot;
    MatrixFeatures matrix;
    VkPhysicalDeviceSubgroupSizeControlFeaturesEXT subgroups;
    uint32_t needs; // NEEDS_..., those that kernels may have
    bool counters;  // VK_KHR_performance_query, which is turned on only where it is asked for
} Optional;
void optional_choose(Optional *optional, VkPhysicalDevice physical, bool counters);

struct Gpu {
    VkInstance instance;
    VkDebugUtilsMessengerEXT messenger;
    VkPhysicalDevice physical;
    VkDevice device;
    VkQueue queue;
    uint32_t family;
    Optional optional;
    GpuInfo info;
    VkPhysicalDeviceMemoryProperties memory_types;
    uint32_t group_count[3]; // maxComputeWorkGroupCount

    VkDescriptorSetLayout set_layout;
    VkPipelineLayout layout;
    VkPipelineCache pipeline_cache;
    char cache_path[1024];   // empty: none
    uint64_t cache_checksum; // of what was read
    VkShaderModule modules[KERNEL_COUNT];
    KernelAccess access[KERNEL_COUNT];
    KernelWords words[KERNEL_COUNT];
    Pipeline *pipelines; // (pipeline_count)
    size_t pipeline_count;
    Replacement *replacements; // (replacement_count)
    size_t replacement_count;
    DispatchFilter *filter; // or NULL
    void *filter_user;

    Block **blocks; // (block_count)
    size_t block_count;
    uint64_t memory_used, memory_peak; // bytes of tensors
    uint64_t memory_allocated;         // bytes of blocks

    VkCommandPool commands; // for staging and runs
    VkCommandBuffer copy;
    Submissions submissions;
    Profiler *profiler; // NULL: profiling is off
    Part **parts;       // (parts_room) of the tapes that are being run, in order
    size_t parts_room;
    Tensor staging;

    Tape *tapes;         // all that are open
    Tape *recording;     // the one being recorded, or NULL
    uint64_t epoch;      // one number per barrier ever recorded
    uint64_t part_bytes; // PART_BYTES, less in tests
    bool no_timestamps;  // only in tests: as if the device had none
    const char *phase;   // of gpu_set_phase
    bool names, labels;  // objects have names; commands, too
    bool failed;         // a run or a copy did
    bool lost;           // the device is gone: nothing may be waited for
};

// "device NAME: WHAT: reason" from a Vulkan result; false always.
bool gpu_fail(Gpu *gpu, VkResult result, const char *what, Error *err);

// instance.c
bool instance_open(VkInstance *instance, VkDebugUtilsMessengerEXT *messenger, Error *err);
void instance_close(VkInstance instance, VkDebugUtilsMessengerEXT messenger);
// The version of Vulkan that the validation layer was written for, as VK_MAKE_API_VERSION; 0: none
// is installed.
uint32_t instance_validation_version(void);
// device_info.c
enum { GPU_MAX_DEVICES = 32 };
typedef struct {
    VkPhysicalDevice handles[GPU_MAX_DEVICES];
    GpuInfo infos[GPU_MAX_DEVICES];
    uint32_t count, chosen;
} DeviceList;
bool device_list(DeviceList *list, VkInstance instance, const char *device, Error *err);
bool device_has_extension(VkPhysicalDevice physical, const char *name);
uint32_t device_queue_family(VkPhysicalDevice physical); // UINT32_MAX: no compute queue

// names.c
void names_open(Gpu *gpu); // names_on where somebody looks
void names_on(Gpu *gpu);   // as far as the instance can
void name_object(const Gpu *gpu, VkObjectType type, uint64_t handle, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
// Around a command of a tape, and around a submission.
void label_begin(const Gpu *gpu, VkCommandBuffer buffer, const char *tape, const char *command);
void label_end(const Gpu *gpu, VkCommandBuffer buffer);
void label_submission(const Gpu *gpu, bool begin);

// spirv.c
bool spirv_access(KernelAccess *access, const uint32_t *words, size_t count);
// spirv_group.c: a workgroup with these specialization constants (GPU_CONSTANTS). False: the module
// does not say so in a way that is understood.
typedef struct {
    uint32_t lanes;        // invocations
    uint64_t shared_bytes; // of what they share
} SpirvGroup;
bool spirv_group(SpirvGroup *group, const uint32_t *words, size_t count, const uint32_t *constants);
// shader_folder.c: the kernel's SPIR-V from its file in the folder, in malloc'ed words; *words NULL
// where there is none.
bool shader_folder_compile(uint32_t **words, size_t *count, const char *folder,
                           const KernelSource *source, Error *err);
// The same of one file, wherever it is; it includes what lies in its folder, in STRATA_SHADER_DIR,
// or in the program.
bool shader_file_compile(uint32_t **words, size_t *count, const char *path,
                         const KernelSource *source, Error *err);
// replace.c
void replacements_close(Gpu *gpu);
// pipeline_cache.c
bool pipeline_cache_open(Gpu *gpu, Error *err);
void pipeline_cache_close(Gpu *gpu);
// kernels.c
bool kernels_open(Gpu *gpu, Error *err);
void kernels_close(Gpu *gpu);
// A module of the SPIR-V (none where the device lacks what it needs), and what it reads and writes;
// name is for messages.
bool kernel_module(Gpu *gpu, VkShaderModule *module, KernelAccess *access, const char *name,
                   const uint32_t *words, size_t count, Error *err);
VkPipeline kernel_pipeline(Gpu *gpu, Kernel kernel, const uint32_t *constants, Error *err);
// A pipeline of one's own, which kernel_pipeline does not know of.
VkResult kernel_build(Gpu *gpu, Kernel kernel, const uint32_t *constants,
                      VkPipelineCreateFlags flags, VkPipelineCache cache, VkPipeline *handle);
// descriptors.c: the sets of a tape and what they refer to, freed together.
typedef struct {
    VkDescriptorPool *pools; // (pool_count)
    size_t pool_count;
    uint32_t sets_left;  // in the last pool
    VkBufferView *views; // (view_count)
    size_t view_count;
} Descriptors;
VkResult descriptors_write(Gpu *gpu, Descriptors *own, const Dispatch *dispatch,
                           VkDescriptorSet *set);
void descriptors_free(Gpu *gpu, Descriptors *own);
// memory.c
bool memory_open(Gpu *gpu, Error *err);
void memory_close(Gpu *gpu);
// counts.c: where in the counts' tensor the indirect command of that grid lies.
bool counts_command(Counts *counts, const Grid *grid, uint64_t *offset);
Tensor counts_commands(const Counts *counts);

#endif
