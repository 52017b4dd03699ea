// Stop strings in text that comes in pieces: shows what is certain not to be part of one.
#ifndef STRATA_TEXT_STOP_H
#define STRATA_TEXT_STOP_H

#include <stdbool.h>
#include <stddef.h>

enum { STOP_MOST = 16 };

typedef struct {
    const char *const *stops; // (count) not empty, not NULL
    size_t count;
    char *held; // what may be the beginning of a stop string, and the last answer before it
    size_t size, room;
    size_t shown; // bytes of held that were answered last time
    bool stopped; // a stop string has come; nothing is shown any more
} StopFilter;

// stops (count, at most STOP_MOST) must outlive the filter.
void stop_begin(StopFilter *filter, const char *const *stops, size_t count);
void stop_free(StopFilter *filter);
// Takes a piece; returns what may be shown of it and of what was held back, NUL-terminated, until
// the next call: text before the stop string that is complete first, of several that end at once
// before the longest. So what is shown in all does not depend on how the text is cut into pieces.
// NULL: out of memory.
const char *stop_push(StopFilter *filter, const char *piece);
// The end of the text: what is still held back.
const char *stop_end(StopFilter *filter);

#endif
