// Aligned columns of text, which all tables of profiles share. What stands in them is their
// writers'.
#ifndef STRATA_PROFILE_COLUMNS_H
#define STRATA_PROFILE_COLUMNS_H

#include "profile/summary.h"

#include <stdio.h>

enum { TABLE_COLUMNS = 20, TABLE_CELL = SUMMARY_NAME + 16 };

// Empty cells are spaces.
typedef struct {
    char cells[TABLE_COLUMNS][TABLE_CELL];
} TableLine;

// Columns whose bit (1 << column) is set in `left` are aligned to the left, the others to the
// right. Those that are empty below the first line, which is the head, are left out, but for the
// first one. No spaces at the ends of lines.
void columns_print(FILE *stream, const TableLine *lines, size_t count, int columns, unsigned left);

#endif
