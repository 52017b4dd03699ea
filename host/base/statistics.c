// Medians, deviations and the ratio of two series: see statistics.h.
#include "base/statistics.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EXACT = 40 }; // values of both series together; counts of orders stay whole numbers then

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double middle(const double *sorted, size_t count)
{
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

Summary statistics_summarize(const double *values, size_t count)
{
    double sorted[STATISTICS_MOST];
    if (!count) return (Summary){0};
    assert(count <= STATISTICS_MOST);
    memcpy(sorted, values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, ascending);
    Summary s = {
        .median = middle(sorted, count), .lowest = sorted[0], .highest = sorted[count - 1]};
    for (size_t i = 0; i < count; i++) sorted[i] = fabs(values[i] - s.median);
    qsort(sorted, count, sizeof *sorted, ascending);
    s.deviation = 1.4826 * middle(sorted, count);
    return s;
}

double statistics_median(double *values, size_t count)
{
    if (!count) return 0;
    qsort(values, count, sizeof *values, ascending);
    return middle(values, count);
}

// How many of the smallest pairs of m * n may be cut off at either end: the largest k with
// P(U < k) <= 0.025, where U counts the pairs in which a is above b and all orders are alike.
static size_t cut_exact(size_t m, size_t n)
{
    // The orders with U = u are the coefficients of the product over i of
    // (1 - q^(n + i)) / (1 - q^i), i = 1 .. m.
    double ways[EXACT * EXACT / 4 + 1] = {1}, all = 0, below = 0;
    size_t most = m * n;
    for (size_t i = 1; i <= m; i++) {
        for (size_t u = most + 1; u-- > n + i;) ways[u] -= ways[u - n - i];
        for (size_t u = i; u <= most; u++) ways[u] += ways[u - i];
    }
    for (size_t u = 0; u <= most; u++) all += ways[u];
    size_t k = 0;
    while (below + ways[k] <= 0.025 * all) below += ways[k++];
    return k;
}

static size_t cut(size_t m, size_t n)
{
    if (m + n <= EXACT) return cut_exact(m, n);
    double pairs = (double)m * (double)n;
    double k = pairs / 2 - 1.959964 * sqrt(pairs * (double)(m + n + 1) / 12);
    return k > 0 ? (size_t)k : 0;
}

bool statistics_compare(SeriesRatio *out, const double *a, size_t m, const double *b, size_t n)
{
    assert(m > 0 && n > 0 && m <= STATISTICS_MOST && n <= STATISTICS_MOST);
    size_t pairs = m * n, k = cut(m, n);
    double *ratios = malloc(pairs * sizeof *ratios);
    if (!ratios) return false;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) ratios[i * n + j] = a[i] / b[j];
    qsort(ratios, pairs, sizeof *ratios, ascending);
    *out = (SeriesRatio){.ratio = middle(ratios, pairs),
                         .low = ratios[k ? k - 1 : 0],
                         .high = ratios[k ? pairs - k : pairs - 1],
                         .known = k > 0};
    free(ratios);
    return true;
}

// The largest k with P(X < k) <= 0.025, X being how many of count fair coins show heads.
static size_t cut_sign(size_t count)
{
    double below = 0;
    size_t k = 0;
    for (; k <= count / 2; k++) {
        double n = (double)count, heads = (double)k;
        below += exp(lgamma(n + 1) - lgamma(heads + 1) - lgamma(n - heads + 1) - n * log(2));
        if (below > 0.025) break;
    }
    return k;
}

SeriesRatio statistics_compare_pairs(const double *a, const double *b, size_t count)
{
    double ratios[STATISTICS_MOST];
    assert(count > 0 && count <= STATISTICS_MOST);
    for (size_t i = 0; i < count; i++) ratios[i] = a[i] / b[i];
    qsort(ratios, count, sizeof *ratios, ascending);
    size_t k = cut_sign(count);
    return (SeriesRatio){.ratio = middle(ratios, count),
                         .low = ratios[k ? k - 1 : 0],
                         .high = ratios[k ? count - k : count - 1],
                         .known = k > 0};
}

const char *const CHANGE_NAMES[] = {"new", "same", "faster", "slower", "unknown", "gone"};

Change statistics_change_of_speed(const SeriesRatio *ratio)
{
    return !ratio->known     ? CHANGE_UNKNOWN
           : ratio->low > 1  ? CHANGE_FASTER
           : ratio->high < 1 ? CHANGE_SLOWER
                             : CHANGE_SAME;
}

Change statistics_change_of_time(const SeriesRatio *ratio)
{
    Change change = statistics_change_of_speed(ratio);
    return change == CHANGE_FASTER   ? CHANGE_SLOWER
           : change == CHANGE_SLOWER ? CHANGE_FASTER
                                     : change;
}
