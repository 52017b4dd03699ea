// What the driver's compiler says of the pipelines that a profile saw run: registers, spills,
// occupancy and so on beside their times. For each it compiles one more (gpu/statistics.h), so that
// those that ran were made as ever.
#ifndef STRATA_PROFILE_COMPILED_H
#define STRATA_PROFILE_COMPILED_H

#include "gpu/statistics.h"
#include "profile/summary.h"

typedef struct {
    // Of each row of the table by pipeline; NAN: not known, as all is of fills and copies.
    double (*fields)[FIELD_COUNT]; // (count)
    size_t count;
    bool known[FIELD_COUNT]; // in one of the rows
    bool statistics;         // the driver tells of its compiler; else only SPIR-V and device do
} Compiled;

// Called before each row: so many were compiled, of so many.
typedef void CompiledProgress(void *user, size_t done, size_t count);

// Of the table SUMMARY_PIPELINES of a profile of that device. progress may be NULL. False: the
// driver refused one, or out of memory; what was read until then is there, and is to be freed all
// the same.
bool compiled_read(Compiled *out, Gpu *gpu, const SummaryTable *pipelines,
                   CompiledProgress *progress, void *user, Error *err);
void compiled_free(Compiled *compiled);

#endif
