// What a driver's compiler says of a pipeline (VK_KHR_pipeline_executable_properties): registers,
// spills, occupancy, instructions, estimates of time. Nothing runs for it. Not measurements, and
// not comparable between drivers: each counts in its own way.
#ifndef STRATA_GPU_STATISTICS_H
#define STRATA_GPU_STATISTICS_H

#include "gpu/gpu.h"

// ---- as the driver says it ---------------------------------------------------------------------

typedef enum { STATISTIC_BOOL, STATISTIC_INT, STATISTIC_UINT, STATISTIC_DOUBLE } StatisticFormat;

typedef struct {
    char name[256], description[256];
    StatisticFormat format;
    union {
        bool b;
        int64_t i;
        uint64_t u;
        double d;
    } value; // by format
} Statistic;

// The value, whatever its format.
double statistic_number(const Statistic *statistic);

// What the driver made of a shader: usually one for a pipeline.
typedef struct {
    char name[256], description[256];
    uint32_t subgroup_size; // lanes it is compiled for; 0: not told
    uint32_t value_count;
    Statistic *values; // (value_count)
} Executable;

// ---- what can be compared between kernels of one driver ----------------------------------------

typedef enum {
    FIELD_REGISTERS,        // of 32 bits, of an invocation
    FIELD_SCALAR_REGISTERS, // of 32 bits, that a subgroup has once
    FIELD_SPILLS,           // registers that went to memory, or stores of such
    FIELD_SCRATCH,          // bytes of an invocation in memory
    FIELD_SHARED,           // bytes of a workgroup
    FIELD_LANES,            // invocations of a workgroup
    FIELD_OCCUPANCY,        // subgroups in flight on a SIMD unit, or what the driver calls a core
    FIELD_INSTRUCTIONS,
    FIELD_CODE,     // bytes
    FIELD_SUBGROUP, // lanes
    FIELD_TIME,     // cycles in which a subgroup keeps the unit busy, as the driver estimates
    FIELD_LATENCY,  // cycles from its first instruction to its last one, as the driver estimates
    FIELD_STALLS,   // cycles of it that are spent waiting, where the driver tells these alone
    FIELD_COUNT
} StatisticField;

// By StatisticField: a word for the column, and what is counted.
typedef struct {
    const char *name, *meaning;
} StatisticFieldInfo;
extern const StatisticFieldInfo STATISTIC_FIELDS[FIELD_COUNT];

// fields (FIELD_COUNT) from what the driver said, NAN where it did not: which is not 0. `driver` is
// GpuInfo.driver. Names that are not known remain in executables alone. statistics_names.c has the
// names of each driver. Of several executables (Intel's: one for each width) the last counts, the
// widest.
void statistics_normalize(double *fields, const char *driver, const Executable *executables,
                          uint32_t count);

// ---- of a pipeline -----------------------------------------------------------------------------

typedef struct {
    Executable *executables; // (executable_count); none: the driver tells nothing
    uint32_t executable_count;
    double fields[FIELD_COUNT]; // NAN: not known
    double compile_ms;          // what the driver took to compile it
} PipelineStatistics;

// Compiles the kernel with these constants (GPU_CONSTANTS) in a pipeline of its own, past the
// pipeline cache, with VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR where the device has it, reads
// what the driver says and destroys it. So pipelines that run are the same with profiling and
// without, and a cache cannot hide statistics. Where the driver says nothing of shared memory,
// workgroup and subgroup, these come from the SPIR-V and from the device. False: the driver refused
// the kernel, or out of memory; nothing is to be freed then.
bool pipeline_statistics_read(PipelineStatistics *out, Gpu *gpu, Kernel kernel,
                              const uint32_t *constants, Error *err);
void pipeline_statistics_free(PipelineStatistics *statistics);
// Whether the device tells statistics at all.
bool gpu_has_statistics(const Gpu *gpu);

#endif
