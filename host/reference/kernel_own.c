// Beds of kernels whose ops are no rows of OP_CASES: see kernel_own.h.
#include "reference/kernel_own.h"

#include "../../shaders/args.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void want(BedTensor *t, double *values, double tolerance, double relative)
{
    t->want = values;
    t->tolerance = tolerance;
    t->relative = relative;
}

static uint64_t count_of(const BedTensor *t)
{
    return (uint64_t)t->rows * t->cols;
}

static void put_float(BedTensor *t, uint32_t i, double value)
{
    float single = (float)value;
    memcpy(&t->words[i], &single, sizeof single);
}

// ---- RoPE into the cache -----------------------------------------------------------------------

enum { RC_Q, RC_K, RC_V, RC_CACHE_K, RC_CACHE_V, RC_SLOTS, RC_TABLE, RC_TURNS };

static const double THETA = 10000;

void rope_cache_make(KernelBed *bed)
{
    const OpShape *s = &bed->shape;
    uint32_t slots = s->rows + 6, context = s->rows + 8, kv = s->kv_heads * s->size;
    bed_add(bed, "q", DTYPE_F32, s->rows, s->heads * s->size, FILL_RANDOM);
    bed_add(bed, "k", DTYPE_F32, s->rows, kv, FILL_RANDOM);
    bed_add(bed, "v", DTYPE_F32, s->rows, kv, FILL_RANDOM);
    bed_add(bed, "cache_k", DTYPE_F32, slots, kv, FILL_RANDOM);
    bed_add(bed, "cache_v", DTYPE_F32, slots, kv, FILL_RANDOM);
    BedTensor *slot = bed_add(bed, "slots", DTYPE_F32, s->rows, 1, FILL_WORDS);
    BedTensor *table = bed_add(bed, "table", DTYPE_F32, s->rows, ROW_WORDS, FILL_WORDS);
    BedTensor *turns = bed_add(bed, "turns", DTYPE_F32, context, s->size, FILL_WORDS);
    if (bed->failed) return;
    for (uint32_t r = 0; r < s->rows; r++) {
        slot->words[r] = slots - 1 - r;
        table->words[ROW_WORDS * r + ROW_POSITION] = (r * 11 + 5) % context;
    }
    op_turns((float *)(void *)turns->words, context, s->size, THETA);
}

// (rows, heads * size) turned.
static double *turned(KernelBed *bed, uint32_t which, uint32_t heads)
{
    double *y = bed_doubles(bed, &bed->tensors[which]);
    OpProblem p = {.shape = {.rows = bed->shape.rows, .heads = heads, .size = bed->shape.size},
                   .in = {bed->tensors[which].values},
                   .table = bed->tensors[RC_TABLE].words,
                   .theta = THETA};
    if (y) reference_rope(y, &p);
    return y;
}

// What is in a cache when rows (shape.rows) have gone into their slots.
static void expect_cache(KernelBed *bed, uint32_t which, const double *rows)
{
    BedTensor *t = &bed->tensors[which];
    double *cache = bed_doubles(bed, t);
    if (!cache) return;
    memcpy(cache, t->values, count_of(t) * sizeof *cache);
    for (uint32_t r = 0; r < bed->shape.rows; r++)
        memcpy(cache + (uint64_t)bed->tensors[RC_SLOTS].words[r] * t->cols,
               rows + (uint64_t)r * t->cols, t->cols * sizeof *cache);
    want(t, cache, which == RC_CACHE_K ? 1e-6 : 0, which == RC_CACHE_K ? 1e-6 : 0);
}

void rope_cache_expect(KernelBed *bed)
{
    want(&bed->tensors[RC_Q], turned(bed, RC_Q, bed->shape.heads), 1e-6, 1e-6);
    double *k = turned(bed, RC_K, bed->shape.kv_heads);
    if (k) expect_cache(bed, RC_CACHE_K, k);
    expect_cache(bed, RC_CACHE_V, bed->tensors[RC_V].values);
    free(k);
}

static Heads heads(const KernelBed *bed)
{
    return (Heads){bed->shape.heads, bed->shape.kv_heads, bed->shape.size};
}

void rope_cache_record(const KernelBed *bed, Tape *tape)
{
    const BedTensor *t = bed->tensors;
    op_rope_cache(tape, t[RC_Q].tensor, t[RC_CACHE_K].tensor, t[RC_CACHE_V].tensor, t[RC_K].tensor,
                  t[RC_V].tensor, t[RC_SLOTS].tensor, t[RC_TABLE].tensor, t[RC_TURNS].tensor,
                  heads(bed), bed->rows);
}

// ---- attention over pages ----------------------------------------------------------------------
// Each row is the last one of a sequence of its own.

enum { AP_Q, AP_K, AP_V, AP_TABLE, AP_PAGES, AP_Y };

static uint32_t keys_of(const OpShape *s, uint32_t row)
{
    return s->sequence > row % 7 ? s->sequence - row % 7 : 1;
}

void attention_paged_make(KernelBed *bed)
{
    const OpShape *s = &bed->shape;
    uint32_t pages = (s->sequence + PAGE_POSITIONS - 1) / PAGE_POSITIONS;
    uint32_t slots = s->rows * pages * PAGE_POSITIONS, width = s->heads * s->size;
    bed_add(bed, "q", DTYPE_F32, s->rows, width, FILL_RANDOM);
    bed_add(bed, "k", DTYPE_F32, slots, s->kv_heads * s->size, FILL_RANDOM);
    bed_add(bed, "v", DTYPE_F32, slots, s->kv_heads * s->size, FILL_RANDOM);
    BedTensor *table = bed_add(bed, "table", DTYPE_F32, s->rows, ROW_WORDS, FILL_WORDS);
    BedTensor *list = bed_add(bed, "pages", DTYPE_F32, s->rows * pages, 1, FILL_WORDS);
    bed_add(bed, "y", DTYPE_F32, s->rows, width, FILL_NONE);
    if (bed->failed) return;
    for (uint32_t i = 0; i < s->rows * pages; i++) list->words[i] = s->rows * pages - 1 - i;
    for (uint32_t r = 0; r < s->rows; r++) {
        const uint32_t row[ROW_WORDS] = {keys_of(s, r) - 1, 0, keys_of(s, r), r * pages};
        memcpy(table->words + ROW_WORDS * r, row, sizeof row);
    }
}

// The keys or values of a row's sequence in their order.
static void gather(double *out, const KernelBed *bed, uint32_t which, uint32_t row)
{
    const BedTensor *t = &bed->tensors[which];
    const uint32_t *pages =
        bed->tensors[AP_PAGES].words + bed->tensors[AP_TABLE].words[ROW_WORDS * row + ROW_PAGES];
    for (uint32_t j = 0; j < keys_of(&bed->shape, row); j++)
        memcpy(out + (uint64_t)j * t->cols,
               t->values +
                   (uint64_t)(pages[j / PAGE_POSITIONS] * PAGE_POSITIONS + j % PAGE_POSITIONS) *
                       t->cols,
               t->cols * sizeof *out);
}

void attention_paged_expect(KernelBed *bed)
{
    const OpShape *s = &bed->shape;
    BedTensor *y = &bed->tensors[AP_Y];
    const BedTensor keys = {.rows = s->sequence, .cols = s->kv_heads * s->size},
                    scratch = {.rows = 1, .cols = s->sequence};
    double *all = bed_doubles(bed, y), *k = bed_doubles(bed, &keys), *v = bed_doubles(bed, &keys);
    double *shares = bed_doubles(bed, &scratch);
    for (uint32_t r = 0; !bed->failed && r < s->rows; r++) {
        uint32_t table[ROW_WORDS] = {0, 0, keys_of(s, r)};
        OpProblem p = {.shape = *s,
                       .in = {bed->tensors[AP_Q].values + (uint64_t)r * y->cols, k, v},
                       .table = table,
                       .scratch = shares};
        p.shape.rows = 1;
        gather(k, bed, AP_K, r);
        gather(v, bed, AP_V, r);
        reference_attention(all + (uint64_t)r * y->cols, &p);
    }
    want(y, all, 4e-6 * fmax(1, s->sequence / 128.0), 4e-6);
    free(k);
    free(v);
    free(shares);
}

void attention_paged_record(const KernelBed *bed, Tape *tape)
{
    const BedTensor *t = bed->tensors;
    op_attention_paged(tape, t[AP_Y].tensor, t[AP_Q].tensor, t[AP_K].tensor, t[AP_V].tensor,
                       t[AP_TABLE].tensor, t[AP_PAGES].tensor, heads(bed), bed->rows);
}

// ---- distillation ------------------------------------------------------------------------------

enum { DI_LOSSES, DI_TEACHER, DI_LOGITS, DI_STEP };
static const double TEMPERATURE = 2, DISTILL = 0.75, WEIGHT = 0.375;

void distill_make(KernelBed *bed)
{
    const OpShape *s = &bed->shape;
    bed_add(bed, "losses", DTYPE_F32, s->rows, 1, FILL_NONE);
    bed_add(bed, "teacher", DTYPE_F32, s->rows, s->cols, FILL_RANDOM);
    bed_add(bed, "logits", DTYPE_F32, s->rows, s->cols, FILL_RANDOM);
    BedTensor *step = bed_add(bed, "step", DTYPE_F32, 1, STEP_VALUES, FILL_WORDS);
    if (bed->failed) return;
    put_float(step, STEP_TEMPERATURE, TEMPERATURE);
    put_float(step, STEP_DISTILL, DISTILL);
    put_float(step, STEP_WEIGHTS, WEIGHT);
}

void distill_expect(KernelBed *bed)
{
    BedTensor *t = bed->tensors;
    double *losses = bed_doubles(bed, &t[DI_LOSSES]), *gradient = bed_doubles(bed, &t[DI_TEACHER]);
    if (losses && gradient)
        reference_distill(losses, gradient, t[DI_TEACHER].values, t[DI_LOGITS].values,
                          bed->shape.rows, bed->shape.cols, TEMPERATURE,
                          WEIGHT * DISTILL * TEMPERATURE);
    want(&t[DI_LOSSES], losses, 4e-6 * fmax(1, bed->shape.cols / 512.0), 4e-6);
    want(&t[DI_TEACHER], gradient, 1e-6, 1e-6);
}

void distill_record(const KernelBed *bed, Tape *tape)
{
    const BedTensor *t = bed->tensors;
    op_distill(tape, t[DI_LOSSES].tensor, t[DI_TEACHER].tensor, t[DI_LOGITS].tensor,
               t[DI_STEP].tensor, 0, bed->rows);
}

// ---- gradient norm -----------------------------------------------------------------------------

enum { SS_X, SS_PARTIALS };

void sum_squares_make(KernelBed *bed)
{
    const BedTensor *x =
        bed_add(bed, "x", bed->dtype, bed->shape.rows, bed->shape.cols, FILL_RANDOM);
    uint32_t chunks = (uint32_t)((count_of(x) + SUM_SQUARES_CHUNK - 1) / SUM_SQUARES_CHUNK);
    bed_add(bed, "partials", DTYPE_F32, 1, chunks, FILL_NONE);
}

void sum_squares_expect(KernelBed *bed)
{
    const BedTensor *x = &bed->tensors[SS_X];
    double *sums = bed_doubles(bed, &bed->tensors[SS_PARTIALS]);
    for (uint64_t i = 0; sums && i < count_of(x); i++)
        sums[i / SUM_SQUARES_CHUNK] += x->values[i] * x->values[i];
    want(&bed->tensors[SS_PARTIALS], sums, 0, 1e-5); // 4096 sums, one behind the other
}

void sum_squares_record(const KernelBed *bed, Tape *tape)
{
    op_sum_squares(tape, bed->tensors[SS_PARTIALS].tensor, 0, bed->tensors[SS_X].tensor);
}

enum { CL_PARTIALS, CL_STEP, CL_CLIP };

void clip_make(KernelBed *bed)
{
    BedTensor *partials = bed_add(bed, "partials", DTYPE_F32, 1, bed->shape.cols, FILL_RANDOM);
    BedTensor *step = bed_add(bed, "step", DTYPE_F32, 1, STEP_VALUES, FILL_WORDS);
    bed_add(bed, "clip", DTYPE_F32, 1, 2, FILL_NONE);
    if (bed->failed) return;
    for (uint32_t i = 0; i < bed->shape.cols; i++)
        partials->values[i] = bed_round(DTYPE_F32, 1 + partials->values[i]);
    put_float(step, STEP_CLIP, 1);
    put_float(step, STEP_UNSCALE, 0.125);
}

void clip_expect(KernelBed *bed)
{
    BedTensor *clip = &bed->tensors[CL_CLIP];
    double *both = bed_doubles(bed, clip), sum = 0;
    for (uint32_t i = 0; i < bed->shape.cols; i++) sum += bed->tensors[CL_PARTIALS].values[i];
    if (!both) return;
    both[CLIP_NORM] = 0.125 * sqrt(sum);
    both[CLIP_SCALE] = 0.125 * fmin(1, 1 / (both[CLIP_NORM] + 1e-6));
    want(clip, both, 0, 2e-6 * fmax(1, bed->shape.cols / 128.0));
}

void clip_record(const KernelBed *bed, Tape *tape)
{
    const BedTensor *t = bed->tensors;
    op_clip(tape, t[CL_CLIP].tensor, t[CL_PARTIALS].tensor, bed->shape.cols, t[CL_STEP].tensor);
}

// ---- AdamW -------------------------------------------------------------------------------------

enum { AD_WEIGHT, AD_MEAN, AD_SQUARE, AD_GRADIENT, AD_STEP, AD_CLIP, AD_SCALES };
enum { TIME = 3 };
static const AdamwRates RATES = {0.01, 0.9, 0.999, 1e-8, 0.1};
static const double SCALE = 0.5; // of the gradient, by clipping

static void add_step(KernelBed *bed)
{
    BedTensor *step = bed_add(bed, "step", DTYPE_F32, 1, STEP_VALUES, FILL_WORDS);
    BedTensor *clip = bed_add(bed, "clip", DTYPE_F32, 1, 2, FILL_WORDS);
    if (bed->failed) return;
    put_float(step, STEP_RATE, RATES.rate);
    put_float(step, STEP_BETA1, RATES.beta1);
    put_float(step, STEP_BETA2, RATES.beta2);
    put_float(step, STEP_EPSILON, RATES.epsilon);
    put_float(step, STEP_DECAY, RATES.decay);
    put_float(step, STEP_CORRECTION1, 1 - pow(RATES.beta1, TIME));
    put_float(step, STEP_CORRECTION2, 1 - pow(RATES.beta2, TIME));
    put_float(step, STEP_REST1, 1 - RATES.beta1);
    put_float(step, STEP_REST2, 1 - RATES.beta2);
    put_float(step, STEP_UNSCALE, 1);
    put_float(step, STEP_TIME, TIME);
    put_float(clip, CLIP_NORM, 1);
    put_float(clip, CLIP_SCALE, SCALE);
}

void adamw_make(KernelBed *bed)
{
    uint32_t rows = bed->shape.rows, cols = bed->shape.cols;
    bed_add(bed, "weight", DTYPE_F32, rows, cols, FILL_RANDOM);
    bed_add(bed, "mean", DTYPE_F32, rows, cols, FILL_RANDOM);
    BedTensor *square = bed_add(bed, "square", DTYPE_F32, rows, cols, FILL_RANDOM);
    bed_add(bed, "gradient", bed->dtype, rows, cols, FILL_RANDOM);
    add_step(bed);
    for (uint64_t i = 0; !bed->failed && i < count_of(square); i++)
        square->values[i] = fabs(square->values[i]);
}

static double *copy(KernelBed *bed, const BedTensor *t)
{
    double *values = bed_doubles(bed, t);
    if (values) memcpy(values, t->values, count_of(t) * sizeof *values);
    return values;
}

void adamw_expect(KernelBed *bed)
{
    BedTensor *t = bed->tensors;
    double *weight = copy(bed, &t[AD_WEIGHT]), *mean = copy(bed, &t[AD_MEAN]);
    double *square = copy(bed, &t[AD_SQUARE]), *gradient = copy(bed, &t[AD_GRADIENT]);
    uint64_t count = count_of(&t[AD_WEIGHT]);
    for (uint64_t i = 0; gradient && i < count; i++) gradient[i] *= SCALE;
    if (!bed->failed) reference_adamw(weight, mean, square, gradient, (uint32_t)count, TIME, RATES);
    want(&t[AD_WEIGHT], weight, 1e-6, 4e-6);
    want(&t[AD_MEAN], mean, 1e-7, 1e-6);
    want(&t[AD_SQUARE], square, 1e-7, 1e-6);
    free(gradient);
}

static void record_adamw(const KernelBed *bed, Tape *tape, Tensor mean_scales, Tensor square_scales)
{
    const BedTensor *t = bed->tensors;
    const Moments moments = {t[AD_MEAN].tensor, t[AD_SQUARE].tensor, mean_scales, square_scales};
    op_adamw(tape, t[AD_WEIGHT].tensor, &moments, t[AD_GRADIENT].tensor, t[AD_STEP].tensor,
             t[AD_CLIP].tensor, true, 7);
}

void adamw_record(const KernelBed *bed, Tape *tape)
{
    record_adamw(bed, tape, (Tensor){0}, (Tensor){0});
}

// ---- AdamW with moments of 8 bits --------------------------------------------------------------
// A value between two codes may take either: a code is right where it is one of these.

void adamw_q8_make(KernelBed *bed)
{
    uint32_t rows = bed->shape.rows, cols = bed->shape.cols;
    uint32_t scales = op_moment_scales(rows, cols);
    bed_add(bed, "weight", DTYPE_F32, rows, cols, FILL_RANDOM);
    bed_add(bed, "mean", DTYPE_U8, rows, cols, FILL_RANDOM)->has_sign = true;
    bed_add(bed, "square", DTYPE_U8, rows, cols, FILL_RANDOM);
    bed_add(bed, "gradient", bed->dtype, rows, cols, FILL_RANDOM);
    add_step(bed);
    for (int i = 0; i < 2; i++) {
        BedTensor *t =
            bed_add(bed, i ? "square scales" : "mean scales", DTYPE_F32, 1, scales, FILL_RANDOM);
        for (uint32_t b = 0; !bed->failed && b < scales; b++) t->values[b] = fabs(t->values[b]);
    }
}

// What the codes stand for: shaders/adamw_q8.comp.
static double moment(const KernelBed *bed, bool square, uint64_t i)
{
    double code = bed->tensors[square ? AD_SQUARE : AD_MEAN].values[i];
    double scale = bed->tensors[AD_SCALES + square].values[i / QUANT_BLOCK];
    if (square) return scale * pow(code / 255, 4);
    double magnitude = fmod(code, 128) / 127;
    return (code >= 128 ? -1 : 1) * scale * magnitude * magnitude;
}

// Where between the codes the moments (count) lie, in place, and the scales of their blocks.
static void to_codes(double *moments, double *scales, uint64_t count, bool square)
{
    for (uint64_t i = 0; i < count; i++)
        scales[i / QUANT_BLOCK] = fmax(scales[i / QUANT_BLOCK], fabs(moments[i]));
    for (uint64_t i = 0; i < count; i++) {
        double scale = scales[i / QUANT_BLOCK], share = scale > 0 ? fabs(moments[i]) / scale : 0;
        double code = square ? 255 * sqrt(sqrt(share)) : 127 * sqrt(share);
        moments[i] = moments[i] < 0 ? -code : code;
    }
}

void adamw_q8_expect(KernelBed *bed)
{
    BedTensor *t = bed->tensors;
    uint64_t count = count_of(&t[AD_WEIGHT]);
    double *weight = copy(bed, &t[AD_WEIGHT]), *gradient = copy(bed, &t[AD_GRADIENT]);
    double *moments[2], *scales[2];
    for (int m = 0; m < 2; m++) {
        moments[m] = bed_doubles(bed, &t[AD_MEAN + m]);
        scales[m] = bed_doubles(bed, &t[AD_SCALES + m]);
        for (uint64_t i = 0; moments[m] && i < count; i++) moments[m][i] = moment(bed, m, i);
    }
    for (uint64_t i = 0; gradient && i < count; i++) gradient[i] *= SCALE;
    if (!bed->failed)
        reference_adamw(weight, moments[0], moments[1], gradient, (uint32_t)count, TIME, RATES);
    want(&t[AD_WEIGHT], weight, 4e-6, 4e-6);
    for (int m = 0; m < 2; m++) {
        if (!bed->failed) to_codes(moments[m], scales[m], count, m);
        want(&t[AD_MEAN + m], moments[m], 1.002, 0);
        want(&t[AD_SCALES + m], scales[m], 0, 2e-6);
    }
    free(gradient);
}

void adamw_q8_record(const KernelBed *bed, Tape *tape)
{
    record_adamw(bed, tape, bed->tensors[AD_SCALES].tensor, bed->tensors[AD_SCALES + 1].tensor);
}

// ---- values of 16 bits -------------------------------------------------------------------------

enum { HA_X, HA_KEPT };

static void halves_make(KernelBed *bed, BedFill x, BedFill kept)
{
    bed_add(bed, "x", DTYPE_F32, bed->shape.rows, bed->shape.cols, x);
    bed_add(bed, "kept", bed->dtype, bed->shape.rows, bed->shape.cols, kept);
}

// Tensor `which` is to hold the values of `from`, rounded.
static void expect_rounded(KernelBed *bed, uint32_t which, uint32_t from)
{
    double *values = copy(bed, &bed->tensors[from]);
    for (uint64_t i = 0; values && i < count_of(&bed->tensors[from]); i++)
        values[i] = bed_round(bed->dtype, values[i]);
    want(&bed->tensors[which], values, 0, 0);
}

void narrow_make(KernelBed *bed)
{
    halves_make(bed, FILL_RANDOM, FILL_NONE);
}

void narrow_expect(KernelBed *bed)
{
    expect_rounded(bed, HA_KEPT, HA_X);
}

void narrow_record(const KernelBed *bed, Tape *tape)
{
    op_narrow(tape, bed->tensors[HA_KEPT].tensor, bed->tensors[HA_X].tensor);
}

void widen_make(KernelBed *bed)
{
    halves_make(bed, FILL_NONE, FILL_RANDOM);
}

void widen_expect(KernelBed *bed)
{
    expect_rounded(bed, HA_X, HA_KEPT);
}

void widen_record(const KernelBed *bed, Tape *tape)
{
    op_widen(tape, bed->tensors[HA_X].tensor, bed->tensors[HA_KEPT].tensor, bed->rows);
}

void keep_make(KernelBed *bed)
{
    halves_make(bed, FILL_RANDOM, FILL_NONE);
}

void keep_expect(KernelBed *bed)
{
    expect_rounded(bed, HA_X, HA_X);
    if (bed->kernel != K_keep_round) expect_rounded(bed, HA_KEPT, HA_X);
}

void keep_record(const KernelBed *bed, Tape *tape)
{
    Tensor kept = bed->kernel == K_keep_round ? (Tensor){0} : bed->tensors[HA_KEPT].tensor;
    op_keep(tape, kept, bed->tensors[HA_X].tensor, bed->dtype, bed->rows);
}
