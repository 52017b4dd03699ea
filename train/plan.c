// The device memory that a training run needs: see plan.h.
#include "train/plan.h"
#include "train/evaluate.h"
#include "train/step.h"

#include "../shaders/args.h"

#include <stdlib.h>

// As host/gpu/memory.c makes them.
enum { STAGING = 4 << 20, ALIGNMENT = 256 };
// As host/gpu/counts.c makes them.
enum { COMMANDS = 512 };

// A plan being made.
typedef struct {
    Plan *plan;
    const PlanShape *shape;
    Llama names;     // the parameters' shapes; holds no tensors
    PlanRole role;   // of what is taken
    bool validation; // all that is taken is for it
} Planner;

static void set_role(Planner *p, PlanRole role)
{
    p->role = p->validation ? PLAN_VALIDATION : role;
}

static bool is_parameter(PlanRole role)
{
    return role == PLAN_WEIGHTS || role == PLAN_GRADIENTS || role == PLAN_MOMENTS;
}

// The bytes of a parameter that must be bound together.
static uint64_t slice_bytes(uint64_t bytes, uint64_t rows, uint64_t cols)
{
    uint64_t least = op_slice_rows((uint32_t)cols);
    return least < rows ? bytes / rows * least : bytes;
}

static void keep_largest(uint64_t *largest, PlanRole *role, uint64_t bytes, PlanRole of)
{
    if (bytes <= *largest) return;
    *largest = bytes;
    *role = of;
}

// A tensor of (rows, cols).
static void take_as(Planner *p, Dtype dtype, uint64_t rows, uint64_t cols)
{
    Plan *plan = p->plan;
    uint64_t bytes = (dtype_size(dtype) * rows * cols + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    plan->bytes[p->role] += bytes;
    keep_largest(&plan->largest, &plan->largest_role, bytes, p->role);
    uint64_t bound = is_parameter(p->role) ? slice_bytes(bytes, rows, cols) : bytes;
    keep_largest(&plan->bound, &plan->bound_role, bound, p->role);
}

static void take(Planner *p, uint64_t rows, uint64_t cols)
{
    take_as(p, DTYPE_F32, rows, cols);
}

static void take_columns(Planner *p, Dtype dtype, uint64_t rows, const uint32_t *cols, size_t count)
{
    for (size_t i = 0; i < count; i++) take_as(p, dtype, rows, cols[i]);
}

// ---- what the run makes ------------------------------------------------------------------------

static size_t first_trained(const Planner *p)
{
    return p->shape->exits_alone ? llama_shared_count(&p->names.config) : 0;
}

// llama_make_as
static void take_parameters(Planner *p, PlanRole role, size_t first, Dtype dtype)
{
    set_role(p, role);
    for (size_t i = first; i < llama_parameter_count(&p->names.config); i++) {
        LlamaParameter parameter = llama_parameter(&p->names, i);
        uint32_t rows = parameter.rows ? parameter.rows : 1;
        Dtype stored = llama_dtype(&parameter, dtype);
        take_as(p, stored, rows, parameter.cols);
        if (stored == DTYPE_U8) take(p, 1, op_moment_scales(rows, parameter.cols)); // moments_make
    }
}

// copies_make: of all matrices but the embedding, unless that is the head, too.
static void take_copies(Planner *p, Dtype dtype)
{
    set_role(p, PLAN_WEIGHTS);
    for (size_t i = !p->names.config.tied; i < llama_parameter_count(&p->names.config); i++) {
        LlamaParameter parameter = llama_parameter(&p->names, i);
        Dtype stored = llama_dtype(&parameter, dtype);
        if (stored != DTYPE_F32) take_as(p, stored, parameter.rows, parameter.cols);
    }
}

static uint64_t count_partials(Planner *p)
{
    uint64_t count = 0;
    for (size_t i = first_trained(p); i < llama_parameter_count(&p->names.config); i++) {
        LlamaParameter parameter = llama_parameter(&p->names, i);
        count += op_sum_squares_count(
            (Tensor){.rows = parameter.rows ? parameter.rows : 1, .cols = parameter.cols});
    }
    return count;
}

// counts_open, batch_make
static void take_batch(Planner *p, uint64_t rows)
{
    const uint64_t tables[][2] = {{1, COUNTS_MAX}, {COMMANDS, 4}, {rows, 1}, {rows, ROW_WORDS},
                                  {rows + 1, 2},   {rows, 1},     {rows, 1}, {rows, 1}};
    set_role(p, PLAN_OTHER);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) take(p, tables[i][0], tables[i][1]);
}

static void take_kv(Planner *p, const LlamaConfig *c, Dtype dtype, uint64_t rows)
{
    set_role(p, PLAN_KV);
    for (int i = 0; i < 2; i++) take_as(p, dtype, rows, c->kv_heads * c->head_size);
    set_role(p, PLAN_ACTIVATIONS);
}

// Heads before their norms, where they have some.
static void take_raw(Planner *p, const LlamaConfig *c, Dtype dtype, uint64_t rows)
{
    const uint32_t cols[] = {c->heads * c->head_size, c->kv_heads * c->head_size};
    if (c->qk_norm) take_columns(p, dtype, rows, cols, 2);
}

// block_activations_make
static void take_activations(Planner *p, const LlamaConfig *c, uint64_t rows)
{
    uint32_t heads = c->heads * c->head_size;
    const uint32_t cols[] = {c->width, heads,     heads,     2 * c->heads, c->width,
                             c->width, c->hidden, c->hidden, c->hidden,    c->width};
    take_columns(p, DTYPE_F32, rows, cols, sizeof cols / sizeof *cols);
    take_raw(p, c, DTYPE_F32, rows);
    take_kv(p, c, DTYPE_F32, rows);
}

// block_kept_make
static void take_kept(Planner *p, const LlamaConfig *c, Dtype dtype, uint64_t rows)
{
    uint32_t heads = c->heads * c->head_size;
    const uint32_t cols[] = {c->width, heads,     heads,     c->width,
                             c->width, c->hidden, c->hidden, c->hidden};
    take_columns(p, dtype, rows, cols, sizeof cols / sizeof *cols);
    take_raw(p, c, dtype, rows);
    take_kv(p, c, dtype, rows);
    take(p, rows, 2 * c->heads);
}

// block_gradients_make
static void take_block_gradients(Planner *p, const LlamaConfig *c, uint64_t rows)
{
    uint32_t heads = c->heads * c->head_size, kv = c->kv_heads * c->head_size;
    const uint32_t cols[] = {
        c->hidden, c->hidden, c->hidden, c->width, heads, heads, kv, kv, c->qk_norm ? c->heads : 1};
    take_columns(p, DTYPE_F32, rows, cols, sizeof cols / sizeof *cols);
}

// step.c's make_losses
static void take_losses(Planner *p, uint64_t rows, uint32_t chunk, bool backward)
{
    set_role(p, PLAN_LOGITS);
    for (uint32_t e = 0; e < p->shape->exit_count; e++) take(p, rows, 2);
    if (!backward || !p->shape->distill) return;
    take(p, chunk, p->names.config.vocab_size);
    for (uint32_t e = 0; e + 1 < p->shape->exit_count; e++) take(p, rows, 1);
}

// step.c's make_tensors: where a sweep back follows, every block keeps what it made, else one set
// serves all.
static void take_forward(Planner *p, const PlanShape *shape, uint32_t rows, bool backward)
{
    const LlamaConfig *c = shape->model;
    uint32_t deepest = shape->exits[shape->exit_count - 1];
    uint32_t chunk = step_chunk_rows(rows, c->vocab_size);
    const uint32_t exit_cols[] = {c->width, c->width, c->vocab_size};
    take(p, rows < c->context ? rows : c->context, c->head_size);
    take(p, 1, STEP_VALUES);
    set_role(p, PLAN_LOGITS);
    take_columns(p, DTYPE_F32, chunk, exit_cols, 3);
    set_role(p, PLAN_ACTIVATIONS);
    bool sweep = backward && !shape->exits_alone;
    uint32_t streams = sweep || (backward && shape->distill) ? deepest + 1 : 2;
    bool every_block = sweep && !shape->recompute, halves = shape->storage.activations != DTYPE_F32;
    uint32_t sets = every_block && !halves ? deepest : 1;
    for (uint32_t i = 0; i < streams; i++) take(p, rows, c->width);
    for (uint32_t i = 0; i < sets; i++) take_activations(p, c, rows);
    for (uint32_t i = 0; i < deepest && every_block && halves; i++)
        take_kept(p, c, shape->storage.activations, rows);
    take_losses(p, rows, chunk, backward);
}

// step_open's make_training
static void take_training(Planner *p, const PlanShape *shape)
{
    const LlamaConfig *c = shape->model;
    const uint32_t exit_cols[] = {c->width, c->width, 1};
    take_parameters(p, PLAN_GRADIENTS, first_trained(p), shape->storage.gradients);
    take_parameters(p, PLAN_MOMENTS, first_trained(p), shape->storage.moments);
    take_parameters(p, PLAN_MOMENTS, first_trained(p), shape->storage.moments);
    set_role(p, PLAN_ACTIVATIONS);
    if (!shape->exits_alone) take_block_gradients(p, c, shape->rows);
    if (!shape->exits_alone) take(p, shape->rows, c->width);
    set_role(p, PLAN_LOGITS);
    take_columns(p, DTYPE_F32, step_chunk_rows(shape->rows, c->vocab_size), exit_cols, 3);
    set_role(p, PLAN_OTHER);
    take(p, count_partials(p), 1);
    take(p, 1, 2);
}

// evaluate, while everything else stays.
static void take_validation(Planner *p, const PlanShape *shape)
{
    uint32_t rows = evaluate_rows(shape->valid_longest);
    p->validation = true;
    take_batch(p, rows);
    take_forward(p, shape, rows, false);
}

// Gradients of weights are sums over rows, and a key is seen by the query heads of its group in the
// rows behind it. The kernels that walk over a row's values instead share those.
static uint64_t longest_loop(const PlanShape *shape)
{
    const LlamaConfig *c = shape->model;
    uint64_t record = shape->rows < c->context ? shape->rows : c->context;
    uint64_t attention = record * (c->heads / c->kv_heads);
    return attention > shape->rows ? attention : shape->rows;
}

PlanShape plan_shape(const TrainConfig *config, const LlamaConfig *model, uint32_t rows,
                     uint32_t valid_longest)
{
    return (PlanShape){.model = model,
                       .exits = config->exits,
                       .exit_count = config->exit_count,
                       .rows = rows,
                       .valid_longest = valid_longest,
                       .recompute = config->recompute,
                       .exits_alone = config->method == METHOD_ICT,
                       .distill = config->choices.distill > 0,
                       .storage = config->storage};
}

bool plan_make(Plan *plan, const PlanShape *shape, Error *err)
{
    *plan = (Plan){.peak = 0};
    Planner p = {.plan = plan, .shape = shape, .names = {.config = *shape->model}};
    p.names.blocks = calloc(shape->model->blocks, sizeof *p.names.blocks);
    if (!p.names.blocks) return error_set(err, "out of memory");
    set_role(&p, PLAN_OTHER);
    take(&p, 1, STAGING / 4);
    take_parameters(&p, PLAN_WEIGHTS, 0, DTYPE_F32);
    take_copies(&p, shape->storage.weights);
    take_batch(&p, shape->rows);
    take_forward(&p, shape, shape->rows, true);
    take_training(&p, shape);
    if (shape->valid_longest) take_validation(&p, shape);
    plan->loop = longest_loop(shape);
    for (int i = 0; i < PLAN_ROLES; i++) plan->peak += plan->bytes[i];
    free(p.names.blocks);
    return true;
}

const char *plan_role_name(PlanRole role)
{
    static const char *const names[PLAN_ROLES] = {
        "weights", "gradients", "moments", "activations", "kv", "logits", "validation", "other"};
    return names[role];
}
