// The line that shows how a run goes, as text. Printing it is tools/cmd_train.c's.
#ifndef STRATA_TRAIN_PROGRESS_H
#define STRATA_TRAIN_PROGRESS_H

#include "train/trainer.h"

enum { PROGRESS_BYTES = 4096 }; // a line has room, with as many exits as there may be

// Everything, as long as it gets: for files and pipes.
void progress_line(char *line, const StepReport *report); // (PROGRESS_BYTES)
// At most `width` columns: leaves out what matters least until it fits. 4 exits with all their
// figures take some 120 columns.
void progress_bar(char *line, const StepReport *report, unsigned width); // (PROGRESS_BYTES)

// "12.3 GFLOP/s", "5.0 MiB" with the unit that suits; both return text.
const char *progress_speed(char *text, size_t size, double operations_per_second);
const char *progress_memory(char *text, size_t size, uint64_t bytes);

#endif
