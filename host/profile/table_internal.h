// Aligned columns of text, which the tables of host/profile share.
#ifndef STRATA_PROFILE_TABLE_INTERNAL_H
#define STRATA_PROFILE_TABLE_INTERNAL_H

#include "profile/summary.h"

#include <stdio.h>

enum { TABLE_COLUMNS = 12, TABLE_CELL = SUMMARY_NAME + 16 };

// Empty cells are spaces.
typedef struct {
    char cells[TABLE_COLUMNS][TABLE_CELL];
} TableLine;

// The first column is aligned to the left, the others to the right. No spaces at the ends of lines.
void table_lines(FILE *stream, const TableLine *lines, size_t count, int columns);
// Three digits and the unit that fits, such as "1.23 ms"; "-" for 0.
void table_put_seconds(char cell[TABLE_CELL], double seconds);

#endif
