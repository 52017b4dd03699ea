// A profile as one HTML file that needs nothing else: timeline, roofline plot and tables, from
// disk, without a network. What it looks like is the folder page/; figures are table.h's, made by
// the caller, so that all reports of a profile agree.
#ifndef STRATA_PROFILE_PAGE_H
#define STRATA_PROFILE_PAGE_H

#include "base/json.h"
#include "profile/record.h"

enum { PAGE_COMMANDS = 500000 }; // on the timeline, at most: the first ones; the page says so

// Writes the page of the record to path. `report` is what table_json makes of the same record; it
// is embedded as it is. Slices of the timeline are put in order as trace.h says. False: the file
// cannot be written or memory ran out.
bool page_write(const char *path, const ProfileRecord *record, const cJSON *report, Error *err);

#endif
