// Ops over whole parameters: gradient norm, clipping, AdamW.
#include "ops/launch.h"

uint32_t op_sum_squares_count(Tensor x)
{
    uint64_t values = (uint64_t)x.rows * x.cols;
    return (uint32_t)((values + SUM_SQUARES_CHUNK - 1) / SUM_SQUARES_CHUNK);
}

uint32_t op_sum_squares(Tape *tape, Tensor partials, uint32_t first, Tensor x)
{
    uint32_t count = op_sum_squares_count(x);
    const SumSquaresArgs args = {x.rows * x.cols, first};
    Dispatch dispatch = launch_item_groups(tape, K_sum_squares, count);
    dispatch.tensors[0] = x;
    dispatch.tensors[1] = partials;
    dispatch.args = &args;
    dispatch.args_bytes = sizeof args;
    tape_dispatch(tape, &dispatch);
    return count;
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

void op_adamw(Tape *tape, Tensor weight, Tensor mean, Tensor square, Tensor gradient, Tensor step,
              Tensor clip, bool decay)
{
    enum { GROUP = 64, WIDEST = 32768 };
    const AdamwArgs args = {weight.rows * weight.cols, decay};
    uint32_t groups = (args.count + GROUP * ADAMW_PER_LANE - 1) / (GROUP * ADAMW_PER_LANE);
    uint32_t x = groups < WIDEST ? groups : WIDEST;
    tape_dispatch(tape, &(Dispatch){
                            .kernel = K_adamw,
                            .tensors = {step, clip, gradient, weight, mean, square},
                            .args = &args,
                            .args_bytes = sizeof args,
                            .grid = {.x = x, .y = (groups + x - 1) / x},
                            .constants = {GROUP, 1},
                        });
}
