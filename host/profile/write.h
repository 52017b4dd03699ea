// What the writers of profiles share: JSON streamed into a file, and a command in words. Not a JSON
// library: the caller keeps brackets and commas in order.
#ifndef STRATA_PROFILE_WRITE_H
#define STRATA_PROFILE_WRITE_H

#include "base/file.h"
#include "profile/record.h"

// Appends printf style. Failures show at file_writer_commit.
void write_format(FileWriter *writer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
// Appends text as a JSON string that may also stand in HTML: bytes that are no UTF-8 become U+FFFD,
// and "<" its \u form.
void write_text(FileWriter *writer, const char *text);
// Appends JSON that is there already, with "<" in its \u form.
void write_json(FileWriter *writer, const char *json);

// The kernel's name, "fill" or "copy".
const char *command_name(const Command *command);
// What tables by shape call a dispatch that ran with so many rows (cost_shape); "" of what has
// none.
void command_shape(char out[80], const Command *command, uint32_t rows);
// The workgroups of a dispatch that ran with so many rows, such as "4 x 12"; "" of what has none.
void command_groups(char out[64], const Command *command, uint32_t rows);
// Its tensors in the order of their bindings, such as "64x288 f32, 768x288 q8_0".
void command_tensors(char out[256], const Command *command);

// Nanoseconds from `base` to `time`, which are seconds.
int64_t write_ns(double time, double base);
// The earliest time of anything in the record, record->begin as a rule.
double write_base(const ProfileRecord *record);

#endif
