// A profile's summary for programs, as CSV and as a JSON object: see table.h.
#include "base/utf8.h"
#include "profile/fields.h"
#include "profile/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- CSV ---------------------------------------------------------------------------------------

static void put_quoted(FILE *stream, const char *text)
{
    fputc('"', stream);
    for (; *text; text++) {
        if (*text == '"') fputc('"', stream);
        fputc(*text, stream);
    }
    fputc('"', stream);
}

// Which fields have a column; NULL: none.
static const bool *known_fields(const ProfileReport *report)
{
    return report->compiled ? report->compiled->known : NULL;
}

static void put_csv_head(FILE *stream, const ProfileReport *report, unsigned kinds)
{
    fprintf(stream, "table,name,calls,total,median,share,bytes,operations,byte_rate,operation_rate,"
                    "byte_share,operation_share,launch_share,limit");
    if (kinds & 1u << SUMMARY_PIPELINES) fprintf(stream, ",kernel,constants");
    if (kinds & 1u << SUMMARY_PIPELINES && known_fields(report))
        fields_csv_names(stream, known_fields(report));
    fputc('\n', stream);
}

// What follows the columns of all tables: of row i of the table by pipeline, else (r is NULL)
// empty.
static void put_csv_pipeline(FILE *stream, const ProfileReport *report, unsigned kinds,
                             const SummaryRow *r, size_t i)
{
    double none[FIELD_COUNT];
    char constants[GPU_CONSTANTS * 11];
    const bool *known = known_fields(report);
    for (int f = 0; f < FIELD_COUNT; f++) none[f] = NAN;
    if (kinds & 1u << SUMMARY_PIPELINES) {
        bool dispatch = r && r->kernel >= 0;
        if (dispatch) constants_text(constants, r->constants);
        fprintf(stream, ",%s,", dispatch ? kernel_sources[r->kernel].name : r ? r->name : "");
        if (dispatch) put_quoted(stream, constants);
        if (known) fields_csv(stream, r ? report->compiled->fields[i] : none, known);
    }
    fputc('\n', stream);
}

static void put_csv_row(FILE *stream, SummaryKind kind, const SummaryRow *r)
{
    fprintf(stream, "%s,", SUMMARY_NAMES[kind]);
    put_quoted(stream, r->name);
    fprintf(stream, ",%zu,%.9g,%.9g,%.9g,%.17g,%.17g,%.9g,%.9g,%.9g,%.9g,%.9g,%s", r->calls,
            r->total, r->median, r->share, r->bytes, r->operations, r->byte_rate, r->operation_rate,
            r->byte_share, r->operation_share, r->launch_share, LIMIT_NAMES[r->limit]);
}

static void put_csv_account(FILE *stream, const ProfileReport *report, unsigned kinds,
                            const char *span, const Account *a)
{
    const struct {
        const char *name;
        double seconds;
    } rows[] = {{"wall", a->wall}, {"busy", a->busy},           {"gaps", a->gaps},
                {"host", a->host}, {"transfers", a->transfers}, {"sum", account_sum(a)}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fprintf(stream, "accounting,\"%s %s\",,%.9g,,,,,,,,,,", span, rows[i].name,
                rows[i].seconds);
        put_csv_pipeline(stream, report, kinds, NULL, 0);
    }
}

void table_csv(FILE *stream, const ProfileReport *report, unsigned kinds)
{
    const ProfileSummary *s = report->summary;
    put_csv_head(stream, report, kinds);
    for (int kind = 0; kind < SUMMARY_TABLES; kind++)
        for (size_t i = 0; kinds & 1u << kind && i < s->tables[kind].count; i++) {
            const SummaryRow *row = &s->tables[kind].rows[i];
            put_csv_row(stream, (SummaryKind)kind, row);
            put_csv_pipeline(stream, report, kinds, kind == SUMMARY_PIPELINES ? row : NULL, i);
        }
    put_csv_account(stream, report, kinds, "all", &s->accounts.whole);
    if (s->record->step_count) put_csv_account(stream, report, kinds, "steps", &s->accounts.steps);
}

// ---- JSON --------------------------------------------------------------------------------------

// Six digits: more is not measured, and files stay small.
static double rounded(double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.6g", value);
    return strtod(text, NULL);
}

// Names of files and devices may be any bytes; what is no UTF-8, or would move a terminal's cursor,
// becomes "?".
static void add_text(cJSON *object, const char *key, const char *text)
{
    size_t size = strlen(text);
    char *clean = malloc(size + 1);
    if (!clean) return;
    memcpy(clean, text, size + 1);
    for (size_t i = 0; (i += utf8_check(clean + i, size - i)) < size;) clean[i] = '?';
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)clean[i] < ' ' || clean[i] == 0x7F) clean[i] = '?';
    cJSON_AddStringToObject(object, key, clean);
    free(clean);
}

static void add_rounded(cJSON *object, const char *key, double value)
{
    cJSON_AddNumberToObject(object, key, rounded(value));
}

static cJSON *rounded_list(const double *values, size_t count)
{
    cJSON *list = cJSON_CreateDoubleArray(values, (int)count), *item;
    cJSON_ArrayForEach(item, list) cJSON_SetNumberValue(item, rounded(item->valuedouble));
    return list;
}

static void add_settings(cJSON *object, const ProfileReport *report)
{
    const Profile *p = &report->summary->record->data;
    cJSON *settings = cJSON_AddObjectToObject(object, "settings");
    for (size_t i = 0; i < report->setting_count; i++)
        add_text(settings, report->settings[i].name, report->settings[i].value);
    cJSON_AddStringToObject(settings, "serialized", p->serialized ? "yes" : "no");
    cJSON_AddStringToObject(settings, "timestamps", p->timestamps ? "yes" : "no");
    cJSON_AddStringToObject(settings, "calibrated", p->calibrated ? "yes" : "no");
}

static void add_ceilings(cJSON *object, const Ceilings *c)
{
    cJSON *ceilings = cJSON_AddObjectToObject(object, "ceilings");
    add_rounded(ceilings, "byte_rate", c->bytes_per_second);
    add_rounded(ceilings, "cache_byte_rate", c->cache_bytes_per_second);
    add_rounded(ceilings, "operation_rate", c->operations_per_second);
    add_rounded(ceilings, "launch_seconds", c->launch_seconds);
}

static void add_account(cJSON *object, const char *key, const Account *a)
{
    cJSON *account = cJSON_AddObjectToObject(object, key);
    add_rounded(account, "wall", a->wall);
    add_rounded(account, "busy", a->busy);
    add_rounded(account, "gaps", a->gaps);
    add_rounded(account, "host", a->host);
    add_rounded(account, "transfers", a->transfers);
    add_rounded(account, "sum", account_sum(a));
    add_rounded(account, "deviation", account_deviation(a));
}

static void add_transfers(cJSON *object, const char *key, const TransferSum *sum)
{
    cJSON *transfers = cJSON_AddObjectToObject(object, key);
    cJSON_AddNumberToObject(transfers, "count", (double)sum->count);
    cJSON_AddNumberToObject(transfers, "bytes", (double)sum->bytes);
    add_rounded(transfers, "seconds", sum->seconds);
}

static void add_accounts(cJSON *object, const ProfileSummary *s)
{
    cJSON *accounting = cJSON_AddObjectToObject(object, "accounting");
    add_account(accounting, "whole", &s->accounts.whole);
    add_account(accounting, "steps", &s->accounts.steps);
    add_transfers(accounting, "uploads", &s->accounts.uploads);
    add_transfers(accounting, "downloads", &s->accounts.downloads);
    add_rounded(accounting, "clock_error", s->record->data.clock_error);
    cJSON_AddNumberToObject(accounting, "shared", (double)s->record->data.shared_count);
    cJSON_AddNumberToObject(accounting, "clipped", (double)s->accounts.clipped);
    add_rounded(accounting, "clipped_seconds", s->accounts.clipped_seconds);
    add_rounded(accounting, "furthest", s->accounts.furthest);
}

static void add_steps(cJSON *object, const ProfileSummary *s)
{
    cJSON *steps = cJSON_AddObjectToObject(object, "steps");
    cJSON_AddNumberToObject(steps, "count", (double)s->record->step_count);
    cJSON_AddNumberToObject(steps, "every", (double)s->sample_every);
    cJSON *wall = cJSON_AddArrayToObject(steps, "wall");
    cJSON *busy = cJSON_AddArrayToObject(steps, "busy");
    cJSON *loss = cJSON_AddArrayToObject(steps, "loss");
    cJSON *tokens = cJSON_AddArrayToObject(steps, "tokens");
    for (size_t i = 0; i < s->sample_count; i++) {
        const ProfileStep *step = &s->record->steps[i * s->sample_every];
        const Account *account = &s->accounts.step[i * s->sample_every];
        cJSON_AddItemToArray(wall, cJSON_CreateNumber(rounded(account->wall)));
        cJSON_AddItemToArray(busy, cJSON_CreateNumber(rounded(account->busy)));
        cJSON_AddItemToArray(loss, isfinite(step->loss) ? cJSON_CreateNumber(rounded(step->loss))
                                                        : cJSON_CreateNull());
        cJSON_AddItemToArray(tokens, cJSON_CreateNumber(step->tokens));
    }
}

static cJSON *row_json(const SummaryRow *r, size_t sample_count)
{
    cJSON *row = cJSON_CreateObject();
    add_text(row, "name", r->name);
    cJSON_AddNumberToObject(row, "calls", (double)r->calls);
    add_rounded(row, "total", r->total);
    add_rounded(row, "median", r->median);
    add_rounded(row, "share", r->share);
    cJSON_AddNumberToObject(row, "bytes", r->bytes);
    cJSON_AddNumberToObject(row, "operations", r->operations);
    add_rounded(row, "byte_rate", r->byte_rate);
    add_rounded(row, "operation_rate", r->operation_rate);
    add_rounded(row, "byte_share", r->byte_share);
    add_rounded(row, "operation_share", r->operation_share);
    add_rounded(row, "launch_share", r->launch_share);
    cJSON_AddStringToObject(row, "limit", LIMIT_NAMES[r->limit]);
    cJSON_AddItemToObject(row, "samples", rounded_list(r->samples, sample_count));
    return row;
}

// What a row by pipeline has beside.
static void add_pipeline(cJSON *row, const ProfileReport *report, size_t i)
{
    const SummaryRow *r = &report->summary->tables[SUMMARY_PIPELINES].rows[i];
    bool dispatch = r->kernel >= 0;
    cJSON_AddStringToObject(row, "kernel", dispatch ? kernel_sources[r->kernel].name : r->name);
    if (!dispatch) return;
    constants_json(row, r->constants);
    if (report->compiled)
        fields_json(cJSON_AddObjectToObject(row, "compiler"), report->compiled->fields[i]);
}

static void add_tables(cJSON *object, const ProfileReport *report)
{
    const ProfileSummary *s = report->summary;
    cJSON *tables = cJSON_AddObjectToObject(object, "tables");
    for (int kind = 0; kind < SUMMARY_TABLES; kind++) {
        cJSON *rows = cJSON_AddArrayToObject(tables, SUMMARY_NAMES[kind]);
        for (size_t i = 0; i < s->tables[kind].count; i++) {
            cJSON *row = row_json(&s->tables[kind].rows[i], s->sample_count);
            if (kind == SUMMARY_PIPELINES) add_pipeline(row, report, i);
            cJSON_AddItemToArray(rows, row);
        }
    }
    if (report->compiled) fields_json_meanings(cJSON_AddObjectToObject(object, "fields"));
}

cJSON *table_head_json(const ProfileReport *report)
{
    const ProfileRecord *record = report->summary->record;
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "profile", TABLE_LAYOUT);
    add_text(object, "strata", report->version);
    add_text(object, "date", report->date);
    add_text(object, "title", record->title);
    add_text(object, "device", record->device->name);
    add_text(object, "driver", record->device->driver);
    add_settings(object, report);
    return object;
}

cJSON *table_json(const ProfileReport *report, Error *err)
{
    cJSON *object = table_head_json(report);
    add_ceilings(object, &report->summary->ceilings);
    add_accounts(object, report->summary);
    add_steps(object, report->summary);
    add_tables(object, report);
    if (object) return object;
    error_set(err, "out of memory for the profile as JSON");
    return NULL;
}
