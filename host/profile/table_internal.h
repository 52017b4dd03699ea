// Cells that the tables of host/profile share.
#ifndef STRATA_PROFILE_TABLE_INTERNAL_H
#define STRATA_PROFILE_TABLE_INTERNAL_H

#include "profile/columns.h"

// Three digits and the unit that fits, such as "1.23 ms"; "-" for 0.
void table_put_seconds(char cell[TABLE_CELL], double seconds);

#endif
