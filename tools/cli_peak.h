// The ceilings of a device, for strata peak and for profiles.
#ifndef STRATA_TOOLS_CLI_PEAK_H
#define STRATA_TOOLS_CLI_PEAK_H

#include "cli.h"
#include "profile/peak.h"

// What is kept of the device, else (or with `again`) measured now and kept, which shows its
// progress on standard error. As after peak_measure, the device may hold more memory than before.
bool cli_peak(Peak *peak, Gpu *gpu, bool again, Error *err);

#endif
