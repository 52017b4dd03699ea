// What compilers tell, written: see fields.h.
#include "profile/fields.h"

#include <math.h>

void fields_add_known(bool *known, const double *fields)
{
    for (int f = 0; f < FIELD_COUNT; f++) known[f] |= !isnan(fields[f]);
}

// ---- columns -----------------------------------------------------------------------------------

void fields_put_names(TableLine *line, int first)
{
    for (int f = 0; f < FIELD_COUNT; f++)
        snprintf(line->cells[first + f], TABLE_CELL, "%s", STATISTIC_FIELDS[f].name);
}

void fields_put(TableLine *line, int first, const double *fields)
{
    for (int f = 0; f < FIELD_COUNT; f++) {
        line->cells[first + f][0] = 0;
        if (!isnan(fields[f])) snprintf(line->cells[first + f], TABLE_CELL, "%.6g", fields[f]);
    }
}

void fields_print_meanings(FILE *stream, const bool *known)
{
    for (int f = 0; f < FIELD_COUNT; f++)
        if (known[f])
            fprintf(stream, "%-17s%s\n", STATISTIC_FIELDS[f].name, STATISTIC_FIELDS[f].meaning);
    fprintf(
        stream, "%-17s%s\n", "constants",
        "specialization constants 0, 1, ...: invocations of a workgroup, of a row, the kernel's");
}

// ---- CSV ---------------------------------------------------------------------------------------

void fields_csv_names(FILE *stream, const bool *known)
{
    for (int f = 0; f < FIELD_COUNT; f++)
        if (known[f]) fprintf(stream, ",%s", STATISTIC_FIELDS[f].name);
}

void fields_csv(FILE *stream, const double *fields, const bool *known)
{
    for (int f = 0; f < FIELD_COUNT; f++) {
        if (!known[f]) continue;
        if (isnan(fields[f]))
            fputc(',', stream);
        else
            fprintf(stream, ",%.10g", fields[f]);
    }
}

// ---- JSON --------------------------------------------------------------------------------------

void fields_json(cJSON *object, const double *fields)
{
    for (int f = 0; f < FIELD_COUNT; f++)
        if (isnan(fields[f]))
            cJSON_AddNullToObject(object, STATISTIC_FIELDS[f].name);
        else
            cJSON_AddNumberToObject(object, STATISTIC_FIELDS[f].name, fields[f]);
}

void fields_json_meanings(cJSON *object)
{
    for (int f = 0; f < FIELD_COUNT; f++)
        cJSON_AddStringToObject(object, STATISTIC_FIELDS[f].name, STATISTIC_FIELDS[f].meaning);
}

// ---- constants ---------------------------------------------------------------------------------

void constants_text(char text[GPU_CONSTANTS * 11], const uint32_t *constants)
{
    int last = GPU_CONSTANTS - 1, at = 0;
    while (last > 0 && !constants[last]) last--;
    for (int i = 0; i <= last; i++) at += sprintf(text + at, i ? ",%u" : "%u", constants[i]);
}

void constants_json(cJSON *object, const uint32_t *constants)
{
    cJSON *list = cJSON_AddArrayToObject(object, "constants");
    for (int i = 0; i < GPU_CONSTANTS; i++)
        cJSON_AddItemToArray(list, cJSON_CreateNumber(constants[i]));
}
