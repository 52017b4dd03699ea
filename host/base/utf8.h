// UTF-8 by RFC 3629: no overlong forms, no surrogates, nothing past U+10FFFF.
#ifndef STRATA_BASE_UTF8_H
#define STRATA_BASE_UTF8_H

#include <stddef.h>

// Length in bytes (1 to 4) of the valid sequence that starts at text[0], 0 where it is not valid
// or is cut by size.
size_t utf8_sequence(const char *text, size_t size);

// The offset of the first byte that is not part of valid UTF-8; size where all is valid.
size_t utf8_check(const char *text, size_t size);

#endif
