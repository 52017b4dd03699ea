// What kernels move and compute: see cost.h. Costs of kernels whose rows are named by tables are in
// cost_tables.c, of probes in cost_peak.c, shapes in cost_shape.c.
//
// R rows that run, C columns, N values of a parameter, w bytes of a value or w(t) of the tensor t
// in its storage type; n, k of a product; S head size, A heads, G key/value heads, P pairs of a
// query and a key, D rows that are needed of a table, of keys or of queries (each once). Values are
// f32, 4 bytes, where nothing else is said.
//
//   kernel             bytes                                  operations
//   add                12 R C                                 R C
//   bias               8 R C + 4 C                            R C
//   bias_back          4 R C + 8 C                            R C
//   swiglu             12 R C                                 4 R C: exp, +, /, *
//   swiglu_back        20 R C                                 11 R C: s 3, dup 2, dgate 6
//   keep               10 R C, round 8 R C                    0
//   widen              6 R C                                  0
//   gather             4 R + 4 D C + 4 R C                    0
//   scatter            4 R + 8 R C, += 4 R C more             0, += R C
//   embed              4 R + w(D rows) + 4 C (rows that hit)  0
//   embed_back         4 (2 R + 1) + 4 (1 + C) (rows summed)  C (rows summed)
//                      + 2 w(D rows)
//   rmsnorm            8 R C + 4 (C of a part)                4 R C: squares 2, n, gain
//                                                             + 4 a part: /, +, sqrt, /
//   rmsnorm_back       12 R C + 4 (C of a part) + 4 a part,   8 R C: squares 2, gain dy, dot 2, dx
//                      += 4 R C more                          3; += R C more
//                                                             + 7 a part: n 4, pull 3
//   rmsnorm_gain_back  8 R C + 4 a part + 8 (C of a part)     3 R C
//   rope               8 R C + 4 R + 4 D S                    3 R C: a pair 4 *, 2 +
//   rope_cache         8 R S (A + 2 G) + 8 R + 4 D S          3 R S (A + G)
//   attention          8 R + 8 R A S + 8 D G S + 4 R A        A P (4 S + 4): q k 2 S, scale, - max,
//                                                             exp, +, p v 2 S
//                                                             + A R (S + 2): / total S, log, +
//   attention_paged    12 R + 8 R A S + 8 D G S + 4 (pages)   A P (4 S + 4) + A R S
//   attention_back_q   8 R + 16 R A S + 8 D G S + 8 R A       A P (6 S + 6): q k, dy v, dq 2 S,
//                                                             p 3, change 3; + A R 2 S: dy y
//   attention_back_kv  4 R + 8 D A S + 16 R G S + 8 D A       A P (8 S + 6): q k, dy v, dk, dv, 6
//   cross_entropy      12 R + 4 R C, backward 4 R C more      3 R C: - max, exp, +; 3 R: log, -, +
//                                                             backward 2 R C + R more: /, *; - 1
//   distill            4 R + 12 R C                           17 R C: both - max, / T, exp, + 8;
//                                                             log p, log q 2, p, q 2, KL 3, d 2
//                                                             + 4 R: two logs, T T
//   matmul, _blocks    4 R k + w(w) + 4 R n, += 4 R n more    2 R n k
//   matmul_dx          4 R n + w(w) + 4 R k, += 4 R k more    2 R n k
//   matmul_dw          4 R n + 4 R k + 2 w(dw)                2 R n k
//   sum_squares        w N + 4 for each 4096                  2 N
//   clip               4 (partials) + 8                       partials + 5: sqrt, *, +, /, *
//   adamw              (w + 24) N                             14 N: g 1, m 3, v 4, p 6; decay 2 N
//   adamw_q8           (w + 12) N + 16 for each 256           the same
//   narrow             6 N                                    0
//   peak_copy          32 a vector and step, READ 16          0, READ 4
//   peak_arithmetic    8 + 4 an invocation                    a link of a chain 2, HALF 4, DOT 8
//   peak_empty         0                                      0
#include "profile/cost_internal.h"

const uint32_t *cost_words(Tensor tensor)
{
    return tensor.span ? tensor_host(tensor) : NULL;
}

// ---- value by value ----------------------------------------------------------------------------

static Cost each_value(const Dispatch *dispatch, uint32_t rows, double bytes, double operations)
{
    COST_ARGS(ElementArgs, args, dispatch);
    double values = (double)rows * args.cols;
    return (Cost){bytes * values, operations * values};
}

static Cost add(const Dispatch *dispatch, uint32_t rows)
{
    return each_value(dispatch, rows, 12, 1);
}

static Cost swiglu(const Dispatch *dispatch, uint32_t rows)
{
    return each_value(dispatch, rows, 12, 4);
}

static Cost swiglu_back(const Dispatch *dispatch, uint32_t rows)
{
    return each_value(dispatch, rows, 20, 11);
}

static Cost keep(const Dispatch *dispatch, uint32_t rows)
{
    return each_value(dispatch, rows, dispatch->tensors[2].span ? 10 : 8, 0);
}

static Cost widen(const Dispatch *dispatch, uint32_t rows)
{
    return each_value(dispatch, rows, 6, 0);
}

static Cost bias(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(ElementArgs, args, dispatch);
    Cost cost = each_value(dispatch, rows, 8, 1);
    cost.bytes += 4.0 * args.cols;
    return cost;
}

static Cost bias_back(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(ElementArgs, args, dispatch);
    Cost cost = each_value(dispatch, rows, 4, 1);
    cost.bytes += 8.0 * args.cols;
    return cost;
}

// ---- rows --------------------------------------------------------------------------------------

static Cost rmsnorm(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(RmsnormArgs, args, dispatch);
    double parts = (double)rows * args.parts, values = parts * args.cols;
    return (Cost){8 * values + 4.0 * args.cols, 4 * values + 4 * parts};
}

static Cost rmsnorm_back(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(RmsnormArgs, args, dispatch);
    double parts = (double)rows * args.parts, values = parts * args.cols;
    double added = args.accumulate ? values : 0;
    return (Cost){12 * values + 4 * added + 4.0 * args.cols + 4 * parts,
                  8 * values + added + 7 * parts};
}

static Cost rmsnorm_gain_back(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(RmsnormArgs, args, dispatch);
    double parts = (double)rows * args.parts, values = parts * args.cols;
    return (Cost){8 * values + 4 * parts + 8.0 * args.cols, 3 * values};
}

static Cost cross_entropy(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(CrossEntropyArgs, args, dispatch);
    double values = (double)rows * args.cols;
    Cost cost = {4 * values + 12.0 * rows, 3 * values + 3.0 * rows};
    if (!args.backward) return cost;
    return (Cost){cost.bytes + 4 * values, cost.operations + 2 * values + rows};
}

static Cost distill(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(DistillArgs, args, dispatch);
    double values = (double)rows * args.cols;
    return (Cost){12 * values + 4.0 * rows, 17 * values + 4.0 * rows};
}

// ---- products ----------------------------------------------------------------------------------

// left and out: columns of the operand that has rows and of the result.
static Cost product(const Dispatch *dispatch, uint32_t rows, double left, double out)
{
    COST_ARGS(MatmulArgs, args, dispatch);
    double results = rows * out * (args.accumulate ? 2 : 1);
    return (Cost){4 * (rows * left + results) + (double)tensor_bytes(dispatch->tensors[2]),
                  2.0 * rows * args.n * args.k};
}

static Cost matmul(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(MatmulArgs, args, dispatch);
    return product(dispatch, rows, args.k, args.n);
}

static Cost matmul_dx(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(MatmulArgs, args, dispatch);
    return product(dispatch, rows, args.n, args.k);
}

static Cost matmul_dw(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(MatmulArgs, args, dispatch);
    double operands = 4.0 * rows * ((double)args.n + args.k);
    return (Cost){operands + 2.0 * (double)tensor_bytes(dispatch->tensors[3]),
                  2.0 * rows * args.n * args.k};
}

// ---- parameters --------------------------------------------------------------------------------

static double groups(uint32_t count, uint32_t each)
{
    return count / each + (count % each != 0);
}

static Cost sum_squares(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(SumSquaresArgs, args, dispatch);
    (void)rows;
    return (Cost){(double)dtype_size(dispatch->tensors[0].dtype) * args.count +
                      4 * groups(args.count, SUM_SQUARES_CHUNK),
                  2.0 * args.count};
}

static Cost clip(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(ClipArgs, args, dispatch);
    (void)rows;
    return (Cost){4.0 * args.partials + 8, args.partials + 5.0};
}

// Whether the gradient's norm, as far as the host sees it, lets the update happen.
static bool updates(const Dispatch *dispatch)
{
    const uint32_t *step = cost_words(dispatch->tensors[0]), *of = cost_words(dispatch->tensors[1]);
    if (!step || !of) return true;
    float limit, norm;
    memcpy(&limit, step + STEP_LIMIT, sizeof limit);
    memcpy(&norm, of + CLIP_NORM, sizeof norm);
    return norm <= (limit == 0.0f ? 3.4e38f : limit);
}

// each: bytes of weight and moments that move for a value.
static Cost update(const Dispatch *dispatch, double each)
{
    COST_ARGS(AdamwArgs, args, dispatch);
    if (!updates(dispatch)) return (Cost){0};
    return (Cost){(dtype_size(dispatch->tensors[2].dtype) + each) * args.count,
                  (args.decay ? 16.0 : 14.0) * args.count};
}

static Cost adamw(const Dispatch *dispatch, uint32_t rows)
{
    (void)rows;
    return update(dispatch, 24);
}

static Cost adamw_q8(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(AdamwArgs, args, dispatch);
    (void)rows;
    Cost cost = update(dispatch, 12);
    if (cost.operations > 0) cost.bytes += 16 * groups(args.count, QUANT_BLOCK);
    return cost;
}

static Cost narrow(const Dispatch *dispatch, uint32_t rows)
{
    COST_ARGS(NarrowArgs, args, dispatch);
    (void)rows;
    return (Cost){6.0 * args.count, 0};
}

// ---- all kernels -------------------------------------------------------------------------------

static const CostKernel KERNELS[] = {
    {"adamw", adamw, SHAPE_VALUES, 2},
    {"adamw_q8", adamw_q8, SHAPE_VALUES, 2},
    {"add", add, SHAPE_ROWS, -1},
    {"attention", cost_attention, SHAPE_ATTENTION, -1},
    {"attention_back_kv", cost_attention_back_kv, SHAPE_ATTENTION, -1},
    {"attention_back_kv_shuffle", cost_attention_back_kv, SHAPE_ATTENTION, -1},
    {"attention_back_q", cost_attention_back_q, SHAPE_ATTENTION, -1},
    {"attention_back_q_shuffle", cost_attention_back_q, SHAPE_ATTENTION, -1},
    {"attention_paged", cost_attention_paged, SHAPE_ATTENTION, -1},
    {"attention_paged_shuffle", cost_attention_paged, SHAPE_ATTENTION, -1},
    {"attention_shuffle", cost_attention, SHAPE_ATTENTION, -1},
    {"bias", bias, SHAPE_ROWS, -1},
    {"bias_back", bias_back, SHAPE_ROWS, -1},
    {"clip", clip, SHAPE_VALUES, -1},
    {"cross_entropy", cross_entropy, SHAPE_ROWS, -1},
    {"distill", distill, SHAPE_ROWS, -1},
    {"embed", cost_embed, SHAPE_ROWS, 2},
    {"embed_back", cost_embed_back, SHAPE_ROWS, 4},
    {"gather", cost_gather, SHAPE_ROWS, -1},
    {"keep", keep, SHAPE_ROWS, 2},
    {"matmul", matmul, SHAPE_PRODUCT, 2},
    {"matmul_blocks", matmul, SHAPE_PRODUCT, 2},
    {"matmul_dw", matmul_dw, SHAPE_PRODUCT, 3},
    {"matmul_dx", matmul_dx, SHAPE_PRODUCT, 2},
    {"narrow", narrow, SHAPE_VALUES, 1},
    {"peak_arithmetic", cost_peak_arithmetic, SHAPE_PROBE, -1},
    {"peak_copy", cost_peak_copy, SHAPE_PROBE, -1},
    {"peak_empty", cost_peak_empty, SHAPE_PROBE, -1},
    {"rmsnorm", rmsnorm, SHAPE_PARTS, -1},
    {"rmsnorm_back", rmsnorm_back, SHAPE_PARTS, -1},
    {"rmsnorm_gain_back", rmsnorm_gain_back, SHAPE_PARTS, -1},
    {"rope", cost_rope, SHAPE_TURNS, -1},
    {"rope_cache", cost_rope_cache, SHAPE_HEADS, -1},
    {"scatter", cost_scatter, SHAPE_ROWS, -1},
    {"sum_squares", sum_squares, SHAPE_VALUES, 0},
    {"swiglu", swiglu, SHAPE_ROWS, -1},
    {"swiglu_back", swiglu_back, SHAPE_ROWS, -1},
    {"widen", widen, SHAPE_ROWS, 1},
};

const CostKernel *cost_kernel(Kernel kernel)
{
    for (size_t i = 0; i < sizeof KERNELS / sizeof *KERNELS; i++)
        if (!strcmp(KERNELS[i].file, kernel_sources[kernel].file)) return &KERNELS[i];
    return NULL;
}

bool cost_known(Kernel kernel)
{
    return cost_kernel(kernel) != NULL;
}

// Those of a grid that follows from a count, else what the count says now.
static uint32_t rows_of(const Dispatch *dispatch, uint32_t rows)
{
    if (dispatch->grid.rows.counts) return rows;
    RowArgs args; // what every kernel over rows begins its push constants with
    memcpy(&args, dispatch->args, sizeof args);
    const uint32_t *counts = cost_words(dispatch->tensors[0]);
    uint32_t all = counts ? counts[args.slot] : args.first + args.max;
    uint32_t left = all > args.first ? all - args.first : 0;
    return left < args.max ? left : args.max;
}

Cost cost_of(const Dispatch *dispatch, uint32_t rows)
{
    const CostKernel *known = cost_kernel(dispatch->kernel);
    if (!known) return (Cost){0};
    if (known->shape < SHAPE_ROWS) return known->rule(dispatch, 0);
    rows = rows_of(dispatch, rows);
    return rows ? known->rule(dispatch, rows) : (Cost){0};
}
