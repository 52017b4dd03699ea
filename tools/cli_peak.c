// Ceilings that are kept, or measured with a line of progress: see cli_peak.h.
#include "cli_peak.h"

#include <stdio.h>
#include <unistd.h>

static void show_progress(void *user, uint32_t step, uint32_t steps)
{
    const char *device = user;
    fprintf(stderr, "\rmeasuring %.60s: %u %% ", device, 100 * step / steps);
    if (step == steps) fprintf(stderr, "\r%80s\r", "");
}

static bool measure(Gpu *gpu, Peak *peak, Error *err)
{
    PeakProgress *progress = isatty(STDERR_FILENO) ? show_progress : NULL;
    char device[256];
    Error not_kept;
    snprintf(device, sizeof device, "%s", gpu_info(gpu)->name);
    if (!progress) fprintf(stderr, "measuring %s\n", device);
    if (!peak_measure(gpu, peak, progress, device, err)) return false;
    if (!peak_save(gpu, peak, &not_kept)) fprintf(stderr, "not kept: %s\n", not_kept.text);
    return true;
}

bool cli_peak(Peak *peak, Gpu *gpu, bool again, Error *err)
{
    return (!again && peak_load(gpu, peak, NULL)) || measure(gpu, peak, err);
}
