// How ops cut their work into workgroups: see launch.h. Two environment variables force a choice,
// for tests and for those who tune shaders: STRATA_LANES (1, 2, 4 ... 64) and STRATA_VARIANT (any,
// vec4, shuffle).
#include "ops/launch.h"

#include <stdlib.h>
#include <string.h>

enum { GROUP = 64 };

static bool is_cpu(Tape *tape)
{
    return !strcmp(gpu_info(tape_gpu(tape))->kind, "cpu");
}

RowArgs launch_rows(Rows rows)
{
    return (RowArgs){rows.slot, rows.first, rows.max};
}

// A group is as wide as the row needs, so that narrow rows leave no invocation idle.
Dispatch launch_elements(Tape *tape, Kernel kernel, uint32_t cols, Rows rows)
{
    uint32_t step = gpu_info(tape_gpu(tape))->subgroup_size;
    if (!step || step > GROUP) step = GROUP;
    uint32_t group = (cols + ELEMENTS_PER_LANE - 1) / ELEMENTS_PER_LANE;
    group = group < GROUP ? (group + step - 1) / step * step : GROUP;
    uint32_t each = group * ELEMENTS_PER_LANE;
    return (Dispatch){
        .kernel = kernel,
        .grid = {.x = (cols + each - 1) / each, .rows = rows, .tile = 1, .axis = 1},
        .constants = {group, 1},
    };
}

// Barriers cost most on CPU drivers, so there one invocation does a row alone.
static uint32_t lanes(Tape *tape)
{
    const char *forced = getenv("STRATA_LANES");
    unsigned long value = forced ? strtoul(forced, NULL, 10) : 0;
    if (value && value <= GROUP && (value & (value - 1)) == 0) return (uint32_t)value;
    return is_cpu(tape) ? 1 : 32;
}

// Small groups on CPUs: few rows still keep all cores busy.
static uint32_t row_group(Tape *tape, uint32_t each)
{
    uint32_t subgroup = gpu_info(tape_gpu(tape))->subgroup_size;
    if (!is_cpu(tape) || subgroup > GROUP) return GROUP;
    return subgroup > each ? subgroup : each;
}

Dispatch launch_row_groups(Tape *tape, Kernel kernel, uint32_t heads, Rows rows)
{
    uint32_t each = lanes(tape), group = row_group(tape, each);
    return (Dispatch){
        .kernel = kernel,
        .grid = {.y = heads, .rows = rows, .tile = group / each, .axis = 0},
        .constants = {group, each},
    };
}

Dispatch launch_item_groups(Tape *tape, Kernel kernel, uint32_t count)
{
    uint32_t each = lanes(tape), group = row_group(tape, each), items = group / each;
    return (Dispatch){
        .kernel = kernel,
        .grid = {.x = (count + items - 1) / items, .y = 1},
        .constants = {group, each},
    };
}

static bool forced(const char *variant)
{
    const char *text = getenv("STRATA_VARIANT");
    return text && !strcmp(text, variant);
}

bool launch_shuffles(Tape *tape)
{
    const GpuInfo *info = gpu_info(tape_gpu(tape));
    if (forced("any") || forced("vec4")) return false;
    return info->subgroup_shuffle && info->subgroup_size && info->subgroup_size % 8 == 0;
}

bool launch_prefers_shuffles(Tape *tape)
{
    return launch_shuffles(tape) && (forced("shuffle") || (is_cpu(tape) && lanes(tape) == 1));
}

static uint32_t variant(Tape *tape, bool vectors)
{
    if (!vectors || forced("any")) return 0;
    return launch_shuffles(tape) ? 2 : 1;
}

MatmulShape launch_matmul(Tape *tape, uint32_t rows, bool vectors)
{
    const GpuInfo *info = gpu_info(tape_gpu(tape));
    MatmulShape shape = {.variant = variant(tape, vectors), .tile_rows = 8, .tile_cols = 4};
    shape.group = is_cpu(tape) ? 8 : GROUP;
    // Full subgroups where invocations hand values round.
    if (shape.variant == 2 && shape.group < info->subgroup_size) shape.group = info->subgroup_size;
    // lavapipe (Mesa 22.3, 8 lanes): 32 x 4 reaches 29-42 GFLOP/s at 512^3, 8 x 8 25, 8 x 4 less.
    if (is_cpu(tape) && rows > 16) shape.tile_rows = 32;
    if (rows <= 4) {
        shape.tile_rows = rows;
        shape.tile_cols = 8; // a load of x serves more columns of w
    }
    return shape;
}
