// A pattern that cuts text into words: a regular expression of a tokenizer.json (in Oniguruma's
// syntax, as Hugging Face's tokenizers read it) or a fixed string. PCRE2 does the matching; nothing
// else uses it.
#ifndef STRATA_TEXT_PATTERN_H
#define STRATA_TEXT_PATTERN_H

#include "base/error.h"

#include <stddef.h>

typedef struct Pattern Pattern;

extern const char PATTERN_GPT2[]; // ByteLevel's own

// Compiles text (NUL-terminated UTF-8, at most 16 KiB, or 64 bytes of a string). What PCRE2 would
// read otherwise than Oniguruma, and is not translated, is refused. `what` begins the message. NULL
// and a message on failure.
Pattern *pattern_new(const char *text, bool is_regex, const char *what, Error *err);
void pattern_free(Pattern *pattern);
const char *pattern_text(const Pattern *pattern);
bool pattern_is_regex(const Pattern *pattern);

// Finds matches; several may search with one Pattern at a time.
typedef struct PatternSearch PatternSearch;

PatternSearch *pattern_search_new(const Pattern *pattern); // NULL: out of memory
void pattern_search_free(PatternSearch *search);

typedef enum { PATTERN_FOUND, PATTERN_NONE, PATTERN_FAILED } PatternResult;

// The first match in text[size] (valid UTF-8) at or after byte `from`: bytes *begin to *end, which
// may be equal. A match that takes more steps than any honest pattern needs fails with a message.
PatternResult pattern_search_next(PatternSearch *search, size_t *begin, size_t *end,
                                  const char *text, size_t size, size_t from, Error *err);

#endif
