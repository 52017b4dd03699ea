// The Vulkan instance and, in debug builds, the validation layer with its messages.
#define VOLK_IMPLEMENTATION
#include "gpu/internal.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_uint validation_messages;

unsigned gpu_validation_messages(void)
{
    return atomic_load(&validation_messages);
}

static VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                                 VkDebugUtilsMessageTypeFlagsEXT types,
                                                 const VkDebugUtilsMessengerCallbackDataEXT *data,
                                                 void *user)
{
    (void)severity, (void)types, (void)user;
    atomic_fetch_add(&validation_messages, 1);
    fprintf(stderr, "validation: %s\n", data->pMessage);
    return VK_FALSE;
}

static bool want_validation(void)
{
#ifdef STRATA_VALIDATE
    return true;
#else
    const char *set = getenv("STRATA_VALIDATE");
    return set && *set && strcmp(set, "0") != 0;
#endif
}

static const char VALIDATION[] = "VK_LAYER_KHRONOS_validation";

uint32_t instance_validation_version(void)
{
    VkLayerProperties layers[64];
    uint32_t count = 64;
    vkEnumerateInstanceLayerProperties(&count, layers);
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(layers[i].layerName, VALIDATION)) return layers[i].specVersion;
    return 0;
}

static bool has_extension(const char *name)
{
    VkExtensionProperties extensions[64];
    uint32_t count = 64;
    vkEnumerateInstanceExtensionProperties(NULL, &count, extensions);
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(extensions[i].extensionName, name)) return true;
    return false;
}

static const VkDebugUtilsMessengerCreateInfoEXT messenger_info = {
    .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
    .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                       VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
    .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
    .pfnUserCallback = on_message,
};

static VkResult create_instance(VkInstance *instance, bool validate)
{
    const char *extensions[2];
    uint32_t extension_count = 0;
    VkInstanceCreateFlags flags = 0;
    if (has_extension("VK_KHR_portability_enumeration")) { // Vulkan over Metal
        extensions[extension_count++] = "VK_KHR_portability_enumeration";
        flags |= 0x1; // VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR
    }
    const char *layer = VALIDATION;
    const VkValidationFeatureEnableEXT enable =
        VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT;
    const VkValidationFeaturesEXT features = {
        .sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
        .pNext = &messenger_info,
        .enabledValidationFeatureCount = 1,
        .pEnabledValidationFeatures = &enable,
    };
    if (validate || has_extension(VK_EXT_DEBUG_UTILS_EXTENSION_NAME)) // else nothing has a name
        extensions[extension_count++] = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
    const VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .pApplicationName = "strata",
        .apiVersion = VK_API_VERSION_1_2,
    };
    const VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pNext = validate ? &features : NULL,
        .flags = flags,
        .pApplicationInfo = &application,
        .enabledLayerCount = validate ? 1 : 0,
        .ppEnabledLayerNames = &layer,
        .enabledExtensionCount = extension_count,
        .ppEnabledExtensionNames = extensions,
    };
    return vkCreateInstance(&info, NULL, instance);
}

bool instance_open(VkInstance *instance, VkDebugUtilsMessengerEXT *messenger, Error *err)
{
    *instance = VK_NULL_HANDLE;
    *messenger = VK_NULL_HANDLE;
    if (volkInitialize() != VK_SUCCESS)
        return error_set(err, "no Vulkan loader (libvulkan.so.1) on this system: install it "
                              "together with a driver for your GPU");
    bool validate = want_validation();
    if (validate && !instance_validation_version())
        return error_set(err, "validation is on, but %s is not installed", VALIDATION);
    VkResult result = create_instance(instance, validate);
    if (result == VK_ERROR_INCOMPATIBLE_DRIVER)
        return error_set(err, "no Vulkan driver on this system: install the one for your GPU, or "
                              "Mesa's for the CPU (Debian: mesa-vulkan-drivers)");
    if (result != VK_SUCCESS) return error_set(err, "cannot start Vulkan (error %d)", result);
    volkLoadInstance(*instance);
    if (validate) vkCreateDebugUtilsMessengerEXT(*instance, &messenger_info, NULL, messenger);
    return true;
}

void instance_close(VkInstance instance, VkDebugUtilsMessengerEXT messenger)
{
    if (messenger) vkDestroyDebugUtilsMessengerEXT(instance, messenger, NULL);
    if (instance) vkDestroyInstance(instance, NULL);
}
