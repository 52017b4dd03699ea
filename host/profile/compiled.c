// What compilers say of pipelines that ran: see compiled.h.
#include "profile/compiled.h"
#include "profile/fields.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool read_row(double *fields, Gpu *gpu, const SummaryRow *row, Error *err)
{
    PipelineStatistics statistics;
    if (row->kernel < 0) return true;
    if (!pipeline_statistics_read(&statistics, gpu, (Kernel)row->kernel, row->constants, err))
        return false;
    memcpy(fields, statistics.fields, sizeof statistics.fields);
    pipeline_statistics_free(&statistics);
    return true;
}

bool compiled_read(Compiled *out, Gpu *gpu, const SummaryTable *pipelines,
                   CompiledProgress *progress, void *user, Error *err)
{
    *out = (Compiled){.fields = calloc(pipelines->count + 1, sizeof *out->fields),
                      .statistics = gpu_has_statistics(gpu)};
    if (!out->fields) return error_set(err, "out of memory for %zu pipelines", pipelines->count);
    out->count = pipelines->count;
    for (size_t i = 0; i < out->count; i++)
        for (int f = 0; f < FIELD_COUNT; f++) out->fields[i][f] = NAN;
    for (size_t i = 0; i < out->count; i++) {
        if (progress) progress(user, i, out->count);
        if (!read_row(out->fields[i], gpu, &pipelines->rows[i], err)) return false;
        fields_add_known(out->known, out->fields[i]);
    }
    return true;
}

void compiled_free(Compiled *compiled)
{
    free(compiled->fields);
    *compiled = (Compiled){0};
}
