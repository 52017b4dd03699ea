// Hardware counters of a kernel alone: see kernel_count.h.
#include "profile/kernel_count.h"

#include <stdlib.h>

// Counts the dispatches that the profile has from `first` on.
static bool count_events(double *values, Counting *counting, const Profile *p, size_t first,
                         Error *err)
{
    size_t count = p->event_count - first;
    Dispatch *dispatches = malloc((count + 1) * sizeof *dispatches);
    if (!dispatches) return error_set(err, "out of memory");
    for (size_t i = 0; i < count; i++) dispatches[i] = p->events[first + i].command->dispatch;
    bool ok = counting_run(counting, dispatches, (uint32_t)count, values, err);
    free(dispatches);
    return ok;
}

bool kernel_count(double *values, Counting *counting, KernelBed *bed, const KernelWay *way,
                  Error *err)
{
    Tape *tapes[] = {kernel_tape_before(bed, way, err), NULL};
    if (tapes[0]) tapes[1] = kernel_tape(bed, way, 1, err);
    bool ok = tapes[1] && bed_reset(bed, err) && gpu_run(bed->gpu, &tapes[0], 1, err);
    size_t first = gpu_profile_view(bed->gpu).event_count;
    ok = ok && gpu_run(bed->gpu, &tapes[1], 1, err);
    Profile profile = gpu_profile_view(bed->gpu);
    ok = ok && count_events(values, counting, &profile, first, err);
    tape_free(tapes[0]);
    tape_free(tapes[1]);
    return ok;
}
