// A profile's summary as text for terminals: see table.h.
#include "profile/table.h"
#include "base/statistics.h"
#include "profile/fields.h"
#include "profile/table_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- cells -------------------------------------------------------------------------------------

// Three digits and the unit that fits, "-" for 0.
static void put_unit(char cell[TABLE_CELL], double value, double each, const char *const *units,
                     size_t unit_count)
{
    size_t unit = 0;
    if (!(value > 0)) {
        snprintf(cell, TABLE_CELL, "-");
        return;
    }
    while (unit + 1 < unit_count && value >= 999.5) {
        value /= each;
        unit++;
    }
    snprintf(cell, TABLE_CELL, "%.*f %s",
             value < 9.995   ? 2
             : value < 99.95 ? 1
                             : 0,
             value, units[unit]);
}

void table_put_seconds(char cell[TABLE_CELL], double seconds)
{
    static const char *const units[] = {"ns", "µs", "ms", "s"};
    put_unit(cell, 1e9 * seconds, 1e3, units, sizeof units / sizeof *units);
}

static void put_bytes(char cell[TABLE_CELL], double bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    put_unit(cell, bytes, 1e3, units, sizeof units / sizeof *units);
}

static void put_operations(char cell[TABLE_CELL], double operations)
{
    static const char *const units[] = {"FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"};
    put_unit(cell, operations, 1e3, units, sizeof units / sizeof *units);
}

static void put_rate(char cell[TABLE_CELL], double per_second)
{
    double value = 1e-9 * per_second;
    int digits = value < 0.0995 ? 3 : value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    snprintf(cell, TABLE_CELL, per_second > 0 ? "%.*f" : "-", digits, value);
}

static void put_share(char cell[TABLE_CELL], double share)
{
    double percent = 100 * share;
    snprintf(cell, TABLE_CELL, share > 0 ? "%.*f%%" : "-", percent < 99.95 ? 1 : 0, percent);
}

// ---- tables ------------------------------------------------------------------------------------

enum { COLUMNS = 12 };

static void put_head(TableLine *line, const char *first)
{
    static const char *const names[COLUMNS] = {"",       "calls",   "total", "share",
                                               "median", "bytes",   "op",    "GB/s",
                                               "peak",   "GFLOP/s", "peak",  "limit"};
    for (int c = 0; c < COLUMNS; c++)
        snprintf(line->cells[c], TABLE_CELL, "%s", c ? names[c] : first);
}

// Calls and times, from column `first` on.
static void put_times(TableLine *line, int first, const SummaryRow *row)
{
    snprintf(line->cells[first], TABLE_CELL, "%zu", row->calls);
    table_put_seconds(line->cells[first + 1], row->total);
    put_share(line->cells[first + 2], row->share);
    table_put_seconds(line->cells[first + 3], row->median);
}

static void put_row(TableLine *line, const SummaryRow *row)
{
    snprintf(line->cells[0], TABLE_CELL, "%s", row->name);
    put_times(line, 1, row);
    put_bytes(line->cells[5], row->bytes);
    put_operations(line->cells[6], row->operations);
    put_rate(line->cells[7], row->byte_rate);
    put_share(line->cells[8], row->byte_share);
    put_rate(line->cells[9], row->operation_rate);
    put_share(line->cells[10], row->operation_share);
    snprintf(line->cells[11], TABLE_CELL, "%s", LIMIT_NAMES[row->limit]);
}

// ---- the table by pipeline ---------------------------------------------------------------------

enum { PIPELINE_FIELDS = 6, PIPELINE_COLUMNS = PIPELINE_FIELDS + FIELD_COUNT };

static void put_pipeline_head(TableLine *line)
{
    static const char *const names[PIPELINE_FIELDS] = {"kernel", "constants", "calls",
                                                       "total",  "share",     "median"};
    for (int c = 0; c < PIPELINE_FIELDS; c++) snprintf(line->cells[c], TABLE_CELL, "%s", names[c]);
    fields_put_names(line, PIPELINE_FIELDS);
}

static void put_pipeline(TableLine *line, const SummaryRow *row)
{
    char constants[GPU_CONSTANTS * 11];
    bool dispatch = row->kernel >= 0;
    snprintf(line->cells[0], TABLE_CELL, "%s",
             dispatch ? kernel_sources[row->kernel].name : row->name);
    constants_text(constants, row->constants);
    if (dispatch) snprintf(line->cells[1], TABLE_CELL, "%s", constants);
    put_times(line, 2, row);
}

static void print_meanings(FILE *stream, const Compiled *compiled)
{
    fields_print_meanings(stream, compiled->known);
    if (!compiled->statistics) fprintf(stream, "this driver tells no statistics of its compiler\n");
    fputc('\n', stream);
}

// ---- a table -----------------------------------------------------------------------------------

static void put_any(TableLine *line, SummaryKind kind, const SummaryRow *row)
{
    (kind == SUMMARY_PIPELINES ? put_pipeline : put_row)(line, row);
}

// The head, and a line for each row, of which there are `shown`, then the others' and that of all.
// `lines` has room for them; returns how many there are.
static size_t put_lines(TableLine *lines, const ProfileReport *report, SummaryKind kind,
                        size_t shown)
{
    const ProfileSummary *s = report->summary;
    const SummaryTable *table = &s->tables[kind];
    bool fields = kind == SUMMARY_PIPELINES && report->compiled;
    size_t used = 1;
    if (kind == SUMMARY_PIPELINES)
        put_pipeline_head(lines);
    else
        put_head(lines, SUMMARY_NAMES[kind]);
    for (size_t i = 0; i < shown; i++, used++) {
        put_any(&lines[used], kind, &table->rows[i]);
        if (fields) fields_put(&lines[used], PIPELINE_FIELDS, report->compiled->fields[i]);
    }
    if (shown < table->count) {
        char name[48];
        snprintf(name, sizeof name, "%zu others", table->count - shown);
        SummaryRow others = summary_sum(s, table->rows + shown, table->count - shown, name);
        put_any(&lines[used++], kind, &others);
    }
    SummaryRow all = summary_sum(s, table->rows, table->count, "all");
    put_any(&lines[used++], kind, &all);
    return used;
}

static void print_table(FILE *stream, const ProfileReport *report, SummaryKind kind, size_t top)
{
    size_t count = report->summary->tables[kind].count, shown = top && count > top ? top : count;
    bool pipelines = kind == SUMMARY_PIPELINES;
    TableLine *lines = calloc(shown + 3, sizeof *lines);
    if (!lines) {
        fprintf(stream, "out of memory for a table of %zu rows\n", shown);
        return;
    }
    size_t used = put_lines(lines, report, kind, shown);
    columns_print(stream, lines, used, pipelines ? PIPELINE_COLUMNS : COLUMNS, pipelines ? 3 : 1);
    fputc('\n', stream);
    free(lines);
    if (pipelines && report->compiled) print_meanings(stream, report->compiled);
}

// ---- head and accounts -------------------------------------------------------------------------

static void print_head(FILE *stream, const ProfileReport *report)
{
    const ProfileSummary *s = report->summary;
    const Ceilings *c = &s->ceilings;
    char bytes[TABLE_CELL], operations[TABLE_CELL], launch[TABLE_CELL];
    fprintf(stream, "strata %s, %s\n%s, %s\n%s\n", report->version, report->date,
            s->record->device->name, s->record->device->driver, s->record->title);
    for (size_t i = 0; i < report->setting_count; i++)
        fprintf(stream, "%s%s %s", i ? ", " : "", report->settings[i].name,
                report->settings[i].value);
    if (report->setting_count) fputc('\n', stream);
    if (c->bytes_per_second > 0 || c->operations_per_second > 0 || c->launch_seconds > 0) {
        put_rate(bytes, c->bytes_per_second);
        put_rate(operations, c->operations_per_second);
        table_put_seconds(launch, c->launch_seconds);
        fprintf(stream, "peak: %s GB/s, %s GFLOP/s, %s for a command that does nothing\n", bytes,
                operations, launch);
    } else {
        fprintf(stream, "peak: not known\n");
    }
    if (s->record->data.serialized) fprintf(stream, "serialized: each command was waited for\n");
    if (!s->record->data.timestamps)
        fprintf(stream,
                "no timestamps on this device: times are the host's, around each command\n");
    fputc('\n', stream);
}

static void put_account(TableLine *lines, int column, const Account *a, const char *title)
{
    const double values[] = {a->wall, a->busy, a->gaps, a->host, a->transfers, account_sum(a)};
    snprintf(lines[0].cells[column], TABLE_CELL, "%s", title);
    for (int i = 0; i < 6; i++) {
        table_put_seconds(lines[i + 1].cells[column], values[i]);
        if (i && i < 5)
            put_share(lines[i + 1].cells[column + 1], a->wall > 0 ? values[i] / a->wall : 0);
    }
    snprintf(lines[6].cells[column + 1], TABLE_CELL, "%+.2f%%", 100 * account_deviation(a));
}

static void print_transfers(FILE *stream, const TransferSum *sum, const char *name)
{
    char bytes[TABLE_CELL], seconds[TABLE_CELL];
    if (!sum->count) return;
    put_bytes(bytes, (double)sum->bytes);
    table_put_seconds(seconds, sum->seconds);
    fprintf(stream, "%s: %zu, %s in %s\n", name, sum->count, bytes, seconds);
}

static void print_steps(FILE *stream, const ProfileSummary *s)
{
    char median[TABLE_CELL], lowest[TABLE_CELL], highest[TABLE_CELL];
    size_t count = s->record->step_count;
    double *walls = count ? malloc(count * sizeof *walls) : NULL;
    if (!walls) return;
    for (size_t i = 0; i < count; i++) walls[i] = s->accounts.step[i].wall;
    table_put_seconds(median, statistics_median(walls, count)); // which sorts them
    table_put_seconds(lowest, walls[0]);
    table_put_seconds(highest, walls[count - 1]);
    fprintf(stream, "steps: %zu, median %s, %s to %s\n", count, median, lowest, highest);
    free(walls);
}

static void print_clock(FILE *stream, const ProfileSummary *s)
{
    char off[TABLE_CELL], furthest[TABLE_CELL];
    const Accounts *a = &s->accounts;
    if (!s->record->data.timestamps) return;
    table_put_seconds(off, s->record->data.clock_error);
    table_put_seconds(furthest, a->furthest);
    fprintf(stream, "clocks: %s, off by at most %s",
            s->record->data.calibrated ? "calibrated" : "matched by empty submissions", off);
    if (a->clipped)
        fprintf(stream, "; %zu commands outside their submissions, by at most %s", a->clipped,
                furthest);
    fputc('\n', stream);
}

// Of how many commands the time is their own.
static void print_shared(FILE *stream, const Profile *data)
{
    if (!data->shared_count) return;
    fprintf(
        stream,
        "commands: %zu of %zu were timed; the others share the time of their tape as these do\n",
        data->event_count - data->shared_count, data->event_count);
}

// No kernel is faster than what is measured with nothing else on the machine, but for noise.
static void print_ceilings(FILE *stream, const ProfileSummary *s)
{
    static const double noise = 1.05;
    const SummaryTable *table = &s->tables[SUMMARY_KERNELS];
    const SummaryRow *fastest = NULL;
    for (size_t i = 0; i < table->count; i++) {
        const SummaryRow *row = &table->rows[i];
        if (row->operation_share > (fastest ? fastest->operation_share : noise)) fastest = row;
    }
    if (!fastest) return;
    fprintf(stream,
            "ceilings: %s reaches %.0f%% of the f32 rate, so that was measured beside other work: "
            "`strata peak --again`\n",
            fastest->name, 100 * fastest->operation_share);
}

static void print_accounts(FILE *stream, const ProfileSummary *s)
{
    static const char *const names[] = {"time", "wall clock", "GPU busy", "gaps",
                                        "host", "transfers",  "sum"};
    enum { LINES = sizeof names / sizeof *names };
    TableLine *lines = calloc(LINES, sizeof *lines);
    if (!lines) return;
    for (int i = 0; i < LINES; i++) snprintf(lines[i].cells[0], TABLE_CELL, "%s", names[i]);
    put_account(lines, 1, &s->accounts.whole, "all");
    if (s->record->step_count) put_account(lines, 3, &s->accounts.steps, "steps");
    columns_print(stream, lines, LINES, s->record->step_count ? 5 : 3, 1);
    free(lines);
    fputc('\n', stream);
    print_steps(stream, s);
    print_transfers(stream, &s->accounts.uploads, "uploads");
    print_transfers(stream, &s->accounts.downloads, "downloads");
    print_clock(stream, s);
    print_shared(stream, &s->record->data);
}

void table_print(FILE *stream, const ProfileReport *report, unsigned kinds, size_t top)
{
    print_head(stream, report);
    for (int kind = 0; kind < SUMMARY_TABLES; kind++)
        if (kinds & 1u << kind) print_table(stream, report, (SummaryKind)kind, top);
    print_accounts(stream, report->summary);
    print_ceilings(stream, report->summary);
}
