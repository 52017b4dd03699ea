// Data files of every format, read record by record into examples. Memory does not grow with the
// file, but for a JSON list, which is read as a whole.
//
//   .json            a list of records
//   .jsonl, .ndjson  a record a line; blank lines are skipped
//   .txt             documents, separated by lines that hold the separator and nothing else
//   a folder         its *.txt in the order of their names, a document each
//   other names      a list where the first character is '[', lines where it is '{'
//
// A record is an object: a chat where it has "messages", an Alpaca record where it has
// "instruction", a document where it has "text"; in this order where it has several.
#ifndef STRATA_TRAIN_DATA_SOURCE_H
#define STRATA_TRAIN_DATA_SOURCE_H

#include "base/hash.h"
#include "train/example_builder.h"

#define DATA_SEPARATOR "<|endoftext|>" // by default

typedef enum { SOURCE_LIST, SOURCE_LINES, SOURCE_TEXT, SOURCE_FOLDER } SourceFormat;

// Finds the format of path.
bool data_source_format(SourceFormat *format, const char *path, Error *err);

// Puts what the examples follow from: the format and all bytes of the file or of the folder's
// files.
bool data_source_hash(Hasher *hasher, const char *path, SourceFormat format, Error *err);

// Reads everything into builder, flushed. Errors name the file, its line or record, and the field.
bool data_source_read(const char *path, SourceFormat format, const char *separator,
                      ExampleBuilder *builder, Error *err);

#endif
