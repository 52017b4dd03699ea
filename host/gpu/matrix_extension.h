// What VK_KHR_cooperative_matrix declares, for headers older than it (Vulkan 1.3.255). Facts from
// the Vulkan registry: extension 507, numbers 1000506000 and on. Private to host/gpu.
#ifndef STRATA_GPU_MATRIX_EXTENSION_H
#define STRATA_GPU_MATRIX_EXTENSION_H

#define VK_NO_PROTOTYPES
#include <volk.h>

#define MATRIX_EXTENSION "VK_KHR_cooperative_matrix"

enum {
    MATRIX_FEATURES_TYPE = 1000506000, // VkStructureType
    MATRIX_PROPERTIES_TYPE = 1000506001,
    MATRIX_SUBGROUP = 3, // VkScopeKHR
};

// VkPhysicalDeviceCooperativeMatrixFeaturesKHR.
typedef struct {
    VkStructureType sType;
    void *pNext;
    VkBool32 cooperativeMatrix;
    VkBool32 cooperativeMatrixRobustBufferAccess;
} MatrixFeatures;

// VkCooperativeMatrixPropertiesKHR; the types are VkComponentTypeKHR.
typedef struct {
    VkStructureType sType;
    void *pNext;
    uint32_t MSize, NSize, KSize;
    int32_t AType, BType, CType, ResultType;
    VkBool32 saturatingAccumulation;
    int32_t scope;
} MatrixProperties;

typedef VkResult(VKAPI_PTR *GetMatrixProperties)(VkPhysicalDevice physical, uint32_t *count,
                                                 MatrixProperties *properties);

#endif
