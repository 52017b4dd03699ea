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
    Dispatch dispatch = launch_item_groups(tape, K_sum_squares, op_sum_squares_count(x));
    dispatch.tensors[0] = x;
    dispatch.tensors[1] = partials;
    dispatch.args = &args;
    dispatch.args_bytes = sizeof args;
    tape_dispatch(tape, &dispatch);
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
    Dispatch dispatch = launch_item_groups(tape, K_clip, 1);
    dispatch.tensors[0] = partials;
    dispatch.tensors[1] = step;
    dispatch.tensors[2] = clip;
    dispatch.args = &args;
    dispatch.args_bytes = sizeof args;
    tape_dispatch(tape, &dispatch);
}

// values are those of a slice: weight, mean, square, gradient.
static void record_adamw(Tape *tape, const Tensor *values, Tensor step, Tensor clip, bool decay)
{
    enum { GROUP = 64, WIDEST = 32768 };
    const AdamwArgs args = {values[0].rows * values[0].cols, decay};
    uint32_t groups = (args.count + GROUP * ADAMW_PER_LANE - 1) / (GROUP * ADAMW_PER_LANE);
    uint32_t x = groups < WIDEST ? groups : WIDEST;
    tape_dispatch(tape,
                  &(Dispatch){
                      .kernel = launch_width(WIDTHS(adamw), args.count),
                      .tensors = {step, clip, values[3], values[0], values[1], values[2]},
                      .args = &args,
                      .args_bytes = sizeof args,
                      .grid = {.x = x, .y = (groups + x - 1) / x},
                      .constants = {GROUP, 1},
                  });
}

void op_adamw(Tape *tape, Tensor weight, Tensor mean, Tensor square, Tensor gradient, Tensor step,
              Tensor clip, bool decay)
{
    FOR_SLICES(slice, tape, weight)
    {
        uint32_t first = slice.first, rows = slice.tensor.rows;
        const Tensor values[] = {slice.tensor, tensor_rows(mean, first, rows),
                                 tensor_rows(square, first, rows),
                                 tensor_rows(gradient, first, rows)};
        record_adamw(tape, values, step, clip, decay);
    }
}
