// Ops over whole parameters: gradient norm, clipping, AdamW.
#include "ops/launch.h"
#include "ops/slices.h"

uint32_t op_sum_squares_count(Tensor x)
{
    uint64_t values = (uint64_t)x.rows * x.cols;
    return (uint32_t)((values + SUM_SQUARES_CHUNK - 1) / SUM_SQUARES_CHUNK);
}

static void record_sum_squares(Tape *tape, Tensor partials, uint32_t first, Tensor x)
{
    const SumSquaresArgs args = {x.rows * x.cols, first};
    Kernel kernel = launch_half(x) ? K_sum_squares_half : K_sum_squares;
    Dispatch dispatch = launch_item_groups(tape, kernel, op_sum_squares_count(x));
    dispatch.constants[CONSTANT_STORAGE] = launch_storage(x);
    launch_record(tape, dispatch, &args, sizeof args, (Tensor[]){x, partials}, 2);
}

uint32_t op_sum_squares(Tape *tape, Tensor partials, uint32_t first, Tensor x)
{
    FOR_SLICES(slice, tape, x)
    {
        record_sum_squares(tape, partials, first, slice.tensor);
        first += op_sum_squares_count(slice.tensor);
    }
    return op_sum_squares_count(x);
}

void op_clip(Tape *tape, Tensor clip, Tensor partials, uint32_t count, Tensor step)
{
    const ClipArgs args = {count};
    Dispatch dispatch = launch_shared(tape, launch_item_groups(tape, K_clip, 1), count);
    launch_record(tape, dispatch, &args, sizeof args, (Tensor[]){partials, step, clip}, 3);
}

// ADAMW_PER_LANE of `count` values for each invocation.
static Dispatch whole_groups(Kernel kernel, uint32_t count)
{
    enum { GROUP = 64, EACH = GROUP * ADAMW_PER_LANE };
    return launch_whole((Dispatch){.kernel = kernel, .constants = {GROUP, 1}},
                        (count + EACH - 1) / EACH);
}

void op_narrow(Tape *tape, Tensor y, Tensor x)
{
    FOR_SLICES(slice, tape, x)
    {
        const NarrowArgs args = {slice.tensor.rows * slice.tensor.cols};
        Dispatch dispatch = whole_groups(K_narrow, args.count);
        const Tensor tensors[] = {slice.tensor, tensor_rows(y, slice.first, slice.tensor.rows)};
        dispatch.constants[CONSTANT_STORAGE] = launch_storage(y);
        launch_record(tape, dispatch, &args, sizeof args, tensors, 2);
    }
}

// The kernel for how moments and gradient are stored.
static Dispatch adamw_groups(Tape *tape, const Moments *moments, Tensor gradient, uint32_t count)
{
    bool half = launch_half(gradient);
    if (moments->mean.dtype == DTYPE_U8)
        return launch_item_groups(tape, half ? K_adamw_q8_half : K_adamw_q8,
                                  (count + QUANT_BLOCK - 1) / QUANT_BLOCK);
    return whole_groups(half ? K_adamw_half : launch_width(WIDTHS(adamw), count), count);
}

uint32_t op_moment_scales(uint32_t rows, uint32_t cols)
{
    return (uint32_t)(((uint64_t)rows * cols + QUANT_BLOCK - 1) / QUANT_BLOCK);
}

void op_adamw(Tape *tape, Tensor weight, const Moments *moments, Tensor gradient, Tensor step,
              Tensor clip, bool decay, uint32_t salt)
{
    FOR_SLICES(slice, tape, weight)
    {
        uint32_t first = slice.first, rows = slice.tensor.rows;
        const AdamwArgs args = {rows * weight.cols, decay, op_moment_scales(first, weight.cols),
                                salt};
        Dispatch dispatch = adamw_groups(tape, moments, gradient, args.count);
        const Tensor tensors[] = {step,
                                  clip,
                                  tensor_rows(gradient, first, rows),
                                  slice.tensor,
                                  tensor_rows(moments->mean, first, rows),
                                  tensor_rows(moments->square, first, rows),
                                  moments->mean_scales,
                                  moments->square_scales};
        dispatch.constants[CONSTANT_STORAGE] = launch_storage(gradient);
        launch_record(tape, dispatch, &args, sizeof args, tensors, 8);
    }
}
