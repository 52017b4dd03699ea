// What each driver calls what: from its statistics to the fields of statistics.h. Names were read
// off the drivers (tests/test_profile_statistics.c holds samples) unless it says otherwise. How
// often a loop goes round is a guess in all times, as a compiler does not know.
#include "gpu/statistics.h"

#include <math.h>
#include <string.h>

const StatisticFieldInfo STATISTIC_FIELDS[FIELD_COUNT] = {
    [FIELD_REGISTERS] = {"registers", "32-bit registers of an invocation"},
    [FIELD_SCALAR_REGISTERS] = {"scalars", "32-bit registers that a subgroup has once"},
    [FIELD_SPILLS] = {"spills", "registers that went to memory, or stores of such"},
    [FIELD_SCRATCH] = {"scratch", "bytes of an invocation in memory"},
    [FIELD_SHARED] = {"shared", "bytes that a workgroup shares"},
    [FIELD_LANES] = {"group", "invocations of a workgroup"},
    [FIELD_OCCUPANCY] = {"occupancy",
                         "subgroups in flight, at most (AMD: on a SIMD; others: a core)"},
    [FIELD_INSTRUCTIONS] = {"instructions", "in the code, each once"},
    [FIELD_CODE] = {"code", "bytes of code"},
    [FIELD_SUBGROUP] = {"subgroup", "lanes"},
    [FIELD_TIME] = {"time", "cycles that a subgroup keeps its unit busy, as the driver estimates"},
    [FIELD_LATENCY] = {"latency", "cycles that a subgroup takes alone, as the driver estimates"},
    [FIELD_STALLS] = {"stalls", "cycles that a subgroup waits, as the driver estimates"},
};

typedef enum {
    SUM,     // of all that have the field
    MOST,    // the largest of them
    PER_LANE // the driver counts for a subgroup
} How;

typedef struct {
    const char *name; // of the statistic
    StatisticField field;
    How how;
    double scale;
} Name;

// radv (AMD), Mesa 22.3 to 26.
static const Name RADV[] = {
    {"VGPRs", FIELD_REGISTERS, SUM, 1},
    {"SGPRs", FIELD_SCALAR_REGISTERS, SUM, 1},
    {"Spilled VGPRs", FIELD_SPILLS, SUM, 1},
    {"Spilled SGPRs", FIELD_SPILLS, SUM, 1},
    {"Scratch size", FIELD_SCRATCH, PER_LANE, 1}, // of a subgroup
    {"LDS size", FIELD_SHARED, SUM, 1},
    {"Subgroups per SIMD", FIELD_OCCUPANCY, SUM, 1},
    {"Instructions", FIELD_INSTRUCTIONS, SUM, 1},
    {"Code size", FIELD_CODE, SUM, 1},
    {"Inverse Throughput", FIELD_TIME, SUM, 1},
    {"Latency", FIELD_LATENCY, SUM, 1},
    {0},
};

// NVK (NVIDIA).
static const Name NVK[] = {
    {"Number of GPRs", FIELD_REGISTERS, SUM, 1},
    {"Spills to memory", FIELD_SPILLS, SUM, 1},
    {"SLM size", FIELD_SCRATCH, SUM, 1},
    {"Max warps/SM", FIELD_OCCUPANCY, SUM, 1},
    {"Instruction count", FIELD_INSTRUCTIONS, SUM, 1},
    {"Code size", FIELD_CODE, SUM, 1},
    {"Static cycle count", FIELD_TIME, SUM, 1}, // of instructions with a fixed latency
    {0},
};

// turnip (Qualcomm).
static const Name TURNIP[] = {
    {"Registers used", FIELD_REGISTERS, SUM, 4}, // vectors of four
    {"STP Count", FIELD_SPILLS, SUM, 1},         // stores to private memory
    {"Max Waves Per Core", FIELD_OCCUPANCY, SUM, 1},
    {"Instruction Count", FIELD_INSTRUCTIONS, SUM, 1},
    {"Code size", FIELD_CODE, SUM, 4}, // words
    {"Estimated cycles stalled on SS", FIELD_STALLS, SUM, 1},
    {"Estimated cycles stalled on SY", FIELD_STALLS, SUM, 1},
    {0},
};

// Honeykrisp (Apple).
static const Name HONEYKRISP[] = {
    {"GPRs", FIELD_REGISTERS, SUM, 0.5}, // of 16 bits
    {"Uniforms", FIELD_SCALAR_REGISTERS, SUM, 0.5},
    {"Spills", FIELD_SPILLS, SUM, 1},
    {"Scratch", FIELD_SCRATCH, SUM, 1},
    {"Threads", FIELD_OCCUPANCY, SUM, 1.0 / 32}, // invocations
    {"Instructions", FIELD_INSTRUCTIONS, SUM, 1},
    {"Code size", FIELD_CODE, SUM, 1},
    {"ALU", FIELD_TIME, MOST, 1}, // three units that work side by side
    {"FSCIB", FIELD_TIME, MOST, 1},
    {"IC", FIELD_TIME, MOST, 1},
    {0},
};

// ANV (Intel): the names of Mesa's sources, those of 25 and before second. Not seen running.
static const Name ANV[] = {
    {"GRF registers", FIELD_REGISTERS, MOST, 1}, // of a hardware thread, of 32 or 64 bytes
    {"Max live registers", FIELD_REGISTERS, MOST, 1},
    {"Spills", FIELD_SPILLS, SUM, 1},
    {"Spill Count", FIELD_SPILLS, SUM, 1},
    {"Scratch Memory Size", FIELD_SCRATCH, PER_LANE, 1},
    {"Workgroup Memory Size", FIELD_SHARED, SUM, 1},
    {"Instructions", FIELD_INSTRUCTIONS, SUM, 1},
    {"Instruction Count", FIELD_INSTRUCTIONS, SUM, 1},
    {"Code size", FIELD_CODE, SUM, 1},
    {"Cycles", FIELD_TIME, SUM, 1},
    {"Cycle Count", FIELD_TIME, SUM, 1},
    {0},
};

// NVIDIA's own driver: names that others have reported. Not seen running.
static const Name NVIDIA[] = {
    {"Register Count", FIELD_REGISTERS, SUM, 1},
    {"Local Memory Size", FIELD_SCRATCH, SUM, 1},
    {"Shared Memory Size", FIELD_SHARED, SUM, 1},
    {"Binary Size", FIELD_CODE, SUM, 1},
    {0},
};

// By how GpuInfo.driver begins.
static const struct {
    const char *driver;
    const Name *names;
} DRIVERS[] = {
    {"radv", RADV},
    {"NVK", NVK},
    {"turnip", TURNIP},
    {"Honeykrisp", HONEYKRISP},
    {"Intel open-source Mesa", ANV},
    {"NVIDIA", NVIDIA},
};

double statistic_number(const Statistic *statistic)
{
    switch (statistic->format) {
    case STATISTIC_BOOL:
        return statistic->value.b;
    case STATISTIC_INT:
        return (double)statistic->value.i;
    case STATISTIC_UINT:
        return (double)statistic->value.u;
    default:
        return statistic->value.d;
    }
}

static const Name *names_of(const char *driver)
{
    static const Name none[] = {{0}};
    for (size_t i = 0; i < sizeof DRIVERS / sizeof *DRIVERS; i++)
        if (!strncmp(driver, DRIVERS[i].driver, strlen(DRIVERS[i].driver))) return DRIVERS[i].names;
    return none;
}

static void add(double *field, const Name *name, double value, uint32_t subgroup_size)
{
    value *= name->scale;
    if (name->how == PER_LANE) {
        if (!subgroup_size) return;
        value /= subgroup_size;
    }
    if (isnan(*field))
        *field = value;
    else
        *field = name->how == MOST ? fmax(*field, value) : *field + value;
}

void statistics_normalize(double *fields, const char *driver, const Executable *executables,
                          uint32_t count)
{
    const Name *names = names_of(driver);
    for (int f = 0; f < FIELD_COUNT; f++) fields[f] = NAN;
    if (!count) return;
    const Executable *last = &executables[count - 1];
    if (last->subgroup_size) fields[FIELD_SUBGROUP] = last->subgroup_size;
    for (uint32_t i = 0; i < last->value_count; i++)
        for (const Name *name = names; name->name; name++)
            if (!strcmp(name->name, last->values[i].name))
                add(&fields[name->field], name, statistic_number(&last->values[i]),
                    last->subgroup_size);
}
