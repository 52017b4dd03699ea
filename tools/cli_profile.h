// The reports of a profile, which strata profile train and generate share: their options, and
// writing each that is asked for. What runs and is recorded is the commands' own.
#ifndef STRATA_TOOLS_CLI_PROFILE_H
#define STRATA_TOOLS_CLI_PROFILE_H

#include "cli.h"
#include "profile/compare.h"

typedef struct {
    unsigned kinds;  // of tables, bits 1 << SummaryKind; 0: by kernel
    uint64_t top;    // rows of a table, 0: all
    const char *csv; // files, or NULL
    const char *trace;
    const char *html;
    bool json;             // one object on standard output in the place of tables
    const char *json_file; // the same in a file; NULL: none
    const char *compare;   // what --json wrote earlier, or NULL
    double tolerance;      // a share; below 0: not given
    ProfileOld *old;       // read by reports_begin
} ReportOptions;

ReportOptions reports_defaults(void);

// For getopt_long's table.
enum {
    OPTION_BY = 1100,
    OPTION_TOP,
    OPTION_CSV,
    OPTION_REPORT_JSON,
    OPTION_COMPARE,
    OPTION_TOLERANCE,
    OPTION_TRACE,
    OPTION_HTML,
};
#define REPORT_OPTIONS                                                                             \
    {"by", required_argument, NULL, OPTION_BY}, {"top", required_argument, NULL, OPTION_TOP},      \
        {"csv", required_argument, NULL, OPTION_CSV},                                              \
        {"json", optional_argument, NULL, OPTION_REPORT_JSON},                                     \
        {"compare", required_argument, NULL, OPTION_COMPARE},                                      \
        {"trace", required_argument, NULL, OPTION_TRACE},                                          \
        {"html", required_argument, NULL, OPTION_HTML},                                            \
    {                                                                                              \
        "tolerance", required_argument, NULL, OPTION_TOLERANCE                                     \
    }
#define REPORT_USAGE                                                                               \
    "[--by kernel|block|phase|shape|pipeline[,...]]... [--top N] [--csv FILE] [--json[=FILE]]"     \
    " [--trace FILE.json] [--html FILE]"                                                           \
    " [--compare OLD.json [--tolerance PERCENT]]"

// Takes one of these options with its value, which must outlive the options. False and a message
// where the value is wrong. An option that is none of these is not touched: *known is false then.
bool reports_option(ReportOptions *options, int option, const char *value, bool *known, Error *err);
// Options that do not belong together: a message for cli_usage.
bool reports_check(const ReportOptions *options, Error *err);
// Reads what is compared with, and looks whether what is to be written can be, so that a wrong file
// is told before anything is measured.
bool reports_begin(ReportOptions *options, Error *err);
void reports_end(ReportOptions *options);

// Makes the summary of the record, which is one of gpu, asks its compiler of the pipelines that ran
// where a report shows that (--by pipeline, --json, --html), and writes every report: tables (or
// JSON) and the comparison to standard output, in what the runs differ otherwise to standard error,
// CSV, JSON, trace and page to their files. *status becomes EXIT_SLOWER where something regressed
// past --tolerance, and is not touched otherwise.
bool reports_write(const ReportOptions *options, Gpu *gpu, const ProfileRecord *record,
                   const Ceilings *ceilings, const ProfileSetting *settings, size_t setting_count,
                   int *status, Error *err);

#endif
