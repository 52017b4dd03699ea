// What repeated measurements say: the middle and the spread of one series, and whether two differ.
// Ranks alone count, as times on a shared machine have tails that no normal distribution has. Not a
// library of statistics.
#ifndef STRATA_BASE_STATISTICS_H
#define STRATA_BASE_STATISTICS_H

#include <stdbool.h>
#include <stddef.h>

enum { STATISTICS_MOST = 1000 }; // values of a series

typedef struct {
    double median, lowest, highest;
    // 1.4826 times the median distance to the median, which is the standard deviation where values
    // are normal and does not move with a few that are not (Hampel, 1974).
    double deviation;
} Summary;

// Of values (count, 1 to STATISTICS_MOST); their order does not matter. All 0 without any.
Summary statistics_summarize(const double *values, size_t count);

// The middle of any number of values, which this sorts. 0 without any.
double statistics_median(double *values, size_t count);

// By what factor one series lies above another.
typedef struct {
    double ratio;     // the median of the ratios of all pairs (Hodges and Lehmann, 1963)
    double low, high; // holds the factor in 95 of 100 cases; where not known, of all pairs
    bool known;       // series as short as these can bound it at all: 4 values each do
} SeriesRatio;

// Of a (m) over b (n), both 1 to STATISTICS_MOST values above 0. The bounds are those factors at
// which the two-sided Mann-Whitney test at 5 % would not tell a from b: exact up to m + n = 40,
// behind that by its normal approximation. False: out of memory.
bool statistics_compare(SeriesRatio *out, const double *a, size_t m, const double *b, size_t n);

// Of a over b, both (count, 1 to STATISTICS_MOST), where a[i] and b[i] were measured side by side:
// the median of a[i] / b[i], which is free of what slows both down for a while. The bounds are
// those at which the two-sided sign test at 5 % would not tell the median from them, exact; six
// pairs are enough.
SeriesRatio statistics_compare_pairs(const double *a, const double *b, size_t count);

// What a ratio says of something that was measured before and now.
typedef enum {
    CHANGE_NONE, // there is no series of before
    CHANGE_SAME,
    CHANGE_FASTER,
    CHANGE_SLOWER,
    CHANGE_UNKNOWN, // too few values to tell
    CHANGE_GONE,    // there is no series of now
} Change;
extern const char *const CHANGE_NAMES[]; // "new", "same", "faster", "slower", "unknown", "gone"

// Of now over before, of speeds or of times: faster and slower where the bounds exclude 1.
Change statistics_change_of_speed(const SeriesRatio *ratio);
Change statistics_change_of_time(const SeriesRatio *ratio);

#endif
