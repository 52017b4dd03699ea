// What a device may have beyond the floor of Vulkan 1.2, and what of it is turned on: extensions
// and features that profiling and measurements use where they are there. Nothing here is needed to
// train or to generate.
#include "gpu/internal.h"

#include <string.h>

// The extension's name goes on the list where the device has it.
static bool add_extension(Optional *optional, VkPhysicalDevice physical, const char *name)
{
    if (!device_has_extension(physical, name)) return false;
    optional->names[optional->name_count++] = name;
    return true;
}

// Puts a structure of features in front of the chain.
static void *link_features(Optional *optional, void *features)
{
    ((VkBaseOutStructure *)features)->pNext = optional->features.pNext;
    optional->features.pNext = features;
    return features;
}

// Asks for features, which stay as they are found: those that the device has are turned on.
static void read_features(VkPhysicalDevice physical, void *features)
{
    VkPhysicalDeviceFeatures2 query = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                       .pNext = features};
    vkGetPhysicalDeviceFeatures2(physical, &query);
}

static void choose_statistics(Optional *optional, VkPhysicalDevice physical)
{
    const char *name = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
    optional->executable = (VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR};
    if (!device_has_extension(physical, name)) return;
    read_features(physical, &optional->executable);
    optional->statistics = optional->executable.pipelineExecutableInfo;
    if (!optional->statistics) return;
    add_extension(optional, physical, name);
    link_features(optional, &optional->executable);
}

// f16 and integers of 8 bits in arithmetic, of the core.
static void choose_small_types(Optional *optional, VkPhysicalDevice physical)
{
    optional->small = (VkPhysicalDeviceShaderFloat16Int8Features){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES};
    read_features(physical, &optional->small);
    if (optional->small.shaderFloat16) optional->needs |= NEEDS_FLOAT16;
    if (optional->small.shaderInt8) optional->needs |= NEEDS_INT8;
    link_features(optional, &optional->small);
}

static void choose_dot(Optional *optional, VkPhysicalDevice physical)
{
    const char *name = VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME;
    optional->dot = (VkPhysicalDeviceShaderIntegerDotProductFeaturesKHR){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES_KHR};
    if (!device_has_extension(physical, name)) return;
    read_features(physical, &optional->dot);
    if (!optional->dot.shaderIntegerDotProduct) return;
    add_extension(optional, physical, name);
    link_features(optional, &optional->dot);
    optional->needs |= NEEDS_DOT;
}

// Cooperative matrices, with the memory model that their modules state, and workgroups of whole
// subgroups, which they ask for.
static void choose_matrix(Optional *optional, VkPhysicalDevice physical)
{
    optional->memory_model = (VkPhysicalDeviceVulkanMemoryModelFeatures){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES};
    optional->matrix = (MatrixFeatures){.sType = (VkStructureType)MATRIX_FEATURES_TYPE,
                                        .pNext = &optional->memory_model};
    optional->subgroups = (VkPhysicalDeviceSubgroupSizeControlFeaturesEXT){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT};
    optional->memory_model.pNext = &optional->subgroups;
    if (!device_has_extension(physical, MATRIX_EXTENSION) ||
        !device_has_extension(physical, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME))
        return;
    read_features(physical, &optional->matrix);
    if (!optional->matrix.cooperativeMatrix || !optional->memory_model.vulkanMemoryModel ||
        !optional->subgroups.computeFullSubgroups)
        return;
    optional->matrix.cooperativeMatrixRobustBufferAccess = VK_FALSE;
    optional->memory_model.vulkanMemoryModelDeviceScope = VK_FALSE;
    optional->memory_model.vulkanMemoryModelAvailabilityVisibilityChains = VK_FALSE;
    optional->subgroups.subgroupSizeControl = VK_FALSE;
    add_extension(optional, physical, MATRIX_EXTENSION);
    add_extension(optional, physical, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
    link_features(optional, &optional->subgroups);
    link_features(optional, &optional->memory_model);
    link_features(optional, &optional->matrix);
    optional->needs |= NEEDS_MATRIX;
}

// Only where it is asked for: some drivers run otherwise with it.
static void choose_counters(Optional *optional, VkPhysicalDevice physical)
{
    const char *name = VK_KHR_PERFORMANCE_QUERY_EXTENSION_NAME;
    optional->performance = (VkPhysicalDevicePerformanceQueryFeaturesKHR){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PERFORMANCE_QUERY_FEATURES_KHR};
    if (!device_has_extension(physical, name)) return;
    read_features(physical, &optional->performance);
    optional->counters = optional->performance.performanceCounterQueryPools;
    if (!optional->counters) return;
    add_extension(optional, physical, name);
    link_features(optional, &optional->performance);
}

void optional_choose(Optional *optional, VkPhysicalDevice physical, bool counters)
{
    *optional = (Optional){.features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2}};
    add_extension(optional, physical, "VK_KHR_portability_subset"); // must be on where it exists
    optional->calibrated =
        add_extension(optional, physical, VK_EXT_CALIBRATED_TIMESTAMPS_EXTENSION_NAME);
    choose_statistics(optional, physical);
    choose_small_types(optional, physical);
    choose_dot(optional, physical);
    choose_matrix(optional, physical);
    if (counters) choose_counters(optional, physical);
}
