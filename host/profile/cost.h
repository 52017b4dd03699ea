// What one run of a recorded dispatch has to move and to compute, by the rule of its kernel: the
// figures that bandwidth and rate of a measured time follow from. From the mathematics and the
// shapes, not from how a variant goes about it: all variants of a kernel cost the same, and what
// one reads again or computes again is its own loss. Not a measurement, and not fills and copies.
//
// Bytes: each value that the op needs is read once and each result is written once, in its storage
// type (blocks: their bytes in memory), for the rows that run. += reads and writes. Tables that say
// which rows, tokens or keys are meant count by the words that are read. A row of a table, of
// turns, of keys or of values counts once, however many rows need it; of a slice of a table, only
// rows that are named. What every kernel gets from a cache counts nothing: counts, the values of
// the step, and clip's result for those that read it.
//
// Operations: additions (and subtractions) and multiplications 1 each, fused ones 2; exp, log, sqrt
// and division 1 each. A sum of n terms is n additions, also where it is added to what is there.
// Comparisons, maxima, signs, whole numbers, and conversions between storage types count nothing.
//
// Where no rows run, a dispatch costs nothing, though a kernel may still add 0 to a gradient.
#ifndef STRATA_PROFILE_COST_H
#define STRATA_PROFILE_COST_H

#include "gpu/gpu.h"
#include "gpu/profile.h"

// The cost of a run. dispatch is as it was recorded, tensors alive. rows: the rows that its grid's
// count came to when it ran, 0 .. grid.rows.max; of fixed grids it is not looked at, and where such
// a kernel works on rows, its count is read.
//
// What rows name is read where the host sees it (MEMORY_HOST, as training and generation have all
// these tables): call this after the run and before the tables of another one are written. Where
// the host does not see a table, upper bounds stand in: of attention the pairs of one causal
// sequence of all rows, of attention over pages all pages for each row, else as many different rows
// as there are names or rows to be named. An AdamW that the gradient's norm stopped costs nothing,
// where the host sees clip and step.
Cost cost_of(const Dispatch *dispatch, uint32_t rows);

// What a table by shape groups by: "64 x 288 x 768 Q8_0" (rows x n x k of a product, of all three
// kinds), "64 x 8 heads x 48" (with fewer key/value heads "64 x 8/2 heads x 48"), "64 x 288",
// "64 x 8 x 48" (rows x parts x columns of a norm of heads), "82944" (values of a parameter),
// "512 x 64 x 100 steps" (groups x invocations of a probe of the device). The storage type of the
// weight, gradient or activation stands behind it where it is not F32. Where a kernel with a fixed
// grid works on rows, "max 64 x 288 x 768" says how many they may be. Looks into no tensor: they
// may be gone. At most `size` bytes with the NUL; 80 hold any.
void cost_shape(char *out, size_t size, const Dispatch *dispatch, uint32_t rows);

// Whether there is a rule for the kernel's file. Others cost nothing and have an empty shape; a
// test holds every shaders/*.comp that ops record to a rule.
bool cost_known(Kernel kernel);

#endif
