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

static void choose_statistics(Optional *optional, VkPhysicalDevice physical)
{
    const char *name = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
    optional->executable = (VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR};
    VkPhysicalDeviceFeatures2 query = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                       .pNext = &optional->executable};
    if (!device_has_extension(physical, name)) return;
    vkGetPhysicalDeviceFeatures2(physical, &query);
    optional->statistics = optional->executable.pipelineExecutableInfo;
    if (!optional->statistics) return;
    add_extension(optional, physical, name);
    link_features(optional, &optional->executable);
}

void optional_choose(Optional *optional, VkPhysicalDevice physical)
{
    *optional = (Optional){.features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2}};
    add_extension(optional, physical, "VK_KHR_portability_subset"); // must be on where it exists
    optional->calibrated =
        add_extension(optional, physical, VK_EXT_CALIBRATED_TIMESTAMPS_EXTENSION_NAME);
    choose_statistics(optional, physical);
}
