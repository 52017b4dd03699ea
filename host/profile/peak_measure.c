// The measurements of peak.h: probes are made long enough to be timed by the host's clock, then run
// in turn, round after round, so that a slow moment of the machine meets all of them.
#include "base/clock.h"
#include "base/statistics.h"
#include "profile/matrix_code.h"
#include "profile/peak_internal.h"

#include "../../shaders/args.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_SECONDS 0.02 // of a run: the clock and the submission are far below

// ---- runs --------------------------------------------------------------------------------------

bool probe_run_tape(Bench *bench, Probe *probe, Error *err)
{
    return gpu_run(bench->gpu, &probe->tape, 1, err);
}

// The probe's tape, anew for its sizes.
static bool record(Bench *bench, Probe *probe, Error *err)
{
    if (probe->act != probe_run_tape) return true;
    const PeakArgs args = {probe->steps, probe->blocks, probe->apart, -1.0f};
    Dispatch dispatch = probe->dispatch;
    dispatch.args = &args;
    dispatch.args_bytes = sizeof args;
    if (probe->tape) tape_free(probe->tape);
    probe->tape = tape_begin(bench->gpu, "peak", err);
    if (!probe->tape) return false;
    for (uint32_t i = 0; i < probe->dispatches; i++) {
        if (probe->copies)
            tape_copy(probe->tape, dispatch.tensors[1], dispatch.tensors[0]);
        else
            tape_dispatch(probe->tape, &dispatch);
    }
    return tape_end(probe->tape, err);
}

static bool run(Bench *bench, Probe *probe, double *seconds, Error *err)
{
    double began = clock_seconds();
    for (uint32_t i = 0; i < probe->loops; i++)
        if (!probe->act(bench, probe, err)) return false;
    *seconds = clock_seconds() - began;
    return true;
}

// As many times more as the run is too short, 16 times at most: what a short run tells is not much.
// Steps grow first, as they cost nothing besides.
static bool grow(Probe *probe, double seconds)
{
    double factor = 1.3 * LEAST_SECONDS / (seconds > 1e-9 ? seconds : 1e-9);
    if (factor > 16) factor = 16;
    uint32_t *const sizes[] = {&probe->steps, &probe->dispatches, &probe->loops};
    const uint32_t most[] = {probe->most_steps, probe->most_dispatches, probe->most_loops};
    for (int i = 0; i < 3; i++) {
        if (*sizes[i] >= most[i]) continue;
        double next = factor * *sizes[i] + 1;
        *sizes[i] = next < most[i] ? (uint32_t)next : most[i];
        return true;
    }
    return false;
}

// Until the run is long enough.
static bool calibrate(Bench *bench, Probe *probe, Error *err)
{
    double seconds;
    if (!record(bench, probe, err) || !run(bench, probe, &seconds, err)) return false; // compiles
    for (;;) {
        if (!run(bench, probe, &seconds, err)) return false;
        if (seconds >= LEAST_SECONDS || !grow(probe, seconds)) return true;
        if (!record(bench, probe, err)) return false;
    }
}

// The module of a matrix's shape stands in the arithmetic kernel's place while its tape is
// recorded.
static bool prepare(Bench *bench, Probe *probe, Error *err)
{
    if (!probe->matrix) return calibrate(bench, probe, err);
    size_t count;
    uint32_t *code = matrix_code(&probe->matrix->shape, &count);
    bool ok = code ? gpu_replace_kernel_words(bench->gpu, probe->dispatch.kernel,
                                              "cooperative matrix", code, count, err)
                   : error_set(err, "out of memory");
    float subgroups[64];
    ok = ok && calibrate(bench, probe, err) &&
         tensor_download(bench->gpu, tensor_rows(bench->results, 0, 1), subgroups, err);
    if (ok) probe->work *= subgroups[0]; // each subgroup of a workgroup does it all
    gpu_restore_kernel(bench->gpu, probe->dispatch.kernel);
    return ok;
}

static void advance(Bench *bench)
{
    bench->step++;
    if (bench->progress)
        bench->progress(bench->user, bench->step, (uint32_t)bench->count * (1 + PEAK_ROUNDS));
}

static bool run_all(Bench *bench, Error *err)
{
    for (size_t i = 0; i < bench->count; i++) {
        if (!prepare(bench, &bench->probes[i], err)) return false;
        advance(bench);
    }
    for (int round = 0; round < PEAK_ROUNDS; round++)
        for (size_t i = 0; i < bench->count; i++) {
            Probe *probe = &bench->probes[i];
            if (!run(bench, probe, &probe->seconds[round], err)) return false;
            advance(bench);
        }
    return true;
}

// ---- results -----------------------------------------------------------------------------------

// The lowest seconds of an empty submission.
static double submit_seconds(const Bench *bench)
{
    for (size_t i = 0; i < bench->count; i++) {
        const Probe *probe = &bench->probes[i];
        if (probe->figure != PEAK_SUBMIT || probe->matrix) continue;
        return statistics_summarize(probe->seconds, PEAK_ROUNDS).lowest / probe->loops;
    }
    return 0;
}

// What one run's seconds mean: a rate, or seconds for one.
static double figure_of(const Probe *probe, double seconds, double submit)
{
    double dispatches = probe->dispatches ? probe->dispatches : 1;
    double count = probe->steps * dispatches * probe->loops;
    bool submits = probe->act == probe_run_tape && probe->figure != PEAK_SUBMIT;
    if (submits && seconds > 2 * submit * probe->loops) seconds -= submit * probe->loops;
    if (!strcmp(peak_text(probe->figure)->unit, "s")) return seconds / count;
    return count * probe->work / seconds;
}

static bool better(PeakFigure figure, double value, double than)
{
    if (!strcmp(peak_text(figure)->unit, "s")) return than == 0 || value < than;
    return value > than;
}

// Six digits, which are more than are known, so that a file gives the same number back.
static double rounded(double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.6g", value);
    return strtod(text, NULL);
}

static void keep(Peak *peak, const Probe *probe, double submit)
{
    Summary seconds = statistics_summarize(probe->seconds, PEAK_ROUNDS);
    double best = rounded(figure_of(probe, seconds.lowest, submit));
    double median = rounded(figure_of(probe, seconds.median, submit));
    if (probe->matrix) {
        probe->matrix->operations_per_second = best;
        probe->matrix->median = median;
        return;
    }
    if (!better(probe->figure, best, peak_value(peak, probe->figure))) return;
    *peak_field(peak, probe->figure) = best;
    peak->median[probe->figure] = median;
    snprintf(peak->way[probe->figure], sizeof *peak->way, "%s", probe->way ? probe->way : "");
}

// A dispatch that waits takes no less than one that does not: if it seems so, the noise was in the
// other.
static void bound_launch(Peak *peak)
{
    if (peak->launch_seconds > peak->barrier_seconds) peak->launch_seconds = peak->barrier_seconds;
}

bool peak_measure(Gpu *gpu, Peak *peak, PeakProgress *progress, void *user, Error *err)
{
    Bench *bench = calloc(1, sizeof *bench);
    if (!bench) return error_set(err, "out of memory");
    *bench = (Bench){.gpu = gpu, .progress = progress, .user = user};
    peak_describe(gpu, peak);
    bool ok = probes_open(bench, peak, err) && run_all(bench, err);
    double submit = submit_seconds(bench);
    for (size_t i = 0; ok && i < bench->count; i++) keep(peak, &bench->probes[i], submit);
    bound_launch(peak);
    probes_close(bench);
    free(bench);
    return ok;
}
