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

static const char *forced_variant; // NULL: the environment's

void launch_force_variant(const char *variant)
{
    forced_variant = variant;
}

static bool forced(const char *variant)
{
    const char *text = forced_variant ? forced_variant : getenv("STRATA_VARIANT");
    return text && !strcmp(text, variant);
}

Kernel launch_width(Widths kernels, uint32_t cols)
{
    return cols % 4 || forced("any") ? kernels.any : kernels.vec4;
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
    return launch_whole((Dispatch){.kernel = kernel, .constants = {group, each}},
                        (count + items - 1) / items);
}

Dispatch launch_columns(Tape *tape, Kernel kernel, uint32_t cols)
{
    Dispatch dispatch = launch_item_groups(tape, kernel, 1);
    uint32_t group = dispatch.constants[0];
    return launch_whole(dispatch, (cols + group - 1) / group);
}

Dispatch launch_whole(Dispatch dispatch, uint32_t groups)
{
    enum { WIDEST = 32768 }; // Vulkan promises 65535 along an axis
    uint32_t x = groups < WIDEST ? groups : WIDEST;
    dispatch.grid = (Grid){.x = x, .y = (groups + x - 1) / x};
    return dispatch;
}

void launch_record(Tape *tape, Dispatch dispatch, const void *args, uint32_t args_bytes,
                   const Tensor *tensors, size_t count)
{
    memcpy(dispatch.tensors, tensors, count * sizeof *tensors);
    dispatch.args = args;
    dispatch.args_bytes = args_bytes;
    tape_dispatch(tape, &dispatch);
}

bool launch_half(Tensor tensor)
{
    return tensor.dtype == DTYPE_F16 || tensor.dtype == DTYPE_BF16;
}

uint32_t launch_storage(Tensor tensor)
{
    if (dtype_blocked(tensor.dtype)) return (uint32_t)(tensor.dtype - DTYPE_Q8_0) + FORMAT_Q8_0;
    return tensor.dtype == DTYPE_BF16;
}

Dispatch launch_shared(Tape *tape, Dispatch dispatch, uint64_t steps)
{
    uint32_t most = gpu_info(tape_gpu(tape))->loop_steps;
    uint32_t *group = &dispatch.constants[0], *each = &dispatch.constants[1];
    // Some are left for the loops that add up what the invocations found.
    while (most && *each < GROUP && steps / *each > most - 64) *each *= 2;
    if (*group < *each) *group = *each;
    if (dispatch.grid.rows.counts) dispatch.grid.tile = *group / *each;
    return dispatch;
}

bool launch_shuffles(Tape *tape)
{
    const GpuInfo *info = gpu_info(tape_gpu(tape));
    if (forced("any") || forced("vec4")) return false;
    return info->subgroup_shuffle && info->subgroup_size && info->subgroup_size % 8 == 0;
}

bool launch_prefers_shuffles(Tape *tape)
{
    bool wanted = forced("shuffle") || forced("texel");
    return launch_shuffles(tape) && (wanted || (is_cpu(tape) && lanes(tape) == 1));
}

// CPU drivers gather from texel views, and loop over lanes for storage buffers: on lavapipe 22.3
// all matrix kernels take 0.4 to 0.75 of their time.
static bool prefers_texels(Tape *tape, Tensor left, Tensor right)
{
    uint64_t most = gpu_info(tape_gpu(tape))->texel_bytes;
    const Tensor both[] = {left, right};
    for (int i = 0; i < 2; i++) // `most` is for vectors of f32
        if (tensor_bytes(both[i]) > most / 16 * tensor_texel(both[i])) return false;
    if (forced("shuffle")) return false;
    return forced("texel") || is_cpu(tape);
}

// Whatever is not f32 has vectors.
static Variant variant(Tape *tape, bool vectors, bool f32, Tensor left, Tensor right)
{
    if (f32 && (!vectors || forced("any"))) return VARIANT_ANY;
    if (!launch_shuffles(tape)) return VARIANT_VEC4;
    return prefers_texels(tape, left, right) ? VARIANT_TEXEL : VARIANT_SHUFFLE;
}

// A cache line is four vectors. Few rows read w once, and rows of w often lie a power of two apart,
// where they push each other out of the first cache: whole lines are used up at once. Tiles of many
// rows gain from 2 (512^3: 68 GFLOP/s, with 1 and with 4 about 50).
static uint32_t longest_run(uint32_t length, uint32_t most)
{
    while (most > 1 && length % (4 * most)) most /= 2;
    return most;
}

MatmulShape launch_matmul(Tape *tape, uint32_t rows, bool vectors, Tensor parameter, Tensor left,
                          Tensor right, uint32_t length)
{
    const GpuInfo *info = gpu_info(tape_gpu(tape));
    MatmulShape shape = {.variant =
                             variant(tape, vectors, parameter.dtype == DTYPE_F32, left, right),
                         .tile_rows = 8,
                         .tile_cols = 4,
                         .run = 1};
    shape.group = is_cpu(tape) ? 8 : GROUP;
    // Full subgroups where invocations hand values round.
    if (shape.variant >= VARIANT_SHUFFLE && shape.group < info->subgroup_size)
        shape.group = info->subgroup_size;
    // lavapipe (Mesa 22.3, 8 lanes) without texel views: 32 x 4 reaches 29-42 GFLOP/s at 512^3,
    // 8 x 8 25, 8 x 4 less; with them 32 x 4 reaches 44-52.
    if (is_cpu(tape) && rows > 16) {
        shape.tile_rows = 32;
        if (shape.variant == VARIANT_TEXEL) shape.run = longest_run(length, 2);
    }
    if (rows <= 4) {
        shape.tile_rows = rows;
        shape.tile_cols = 8; // a load of x serves more columns of w
        if (shape.variant == VARIANT_TEXEL) shape.run = longest_run(length, 4);
    }
    // Decoding a value costs more than loading it: it serves as many rows as registers hold. 16 x 8
    // reaches 68 GFLOP/s at 512^3, 32 x 4 60; runs gain nothing.
    if (dtype_blocked(parameter.dtype)) {
        shape.run = 1;
        if (is_cpu(tape)) shape.tile_cols = 8;
        // Not where each invocation loads all rows of x: there LLVM 21 (lavapipe of Mesa 26.1) loses
        // stores of tiles of 16 x 8, but for GALLIVM_PERF=nopt, while its input has them.
        bool handed = shape.variant >= VARIANT_SHUFFLE;
        if (is_cpu(tape) && rows > 16) shape.tile_rows = handed ? 16 : 8;
    }
    return shape;
}
