// The table of kernels, a row for each file of shaders/, and the beds of those whose ops are rows
// of OP_CASES. See kernel_bed.h.
#include "reference/kernel_own.h"
#include "reference/blocks.h"
#include "base/quant.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { Y = -1 }; // OpCase.size of the output

// ---- beds of rows of OP_CASES ------------------------------------------------------------------

static Dtype stored_as(const KernelBed *bed, StoredRole role, uint32_t i)
{
    const KernelCase *k = bed->kase;
    return k->stored == role && k->stored_index == i ? bed->dtype : DTYPE_F32;
}

static void round_values(BedTensor *t)
{
    if (t->dtype != DTYPE_F16 && t->dtype != DTYPE_BF16) return;
    for (uint64_t i = 0; i < (uint64_t)t->rows * t->cols; i++)
        t->values[i] = bed_round(t->dtype, t->values[i]);
}

// A tensor whose values are somebody else's.
static BedTensor *lend(KernelBed *bed, const char *name, Dtype dtype, OpSize size, double *values)
{
    BedTensor *t = bed_add(bed, name, dtype, size.rows, size.cols, FILL_NONE);
    t->values = values;
    t->borrowed = true;
    return t;
}

static void add_inputs(KernelBed *bed)
{
    static const char *const names[OP_INPUTS] = {"input 0", "input 1", "input 2"};
    for (uint32_t i = 0; i < bed->op->inputs; i++) {
        OpSize size = bed->op->size(&bed->shape, (int)i);
        Dtype dtype = stored_as(bed, STORED_INPUT, i);
        if (dtype_blocked(dtype)) { // random blocks, as not every type has an encoder
            BedTensor *t = bed_add(bed, names[i], dtype, size.rows, size.cols, FILL_RANDOM);
            if (bed->failed) return;
            memcpy(bed->problem.in[i], t->values, (size_t)size.rows * size.cols * sizeof(double));
        } else {
            round_values(lend(bed, names[i], dtype, size, bed->problem.in[i]));
        }
    }
    if (!bed->op->table_cols) return;
    BedTensor *t =
        bed_add(bed, "table", DTYPE_F32, bed->shape.rows, bed->op->table_cols, FILL_NONE);
    t->words = bed->problem.table;
    t->borrowed = true;
}

static void add_extras(KernelBed *bed)
{
    OpExtra extras[OP_EXTRAS] = {0};
    if (bed->op->extras) bed->failed |= !bed->op->extras(extras, &bed->problem);
    for (uint32_t i = 0; i < OP_EXTRAS && extras[i].size.rows; i++)
        bed_add(bed, i ? "extra 1" : "extra 0", DTYPE_F32, extras[i].size.rows, extras[i].size.cols,
                FILL_NONE)
            ->words = extras[i].values;
}

static void add_gradients(KernelBed *bed)
{
    static const char *const names[OP_INPUTS] = {"d0", "d1", "d2"};
    const OpCase *op = bed->op;
    OpSize size = op->size(&bed->shape, Y);
    bed->dy = bed->count;
    BedTensor *dy = bed_add(bed, "dy", DTYPE_F32, size.rows, size.cols, FILL_RANDOM);
    if (bed->failed) return;
    op_fill_dy(dy->values, size, op, 99);
    for (uint32_t i = 0; i < op->inputs; i++) {
        size = op->size(&bed->shape, (int)i);
        Dtype dtype = stored_as(bed, STORED_GRADIENT, i);
        bed->d[i] = bed->count;
        if (op->grads[i] == GRAD_ADDS)
            bed_add(bed, names[i], dtype, size.rows, size.cols, FILL_RANDOM);
        else if (op->flags & D_STARTS_AS_DY)
            lend(bed, names[i], dtype, size, dy->values);
        else if (op->flags & D_STARTS_AS_INPUT)
            lend(bed, names[i], dtype, size, bed->problem.in[i]);
        else
            bed_add(bed, names[i], dtype, size.rows, size.cols, FILL_NONE);
    }
}

static void table_make(KernelBed *bed)
{
    if (!op_problem_make(&bed->problem, bed->op, &bed->shape, 3)) {
        bed->failed = true;
        return;
    }
    add_inputs(bed);
    if (bed->failed) return;
    add_extras(bed);
    bed->y = bed->count;
    OpSize size = bed->op->size(&bed->shape, Y);
    if (bed->op->flags & Y_STARTS_AS_INPUT)
        lend(bed, "y", DTYPE_F32, size, bed->problem.in[0]);
    else
        bed_add(bed, "y", DTYPE_F32, size.rows, size.cols, FILL_NONE);
    if (bed->kase->backward) add_gradients(bed);
}

// How much longer a sum is than those that the table's tolerances are for.
static double growth(const KernelBed *bed)
{
    const OpShape *s = &bed->shape;
    uint32_t keys = s->sequence < s->rows ? s->sequence : s->rows;
    double length = 0;
    if (bed->kase->sums == 'r') length = s->sequence ? keys : s->rows;
    if (bed->kase->sums == 'c') length = s->cols;
    if (bed->kase->sums == 'o') length = s->others;
    return fmax(1, length / 128);
}

static void want(KernelBed *bed, uint32_t index, double *values)
{
    BedTensor *t = &bed->tensors[index];
    t->want = values;
    t->tolerance = bed->op->tolerance * growth(bed);
    t->relative = bed->op->relative * growth(bed);
    if (t->dtype == DTYPE_F16) t->relative += 0x1p-11, t->tolerance += 0x1p-25;
    if (t->dtype == DTYPE_BF16) t->relative += 0x1p-8;
}

static void expect_gradients(KernelBed *bed)
{
    double *d[OP_INPUTS] = {0};
    for (uint32_t i = 0; i < bed->op->inputs; i++)
        d[i] = bed_doubles(bed, &bed->tensors[bed->d[i]]);
    if (!bed->failed) bed->op->backward(d, bed->tensors[bed->dy].values, &bed->problem);
    for (uint32_t i = 0; i < bed->op->inputs; i++) {
        const BedTensor *t = &bed->tensors[bed->d[i]];
        uint64_t count = (uint64_t)t->rows * t->cols;
        if (bed->failed || !(bed->kase->outputs >> i & 1)) {
            free(d[i]);
            continue;
        }
        for (uint64_t at = 0; at < count && bed->op->grads[i] == GRAD_ADDS; at++)
            d[i][at] += t->values[at];
        want(bed, bed->d[i], d[i]);
    }
}

static void table_expect(KernelBed *bed)
{
    if (bed->kase->backward) expect_gradients(bed);
    if (bed->failed || !(bed->kase->outputs & OUT_Y)) return;
    double *y = bed_doubles(bed, &bed->tensors[bed->y]);
    if (!y) return;
    bed->op->forward(y, &bed->problem);
    want(bed, bed->y, y);
}

static void table_record(const KernelBed *bed, Tape *tape)
{
    OpRun run = {.problem = &bed->problem, .tape = tape, .rows = bed->rows};
    uint32_t at = 0;
    OpProblem shape_alone = {.shape = bed->shape, .epsilon = 1e-5, .theta = 10000};
    if (!bed->problem.table) run.problem = &shape_alone; // bed_drop
    for (uint32_t i = 0; i < bed->op->inputs; i++) run.in[i] = bed->tensors[at++].tensor;
    if (bed->op->table_cols) run.table = bed->tensors[at++].tensor;
    for (uint32_t i = 0; at < bed->y; i++) run.extra[i] = bed->tensors[at++].tensor;
    run.y = bed->tensors[bed->y].tensor;
    if (bed->kase->backward) run.dy = bed->tensors[bed->dy].tensor;
    for (uint32_t i = 0; bed->kase->backward && i < bed->op->inputs; i++)
        run.d[i] = bed->tensors[bed->d[i]].tensor;
    (bed->kase->backward ? bed->op->record_back : bed->op->record)(&run);
}

// ---- the table ---------------------------------------------------------------------------------

// clang-format off: a row of the table stays one picture
#define FORWARD(row)                                                                               \
    .op = row, .outputs = OUT_Y, .make = table_make, .expect = table_expect, .record = table_record
#define BACKWARD(row, out)                                                                         \
    .op = row, .backward = true, .outputs = out, .make = table_make, .expect = table_expect,       \
    .record = table_record
#define OWN(name) .make = name##_make, .expect = name##_expect, .record = name##_record
#define INPUT(i) .stored = STORED_INPUT, .stored_index = i
#define GRADIENT(i) .stored = STORED_GRADIENT, .stored_index = i
#define ROWS(r, c)                                                                                 \
    {                                                                                              \
        .rows = (r), .cols = (c)                                                                   \
    }
#define TABLE(r, o, c)                                                                             \
    {                                                                                              \
        .rows = (r), .others = (o), .cols = (c)                                                    \
    }
#define HEADS(r, h, g, s)                                                                          \
    {                                                                                              \
        .rows = (r), .cols = (h) * (s), .heads = (h), .kv_heads = (g), .size = (s),                \
        .sequence = (r)                                                                            \
    }
#define PAGED(r, k, h, g, s)                                                                       \
    {                                                                                              \
        .rows = (r), .heads = (h), .kv_heads = (g), .size = (s), .sequence = (k)                   \
    }

const KernelCase KERNEL_CASES[] = {
    {"adamw", FORM_ROWS, TYPES_F32 | TYPES_HALF, ROWS(1024, 1024), OWN(adamw),
     .shapes = {ROWS(1, 1), ROWS(1, 37), ROWS(5, 64), ROWS(33, 129), ROWS(33, 132)}},
    {"adamw_q8", FORM_ROWS, TYPES_F32 | TYPES_HALF, ROWS(1024, 1024), OWN(adamw_q8),
     .shapes = {ROWS(24, 260), ROWS(4, 64), ROWS(1, 1024)}},
    {"add", FORM_ROWS, TYPES_F32, ROWS(512, 768), FORWARD("add")},
    {"attention", FORM_HEADS, TYPES_F32, HEADS(256, 8, 8, 64), FORWARD("attention"), .sums = 'r'},
    {"attention_back_kv", FORM_HEADS, TYPES_F32, HEADS(256, 8, 8, 64),
     BACKWARD("attention", OUT_D1 | OUT_D2), .sums = 'r'},
    {"attention_back_kv_shuffle", FORM_HEADS, TYPES_F32, HEADS(256, 8, 8, 64),
     BACKWARD("attention", OUT_D1 | OUT_D2), .sums = 'r'},
    {"attention_back_q", FORM_HEADS, TYPES_F32, HEADS(256, 8, 8, 64), BACKWARD("attention", OUT_D0),
     .sums = 'r'},
    {"attention_back_q_shuffle", FORM_HEADS, TYPES_F32, HEADS(256, 8, 8, 64),
     BACKWARD("attention", OUT_D0), .sums = 'r'},
    {"attention_paged", FORM_PAGED, TYPES_F32, PAGED(8, 512, 8, 8, 64), OWN(attention_paged),
     .sums = 'r', .shapes = {PAGED(1, 1, 3, 1, 2), PAGED(9, 33, 4, 2, 6), PAGED(5, 65, 8, 2, 16)}},
    {"attention_paged_shuffle", FORM_PAGED, TYPES_F32, PAGED(8, 512, 8, 8, 64),
     OWN(attention_paged), .sums = 'r',
     .shapes = {PAGED(1, 1, 2, 1, 4), PAGED(9, 33, 4, 2, 8), PAGED(5, 65, 8, 2, 16)}},
    {"attention_shuffle", FORM_HEADS, TYPES_F32, HEADS(256, 8, 8, 64), FORWARD("attention"),
     .sums = 'r'},
    {"bias", FORM_ROWS, TYPES_F32, ROWS(512, 768), FORWARD("bias")},
    {"bias_back", FORM_ROWS, TYPES_F32, ROWS(512, 768), BACKWARD("bias", OUT_D1), .sums = 'r'},
    {"clip", FORM_ROWS, TYPES_F32, ROWS(1, 4096), OWN(clip), .sums = 'c',
     .shapes = {ROWS(1, 1), ROWS(1, 37), ROWS(1, 1000)}},
    {"cross_entropy", FORM_ROWS, TYPES_F32, ROWS(128, 8192),
     BACKWARD("cross_entropy", OUT_Y | OUT_D0)},
    {"distill", FORM_ROWS, TYPES_F32, ROWS(128, 8192), OWN(distill),
     .shapes = {ROWS(1, 2), ROWS(5, 7), ROWS(9, 64), ROWS(33, 100)}},
    {"embed", FORM_LOOKUP, TYPES_F32 | TYPES_HALF | TYPES_BLOCKS, TABLE(512, 4096, 768),
     FORWARD("embed"), INPUT(0)},
    {"embed_back", FORM_LOOKUP, TYPES_F32 | TYPES_HALF, TABLE(512, 512, 768),
     BACKWARD("embed", OUT_D0), GRADIENT(0)},
    {"gather", FORM_LOOKUP, TYPES_F32, TABLE(512, 1024, 768), FORWARD("gather and scatter")},
    {"keep", FORM_ROWS, TYPES_HALF, ROWS(512, 768), OWN(keep),
     .shapes = {ROWS(1, 4), ROWS(9, 68), ROWS(33, 260)}},
    {"matmul", FORM_MATRIX, TYPES_F32 | TYPES_HALF, TABLE(512, 512, 512), FORWARD("matmul"),
     INPUT(1), .sums = 'c'},
    {"matmul_blocks", FORM_MATRIX, TYPES_BLOCKS, TABLE(512, 512, 512), FORWARD("matmul"), INPUT(1),
     .sums = 'c'},
    {"matmul_dw", FORM_MATRIX, TYPES_F32 | TYPES_HALF, TABLE(512, 512, 512),
     BACKWARD("matmul", OUT_D1), GRADIENT(1), .sums = 'r'},
    {"matmul_dx", FORM_MATRIX, TYPES_F32 | TYPES_HALF, TABLE(512, 512, 512),
     BACKWARD("matmul", OUT_D0), INPUT(1), .sums = 'o'},
    {"narrow", FORM_ROWS, TYPES_HALF, ROWS(1024, 1024), OWN(narrow),
     .shapes = {ROWS(1, 4), ROWS(9, 68), ROWS(33, 260)}},
    {"rmsnorm", FORM_NORM, TYPES_F32, ROWS(512, 768), FORWARD("rmsnorm")},
    {"rmsnorm_back", FORM_NORM, TYPES_F32, ROWS(512, 768), BACKWARD("rmsnorm", OUT_D0)},
    {"rmsnorm_gain_back", FORM_NORM, TYPES_F32, ROWS(512, 768), BACKWARD("rmsnorm", OUT_D1),
     .sums = 'r'},
    {"rope", FORM_HEADS, TYPES_F32, HEADS(512, 12, 12, 64), FORWARD("rope")},
    {"rope_cache", FORM_HEADS, TYPES_F32, HEADS(64, 12, 12, 64), OWN(rope_cache),
     .shapes = {HEADS(1, 1, 1, 2), HEADS(37, 4, 2, 16), HEADS(5, 3, 3, 6), HEADS(9, 6, 2, 64)}},
    {"scatter", FORM_LOOKUP, TYPES_F32, TABLE(512, 1024, 768),
     BACKWARD("gather and scatter", OUT_D0)},
    {"sum_squares", FORM_ROWS, TYPES_F32 | TYPES_HALF, ROWS(1024, 1024), OWN(sum_squares),
     .shapes = {ROWS(3, 37), ROWS(64, 64), ROWS(1, 4097), ROWS(129, 257), ROWS(1, 1),
                ROWS(300, 64)}},
    {"swiglu", FORM_ROWS, TYPES_F32, ROWS(512, 2048), FORWARD("swiglu")},
    {"swiglu_back", FORM_ROWS, TYPES_F32, ROWS(512, 2048), BACKWARD("swiglu", OUT_D0 | OUT_D1)},
    {"widen", FORM_ROWS, TYPES_HALF, ROWS(512, 768), OWN(widen),
     .shapes = {ROWS(1, 4), ROWS(9, 68), ROWS(33, 260)}},
};
// clang-format on

const uint32_t KERNEL_CASE_COUNT = sizeof KERNEL_CASES / sizeof *KERNEL_CASES;

const KernelCase *kernel_case(const char *file)
{
    for (uint32_t i = 0; i < KERNEL_CASE_COUNT; i++)
        if (!strcmp(KERNEL_CASES[i].file, file)) return &KERNEL_CASES[i];
    return NULL;
}

const OpShape *kernel_case_shapes(const KernelCase *kase)
{
    return kase->op ? op_case(kase->op)->shapes : kase->shapes;
}

double kernel_case_work(const KernelCase *kase, const OpShape *s)
{
    double cols = s->cols ? s->cols : (double)s->heads * s->size, each = 4;
    if (kase->form == FORM_MATRIX) each = kase->backward ? 2.0 * s->others : s->others;
    if (kase->op && !strcmp(kase->op, "attention")) each = 2.0 * s->rows * (kase->backward ? 3 : 1);
    if (kase->form == FORM_PAGED) each = 2.0 * s->sequence;
    if (kase->form == FORM_LOOKUP) return 4.0 * ((double)s->others + s->rows) * cols;
    return each * s->rows * cols;
}

// ---- types -------------------------------------------------------------------------------------

// What the kernel itself says: its variants are for one kind each.
static unsigned kernel_types(const KernelCase *kase, Kernel kernel)
{
    const char *macros = kernel == KERNEL_COUNT ? "" : kernel_sources[kernel].macros;
    if (kernel == KERNEL_COUNT) return kase->types;
    if (strstr(macros, "HALF")) return TYPES_HALF;
    if (strstr(macros, "BLOCKED")) return TYPES_BLOCKS;
    return kase->types & TYPES_F32 ? TYPES_F32 : kase->types;
}

bool kernel_type_fits(const KernelCase *kase, Kernel kernel, Dtype dtype)
{
    unsigned types = kernel_types(kase, kernel);
    if (dtype_blocked(dtype)) return types & TYPES_BLOCKS;
    if (dtype == DTYPE_F16 || dtype == DTYPE_BF16) return types & TYPES_HALF;
    return dtype == DTYPE_F32 && types & TYPES_F32;
}

Dtype kernel_type(const KernelCase *kase, Kernel kernel)
{
    unsigned types = kernel_types(kase, kernel);
    if (types & TYPES_F32) return DTYPE_F32;
    return types & TYPES_HALF ? DTYPE_F16 : DTYPE_Q8_0;
}

// ---- shapes ------------------------------------------------------------------------------------

// The letters of a form in the order in which they are written; the one at `optional` may be left
// out.
typedef struct {
    const char *text;
    uint32_t count, optional; // optional == count: all must be there
    size_t letters[5];
} Form;
#define LETTER(name) offsetof(OpShape, name)
static const Form SHAPE_FORMS[FORMS] = {
    [FORM_ROWS] = {"ROWSxCOLS", 2, 2, {LETTER(rows), LETTER(cols)}},
    [FORM_NORM] = {"ROWSxCOLS or ROWSxCOLSxPARTS",
                   3,
                   2,
                   {LETTER(rows), LETTER(cols), LETTER(heads)}},
    [FORM_LOOKUP] = {"ROWSxOTHERSxCOLS", 3, 3, {LETTER(rows), LETTER(others), LETTER(cols)}},
    [FORM_MATRIX] = {"ROWSxNxK", 3, 3, {LETTER(rows), LETTER(others), LETTER(cols)}},
    [FORM_HEADS] = {"ROWSxHEADSxSIZE or ROWSxHEADSxKV_HEADSxSIZE",
                    4,
                    2,
                    {LETTER(rows), LETTER(heads), LETTER(kv_heads), LETTER(size)}},
    [FORM_PAGED] = {"ROWSxKEYSxHEADSxSIZE or ROWSxKEYSxHEADSxKV_HEADSxSIZE",
                    5,
                    3,
                    {LETTER(rows), LETTER(sequence), LETTER(heads), LETTER(kv_heads),
                     LETTER(size)}},
};

static uint32_t *letter(OpShape *shape, const Form *form, uint32_t i)
{
    return (uint32_t *)(void *)((char *)shape + form->letters[i]);
}

const char *kernel_shape_form(const KernelCase *kase)
{
    return SHAPE_FORMS[kase->form].text;
}

// Numbers with an x between them; how many, or 0 where the text is something else.
static uint32_t read_numbers(uint32_t *numbers, uint32_t most, const char *text)
{
    for (uint32_t count = 0; count < most; text++) {
        char *end;
        unsigned long number = isdigit((unsigned char)*text) ? strtoul(text, &end, 10) : 0;
        if (!number || number > 1u << 24) return 0;
        numbers[count++] = (uint32_t)number;
        if (!*end) return count;
        if (*end != 'x') return 0;
        text = end;
    }
    return 0;
}

// What the op would not take of a shape by itself.
static const char *refused(const KernelCase *kase, const OpShape *s)
{
    if (s->heads && kase->form == FORM_NORM && s->cols % s->heads)
        return "COLS must be a multiple of PARTS";
    if (kase->form == FORM_HEADS || kase->form == FORM_PAGED) {
        if (s->heads % s->kv_heads) return "HEADS must be a multiple of KV_HEADS";
        if (s->size % 2 || s->size > 256) return "SIZE must be even and at most 256";
    }
    if (kase->op && !strcmp(kase->op, "gather and scatter") && s->rows > s->others)
        return "ROWS must be at most OTHERS";
    if (!strcmp(kase->file, "clip") && s->rows != 1) return "ROWS must be 1";
    return NULL;
}

const char *kernel_shape_refused(const KernelCase *kase, const OpShape *s, Dtype dtype)
{
    bool packed = dtype == DTYPE_F16 || dtype == DTYPE_BF16 || !strcmp(kase->file, "adamw_q8");
    if (packed && s->cols % 4) return "values of 16 or 8 bits want columns of a multiple of 4";
    if (packed && kase->form == FORM_MATRIX && s->others % 4)
        return "values of 16 bits want N of a multiple of 4";
    if (dtype_blocked(dtype) && s->cols % dtype_block(dtype))
        return dtype_block(dtype) == 32 ? "blocks want columns of a multiple of 32"
                                        : "blocks want columns of a multiple of 256";
    return refused(kase, s);
}

bool kernel_shape_read(OpShape *shape, const KernelCase *kase, const char *text, Error *err)
{
    const Form *form = &SHAPE_FORMS[kase->form];
    uint32_t numbers[5], count = read_numbers(numbers, form->count, text), at = 0;
    *shape = (OpShape){0};
    if (count != form->count && (form->optional == form->count || count != form->count - 1))
        return error_set(err, "shape '%.40s': %s takes %s, numbers from 1 to %u", text, kase->file,
                         form->text, 1u << 24);
    for (uint32_t i = 0; i < form->count; i++)
        if (count == form->count || i != form->optional) *letter(shape, form, i) = numbers[at++];
    const bool heads = kase->form == FORM_HEADS || kase->form == FORM_PAGED;
    if (heads && !shape->kv_heads) shape->kv_heads = shape->heads;
    if (heads) shape->cols = shape->heads * shape->size;
    if (kase->form == FORM_HEADS) shape->sequence = shape->rows;
    return true;
}

void kernel_shape_write(char *text, size_t size, const KernelCase *kase, const OpShape *shape)
{
    const Form *form = &SHAPE_FORMS[kase->form];
    OpShape s = *shape;
    bool same = kase->form == FORM_NORM ? !s.heads : s.kv_heads == s.heads;
    size_t length = 0;
    for (uint32_t i = 0; i < form->count && length < size; i++)
        if (i != form->optional || !same)
            length += (size_t)snprintf(text + length, size - length, i ? "x%u" : "%u",
                                       *letter(&s, form, i));
}
