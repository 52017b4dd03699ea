// One kernel by itself: see kernel_bed.h.
#include "reference/kernel_bed.h"
#include "base/half.h"
#include "base/quant.h"
#include "reference/blocks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NO_NUMBER = 0x7fc0dead };
static const uint64_t MOST_VALUES = UINT64_C(1) << 28; // of a tensor

// ---- tensors -----------------------------------------------------------------------------------

static uint64_t values_of(const BedTensor *t)
{
    return (uint64_t)t->rows * t->cols;
}

double bed_round(Dtype dtype, double value)
{
    float single = (float)value;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    if (dtype == DTYPE_F16) bits = f16_widen(f16_narrow(bits));
    if (dtype == DTYPE_BF16) bits = bf16_widen(bf16_narrow(bits));
    memcpy(&single, &bits, sizeof single);
    return (double)single;
}

static void *take(KernelBed *bed, uint64_t count, size_t size)
{
    void *memory = count <= MOST_VALUES ? calloc(count ? count : 1, size) : NULL;
    bed->failed |= !memory;
    return memory;
}

double *bed_doubles(KernelBed *bed, const BedTensor *tensor)
{
    return take(bed, values_of(tensor), sizeof(double));
}

// Random blocks, and what they hold.
static void fill_blocks(KernelBed *bed, BedTensor *t, uint64_t seed)
{
    float *decoded = take(bed, values_of(t), sizeof *decoded);
    t->blocks = take(bed, dtype_bytes(t->dtype, values_of(t)), 1);
    if (decoded && t->blocks) {
        blocks_random_small(t->dtype, t->blocks, values_of(t), seed);
        quant_decode(t->dtype, t->blocks, values_of(t), decoded);
        for (uint64_t i = 0; i < values_of(t); i++) t->values[i] = (double)decoded[i];
    }
    free(decoded);
}

static void fill_random(KernelBed *bed, BedTensor *t)
{
    uint64_t count = values_of(t), seed = 100 + bed->count;
    if (dtype_blocked(t->dtype)) {
        fill_blocks(bed, t, seed);
        return;
    }
    op_random(t->values, count, seed);
    for (uint64_t i = 0; i < count; i++)
        t->values[i] = t->dtype == DTYPE_U8 ? floor(128 + 127.9 * t->values[i])
                                            : bed_round(t->dtype, t->values[i]);
}

BedTensor *bed_add(KernelBed *bed, const char *name, Dtype dtype, uint32_t rows, uint32_t cols,
                   BedFill fill)
{
    BedTensor *t = &bed->tensors[bed->count++];
    *t = (BedTensor){.name = name, .dtype = dtype, .rows = rows, .cols = cols};
    if (fill == FILL_RANDOM) t->values = take(bed, values_of(t), sizeof *t->values);
    if (fill == FILL_WORDS) t->words = take(bed, values_of(t), sizeof *t->words);
    if (fill == FILL_RANDOM && t->values) fill_random(bed, t);
    return t;
}

static void drop(BedTensor *t)
{
    if (!t->borrowed) {
        free(t->values);
        free(t->words);
    }
    free(t->blocks);
    free(t->want);
    t->values = t->want = NULL;
    t->words = NULL;
    t->blocks = NULL;
}

void bed_drop(KernelBed *bed)
{
    for (uint32_t i = 0; i < bed->count; i++) drop(&bed->tensors[i]);
    op_problem_free(&bed->problem);
}

void bed_close(KernelBed *bed)
{
    bed_drop(bed);
    for (uint32_t i = 0; i < bed->count; i++) tensor_free(bed->gpu, &bed->tensors[i].tensor);
    counts_close(bed->counts);
    *bed = (KernelBed){0};
}

// ---- to the device and back --------------------------------------------------------------------

// As the device holds them; out has tensor_bytes of room.
static void encode(const BedTensor *t, void *out)
{
    const uint32_t nothing = NO_NUMBER;
    for (uint64_t i = 0; i < values_of(t); i++) {
        float single = t->values ? (float)t->values[i] : 0;
        uint32_t bits;
        memcpy(&bits, &single, sizeof bits);
        if (!t->values) bits = t->words ? t->words[i] : nothing;
        if (t->dtype == DTYPE_U8) ((uint8_t *)out)[i] = t->values ? (uint8_t)single : 0;
        if (t->dtype == DTYPE_F16) ((uint16_t *)out)[i] = f16_narrow(bits);
        if (t->dtype == DTYPE_BF16) ((uint16_t *)out)[i] = bf16_narrow(bits);
        if (t->dtype == DTYPE_F32) ((uint32_t *)out)[i] = bits;
    }
}

static double decode(const BedTensor *t, const void *bytes, uint64_t i)
{
    uint32_t bits = 0;
    float single;
    if (t->dtype == DTYPE_U8) {
        uint8_t code = ((const uint8_t *)bytes)[i];
        return t->has_sign ? (code & 128 ? -1 : 1) * (code & 127) : code;
    }
    if (t->dtype == DTYPE_F32) bits = ((const uint32_t *)bytes)[i];
    if (t->dtype == DTYPE_F16) bits = f16_widen(((const uint16_t *)bytes)[i]);
    if (t->dtype == DTYPE_BF16) bits = bf16_widen(((const uint16_t *)bytes)[i]);
    memcpy(&single, &bits, sizeof single);
    return (double)single;
}

static bool upload(const KernelBed *bed, const BedTensor *t, Error *err)
{
    if (t->blocks) return tensor_upload_blocks(bed->gpu, t->tensor, t->blocks, err);
    void *bytes = malloc(tensor_bytes(t->tensor));
    if (!bytes) return error_set(err, "out of memory");
    encode(t, bytes);
    bool ok = tensor_upload(bed->gpu, t->tensor, bytes, err);
    free(bytes);
    return ok;
}

bool bed_reset(KernelBed *bed, Error *err)
{
    for (uint32_t i = 0; i < bed->count; i++)
        if (!upload(bed, &bed->tensors[i], err)) return false;
    return true;
}

uint8_t *bed_fetch(const KernelBed *bed, size_t *bytes, Error *err)
{
    *bytes = 0;
    for (uint32_t i = 0; i < bed->count; i++)
        if (bed->tensors[i].want) *bytes += tensor_bytes(bed->tensors[i].tensor);
    uint8_t *all = malloc(*bytes ? *bytes : 1), *at = all;
    if (!all) error_set(err, "out of memory");
    for (uint32_t i = 0; all && i < bed->count; i++) {
        const BedTensor *t = &bed->tensors[i];
        if (!t->want) continue;
        if (!tensor_download(bed->gpu, t->tensor, at, err)) {
            free(all);
            all = NULL;
        }
        at += tensor_bytes(t->tensor);
    }
    return all;
}

static void compare(BedError *worst, const BedTensor *t, const uint8_t *bytes)
{
    for (uint64_t i = 0; i < values_of(t); i++) {
        double got = decode(t, bytes, i), want = t->want[i], off = fabs(got - want);
        double most = t->tolerance + t->relative * fabs(want);
        double share = off > 0 ? off / most : 0;
        if (!(off < INFINITY)) share = off = INFINITY;
        if (off > worst->largest) worst->largest = off;
        if (worst->tensor && !(share > worst->share)) continue;
        worst->share = share;
        worst->tensor = t->name;
        worst->row = (uint32_t)(i / t->cols);
        worst->col = (uint32_t)(i % t->cols);
        worst->got = got;
        worst->want = want;
        worst->tolerance = t->tolerance;
        worst->relative = t->relative;
    }
}

BedError bed_compare(const KernelBed *bed, const uint8_t *fetched)
{
    BedError worst = {0};
    for (uint32_t i = 0; i < bed->count; i++) {
        const BedTensor *t = &bed->tensors[i];
        if (!t->want) continue;
        compare(&worst, t, fetched);
        fetched += tensor_bytes(t->tensor);
    }
    return worst;
}

// ---- opening -----------------------------------------------------------------------------------

static bool make_tensors(KernelBed *bed, Error *err)
{
    for (uint32_t i = 0; i < bed->count; i++) {
        BedTensor *t = &bed->tensors[i];
        t->tensor = tensor_make_as(bed->gpu, t->words ? MEMORY_HOST : MEMORY_DEVICE, t->dtype,
                                   t->rows, t->cols, err);
        if (!t->tensor.span) return false;
    }
    bed->counts = counts_open(bed->gpu, err);
    if (!bed->counts) return false;
    bed->rows = (Rows){bed->counts, OP_ROWS_SLOT, 0, bed->shape.rows};
    counts_set(bed->counts, OP_ROWS_SLOT, bed->shape.rows);
    return true;
}

bool bed_open(KernelBed *bed, Gpu *gpu, const KernelCase *kase, Kernel kernel, const OpShape *shape,
              Dtype dtype, Error *err)
{
    *bed = (KernelBed){.gpu = gpu, .kase = kase, .kernel = kernel, .shape = *shape, .dtype = dtype};
    if (kase->op) bed->op = op_case(kase->op);
    kase->make(bed);
    bool ok = bed->failed ? error_set(err, "out of memory") : make_tensors(bed, err);
    if (!ok) bed_close(bed);
    return ok;
}

bool bed_expect(KernelBed *bed, Error *err)
{
    bed->kase->expect(bed);
    return !bed->failed || error_set(err, "out of memory");
}

void bed_record(const KernelBed *bed, Tape *tape)
{
    bed->kase->record(bed, tape);
}
