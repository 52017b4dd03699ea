// The one message of a failed call. Not a log: library code never prints and never exits.
#ifndef STRATA_BASE_ERROR_H
#define STRATA_BASE_ERROR_H

#include <stdbool.h>

// Filled by the call that failed; text is one line without a newline that names the file, tensor,
// field or device, what was found and what was expected.
typedef struct {
    char text[512];
} Error;

// Writes the message (printf style, cut at the size of Error). Returns false always, so that a
// failing function ends with `return error_set(err, ...)`. err may be NULL.
bool error_set(Error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
