// A profile's summary as text for terminals, as CSV, and as one JSON object. Not timelines and not
// pages: those are made beside it.
//
// The JSON object, times in seconds, rates per second, shares with 1 as all; a key that ends in
// _share is 0 where its ceiling is not known:
//   "profile": 1                         the version of this layout
//   "strata", "date", "title", "device", "driver": texts
//   "settings": {name: text, ...}        what the command said of its run, and "serialized",
//                                        "timestamps", "calibrated" ("yes" or "no")
//   "ceilings": {"byte_rate", "cache_byte_rate", "operation_rate", "launch_seconds"}; 0: not known
//   "accounting": {"whole": A, "steps": A, "uploads": T, "downloads": T, "clock_error", "shared", "clipped",
//                  "clipped_seconds", "furthest"}
//        A: {"wall", "busy", "gaps", "host", "transfers", "sum", "deviation"}
//        T: {"count", "bytes", "seconds"}
//   "steps": {"count", "every", "wall": [...], "busy": [...], "loss": [... or null], "tokens":
//   [...]}
//        lists of the steps 0, every, 2 every ...: 1000 at most
//   "tables": {"kernel": [R, ...], "block": [...], "phase": [...], "shape": [...],
//              "pipeline": [P, ...]}, longest first
//        R: {"name", "calls", "total", "median", "share", "bytes", "operations", "byte_rate",
//            "operation_rate", "byte_share", "operation_share", "launch_share", "limit",
//            "samples": [seconds in each of the steps that are listed]}
//        P: R, and {"kernel", "constants": [all of them]}; of fills and copies without constants
//           and where compilers were asked "compiler": {field: number, or null where the driver
//           does not tell it}
//   "fields": {field: what it counts} of "compiler", where compilers were asked
//   "compared": what compare.h says, where there was a comparison
#ifndef STRATA_PROFILE_TABLE_H
#define STRATA_PROFILE_TABLE_H

#include "base/json.h"
#include "profile/compiled.h"
#include "profile/summary.h"

#include <stdio.h>

enum { TABLE_LAYOUT = 1 }; // of the JSON object

// What the command says of its run, such as {"steps", "20"}.
typedef struct {
    const char *name, *value;
} ProfileSetting;

// Nothing here is owned.
typedef struct {
    const ProfileSummary *summary;
    const char *version, *date; // of strata; "YYYY-MM-DDThh:mm:ssZ"
    const ProfileSetting *settings;
    size_t setting_count;
    const Compiled *compiled; // beside the rows by pipeline; NULL: times alone
} ProfileReport;

// Aligned tables, the kinds whose bit (1 << SummaryKind) is set in `kinds`, each with at most `top`
// rows (0: all) and the rest as "others", then the accounts. By pipeline what the compiler says has
// the place of bytes, rates and limits, each field that is known of some row. Failures show in
// ferror(stream), here and below.
void table_print(FILE *stream, const ProfileReport *report, unsigned kinds, size_t top);
// A line with the names of the columns, then a line for each row of each table of `kinds`, then the
// accounts as rows of a table "accounting" with a total alone. With the table by pipeline there are
// more columns: kernel, constants, and each field of the compiler that is known of some row; they
// are empty in other tables. Quoted as in RFC 4180, numbers whole.
void table_csv(FILE *stream, const ProfileReport *report, unsigned kinds);
// The whole object; the caller frees with cJSON_Delete. NULL and a message: out of memory.
cJSON *table_json(const ProfileReport *report, Error *err);
// The object up to "settings": what ran, and where. NULL: out of memory.
cJSON *table_head_json(const ProfileReport *report);

#endif
