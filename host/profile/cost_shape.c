// What a table by shape groups by: see cost.h.
#include "profile/cost_internal.h"

#include <stdio.h>

enum { TEXT = 64 };

static void product(char *out, const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(MatmulArgs, args, dispatch);
    snprintf(out, TEXT, "%u x %u x %u", rows, args.n, args.k);
}

// Of the kernels that are not named below, cols stands behind the rows.
static void plain(char *out, const Dispatch *dispatch, uint32_t rows)
{
    ElementArgs args;
    assert(dispatch->args_bytes >= sizeof args);
    memcpy(&args, dispatch->args, sizeof args);
    snprintf(out, TEXT, "%u x %u", rows, args.cols);
}

static void parts(char *out, const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(RmsnormArgs, args, dispatch);
    if (args.parts == 1)
        snprintf(out, TEXT, "%u x %u", rows, args.cols);
    else
        snprintf(out, TEXT, "%u x %u x %u", rows, args.parts, args.cols);
}

static void heads(char *out, uint32_t rows, uint32_t all, uint32_t kv, uint32_t size)
{
    if (all == kv)
        snprintf(out, TEXT, "%u x %u heads x %u", rows, all, size);
    else
        snprintf(out, TEXT, "%u x %u/%u heads x %u", rows, all, kv, size);
}

static void rope(char *out, const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(RopeArgs, args, dispatch);
    uint32_t size = dispatch->constants[COST_SIZE], all = args.cols / size;
    heads(out, rows, all, all, size);
}

static void rope_cache(char *out, const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(RopeCacheArgs, args, dispatch);
    heads(out, rows, args.heads, args.kv_heads, dispatch->constants[COST_SIZE]);
}

static void attention(char *out, const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(AttentionArgs, args, dispatch);
    heads(out, rows, args.heads, args.kv_heads, dispatch->constants[COST_SIZE]);
}

static void probe(char *out, const Dispatch *dispatch, uint32_t rows)
{
    PeakArgs args = {.steps = 1}; // some have none
    (void)rows;
    if (dispatch->args_bytes) memcpy(&args, dispatch->args, sizeof args);
    snprintf(out, TEXT, "%u x %u x %u steps", dispatch->grid.x * dispatch->grid.y,
             dispatch->constants[0], args.steps);
}

// All of these kernels' push constants begin with the number of values.
static void values(char *out, const Dispatch *dispatch, uint32_t rows)
{
    uint32_t count;
    (void)rows;
    assert(dispatch->args_bytes >= sizeof count);
    memcpy(&count, dispatch->args, sizeof count);
    snprintf(out, TEXT, "%u", count);
}

// Where nothing is kept (op_keep), the constant alone knows what is rounded to.
static Dtype storage_of(const CostKernel *known, const Dispatch *dispatch)
{
    if (known->storage < 0) return DTYPE_F32;
    Tensor tensor = dispatch->tensors[known->storage];
    if (tensor.span) return tensor.dtype;
    return dispatch->constants[COST_STORAGE] ? DTYPE_BF16 : DTYPE_F16;
}

// Tensors may be gone, and with them the count that a fixed grid's kernel looks at.
static uint32_t most_rows(const Dispatch *dispatch)
{
    RowArgs args; // what every kernel over rows begins its push constants with
    memcpy(&args, dispatch->args, sizeof args);
    return args.max;
}

void cost_shape(char *out, size_t size, const Dispatch *dispatch, uint32_t rows)
{
    static void (*const each[])(char *, const Dispatch *, uint32_t) = {
        [SHAPE_PROBE] = probe,      [SHAPE_VALUES] = values,       [SHAPE_ROWS] = plain,
        [SHAPE_PARTS] = parts,      [SHAPE_PRODUCT] = product,     [SHAPE_TURNS] = rope,
        [SHAPE_HEADS] = rope_cache, [SHAPE_ATTENTION] = attention,
    };
    const CostKernel *known = cost_kernel(dispatch->kernel);
    char text[TEXT];
    snprintf(out, size, "%s", "");
    if (!known) return;
    bool counted = known->shape < SHAPE_ROWS || dispatch->grid.rows.counts;
    each[known->shape](text, dispatch, counted ? rows : most_rows(dispatch));
    Dtype dtype = storage_of(known, dispatch);
    bool f32 = dtype == DTYPE_F32;
    snprintf(out, size, "%s%s%s%s", counted ? "" : "max ", text, f32 ? "" : " ",
             f32 ? "" : dtype_name(dtype));
}
