// Costs of the kernels that measure a device's ceilings (shaders/peak_*.comp). They do a thing over
// and over on purpose, so all of it counts, also what never leaves a cache and what is done to
// integers. The formulas are in cost.c.
#include "profile/cost_internal.h"

// Whether the kernel is compiled with the macro.
static bool has(const Dispatch *dispatch, const char *macro)
{
    return strstr(kernel_sources[dispatch->kernel].macros, macro) != NULL;
}

static double invocations(const Dispatch *dispatch)
{
    return (double)dispatch->grid.x * dispatch->grid.y * dispatch->constants[0];
}

Cost cost_peak_copy(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(PeakArgs, args, dispatch);
    (void)rows;
    double vectors = invocations(dispatch) * PEAK_VECTORS * args.steps;
    return has(dispatch, "READ") ? (Cost){16 * vectors, 4 * vectors} : (Cost){32 * vectors, 0};
}

// Multiply-adds alone: what stands around their loop is nothing beside them.
Cost cost_peak_arithmetic(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(PeakArgs, args, dispatch);
    (void)rows;
    double all = invocations(dispatch);
    double chains = has(dispatch, "WIDE") ? PEAK_CHAINS_WIDE : PEAK_CHAINS;
    double link = has(dispatch, "DOT") ? 8 : has(dispatch, "HALF") ? 4 : 2;
    return (Cost){8 + 4 * all, all * chains * PEAK_CHAIN * args.steps * link};
}

Cost cost_peak_empty(const Dispatch *dispatch, uint32_t rows)
{
    (void)dispatch;
    (void)rows;
    return (Cost){0};
}
