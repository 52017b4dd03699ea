// A profile as a timeline in Chrome's trace event format, which Perfetto (ui.perfetto.dev) and
// chrome://tracing open. Not a table: see summary.h for sums.
#ifndef STRATA_PROFILE_TRACE_H
#define STRATA_PROFILE_TRACE_H

#include "profile/record.h"

// Writes the record to path as a stream, whatever its length. One process has these threads:
//   host         steps, in them the calls of gpu_run ("run"), uploads and downloads
//   submissions  from the call to when the host knew of its end; those in flight together lie on
//                threads of their own ("submissions 2" ...), four at most
//   GPU          phase > place > command. A phase is the longest stretch of commands of one call of
//                gpu_run that have one phase, a place the same within it
// An arrow leads from each submission to the first of its commands, unless the clocks have the
// command begin before it was sent. Counters are the loss at the beginning of each step that has a
// finite one, and the bytes that tensors hold at each call of gpu_run.
// Times are microseconds from record->begin (or from what came before it, if anything did). What
// overlaps on a thread by the clocks' errors is made to nest: it begins no earlier than its parent
// and the end of what came before it, and ends within its parent. Slices end up to 6 ns early and
// have room of at least 8 ns, so that no reader's rounding makes them overlap. Figures in args are
// those of the record. False: the file cannot be written or memory ran out.
bool trace_write(const char *path, const ProfileRecord *record, Error *err);

#endif
