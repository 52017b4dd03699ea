// What drivers' compilers say, without a driver: names and values as they were read off the drivers
// (Mesa 26.1.6, null devices) become the fields that tables show. And what SPIR-V says of a
// workgroup by itself.
#include "gpu/internal.h"
#include "gpu/statistics.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 32 };

typedef struct {
    const char *name;
    double value;
} Said;

typedef struct {
    const char *driver;
    uint32_t subgroup_size;
    Said said[MOST];
    double want[FIELD_COUNT]; // -1: not told
} Sample;

// attention.comp with heads of 128 and 32 invocations a row, but for the last two.
static const Sample SAMPLES[] = {
    {"radv Mesa 26.1.6-1",
     64,
     {{"Driver pipeline hash", 7959709469751785000.0},
      {"SGPRs", 108},
      {"VGPRs", 256},
      {"Spilled SGPRs", 2}, // 0 in the sample
      {"Spilled VGPRs", 15},
      {"Code size", 9736},
      {"LDS size", 8192},
      {"Scratch size", 4096}, // 0 in the sample
      {"Subgroups per SIMD", 4},
      {"Instructions", 1918},
      {"Copies", 194},
      {"Branches", 25},
      {"Latency", 176929},
      {"Inverse Throughput", 88464},
      {"Pre-Sched SGPRs", 17},
      {"Pre-Sched VGPRs", 271},
      {"VALU", 994}},
     {[FIELD_REGISTERS] = 256,
      [FIELD_SCALAR_REGISTERS] = 108,
      [FIELD_SPILLS] = 17,
      [FIELD_SCRATCH] = 64,
      [FIELD_SHARED] = 8192,
      [FIELD_LANES] = -1,
      [FIELD_OCCUPANCY] = 4,
      [FIELD_INSTRUCTIONS] = 1918,
      [FIELD_CODE] = 9736,
      [FIELD_SUBGROUP] = 64,
      [FIELD_TIME] = 88464,
      [FIELD_LATENCY] = 176929,
      [FIELD_STALLS] = -1}},
    {"NVK Mesa 26.1.6-1",
     32,
     {{"Instruction count", 5717},
      {"Static cycle count", 189192},
      {"Max warps/SM", 8},
      {"Spills to memory", 534},
      {"Fills from memory", 396},
      {"Spills to reg", 0},
      {"Fills from reg", 0},
      {"Code size", 91472},
      {"Number of GPRs", 255},
      {"SLM size", 1096}},
     {[FIELD_REGISTERS] = 255,
      [FIELD_SCALAR_REGISTERS] = -1,
      [FIELD_SPILLS] = 534,
      [FIELD_SCRATCH] = 1096,
      [FIELD_SHARED] = -1,
      [FIELD_LANES] = -1,
      [FIELD_OCCUPANCY] = 8,
      [FIELD_INSTRUCTIONS] = 5717,
      [FIELD_CODE] = 91472,
      [FIELD_SUBGROUP] = 32,
      [FIELD_TIME] = 189192,
      [FIELD_LATENCY] = -1,
      [FIELD_STALLS] = -1}},
    {"Honeykrisp Mesa 26.1.6-1",
     32,
     {{"Instructions", 3769},
      {"ALU", 1689},
      {"FSCIB", 1690}, // 1689 in the sample
      {"IC", 58},
      {"Code size", 26022},
      {"GPRs", 255},
      {"Uniforms", 230},
      {"Scratch", 1144},
      {"Threads", 384},
      {"Loops", 1},
      {"Spills", 222},
      {"Fills", 232},
      {"Preamble instructions", 100}},
     {[FIELD_REGISTERS] = 127.5,
      [FIELD_SCALAR_REGISTERS] = 115,
      [FIELD_SPILLS] = 222,
      [FIELD_SCRATCH] = 1144,
      [FIELD_SHARED] = -1,
      [FIELD_LANES] = -1,
      [FIELD_OCCUPANCY] = 12,
      [FIELD_INSTRUCTIONS] = 3769,
      [FIELD_CODE] = 26022,
      [FIELD_SUBGROUP] = 32,
      [FIELD_TIME] = 1690,
      [FIELD_LATENCY] = -1,
      [FIELD_STALLS] = -1}},
    // matmul_shuffle, 8 x 4 a lane.
    {"turnip Mesa driver Mesa 26.1.6-1",
     64,
     {{"Max Waves Per Core", 6},
      {"Instruction Count", 1701},
      {"Code size", 1992},
      {"NOPs Count", 828},
      {"Registers used", 32},
      {"Half-registers used", 0},
      {"Estimated cycles stalled on SS", 197},
      {"Estimated cycles stalled on SY", 711},
      {"Loops", 33},
      {"STP Count", 0},
      {"LDP Count", 0},
      {"Early preamble", 0},
      {"Const file size", 8}},
     {[FIELD_REGISTERS] = 128,
      [FIELD_SCALAR_REGISTERS] = -1,
      [FIELD_SPILLS] = 0,
      [FIELD_SCRATCH] = -1,
      [FIELD_SHARED] = -1,
      [FIELD_LANES] = -1,
      [FIELD_OCCUPANCY] = 6,
      [FIELD_INSTRUCTIONS] = 1701,
      [FIELD_CODE] = 7968,
      [FIELD_SUBGROUP] = 64,
      [FIELD_TIME] = -1,
      [FIELD_LATENCY] = -1,
      [FIELD_STALLS] = 908}},
    // Nothing that is known: all of it stays raw, also where a name is another driver's.
    {"some driver 1.0",
     0,
     {{"VGPRs", 12}, {"Warmth", 3}},
     {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}},
};

static void make_executable(Executable *to, const Sample *sample)
{
    *to = (Executable){.subgroup_size = sample->subgroup_size};
    while (to->value_count < MOST && sample->said[to->value_count].name) to->value_count++;
    to->values = calloc(to->value_count, sizeof *to->values);
    assert_non_null(to->values);
    for (uint32_t i = 0; i < to->value_count; i++) {
        snprintf(to->values[i].name, sizeof to->values[i].name, "%s", sample->said[i].name);
        to->values[i].format = STATISTIC_UINT;
        to->values[i].value.u = (uint64_t)sample->said[i].value;
    }
}

static void check_fields(const double *fields, const Sample *sample)
{
    for (int f = 0; f < FIELD_COUNT; f++) {
        double want = sample->want[f];
        if (want < 0 ? isnan(fields[f]) : fields[f] == want) continue;
        fail_msg("%s: %s is %g, expected %g", sample->driver, STATISTIC_FIELDS[f].name, fields[f],
                 want);
    }
}

static void names_of_drivers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof SAMPLES / sizeof *SAMPLES; i++) {
        Executable executable;
        double fields[FIELD_COUNT];
        make_executable(&executable, &SAMPLES[i]);
        statistics_normalize(fields, SAMPLES[i].driver, &executable, 1);
        check_fields(fields, &SAMPLES[i]);
        free(executable.values);
    }
}

static void no_executables_are_not_zeros(void **state)
{
    (void)state;
    double fields[FIELD_COUNT];
    statistics_normalize(fields, "llvmpipe Mesa 22.3.6 (LLVM 15.0.6)", NULL, 0);
    for (int f = 0; f < FIELD_COUNT; f++) assert_true(isnan(fields[f]));
}

// Intel's driver makes one for each width.
static void the_widest_counts(void **state)
{
    (void)state;
    Statistic narrow = {.name = "Spills", .format = STATISTIC_INT, .value.i = 0};
    Statistic wide = {.name = "Spills", .format = STATISTIC_INT, .value.i = 7};
    const Executable both[] = {{.subgroup_size = 8, .value_count = 1, .values = &narrow},
                               {.subgroup_size = 16, .value_count = 1, .values = &wide}};
    double fields[FIELD_COUNT];
    statistics_normalize(fields, "Intel open-source Mesa driver Mesa 25.0", both, 2);
    assert_true(fields[FIELD_SPILLS] == 7);
    assert_true(fields[FIELD_SUBGROUP] == 16);
}

static void every_format_is_a_number(void **state)
{
    (void)state;
    assert_true(statistic_number(&(Statistic){.format = STATISTIC_BOOL, .value.b = true}) == 1);
    assert_true(statistic_number(&(Statistic){.format = STATISTIC_INT, .value.i = -3}) == -3);
    assert_true(statistic_number(&(Statistic){.format = STATISTIC_UINT, .value.u = 9}) == 9);
    assert_true(statistic_number(&(Statistic){.format = STATISTIC_DOUBLE, .value.d = .5}) == .5);
}

// ---- SPIR-V ------------------------------------------------------------------------------------

static void check_group(Kernel kernel, const uint32_t *constants, uint32_t lanes, uint64_t shared)
{
    SpirvGroup group;
    const KernelSource *source = &kernel_sources[kernel];
    assert_true(spirv_group(&group, source->words, source->count, constants));
    assert_int_equal(group.lanes, lanes);
    assert_int_equal(group.shared_bytes, shared);
}

// reduce.glsl shares a float an invocation; merge.glsl 16 of them an invocation, or one in all
// where an invocation has a row for itself.
static void groups_of_kernels(void **state)
{
    (void)state;
    check_group(K_add, (uint32_t[GPU_CONSTANTS]){48, 1}, 48, 0);
    check_group(K_rmsnorm, (uint32_t[GPU_CONSTANTS]){64, 32}, 64, 64 * 4);
    check_group(K_rmsnorm, (uint32_t[GPU_CONSTANTS]){16, 1}, 16, 16 * 4);
    check_group(K_attention, (uint32_t[GPU_CONSTANTS]){64, 32, 64}, 64, 64 * 4 * 17);
    check_group(K_attention, (uint32_t[GPU_CONSTANTS]){64, 1, 64}, 64, 64 * 4 + 4);
    check_group(K_matmul_shuffle, (uint32_t[GPU_CONSTANTS]){64, 1, 8, 4, 1}, 64, 0);
}

// Damaged words must not crash the scan; what it says of them does not matter.
static void damaged_spirv_is_survived(void **state)
{
    (void)state;
    const KernelSource *source = &kernel_sources[K_attention];
    const uint32_t constants[GPU_CONSTANTS] = {64, 32, 64};
    uint32_t *words = malloc(source->count * 4), seed = 5;
    SpirvGroup group;
    assert_non_null(words);
    assert_false(spirv_group(&group, source->words, 4, constants));
    for (size_t count = 5; count < source->count; count += 7) {
        uint32_t *cut = malloc(count * 4); // exactly so many: a sanitizer sees one more
        assert_non_null(cut);
        memcpy(cut, source->words, count * 4);
        spirv_group(&group, cut, count, constants);
        free(cut);
    }
    for (int turn = 0; turn < 2000; turn++) {
        memcpy(words, source->words, source->count * 4);
        for (int i = 0; i < 3; i++) {
            seed = seed * 1664525 + 1013904223;
            words[1 + (seed >> 8) % (source->count - 1)] ^= 1u << (seed >> 3) % 32;
        }
        spirv_group(&group, words, source->count, constants);
    }
    free(words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_drivers),  cmocka_unit_test(no_executables_are_not_zeros),
        cmocka_unit_test(the_widest_counts), cmocka_unit_test(every_format_is_a_number),
        cmocka_unit_test(groups_of_kernels), cmocka_unit_test(damaged_spirv_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
