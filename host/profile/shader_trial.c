// One kernel and another version of it: see shader_trial.h.
#include "profile/shader_trial.h"
#include "base/clock.h"
#include "base/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHECKS = OP_SHAPES + 1 };
enum { CPU_HEAD_SIZE = 16 }; // CPU drivers take seconds to minutes to compile larger ones
static const double SAMPLE_SECONDS = 5e-3, MOST_WORK = 4e8, PATIENCE = 5;

// A shape at which results are compared.
typedef struct {
    KernelBed bed;
    KernelWay way;
    Tape *before;
    Tape *tapes[TRIAL_VERSIONS];
} Check;

typedef struct {
    Gpu *gpu;
    const TrialOptions *options;
    ShaderTrial *result;
    KernelBed bed; // of the timed shape
    Tape *timed[TRIAL_VERSIONS];
    Check checks[CHECKS]; // (count)
    uint32_t count;
    double samples[TRIAL_VERSIONS][STATISTICS_MOST]; // (result->pairs) seconds a run
} Trial;

// ---- what is compared --------------------------------------------------------------------------

static bool slow_to_compile(const Trial *t, const OpShape *shape)
{
    return shape->size > CPU_HEAD_SIZE && !strcmp(gpu_info(t->gpu)->kind, "cpu");
}

static bool open_bed(const Trial *t, KernelBed *bed, const OpShape *shape, Error *err)
{
    const TrialOptions *o = t->options;
    return bed_open(bed, t->gpu, o->name.kase, o->name.kernel, shape, o->dtype, err) &&
           bed_reset(bed, err);
}

// A shape of the table's at which the very kernel runs that is timed; others are passed over.
static bool add_check(Trial *t, const OpShape *shape, Error *err)
{
    const TrialOptions *o = t->options;
    const KernelName exact = {o->name.kase, t->result->way.kernel};
    Check *check = &t->checks[t->count];
    Kernel instead;
    t->result->passed_over++;
    if (kernel_shape_refused(o->name.kase, shape, o->dtype) || slow_to_compile(t, shape))
        return true;
    if (!open_bed(t, &check->bed, shape, err)) return false;
    if (!kernel_way_find(&check->way, &check->bed, &exact, &instead)) {
        bed_close(&check->bed);
        return true;
    }
    t->count++;
    t->result->passed_over--;
    return bed_expect(&check->bed, err);
}

static bool add_checks(Trial *t, Error *err)
{
    const TrialOptions *o = t->options;
    for (const OpShape *shape = kernel_case_shapes(o->name.kase); shape->rows; shape++)
        if (!add_check(t, shape, err)) return false;
    t->result->shapes = t->count;
    t->result->timed_compared = kernel_case_work(o->name.kase, &o->shape) <= MOST_WORK;
    if (!t->result->timed_compared) return true;
    Check *check = &t->checks[t->count++];
    t->result->shapes++;
    check->way = t->result->way;
    return open_bed(t, &check->bed, &o->shape, err) && bed_expect(&check->bed, err);
}

// ---- tapes -------------------------------------------------------------------------------------

// Registers and the like of the kernel that is recorded now, where the driver tells them.
static bool read_fields(const Trial *t, double *fields, Error *err)
{
    PipelineStatistics statistics;
    const KernelWay *way = &t->result->way;
    for (int i = 0; i < FIELD_COUNT; i++) fields[i] = NAN;
    if (!gpu_has_statistics(t->gpu)) return true; // it would compile for nothing
    if (!pipeline_statistics_read(&statistics, t->gpu, way->kernel, way->constants, err))
        return false;
    memcpy(fields, statistics.fields, sizeof statistics.fields);
    pipeline_statistics_free(&statistics);
    return true;
}

static bool record_version(Trial *t, uint32_t version, Error *err)
{
    TrialVersion *v = &t->result->versions[version];
    Counting *counting = t->options->counting;
    if (!read_fields(t, v->fields, err)) return false;
    if (counting && !kernel_count(v->counters, counting, &t->bed, &t->result->way, err))
        return false;
    for (uint32_t i = 0; i < t->count; i++) {
        Check *c = &t->checks[i];
        c->tapes[version] = kernel_tape(&c->bed, &c->way, 1, err);
        if (!c->tapes[version]) return false;
    }
    t->timed[version] = kernel_tape(&t->bed, &t->result->way, t->result->times, err);
    return t->timed[version] != NULL;
}

static bool run_tape(Trial *t, Tape *tape, uint32_t times, double *seconds, Error *err)
{
    KernelTime time;
    if (!kernel_time(&time, t->gpu, tape, times, err)) return false;
    *seconds = time.seconds;
    t->result->cost = time.cost;
    t->result->timestamps = time.timestamps;
    return true;
}

// How often a sample runs the kernel: strata's own decides.
static bool choose_times(Trial *t, Error *err)
{
    Tape *once = kernel_tape(&t->bed, &t->result->way, 1, err);
    double best = INFINITY, seconds;
    bool ok = once != NULL;
    for (int i = 0; ok && i < 4; i++) {
        ok = run_tape(t, once, 1, &seconds, err);
        if (ok) best = fmin(best, seconds);
    }
    tape_free(once);
    t->result->times = ok ? (uint32_t)fmin(KERNEL_TIMES, ceil(SAMPLE_SECONDS / best)) : 1;
    return ok;
}

static bool record_other(Trial *t, Error *err)
{
    Kernel kernel = t->result->way.kernel;
    if (!t->options->with) return true;
    if (!gpu_replace_kernel(t->gpu, kernel, t->options->with, err)) return false;
    bool ok = record_version(t, 1, err);
    gpu_restore_kernel(t->gpu, kernel);
    t->result->version_count = 2;
    return ok;
}

static bool record_all(Trial *t, Error *err)
{
    for (uint32_t i = 0; i < t->count; i++) {
        Check *c = &t->checks[i];
        c->before = kernel_tape_before(&c->bed, &c->way, err);
        if (!c->before) return false;
    }
    return choose_times(t, err) && record_version(t, 0, err) && record_other(t, err);
}

// ---- comparing ---------------------------------------------------------------------------------

// What a version leaves behind; the tensors are as they were at first.
static uint8_t *results_of(const Trial *t, Check *c, uint32_t version, size_t *bytes, Error *err)
{
    Tape *const tapes[] = {c->before, c->tapes[version]};
    if (!bed_reset(&c->bed, err) || !gpu_run(t->gpu, tapes, 2, err)) return NULL;
    return bed_fetch(&c->bed, bytes, err);
}

static void judge(TrialVersion *v, const Check *c, const uint8_t *results)
{
    BedError error = bed_compare(&c->bed, results);
    double largest = fmax(v->error.largest, error.largest);
    if (!v->error.tensor || error.share > v->error.share) {
        v->error = error;
        kernel_shape_write(v->error_shape, sizeof v->error_shape, c->bed.kase, &c->bed.shape);
    }
    v->error.largest = largest;
    v->right = v->error.share <= 1;
}

// Runs a version twice; *first is what it left, for the other version to be held against.
static bool compare_version(Trial *t, Check *c, uint32_t version, uint8_t **first, size_t *bytes,
                            Error *err)
{
    TrialVersion *v = &t->result->versions[version];
    *first = results_of(t, c, version, bytes, err);
    uint8_t *second = *first ? results_of(t, c, version, bytes, err) : NULL;
    if (second) {
        judge(v, c, *first);
        v->repeats &= !memcmp(*first, second, *bytes);
    }
    free(second);
    return second != NULL;
}

static bool compare_all(Trial *t, Error *err)
{
    for (uint32_t v = 0; v < TRIAL_VERSIONS; v++) t->result->versions[v].repeats = true;
    t->result->same_bits = true;
    for (uint32_t i = 0; i < t->count; i++) {
        uint8_t *results[TRIAL_VERSIONS] = {0};
        size_t bytes = 0;
        bool ok = true;
        for (uint32_t v = 0; ok && v < t->result->version_count; v++)
            ok = compare_version(t, &t->checks[i], v, &results[v], &bytes, err);
        if (ok && results[1]) t->result->same_bits &= !memcmp(results[0], results[1], bytes);
        for (uint32_t v = 0; v < TRIAL_VERSIONS; v++) free(results[v]);
        if (!ok) return false;
    }
    return true;
}

// ---- times -------------------------------------------------------------------------------------

static bool sample(Trial *t, uint32_t version, double *seconds, Error *err)
{
    return run_tape(t, t->timed[version], t->result->times, seconds, err);
}

// What the kernel takes from those before it, once, and each version once, as drivers put off work
// to the first run.
static bool warm_up(Trial *t, Error *err)
{
    double seconds;
    Tape *before = kernel_tape_before(&t->bed, &t->result->way, err);
    bool ok = before && bed_reset(&t->bed, err) && gpu_run(t->gpu, &before, 1, err);
    tape_free(before);
    for (uint32_t v = 0; ok && v < t->result->version_count; v++) ok = sample(t, v, &seconds, err);
    return ok;
}

// Pairs of samples, either version first by chance, so that what else the machine does touches
// both.
static bool measure(Trial *t, Error *err)
{
    ShaderTrial *r = t->result;
    Random random = random_seed(7);
    if (!warm_up(t, err)) return false;
    double start = clock_seconds();
    for (r->pairs = 0; r->pairs < STATISTICS_MOST; r->pairs++) {
        double passed = clock_seconds() - start;
        if (r->pairs >= TRIAL_PAIRS && passed >= t->options->seconds) break;
        if (r->pairs >= 4 && passed >= PATIENCE * fmax(1, t->options->seconds)) break;
        uint32_t first = r->version_count == 2 ? (uint32_t)random_below(&random, 2) : 0;
        for (uint32_t i = 0; i < r->version_count; i++) {
            uint32_t v = (first + i) % r->version_count;
            if (!sample(t, v, &t->samples[v][r->pairs], err)) return false;
        }
    }
    for (uint32_t v = 0; v < r->version_count; v++)
        r->versions[v].seconds = statistics_summarize(t->samples[v], r->pairs);
    if (r->version_count == 2)
        r->ratio = statistics_compare_pairs(t->samples[1], t->samples[0], r->pairs);
    return true;
}

// ---- the whole ---------------------------------------------------------------------------------

static bool find_way(Trial *t, Error *err)
{
    const TrialOptions *o = t->options;
    const char *name =
        o->name.kernel == KERNEL_COUNT ? o->name.kase->file : kernel_sources[o->name.kernel].name;
    char shape[TRIAL_SHAPE_TEXT];
    Kernel instead;
    if (kernel_way_find(&t->result->way, &t->bed, &o->name, &instead)) return true;
    kernel_shape_write(shape, sizeof shape, o->name.kase, &o->shape);
    return error_set(err, "device %s: kernel %s is not what runs at %s %s; %s%s",
                     gpu_info(t->gpu)->name, name, shape, dtype_name(o->dtype),
                     instead == KERNEL_COUNT ? "nothing of its file does" : "that is ",
                     instead == KERNEL_COUNT ? "" : kernel_sources[instead].name);
}

static void close_trial(Trial *t)
{
    for (uint32_t v = 0; v < TRIAL_VERSIONS; v++) tape_free(t->timed[v]);
    for (uint32_t i = 0; i < CHECKS; i++) {
        tape_free(t->checks[i].before);
        for (uint32_t v = 0; v < TRIAL_VERSIONS; v++) tape_free(t->checks[i].tapes[v]);
        if (t->checks[i].bed.gpu) bed_close(&t->checks[i].bed);
    }
    if (t->bed.gpu) bed_close(&t->bed);
    free(t);
}

bool shader_trial(ShaderTrial *trial, Gpu *gpu, const TrialOptions *options, Error *err)
{
    const KernelName *name = &options->name;
    const char *why = kernel_shape_refused(name->kase, &options->shape, options->dtype);
    if (why) return error_set(err, "%s: %s", name->kase->file, why);
    Trial *t = calloc(1, sizeof *t);
    if (!t) return error_set(err, "out of memory");
    *trial = (ShaderTrial){.version_count = 1};
    t->gpu = gpu;
    t->options = options;
    t->result = trial;
    bool ok = open_bed(t, &t->bed, &options->shape, err) && find_way(t, err) &&
              add_checks(t, err) && record_all(t, err) && compare_all(t, err) && measure(t, err);
    close_trial(t);
    return ok;
}
