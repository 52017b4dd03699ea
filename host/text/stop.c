// Holding back what may be a stop string: see stop.h.
#include "text/stop.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void stop_begin(StopFilter *filter, const char *const *stops, size_t count)
{
    *filter = (StopFilter){.stops = stops, .count = count};
}

void stop_free(StopFilter *filter)
{
    free(filter->held);
    *filter = (StopFilter){0};
}

// Drops what was shown and appends the piece, with room for one byte more than a NUL.
static bool append(StopFilter *f, const char *piece)
{
    size_t left = f->size - f->shown, more = strlen(piece);
    if (left + more + 2 > f->room) {
        size_t room = 2 * (left + more + 2);
        char *held = realloc(f->held, room);
        if (!held) return false;
        f->held = held;
        f->room = room;
    }
    if (left) memmove(f->held, f->held + f->shown + 1, left); // a NUL stands behind what was shown
    memcpy(f->held + left, piece, more + 1);
    f->size = left + more;
    f->shown = 0;
    return true;
}

// Where the stop string begins that ends first, of several that end there the longest; or size.
static size_t find_stop(const StopFilter *f)
{
    size_t first = f->size, end = SIZE_MAX;
    for (size_t i = 0; i < f->count; i++) {
        const char *at = strstr(f->held, f->stops[i]);
        if (!at) continue;
        size_t from = (size_t)(at - f->held), to = from + strlen(f->stops[i]);
        if (to > end || (to == end && from > first)) continue;
        first = from;
        end = to;
    }
    return first;
}

// Where the longest end begins that some stop string begins with, or size.
static size_t find_beginning(const StopFilter *f)
{
    for (size_t at = 0; at < f->size; at++)
        for (size_t i = 0; i < f->count; i++)
            if (!strncmp(f->stops[i], f->held + at, f->size - at)) return at;
    return f->size;
}

// Shows the first bytes: a NUL goes behind them, in the place of the one byte more.
static const char *show(StopFilter *f, size_t bytes)
{
    memmove(f->held + bytes + 1, f->held + bytes, f->size - bytes + 1);
    f->held[bytes] = 0;
    f->shown = bytes;
    return f->held;
}

const char *stop_push(StopFilter *f, const char *piece)
{
    if (f->stopped) return "";
    if (!append(f, piece)) return NULL;
    size_t stop = find_stop(f);
    f->stopped = stop < f->size;
    return show(f, f->stopped ? stop : find_beginning(f));
}

const char *stop_end(StopFilter *f)
{
    if (f->stopped || !append(f, "")) return "";
    return f->held;
}
