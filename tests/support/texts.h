// Texts on which tokenizers go wrong: the same TEXT_COUNT ones on every machine. Random Unicode,
// samples of many languages, emoji joined of several, combining marks, white space, control
// characters, written-out special tokens, halves of surrogate pairs, long runs.
#ifndef STRATA_TESTS_SUPPORT_TEXTS_H
#define STRATA_TESTS_SUPPORT_TEXTS_H

#include <stddef.h>

enum { TEXT_COUNT = 12000, TEXT_LINE = 8192 };

// Text number `index` as a JSON string in line[TEXT_LINE], NUL-terminated, ASCII alone. Returns
// its length.
size_t test_text_line(char *line, size_t index);

#endif
