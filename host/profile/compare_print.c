// What a comparison of profiles says, for people and for programs: see compare.h.
#include "profile/compare.h"
#include "profile/table_internal.h"

#include <stdlib.h>
#include <string.h>

static const char *table_name(const ProfileChange *change)
{
    return change->table < 0 ? "step" : SUMMARY_NAMES[change->table];
}

static bool has_ratio(const ProfileChange *change)
{
    return change->time.ratio > 0;
}

static void put_ratio(char cell[TABLE_CELL], const ProfileChange *change, double ratio)
{
    snprintf(cell, TABLE_CELL, has_ratio(change) ? "%.*f" : "-", ratio < 100 ? 3 : 0, ratio);
}

static void put_change(TableLine *line, const ProfileChange *change)
{
    if (change->table < 0)
        snprintf(line->cells[0], TABLE_CELL, "whole step");
    else
        snprintf(line->cells[0], TABLE_CELL, "%s %s", table_name(change), change->name);
    table_put_seconds(line->cells[1], change->old_median);
    table_put_seconds(line->cells[2], change->new_median);
    put_ratio(line->cells[3], change, change->time.ratio);
    put_ratio(line->cells[4], change, change->time.low);
    put_ratio(line->cells[5], change, change->time.high);
    snprintf(line->cells[6], TABLE_CELL, "%s", CHANGE_NAMES[change->change]);
    if (change->regressed) snprintf(line->cells[7], TABLE_CELL, "regressed");
}

void compare_print(FILE *stream, const ProfileComparison *c)
{
    static const char *const names[] = {"time in a step", "old", "new",    "new/old",
                                        "from",           "to",  "change", ""};
    enum { COLUMNS = sizeof names / sizeof *names };
    TableLine *lines = calloc(c->count + 1, sizeof *lines);
    fprintf(stream,
            "\ncompared with %s; new/old lies between `from` and `to` in 95 of 100 cases\n\n",
            c->path);
    if (!lines) {
        fprintf(stream, "out of memory for a table of %zu rows\n", c->count);
        return;
    }
    for (int i = 0; i < COLUMNS; i++) snprintf(lines[0].cells[i], TABLE_CELL, "%s", names[i]);
    for (size_t i = 0; i < c->count; i++) put_change(&lines[i + 1], &c->changes[i]);
    columns_print(stream, lines, c->count + 1, COLUMNS, 1);
    free(lines);
}

void compare_print_notes(FILE *stream, const ProfileComparison *c)
{
    if (*c->notes) fprintf(stream, "compared with %s:\n%s", c->path, c->notes);
    if (c->unknown)
        fprintf(stream, "compared with %s: %zu unknown, too few steps to tell\n", c->path,
                c->unknown);
    if (!c->regressed) return;
    fprintf(stream, "compared with %s: %zu slower by more than %g%%:", c->path, c->regressed,
            100 * c->tolerance);
    for (size_t i = 0, shown = 0; i < c->count; i++)
        if (c->changes[i].regressed)
            fprintf(stream, "%s %s", shown++ ? "," : "",
                    c->changes[i].table < 0 ? "whole step" : c->changes[i].name);
    fputc('\n', stream);
}

static cJSON *change_json(const ProfileChange *change)
{
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "table", table_name(change));
    cJSON_AddStringToObject(row, "name", change->name);
    cJSON_AddStringToObject(row, "change", CHANGE_NAMES[change->change]);
    cJSON_AddNumberToObject(row, "ratio", change->time.ratio);
    cJSON_AddNumberToObject(row, "low", change->time.low);
    cJSON_AddNumberToObject(row, "high", change->time.high);
    cJSON_AddNumberToObject(row, "old", change->old_median);
    cJSON_AddNumberToObject(row, "new", change->new_median);
    cJSON_AddBoolToObject(row, "regressed", change->regressed);
    return row;
}

static void add_notes(cJSON *object, const char *notes)
{
    cJSON *list = cJSON_AddArrayToObject(object, "notes");
    for (const char *end; (end = strchr(notes, '\n')) != NULL; notes = end + 1) {
        char *line = malloc((size_t)(end - notes) + 1);
        if (!line) return;
        memcpy(line, notes, (size_t)(end - notes));
        line[end - notes] = 0;
        cJSON_AddItemToArray(list, cJSON_CreateString(line));
        free(line);
    }
}

void compare_json(cJSON *object, const ProfileComparison *c)
{
    cJSON *compared = cJSON_AddObjectToObject(object, "compared");
    cJSON_AddStringToObject(compared, "file", c->path);
    if (c->tolerance >= 0) cJSON_AddNumberToObject(compared, "tolerance", c->tolerance);
    add_notes(compared, c->notes);
    cJSON_AddNumberToObject(compared, "regressed", (double)c->regressed);
    cJSON_AddNumberToObject(compared, "unknown", (double)c->unknown);
    cJSON *rows = cJSON_AddArrayToObject(compared, "rows");
    for (size_t i = 0; i < c->count; i++) cJSON_AddItemToArray(rows, change_json(&c->changes[i]));
}
