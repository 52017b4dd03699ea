// The reports of a profile: see cli_profile.h.
#include "cli_profile.h"
#include "base/clock.h"
#include "base/file.h"
#include "profile/page.h"
#include "profile/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

ReportOptions reports_defaults(void)
{
    return (ReportOptions){.tolerance = -1};
}

// ---- options -----------------------------------------------------------------------------------

// "kernel,block" and so on, added to what was given before.
static bool parse_kinds(unsigned *kinds, const char *text, Error *err)
{
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        int kind = 0;
        while (kind < SUMMARY_TABLES && (strlen(SUMMARY_NAMES[kind]) != length ||
                                         strncmp(SUMMARY_NAMES[kind], at, length) != 0))
            kind++;
        if (kind == SUMMARY_TABLES)
            return error_set(err,
                             "--by '%.40s': a list of kernel, block, phase, shape, pipeline is "
                             "expected",
                             text);
        *kinds |= 1u << kind;
        at += length;
        if (!*at) return true;
    }
}

bool reports_option(ReportOptions *o, int option, const char *value, bool *known, Error *err)
{
    *known = true;
    switch (option) {
    case OPTION_BY:
        return parse_kinds(&o->kinds, value, err);
    case OPTION_TOP:
        return cli_number(value, 0, 1 << 30, &o->top) ||
               error_set(err, "--top '%.40s' is not a number of 0 to %d", value, 1 << 30);
    case OPTION_CSV:
        o->csv = value;
        return true;
    case OPTION_TRACE:
        o->trace = value;
        return true;
    case OPTION_HTML:
        o->html = value;
        return true;
    case OPTION_REPORT_JSON:
        if (value)
            o->json_file = value;
        else
            o->json = true;
        return true;
    case OPTION_COMPARE:
        o->compare = value;
        return true;
    case OPTION_TOLERANCE:
        return cli_percent(value, &o->tolerance) ||
               error_set(err, "--tolerance '%.40s': a percentage below 100 is expected", value);
    default:
        *known = false;
        return true;
    }
}

bool reports_check(const ReportOptions *o, Error *err)
{
    if (o->tolerance >= 0 && !o->compare) return error_set(err, "--tolerance is for --compare");
    return true;
}

static bool check_writable(const char *path, Error *err)
{
    FileWriter writer;
    if (!path) return true;
    if (!file_writer_open(&writer, path, err)) return false;
    file_writer_abort(&writer);
    return true;
}

bool reports_begin(ReportOptions *o, Error *err)
{
    return check_writable(o->csv, err) && check_writable(o->trace, err) &&
           check_writable(o->html, err) && check_writable(o->json_file, err) &&
           (!o->compare || (o->old = compare_read(o->compare, err)) != NULL);
}

void reports_end(ReportOptions *o)
{
    compare_free(o->old);
    o->old = NULL;
}

// ---- what compilers say ------------------------------------------------------------------------

// Drivers may take minutes. After a second it is told, on a terminal in a line that counts.
static void show_compiling(void *began, size_t done, size_t count)
{
    static bool told;
    bool terminal = isatty(STDERR_FILENO), late = clock_seconds() - *(double *)began > 1;
    if (!done) told = false;
    if (late && (terminal || !told))
        fprintf(stderr, "%sasking the compiler of pipelines: %zu of %zu%s", terminal ? "\r" : "",
                done, count, terminal ? "" : "\n");
    told |= late;
    if (terminal && told && done + 1 == count) fputs("\r\033[K", stderr);
}

static bool wants_compiled(const ReportOptions *o, unsigned kinds)
{
    return kinds & 1u << SUMMARY_PIPELINES || o->json || o->json_file || o->html;
}

// Where it fails times are shown alone: what was measured is not lost for it.
static const Compiled *read_compiled(Compiled *compiled, Gpu *gpu, const ProfileSummary *summary)
{
    Error err;
    double began = clock_seconds();
    const SummaryTable *pipelines = &summary->tables[SUMMARY_PIPELINES];
    if (!compiled_read(compiled, gpu, pipelines, show_compiling, &began, &err))
        fprintf(stderr, "what the compiler says is not shown: %s\n", err.text);
    else
        return compiled;
    return NULL;
}

// ---- writing -----------------------------------------------------------------------------------

static bool write_csv(const char *path, const ProfileReport *report, unsigned kinds, Error *err)
{
    FileWriter writer;
    if (!file_writer_open(&writer, path, err)) return false;
    table_csv(writer.stream, report, kinds);
    writer.failed |= ferror(writer.stream) != 0;
    return file_writer_commit(&writer, err);
}

// What is made of the JSON object: itself and the page.
static bool write_json(const ReportOptions *o, const ProfileReport *report,
                       const ProfileComparison *comparison, Error *err)
{
    if (!o->json && !o->json_file && !o->html) return true;
    cJSON *json = table_json(report, err);
    if (!json) return false;
    if (comparison) compare_json(json, comparison);
    bool ok = (!o->json_file || json_write(o->json_file, json, err)) &&
              (!o->html || page_write(o->html, report->summary->record, json, err));
    if (ok && o->json) return cli_print_json(json, err);
    cJSON_Delete(json);
    return ok;
}

// `statistics`: the driver tells of its compiler.
static bool write_all(const ReportOptions *o, const ProfileReport *report, unsigned kinds,
                      bool statistics, const ProfileComparison *comparison, Error *err)
{
    if (!o->json) {
        table_print(stdout, report, kinds, o->top);
        if (statistics && !(kinds & 1u << SUMMARY_PIPELINES))
            puts("registers, spills, occupancy of each pipeline: --by pipeline");
        if (comparison) compare_print(stdout, comparison);
        fflush(stdout);
    }
    if (comparison) compare_print_notes(stderr, comparison);
    return (!o->csv || write_csv(o->csv, report, kinds, err)) &&
           (!o->trace || trace_write(o->trace, report->summary->record, err)) &&
           write_json(o, report, comparison, err);
}

bool reports_write(const ReportOptions *o, Gpu *gpu, const ProfileRecord *record,
                   const Ceilings *ceilings, const ProfileSetting *settings, size_t setting_count,
                   int *status, Error *err)
{
    char date[CLI_DATE];
    unsigned kinds = o->kinds ? o->kinds : 1u << SUMMARY_KERNELS;
    ProfileSummary summary;
    ProfileComparison comparison = {0};
    Compiled compiled = {0};
    ProfileReport report = {.summary = &summary,
                            .version = STRATA_VERSION,
                            .date = cli_date(time(NULL), date),
                            .settings = settings,
                            .setting_count = setting_count};
    bool ok = summary_make(&summary, record, ceilings, err);
    if (ok && wants_compiled(o, kinds)) report.compiled = read_compiled(&compiled, gpu, &summary);
    ok = ok && (!o->old || compare_make(&comparison, o->old, &report, kinds, o->tolerance, err)) &&
         write_all(o, &report, kinds, gpu_has_statistics(gpu), o->old ? &comparison : NULL, err);
    if (ok && comparison.regressed) *status = EXIT_SLOWER;
    comparison_free(&comparison);
    compiled_free(&compiled);
    summary_free(&summary);
    return ok;
}
