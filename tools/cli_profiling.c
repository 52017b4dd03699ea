// A run that is profiled: see cli_profiling.h.
#include "cli_profiling.h"
#include "base/clock.h"
#include "cli_peak.h"
#include "profile/cost.h"

#include <stdio.h>
#include <stdlib.h>

ProfilingOptions profiling_defaults(uint64_t steps, uint64_t warmup)
{
    return (ProfilingOptions){
        .reports = reports_defaults(), .steps = steps, .warmup = warmup, .every = PROFILING_EVERY};
}

// ---- options -----------------------------------------------------------------------------------

static bool take_count(uint64_t *out, const char *name, const char *value, uint64_t least,
                       Error *err)
{
    return cli_number(value, least, 1000000, out) ||
           error_set(err, "--%s '%.40s' is not a number of %d to 1000000", name, value, (int)least);
}

bool profiling_option(ProfilingOptions *o, int option, const char *value, bool *known, Error *err)
{
    *known = true;
    if (option == OPTION_STEPS) return take_count(&o->steps, "steps", value, 1, err);
    if (option == OPTION_WARMUP) return take_count(&o->warmup, "warmup", value, 0, err);
    if (option == OPTION_EVERY) return take_count(&o->every, "every", value, 1, err);
    if (option != OPTION_SERIALIZE) return reports_option(&o->reports, option, value, known, err);
    o->serialize = true;
    return true;
}

bool profiling_check(const ProfilingOptions *o, Error *err)
{
    return reports_check(&o->reports, err);
}

// ---- life time ---------------------------------------------------------------------------------

// On a Gpu of its own, whose memory goes with it.
static bool know_ceilings(Ceilings *ceilings, const char *device, Error *err)
{
    static Peak peak; // large
    Gpu *gpu = gpu_open(device, err);
    bool ok = gpu && cli_peak(&peak, gpu, false, err);
    gpu_close(gpu);
    if (ok) *ceilings = summary_ceilings(&peak);
    return ok;
}

bool profiling_open(Profiling *p, const char *device, Error *err)
{
    if (!reports_begin(&p->options->reports, err) || !know_ceilings(&p->ceilings, device, err))
        return false;
    p->gpu = gpu_open(device, err);
    return p->gpu &&
           gpu_profile(
               p->gpu,
               &(ProfileOptions){p->options->serialize, cost_of, (uint32_t)p->options->every}, err);
}

void profiling_close(Profiling *p)
{
    gpu_close(p->gpu);
    reports_end(&p->options->reports);
    free(p->steps);
}

void profiling_start(Profiling *p)
{
    gpu_profile_clear(p->gpu);
    p->count = 0;
    p->begin = p->at = clock_seconds();
}

void profiling_step(Profiling *p, double loss, uint32_t tokens)
{
    if (p->count == p->room) {
        size_t room = p->room ? 2 * p->room : 64;
        ProfileStep *steps = realloc(p->steps, room * sizeof *steps);
        if (!steps) {
            p->failed = true;
            return;
        }
        p->steps = steps;
        p->room = room;
    }
    double now = clock_seconds();
    p->steps[p->count++] = (ProfileStep){p->at, now, loss, tokens};
    p->at = now;
}

// ---- reports -----------------------------------------------------------------------------------

// That times are not what one would expect.
static void warn(const Profile *profile)
{
    if (!profile->timestamps)
        fprintf(stderr, "the device has no timestamps: each command is submitted alone, and timed "
                        "by the host\n");
}

bool profiling_report(Profiling *p, const char *command, const char *what, int *status, Error *err)
{
    char title[600], steps[24], warmup[24], every[24];
    snprintf(title, sizeof title, "%s %.500s", command, what);
    snprintf(steps, sizeof steps, "%zu", p->count);
    snprintf(warmup, sizeof warmup, "%llu", (unsigned long long)p->options->warmup);
    const ProfileRecord record = {.title = title,
                                  .device = gpu_info(p->gpu),
                                  .data = gpu_profile_view(p->gpu),
                                  .steps = p->steps,
                                  .step_count = p->count,
                                  .begin = p->begin,
                                  .end = clock_seconds()};
    uint64_t timed =
        record.data.serialized ? 1 : p->options->every; // one by one: each run is timed
    snprintf(every, sizeof every, "%llu", (unsigned long long)timed);
    const ProfileSetting settings[] = {{"steps", steps}, {"warmup", warmup}, {"every", every}};
    warn(&record.data);
    if (p->failed || !gpu_profile_whole(p->gpu))
        return error_set(err, "out of memory for the profile: fewer --steps need less");
    return reports_write(&p->options->reports, p->gpu, &record, &p->ceilings, settings, 3, status,
                         err);
}
