// A profile against an earlier one: see compare.h. What is printed is compare_print.c's.
#define _POSIX_C_SOURCE 200809L // open_memstream
#include "profile/compare.h"

#include <stdlib.h>
#include <string.h>

enum {
    MOST_ROWS = 100000, // of a table in a file
    MOST_TEXT = 1000,   // bytes of a text
};

typedef struct {
    const char *name;
    const cJSON *row;
    bool met; // this profile has it, too
} OldRow;

typedef struct {
    OldRow *rows; // (count) by name
    size_t count;
    bool absent; // the file has no such table
} OldTable;

struct ProfileOld {
    char *path;
    cJSON *json;
    double walls[SUMMARY_SAMPLES]; // (step_count)
    size_t step_count;
    OldTable tables[SUMMARY_TABLES];
};

// ---- reading -----------------------------------------------------------------------------------

static int by_name(const void *a, const void *b)
{
    return strcmp(((const OldRow *)a)->name, ((const OldRow *)b)->name);
}

// Seconds in the steps in which it ran. `where` begins messages.
static bool read_samples(double *out, size_t *count, const ProfileOld *old, const cJSON *row,
                         const char *where, Error *err)
{
    size_t all, used = 0;
    if (!json_numbers(out, &all, SUMMARY_SAMPLES, row, "samples", 0, where, err)) return false;
    if (all != old->step_count)
        return error_set(err, "%s: key 'samples': %zu values, but 'wall' of 'steps' has %zu", where,
                         all, old->step_count);
    for (size_t i = 0; i < all; i++)
        if (out[i] > 0) out[used++] = out[i];
    *count = used;
    return true;
}

// Texts of a file are printed: they must not be long, nor move a terminal's cursor.
static bool check_text(const char *text, const char *key, size_t most, const char *where,
                       Error *err)
{
    size_t length = strlen(text);
    if (length > most)
        return error_set(err, "%s: key '%.100s' has %zu bytes, expected %zu at most", where, key,
                         length, most);
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7F)
            return error_set(err, "%s: key '%.100s' has a control character", where, key);
    return true;
}

static bool check_row(OldRow *row, const ProfileOld *old, const char *where, Error *err)
{
    double samples[SUMMARY_SAMPLES];
    size_t count;
    if (!cJSON_IsObject(row->row)) return error_set(err, "%s: an object is expected", where);
    if (!json_string(&row->name, row->row, "name", where, err)) return false;
    return check_text(row->name, "name", SUMMARY_NAME - 1, where, err) &&
           read_samples(samples, &count, old, row->row, where, err);
}

static bool read_table(ProfileOld *old, int kind, const cJSON *tables, Error *err)
{
    OldTable *table = &old->tables[kind];
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(tables, SUMMARY_NAMES[kind]), *item;
    table->absent = !list && kind == SUMMARY_PIPELINES;
    if (table->absent) return true;
    if (!cJSON_IsArray(list))
        return error_set(err, "%s: key 'tables': key '%s': a list of rows is expected", old->path,
                         SUMMARY_NAMES[kind]);
    size_t room = (size_t)cJSON_GetArraySize(list);
    if (room > MOST_ROWS)
        return error_set(err, "%s: key '%s': %zu rows, expected %d at most", old->path,
                         SUMMARY_NAMES[kind], room, MOST_ROWS);
    table->rows = calloc(room + 1, sizeof *table->rows);
    if (!table->rows) return error_set(err, "%s: out of memory for %zu rows", old->path, room);
    cJSON_ArrayForEach(item, list)
    {
        char where[400];
        OldRow *row = &table->rows[table->count];
        snprintf(where, sizeof where, "%.300s: row %zu of '%s'", old->path, table->count,
                 SUMMARY_NAMES[kind]);
        row->row = item;
        if (!check_row(row, old, where, err)) return false;
        table->count++;
    }
    qsort(table->rows, table->count, sizeof *table->rows, by_name);
    for (size_t i = 1; i < table->count; i++)
        if (!strcmp(table->rows[i - 1].name, table->rows[i].name))
            return error_set(err, "%s: '%s' has two rows with the name '%.100s'", old->path,
                             SUMMARY_NAMES[kind], table->rows[i].name);
    return true;
}

static bool check_texts(const cJSON *json, const char *path, Error *err)
{
    static const char *const keys[] = {"title", "device", "driver"};
    const cJSON *settings = cJSON_GetObjectItemCaseSensitive(json, "settings"), *item;
    const char *text;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!json_string(&text, json, keys[i], path, err) ||
            !check_text(text, keys[i], MOST_TEXT, path, err))
            return false;
    if (!cJSON_IsObject(settings))
        return error_set(err, "%s: key 'settings': an object is expected", path);
    cJSON_ArrayForEach(item, settings)
    {
        if (!check_text(item->string, "settings", MOST_TEXT, path, err) ||
            !json_string(&text, settings, item->string, path, err) ||
            !check_text(text, item->string, MOST_TEXT, path, err))
            return false;
    }
    return true;
}

static bool read_all(ProfileOld *old, Error *err)
{
    int64_t layout;
    const cJSON *json = old->json, *tables = cJSON_GetObjectItemCaseSensitive(json, "tables");
    const cJSON *steps = cJSON_GetObjectItemCaseSensitive(json, "steps");
    if (!cJSON_IsObject(json) || !cJSON_HasObjectItem(json, "profile"))
        return error_set(err, "%s: key 'profile': what --json of strata profile wrote is expected",
                         old->path);
    if (!json_int(&layout, json, "profile", TABLE_LAYOUT, TABLE_LAYOUT, old->path, err) ||
        !check_texts(json, old->path, err))
        return false;
    if (!cJSON_IsObject(steps) || !cJSON_IsObject(tables))
        return error_set(err, "%s: key '%s': an object is expected", old->path,
                         cJSON_IsObject(steps) ? "tables" : "steps");
    if (!json_numbers(old->walls, &old->step_count, SUMMARY_SAMPLES, steps, "wall", 0, old->path,
                      err))
        return false;
    for (int kind = 0; kind < SUMMARY_TABLES; kind++)
        if (!read_table(old, kind, tables, err)) return false;
    return true;
}

ProfileOld *compare_read(const char *path, Error *err)
{
    ProfileOld *old = calloc(1, sizeof *old);
    char *own = malloc(strlen(path) + 1);
    if (!old || !own) {
        error_set(err, "%s: out of memory", path);
        free(own);
        free(old);
        return NULL;
    }
    old->path = strcpy(own, path);
    old->json = json_read(path, err);
    if (old->json && read_all(old, err)) return old;
    compare_free(old);
    return NULL;
}

void compare_free(ProfileOld *old)
{
    if (!old) return;
    for (int kind = 0; kind < SUMMARY_TABLES; kind++) free(old->tables[kind].rows);
    cJSON_Delete(old->json);
    free(old->path);
    free(old);
}

// ---- what differs otherwise --------------------------------------------------------------------

static void note_text(FILE *notes, const char *what, const char *old, const char *new)
{
    if (strcmp(old, new) != 0)
        fprintf(notes, "%s was %s, is %s\n", what, *old ? old : "not given",
                *new ? new : "not given");
}

static const char *text_of(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
    return text ? text : "";
}

// Of both as objects of the same layout.
static bool note_differences(char **out, const ProfileOld *earlier, const cJSON *new,
                             unsigned kinds)
{
    static const char *const keys[] = {"title", "device", "driver"};
    size_t size;
    FILE *notes = open_memstream(out, &size);
    if (!notes) return false;
    const cJSON *old = earlier->json;
    const cJSON *were = cJSON_GetObjectItemCaseSensitive(old, "settings"), *item;
    const cJSON *are = cJSON_GetObjectItemCaseSensitive(new, "settings");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        note_text(notes, keys[i], text_of(old, keys[i]), text_of(new, keys[i]));
    cJSON_ArrayForEach(item, are)
    {
        note_text(notes, item->string, text_of(were, item->string), text_of(are, item->string));
    }
    cJSON_ArrayForEach(item, were)
    {
        if (!cJSON_GetObjectItemCaseSensitive(are, item->string))
            note_text(notes, item->string, text_of(were, item->string), "");
    }
    for (int kind = 0; kind < SUMMARY_TABLES; kind++)
        if (kinds & 1u << kind && earlier->tables[kind].absent)
            fprintf(notes, "it has no table by %s\n", SUMMARY_NAMES[kind]);
    return fclose(notes) == 0;
}

// ---- comparing ---------------------------------------------------------------------------------

// Both series without what is 0; the change becomes NONE or GONE where one has nothing.
static bool compare_series(ProfileChange *change, const double *new, size_t new_count,
                           const double *old, size_t old_count)
{
    double values[SUMMARY_SAMPLES] = {0};
    size_t count = 0;
    for (size_t i = 0; i < new_count; i++)
        if (new[i] > 0) values[count++] = new[i];
    change->new_median = statistics_summarize(values, count).median;
    change->old_median = statistics_summarize(old, old_count).median;
    change->change = CHANGE_UNKNOWN;
    if (!count || !old_count) return true;
    if (!statistics_compare(&change->time, values, count, old, old_count)) return false;
    change->change = statistics_change_of_time(&change->time);
    return true;
}

static ProfileChange *put_change(ProfileComparison *c, int table, const char *name)
{
    ProfileChange *change = &c->changes[c->count++];
    change->table = table;
    snprintf(change->name, sizeof change->name, "%s", name);
    return change;
}

static void judge(ProfileComparison *c, ProfileChange *change)
{
    change->regressed = c->tolerance >= 0 && change->change == CHANGE_SLOWER &&
                        change->time.ratio > 1 + c->tolerance;
    c->regressed += change->regressed;
    c->unknown += change->change == CHANGE_UNKNOWN;
}

static bool compare_steps(ProfileComparison *c, const ProfileOld *old, const ProfileSummary *s)
{
    double walls[SUMMARY_SAMPLES], before[SUMMARY_SAMPLES];
    size_t old_count = 0;
    for (size_t i = 0; i < s->sample_count; i++)
        walls[i] = s->accounts.step[i * s->sample_every].wall;
    for (size_t i = 0; i < old->step_count; i++)
        if (old->walls[i] > 0) before[old_count++] = old->walls[i];
    ProfileChange *change = put_change(c, -1, "step");
    bool ok = compare_series(change, walls, s->sample_count, before, old_count);
    judge(c, change);
    return ok;
}

static bool compare_row(ProfileComparison *c, const ProfileOld *old, const OldRow *before,
                        ProfileChange *change, const SummaryRow *row, size_t sample_count,
                        Error *err)
{
    double samples[SUMMARY_SAMPLES];
    size_t count = 0;
    if (!read_samples(samples, &count, old, before->row, c->path, err)) return false;
    return compare_series(change, row->samples, sample_count, samples, count) ||
           error_set(err, "%s: out of memory for comparing", c->path);
}

// A table of this profile against that of the earlier one.
static bool compare_table(ProfileComparison *c, const ProfileOld *old, const ProfileSummary *s,
                          int kind, Error *err)
{
    const SummaryTable *table = &s->tables[kind];
    const OldTable *before = &old->tables[kind];
    for (size_t i = 0; i < before->count; i++) before->rows[i].met = false;
    for (size_t i = 0; i < table->count; i++) {
        const OldRow key = {.name = table->rows[i].name};
        OldRow *found = bsearch(&key, before->rows, before->count, sizeof *before->rows, by_name);
        ProfileChange *change = put_change(c, kind, key.name); // CHANGE_NONE
        if (!found) continue;
        found->met = true;
        if (!compare_row(c, old, found, change, &table->rows[i], s->sample_count, err))
            return false;
        judge(c, change);
    }
    for (size_t i = 0; i < before->count; i++)
        if (!before->rows[i].met) put_change(c, kind, before->rows[i].name)->change = CHANGE_GONE;
    return true;
}

bool compare_make(ProfileComparison *out, const ProfileOld *old, const ProfileReport *report,
                  unsigned kinds, double tolerance, Error *err)
{
    const ProfileSummary *s = report->summary;
    size_t room = 1;
    for (int kind = 0; kind < SUMMARY_TABLES; kind++)
        room += s->tables[kind].count + old->tables[kind].count;
    *out = (ProfileComparison){
        .changes = calloc(room, sizeof *out->changes), .path = old->path, .tolerance = tolerance};
    cJSON *head = table_head_json(report);
    bool ok = out->changes && head && note_differences(&out->notes, old, head, kinds) &&
              compare_steps(out, old, s);
    cJSON_Delete(head);
    if (!ok) return error_set(err, "%s: out of memory for comparing", old->path);
    for (int kind = 0; ok && kind < SUMMARY_TABLES; kind++)
        if (kinds & 1u << kind && !old->tables[kind].absent)
            ok = compare_table(out, old, s, kind, err);
    return ok;
}

void comparison_free(ProfileComparison *comparison)
{
    free(comparison->changes);
    free(comparison->notes);
    *comparison = (ProfileComparison){0};
}
