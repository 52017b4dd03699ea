// Single JSON values read from and written to lines: strings with whatever a JSON string can hold,
// NUL and lone surrogates included, and arrays of whole numbers. Whole documents are json.h's.
#ifndef STRATA_BASE_JSON_TEXT_H
#define STRATA_BASE_JSON_TEXT_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

// The string that text[size] is (RFC 8259, white space around it allowed) as malloc'ed UTF-8,
// *out_size bytes and a NUL. A surrogate without its other half becomes U+FFFD, as it does where
// JavaScript hands such a string on. `what` begins the message. NULL on failure.
char *json_text_string(size_t *out_size, const char *text, size_t size, const char *what,
                       Error *err);

// The whole numbers, each 0 to UINT32_MAX, of the array that text[size] is, malloc'ed: (count).
// NULL on failure.
uint32_t *json_text_numbers(size_t *count, const char *text, size_t size, const char *what,
                            Error *err);

// text[size] (valid UTF-8) as a JSON string, quotes included, malloc'ed and NUL-terminated. NULL:
// out of memory.
char *json_text_quote(const char *text, size_t size);

#endif
