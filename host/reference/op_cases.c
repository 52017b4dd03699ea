// The table of ops: see op_cases.h.
#include "reference/op_cases.h"

#include "../../shaders/args.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { Y = -1 }; // OpCase.size of the output

static void *take(uint64_t count, size_t size)
{
    return calloc(count ? count : 1, size);
}

// ---- inputs ------------------------------------------------------------------------------------

void op_random(double *values, uint64_t count, uint64_t seed)
{
    uint64_t state = seed * 2654435761u + 12345;
    for (uint64_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        values[i] = (double)(float)((double)(state >> 40) / (1 << 23) - 1 + 1e-4);
    }
}

void op_fill_dy(double *dy, OpSize size, const OpCase *op, uint64_t seed)
{
    op_random(dy, (uint64_t)size.rows * size.cols, seed);
    if (!(op->flags & LOSS)) return;
    for (uint32_t r = 0; r < size.rows; r++) {
        dy[2 * r] = OP_LOSS_WEIGHT;
        dy[2 * r + 1] = 0;
    }
}

void op_row_table(uint32_t *table, uint32_t rows, uint32_t sequence)
{
    static const uint32_t lengths[] = {3, 1, 9, 30};
    uint32_t length;
    for (uint32_t first = 0, i = 0; first < rows; first += length, i++) {
        length = sequence ? sequence : lengths[i % 4];
        uint32_t until = length < rows - first ? first + length : rows;
        for (uint32_t r = first; r < until; r++) {
            table[4 * r + ROW_POSITION] = r - first + i % 3;
            table[4 * r + ROW_FIRST_KEY] = first;
            table[4 * r + ROW_LAST_KEY] = r + 1;
            table[4 * r + ROW_UNTIL] = until;
        }
    }
}

void op_turns(float *turns, uint32_t context, uint32_t size, double theta)
{
    for (uint32_t position = 0; position < context; position++) {
        for (uint32_t j = 0; j < size / 2; j++) {
            double angle = position * pow(theta, -2.0 * j / size);
            turns[position * size + j] = (float)cos(angle);
            turns[position * size + size / 2 + j] = (float)sin(angle);
        }
    }
}

bool op_problem_make(OpProblem *problem, const OpCase *op, const OpShape *shape, uint64_t seed)
{
    *problem = (OpProblem){.shape = *shape, .epsilon = 1e-5, .theta = 10000};
    bool ok = true;
    for (uint32_t i = 0; i < op->inputs; i++) {
        OpSize size = op->size(shape, (int)i);
        problem->in[i] = take((uint64_t)size.rows * size.cols, sizeof(double));
        if (problem->in[i])
            op_random(problem->in[i], (uint64_t)size.rows * size.cols, seed * 8 + i);
        ok &= problem->in[i] != NULL;
    }
    problem->table = take((uint64_t)shape->rows * (op->table_cols + 1), sizeof(uint32_t));
    problem->scratch = take(shape->rows, sizeof(double));
    ok &= problem->table && problem->scratch;
    if (ok && op->fill_table) op->fill_table(problem);
    if (!ok) op_problem_free(problem);
    return ok;
}

void op_problem_free(OpProblem *problem)
{
    for (int i = 0; i < OP_INPUTS; i++) free(problem->in[i]);
    free(problem->table);
    free(problem->scratch);
    *problem = (OpProblem){0};
}

static void any_below(uint32_t *table, uint32_t count, uint32_t below)
{
    for (uint32_t i = 0; i < count; i++) table[i] = (i * 7 + i * i / 5) % below;
}

static void tokens(OpProblem *p)
{
    any_below(p->table, p->shape.rows, p->shape.others);
}

static void targets(OpProblem *p)
{
    any_below(p->table, p->shape.rows, p->shape.cols);
}

// No index twice: rows <= others.
static void indices(OpProblem *p)
{
    for (uint32_t r = 0; r < p->shape.rows; r++) p->table[r] = p->shape.others - 1 - r;
    for (uint32_t r = 0; r + 3 < p->shape.rows; r += 2) {
        uint32_t index = p->table[r];
        p->table[r] = p->table[r + 3];
        p->table[r + 3] = index;
    }
}

static void row_table(OpProblem *p)
{
    op_row_table(p->table, p->shape.rows, p->shape.sequence);
}

// ---- sizes -------------------------------------------------------------------------------------

static OpSize rows_size(const OpShape *s, int which)
{
    (void)which;
    return (OpSize){s->rows, s->cols, true};
}

// y (rows, cols), in[0] (others, cols)
static OpSize lookup_size(const OpShape *s, int which)
{
    return which == Y ? (OpSize){s->rows, s->cols, true} : (OpSize){s->others, s->cols, false};
}

static OpSize rmsnorm_size(const OpShape *s, int which)
{
    uint32_t parts = s->heads ? s->heads : 1;
    return which == 1 ? (OpSize){1, s->cols / parts, false} : (OpSize){s->rows, s->cols, true};
}

// in[1]: a row that all rows see
static OpSize gain_size(const OpShape *s, int which)
{
    return which == 1 ? (OpSize){1, s->cols, false} : (OpSize){s->rows, s->cols, true};
}

static OpSize matmul_size(const OpShape *s, int which)
{
    if (which == 1) return (OpSize){s->others, s->cols, false};
    return (OpSize){s->rows, which == Y ? s->others : s->cols, true};
}

static OpSize attention_size(const OpShape *s, int which)
{
    return (OpSize){s->rows, (which > 0 ? s->kv_heads : s->heads) * s->size, true};
}

static OpSize loss_size(const OpShape *s, int which)
{
    return (OpSize){s->rows, which == Y ? 2 : s->cols, true};
}

// ---- extras ------------------------------------------------------------------------------------

// The uses of each token and the rows in order of token, as op_embed_back wants them.
static bool embed_extras(OpExtra *extras, const OpProblem *p)
{
    uint32_t rows = p->shape.rows, distinct = 0, done = 0;
    uint32_t *uses = take(2 * ((uint64_t)rows + 1), sizeof *uses);
    uint32_t *order = take(rows, sizeof *order);
    for (uint32_t token = 0; uses && order && token < p->shape.others; token++) {
        uint32_t first = done;
        for (uint32_t r = 0; r < rows; r++)
            if (p->table[r] == token) order[done++] = r;
        if (done == first) continue;
        uses[2 * distinct] = token;
        uses[2 * distinct++ + 1] = first;
    }
    if (uses) uses[2 * distinct + 1] = done;
    extras[0] = (OpExtra){{distinct + 1, 2, false}, uses};
    extras[1] = (OpExtra){{rows, 1, false}, order};
    return uses && order;
}

static bool rmsnorm_extras(OpExtra *extras, const OpProblem *p)
{
    extras[0].size = (OpSize){p->shape.rows, p->shape.heads ? p->shape.heads : 1, true};
    return true;
}

static bool rope_extras(OpExtra *extras, const OpProblem *p)
{
    uint32_t context = p->shape.sequence + 40;
    uint32_t *turns = take((uint64_t)context * p->shape.size, sizeof *turns);
    if (turns) op_turns((float *)(void *)turns, context, p->shape.size, p->theta);
    extras[0] = (OpExtra){{context, p->shape.size, false}, turns};
    return turns != NULL;
}

static bool attention_extras(OpExtra *extras, const OpProblem *p)
{
    extras[0].size = (OpSize){p->shape.rows, 2 * p->shape.heads, true};
    return true;
}

static bool loss_extras(OpExtra *extras, const OpProblem *p)
{
    (void)p;
    uint32_t *step = take(STEP_VALUES, sizeof *step);
    const float weight = OP_LOSS_WEIGHT;
    if (step) memcpy(step + STEP_WEIGHTS + 3, &weight, sizeof weight);
    extras[0] = (OpExtra){{1, STEP_VALUES, false}, step};
    return step != NULL;
}

// ---- recording ---------------------------------------------------------------------------------

static void embed(const OpRun *run)
{
    op_embed(run->tape, run->y, run->table, run->in[0], run->rows);
}

static void embed_back(const OpRun *run)
{
    uint32_t distinct = run->extra[0].rows - 1;
    counts_set(run->rows.counts, OP_DISTINCT_SLOT, distinct);
    op_embed_back(run->tape, run->d[0], run->dy, run->extra[0], run->extra[1],
                  (Rows){run->rows.counts, OP_DISTINCT_SLOT, 0, distinct + 2});
}

static void rmsnorm(const OpRun *run)
{
    op_rmsnorm(run->tape, run->y, run->in[0], run->in[1], (float)run->problem->epsilon, run->rows);
}

static void rmsnorm_back(const OpRun *run)
{
    op_rmsnorm_back(run->tape, run->d[0], run->d[1], run->extra[0], run->dy, run->in[0], run->in[1],
                    (float)run->problem->epsilon, run->accumulate, run->rows);
}

static void matmul(const OpRun *run)
{
    op_matmul(run->tape, run->y, run->in[0], run->in[1], run->rows);
}

static void matmul_back(const OpRun *run)
{
    op_matmul_back_x(run->tape, run->d[0], run->dy, run->in[1], run->accumulate, run->rows);
    op_matmul_back_w(run->tape, run->d[1], run->dy, run->in[0], run->rows);
}

static void rope(const OpRun *run)
{
    op_rope(run->tape, run->y, run->table, run->extra[0], run->rows);
}

static void rope_back(const OpRun *run)
{
    op_rope_back(run->tape, run->d[0], run->table, run->extra[0], run->rows);
}

static Heads heads(const OpRun *run)
{
    const OpShape *shape = &run->problem->shape;
    return (Heads){shape->heads, shape->kv_heads, shape->size};
}

static void attention(const OpRun *run)
{
    op_attention(run->tape, run->y, run->extra[0], run->in[0], run->in[1], run->in[2], run->table,
                 heads(run), run->rows);
}

static void attention_back(const OpRun *run)
{
    attention(run);
    op_attention_back(run->tape, run->d[0], run->d[1], run->d[2], run->dy, run->y, run->extra[0],
                      run->in[0], run->in[1], run->in[2], run->table, heads(run), run->rows);
}

static void swiglu(const OpRun *run)
{
    op_swiglu(run->tape, run->y, run->in[0], run->in[1], run->rows);
}

static void swiglu_back(const OpRun *run)
{
    op_swiglu_back(run->tape, run->d[0], run->d[1], run->dy, run->in[0], run->in[1], run->rows);
}

static void add(const OpRun *run)
{
    op_add(run->tape, run->y, run->in[0], run->in[1], run->rows);
}

static void bias(const OpRun *run)
{
    op_bias(run->tape, run->y, run->in[1], run->rows);
}

static void bias_back(const OpRun *run)
{
    op_bias_back(run->tape, run->d[1], run->dy, run->rows);
}

static void gather(const OpRun *run)
{
    op_gather(run->tape, run->y, run->in[0], run->table, run->rows);
}

static void gather_back(const OpRun *run)
{
    op_scatter(run->tape, run->d[0], run->dy, run->table, true, run->rows);
}

// Forward must leave the logits alone: they are an input.
static void loss(const OpRun *run)
{
    op_cross_entropy(run->tape, run->y, run->in[0], run->table, run->extra[0], 3, false, run->rows);
}

static void loss_back(const OpRun *run)
{
    op_cross_entropy(run->tape, run->y, run->d[0], run->table, run->extra[0], 3, true, run->rows);
}

// ---- the table ---------------------------------------------------------------------------------

// clang-format off: a row of the table stays one picture
#define SHAPE(r, c, ...)                                                                           \
    {                                                                                              \
        .rows = (r), .cols = (c), __VA_ARGS__                                                      \
    }
#define HEADS(r, h, g, s)                                                                          \
    {                                                                                              \
        .rows = (r), .cols = (h) * (s), .heads = (h), .kv_heads = (g), .size = (s)                 \
    }

const OpCase OP_CASES[] = {
    {.name = "matmul",
     .kind = OP_MATRIX,
     .inputs = 2,
     .grads = {GRAD_EITHER, GRAD_ADDS},
     .size = matmul_size,
     .forward = reference_matmul,
     .backward = reference_matmul_back,
     .record = matmul,
     .record_back = matmul_back,
     .tolerance = 1e-5,
     .relative = 2e-6,
     .shapes = {SHAPE(1, 1, .others = 1), SHAPE(3, 7, .others = 5), SHAPE(1, 8, .others = 4),
                SHAPE(2, 12, .others = 8), SHAPE(5, 9, .others = 64), SHAPE(16, 64, .others = 32),
                SHAPE(33, 40, .others = 36), SHAPE(65, 17, .others = 31),
                SHAPE(100, 128, .others = 96), SHAPE(64, 64, .others = 64),
                SHAPE(17, 66, .others = 130), SHAPE(4, 260, .others = 33),
                SHAPE(8, 36, .others = 258), SHAPE(9, 64, .others = 300),
                SHAPE(2, 40, .others = 530)}},
    {.name = "embed",
     .kind = OP_TABLE,
     .inputs = 1,
     .grads = {GRAD_ADDS},
     .size = lookup_size,
     .table_cols = 1,
     .fill_table = tokens,
     .extras = embed_extras,
     .forward = reference_embed,
     .backward = reference_embed_back,
     .record = embed,
     .record_back = embed_back,
     .tolerance = 1e-6,
     .relative = 1e-6,
     .shapes = {SHAPE(1, 1, .others = 1), SHAPE(5, 3, .others = 4), SHAPE(9, 65, .others = 30),
                SHAPE(64, 128, .others = 7), SHAPE(40, 128, .others = 100)}},
    {.name = "rmsnorm",
     .kind = OP_REDUCES,
     .inputs = 2,
     .grads = {GRAD_EITHER, GRAD_ADDS},
     .size = rmsnorm_size,
     .extras = rmsnorm_extras,
     .forward = reference_rmsnorm,
     .backward = reference_rmsnorm_back,
     .record = rmsnorm,
     .record_back = rmsnorm_back,
     .tolerance = 4e-6,
     .relative = 4e-6,
     .shapes = {SHAPE(1, 1), SHAPE(1, 2), SHAPE(3, 5), SHAPE(7, 31), SHAPE(2, 64), SHAPE(65, 33),
                SHAPE(16, 288), SHAPE(5, 1000), SHAPE(3, 6, .heads = 2), SHAPE(9, 20, .heads = 4),
                SHAPE(33, 64, .heads = 8), SHAPE(5, 256, .heads = 2)}},
    {.name = "rope",
     .flags = Y_STARTS_AS_INPUT | D_STARTS_AS_DY,
     .inputs = 1,
     .size = rows_size,
     .table_cols = 4,
     .fill_table = row_table,
     .extras = rope_extras,
     .forward = reference_rope,
     .backward = reference_rope_back,
     .record = rope,
     .record_back = rope_back,
     .tolerance = 1e-6,
     .relative = 1e-6,
     .shapes = {HEADS(1, 1, 1, 2), HEADS(5, 3, 3, 6), HEADS(7, 2, 2, 64), HEADS(40, 5, 5, 12),
                HEADS(33, 8, 8, 8)}},
    {.name = "attention",
     .kind = OP_REDUCES,
     .inputs = 3,
     .size = attention_size,
     .table_cols = 4,
     .fill_table = row_table,
     .extras = attention_extras,
     .forward = reference_attention,
     .backward = reference_attention_back,
     .record = attention,
     .record_back = attention_back,
     .tolerance = 4e-6,
     .relative = 4e-6,
     .shapes = {HEADS(1, 1, 1, 2), HEADS(5, 2, 1, 2), HEADS(13, 4, 2, 8), HEADS(7, 3, 1, 12),
                HEADS(6, 3, 3, 8), HEADS(70, 8, 4, 8), HEADS(16, 2, 2, 64), HEADS(41, 4, 1, 64),
                HEADS(14, 2, 1, 128), HEADS(5, 1, 1, 256)}},
    {.name = "swiglu",
     .inputs = 2,
     .size = rows_size,
     .forward = reference_swiglu,
     .backward = reference_swiglu_back,
     .record = swiglu,
     .record_back = swiglu_back,
     .tolerance = 1e-6,
     .relative = 1e-6,
     .shapes = {SHAPE(1, 1), SHAPE(3, 5), SHAPE(9, 65), SHAPE(64, 192)}},
    {.name = "add",
     .inputs = 2,
     .size = rows_size,
     .forward = reference_add,
     .backward = reference_add_back,
     .record = add,
     .tolerance = 0,
     .relative = 1e-7,
     .shapes = {SHAPE(1, 1), SHAPE(3, 5), SHAPE(9, 65), SHAPE(64, 192)}},
    {.name = "bias",
     .flags = Y_STARTS_AS_INPUT | D_STARTS_AS_DY,
     .inputs = 2,
     .grads = {GRAD_WRITES, GRAD_ADDS},
     .size = gain_size,
     .forward = reference_bias,
     .backward = reference_bias_back,
     .record = bias,
     .record_back = bias_back,
     .tolerance = 4e-6,
     .relative = 1e-6,
     .shapes = {SHAPE(1, 1), SHAPE(3, 5), SHAPE(9, 65), SHAPE(64, 192), SHAPE(5, 1000)}},
    {.name = "gather and scatter",
     .flags = TABLE_FROM_FIRST,
     .inputs = 1,
     .grads = {GRAD_ADDS},
     .size = lookup_size,
     .table_cols = 1,
     .fill_table = indices,
     .forward = reference_gather,
     .backward = reference_gather_back,
     .record = gather,
     .record_back = gather_back,
     .tolerance = 0,
     .relative = 2e-7,
     .shapes = {SHAPE(1, 1, .others = 1), SHAPE(4, 3, .others = 6), SHAPE(20, 65, .others = 33),
                SHAPE(64, 128, .others = 64)}},
    {.name = "cross_entropy",
     .kind = OP_REDUCES,
     .flags = D_STARTS_AS_INPUT | TABLE_FROM_FIRST | Y_FROM_FIRST | LOSS,
     .inputs = 1,
     .size = loss_size,
     .table_cols = 1,
     .fill_table = targets,
     .extras = loss_extras,
     .forward = reference_cross_entropy,
     .backward = reference_cross_entropy_back,
     .record = loss,
     .record_back = loss_back,
     .tolerance = 1e-6,
     .relative = 1e-6,
     .shapes = {SHAPE(1, 1), SHAPE(1, 2), SHAPE(5, 7), SHAPE(9, 64), SHAPE(33, 100), SHAPE(3, 5000),
                SHAPE(64, 512)}},
};
// clang-format on

const uint32_t OP_CASE_COUNT = sizeof OP_CASES / sizeof *OP_CASES;

const OpCase *op_case(const char *name)
{
    for (uint32_t i = 0; i < OP_CASE_COUNT; i++)
        if (!strcmp(OP_CASES[i].name, name)) return &OP_CASES[i];
    return NULL;
}
