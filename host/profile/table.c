// A profile's summary as text for terminals: see table.h.
#include "profile/table.h"
#include "base/statistics.h"
#include "profile/table_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- cells -------------------------------------------------------------------------------------

// Characters of UTF-8.
static int text_width(const char *text)
{
    int width = 0;
    for (; *text; text++) width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

void table_lines(FILE *stream, const TableLine *lines, size_t count, int columns)
{
    int widths[TABLE_COLUMNS] = {0};
    for (size_t i = 0; i < count; i++)
        for (int c = 0; c < columns; c++) {
            int width = text_width(lines[i].cells[c]);
            if (width > widths[c]) widths[c] = width;
        }
    for (size_t i = 0; i < count; i++) {
        fputs(lines[i].cells[0], stream);
        int space = widths[0] - text_width(lines[i].cells[0]);
        for (int c = 1; c < columns; c++) {
            const char *cell = lines[i].cells[c];
            if (!*cell) {
                space += 2 + widths[c];
                continue;
            }
            fprintf(stream, "%*s%s", space + 2 + widths[c] - text_width(cell), "", cell);
            space = 0;
        }
        fputc('\n', stream);
    }
}

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

static void put_head(TableLine *line, const char *first)
{
    static const char *const names[TABLE_COLUMNS] = {"",       "calls",   "total", "share",
                                                     "median", "bytes",   "op",    "GB/s",
                                                     "peak",   "GFLOP/s", "peak",  "limit"};
    for (int c = 0; c < TABLE_COLUMNS; c++)
        snprintf(line->cells[c], TABLE_CELL, "%s", c ? names[c] : first);
}

static void put_row(TableLine *line, const SummaryRow *row)
{
    snprintf(line->cells[0], TABLE_CELL, "%s", row->name);
    snprintf(line->cells[1], TABLE_CELL, "%zu", row->calls);
    table_put_seconds(line->cells[2], row->total);
    put_share(line->cells[3], row->share);
    table_put_seconds(line->cells[4], row->median);
    put_bytes(line->cells[5], row->bytes);
    put_operations(line->cells[6], row->operations);
    put_rate(line->cells[7], row->byte_rate);
    put_share(line->cells[8], row->byte_share);
    put_rate(line->cells[9], row->operation_rate);
    put_share(line->cells[10], row->operation_share);
    snprintf(line->cells[11], TABLE_CELL, "%s", LIMIT_NAMES[row->limit]);
}

static void print_table(FILE *stream, const ProfileSummary *s, SummaryKind kind, size_t top)
{
    const SummaryTable *table = &s->tables[kind];
    size_t shown = top && table->count > top ? top : table->count, used = 0;
    TableLine *lines = malloc((shown + 3) * sizeof *lines);
    if (!lines) {
        fprintf(stream, "out of memory for a table of %zu rows\n", shown);
        return;
    }
    put_head(&lines[used++], SUMMARY_NAMES[kind]);
    for (size_t i = 0; i < shown; i++) put_row(&lines[used++], &table->rows[i]);
    if (shown < table->count) {
        char name[48];
        snprintf(name, sizeof name, "%zu others", table->count - shown);
        SummaryRow others = summary_sum(s, table->rows + shown, table->count - shown, name);
        put_row(&lines[used++], &others);
    }
    SummaryRow all = summary_sum(s, table->rows, table->count, "all");
    put_row(&lines[used++], &all);
    table_lines(stream, lines, used, TABLE_COLUMNS);
    fputc('\n', stream);
    free(lines);
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
    table_lines(stream, lines, LINES, s->record->step_count ? 5 : 3);
    free(lines);
    fputc('\n', stream);
    print_steps(stream, s);
    print_transfers(stream, &s->accounts.uploads, "uploads");
    print_transfers(stream, &s->accounts.downloads, "downloads");
    print_clock(stream, s);
}

void table_print(FILE *stream, const ProfileReport *report, unsigned kinds, size_t top)
{
    print_head(stream, report);
    for (int kind = 0; kind < SUMMARY_TABLES; kind++)
        if (kinds & 1u << kind) print_table(stream, report->summary, (SummaryKind)kind, top);
    print_accounts(stream, report->summary);
}
