// The time, for durations.
#ifndef STRATA_BASE_CLOCK_H
#define STRATA_BASE_CLOCK_H

// Seconds since some fixed moment; never goes back.
double clock_seconds(void);

#endif
