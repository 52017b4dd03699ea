// The fields that drivers' compilers tell of a pipeline (gpu/statistics.h) as columns, CSV and
// JSON. Of which pipelines they are is the caller's.
#ifndef STRATA_PROFILE_FIELDS_H
#define STRATA_PROFILE_FIELDS_H

#include "base/json.h"
#include "gpu/statistics.h"
#include "profile/columns.h"

// fields are (FIELD_COUNT) by StatisticField, NAN: not known. `known` are (FIELD_COUNT) too: which
// have a column.

// Sets known[f] of what is known in fields, and leaves the others.
void fields_add_known(bool *known, const double *fields);

// FIELD_COUNT cells from column `first` on: the names, and values; "" of what is not known.
void fields_put_names(TableLine *line, int first);
void fields_put(TableLine *line, int first, const double *fields);
// A line for each known field, and for constants: what it counts.
void fields_print_meanings(FILE *stream, const bool *known);

// ",name" and ",value" of each known field.
void fields_csv_names(FILE *stream, const bool *known);
void fields_csv(FILE *stream, const double *fields, const bool *known);

// A number for each field by its name, null of what is not known.
void fields_json(cJSON *object, const double *fields);
// {name: what it counts} of all fields.
void fields_json_meanings(cJSON *object);

// Specialization constants (GPU_CONSTANTS) without the zeros at the end, "64,1,8,4", and all of
// them as a list.
void constants_text(char text[GPU_CONSTANTS * 11], const uint32_t *constants);
void constants_json(cJSON *object, const uint32_t *constants);

#endif
