// One kernel alone on a tape: see kernel_alone.h.
#include "profile/kernel_alone.h"
#include "base/clock.h"
#include "ops/launch.h"

#include <string.h>

bool kernel_name_read(KernelName *name, const char *text, Error *err)
{
    bool known = false;
    *name = (KernelName){kernel_case(text), KERNEL_COUNT};
    for (int k = 0; !name->kase && k < KERNEL_COUNT; k++) {
        const KernelSource *source = &kernel_sources[k];
        known |= !strcmp(source->file, text) || !strcmp(source->name, text);
        if (!strcmp(source->name, text)) *name = (KernelName){kernel_case(source->file), (Kernel)k};
    }
    if (name->kase) return true;
    if (known) return error_set(err, "kernel '%s': no op records it, strata peak does", text);
    return error_set(err, "kernel '%.60s': there is none of that name; --list names all", text);
}

// What becomes of the dispatches that an op records.
typedef enum { LOOK, BEFORE, ALONE } PickMode;
typedef struct {
    const char *file;
    Kernel wanted; // KERNEL_COUNT: any of the file
    PickMode mode;
    Kernel found; // the one that was wanted or else another one of the file; KERNEL_COUNT: none
    uint32_t constants[GPU_CONSTANTS]; // of its first dispatch
} Pick;

static bool pick(void *user, const Dispatch *dispatch)
{
    Pick *p = user;
    bool of_file = !strcmp(kernel_sources[dispatch->kernel].file, p->file);
    bool match = of_file && (p->wanted == KERNEL_COUNT || dispatch->kernel == p->wanted);
    bool before = p->found == KERNEL_COUNT && !of_file;
    if (of_file && p->found != dispatch->kernel && (match || p->found == KERNEL_COUNT)) {
        p->found = dispatch->kernel;
        memcpy(p->constants, dispatch->constants, sizeof p->constants);
    }
    return p->mode == ALONE ? match : p->mode == BEFORE && before;
}

// Records the op so many times, with that variant or, NULL, as ops choose.
static void record(const KernelBed *bed, Tape *tape, Pick *p, const char *variant, uint32_t times)
{
    launch_force_variant(variant);
    gpu_filter(bed->gpu, pick, p);
    for (uint32_t i = 0; i < times; i++) bed_record(bed, tape);
    gpu_filter(bed->gpu, NULL, NULL);
    launch_force_variant(NULL);
}

static Tape *make_tape(const KernelBed *bed, Pick *p, const char *variant, uint32_t times,
                       Error *err)
{
    Tape *tape = tape_begin(bed->gpu, bed->kase->file, err);
    if (!tape) return NULL;
    record(bed, tape, p, variant, times);
    if (tape_end(tape, err)) return tape;
    tape_free(tape);
    return NULL;
}

bool kernel_way_find(KernelWay *way, const KernelBed *bed, const KernelName *name, Kernel *instead)
{
    static const char *const variants[] = {NULL, "any", "vec4", "shuffle", "texel"};
    *instead = KERNEL_COUNT;
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        Pick p = {name->kase->file, name->kernel, LOOK, KERNEL_COUNT, {0}};
        Error err;
        tape_free(make_tape(bed, &p, variants[i], 1, &err));
        if (i == 0 || *instead == KERNEL_COUNT) *instead = p.found;
        if (p.found == KERNEL_COUNT || (name->kernel != KERNEL_COUNT && p.found != name->kernel))
            continue;
        *way = (KernelWay){p.found, variants[i], {0}};
        memcpy(way->constants, p.constants, sizeof way->constants);
        return true;
    }
    return false;
}

Tape *kernel_tape(const KernelBed *bed, const KernelWay *way, uint32_t times, Error *err)
{
    Pick p = {bed->kase->file, way->kernel, ALONE, KERNEL_COUNT, {0}};
    return make_tape(bed, &p, way->variant, times, err);
}

Tape *kernel_tape_before(const KernelBed *bed, const KernelWay *way, Error *err)
{
    Pick p = {bed->kase->file, way->kernel, BEFORE, KERNEL_COUNT, {0}};
    return make_tape(bed, &p, way->variant, 1, err);
}

// The median over `times` runs of what a run's dispatches took, and what they cost.
static void read_events(KernelTime *time, const ProfileEvent *events, size_t count, uint32_t times)
{
    double runs[KERNEL_TIMES] = {0};
    for (size_t i = 0; i < count; i++) {
        runs[i * times / count] += events[i].end - events[i].begin;
        time->cost.bytes += events[i].cost.bytes / times;
        time->cost.operations += events[i].cost.operations / times;
    }
    time->seconds = statistics_summarize(runs, times).median;
}

bool kernel_time(KernelTime *time, Gpu *gpu, Tape *tape, uint32_t times, Error *err)
{
    size_t before = gpu_profile_view(gpu).event_count;
    double start = clock_seconds();
    if (!gpu_run(gpu, &tape, 1, err)) return false;
    *time = (KernelTime){.seconds = (clock_seconds() - start) / times};
    Profile profile = gpu_profile_view(gpu);
    if (profile.event_count > before)
        read_events(time, profile.events + before, profile.event_count - before, times);
    time->timestamps = profile.event_count > before && profile.timestamps;
    return gpu_profile_whole(gpu) || error_set(err, "out of memory");
}
