// Between the files of data_source.h.
#ifndef STRATA_TRAIN_SOURCE_INTERNAL_H
#define STRATA_TRAIN_SOURCE_INTERNAL_H

#include "train/example_builder.h"

// A JSON list, or JSON lines: source_json.c.
bool source_read_list(const char *path, ExampleBuilder *builder, Error *err);
bool source_read_lines(const char *path, ExampleBuilder *builder, Error *err);
// Plain text: source_text.c. separator NULL: the file is one document.
bool source_read_text(const char *path, const char *separator, ExampleBuilder *builder, Error *err);

#endif
