// How a training run shows its steps on stderr: strata train, strata profile train.
#ifndef STRATA_TOOLS_CLI_TRAINING_H
#define STRATA_TOOLS_CLI_TRAINING_H

#include "train/trainer.h"

typedef struct {
    bool terminal;  // stderr is one: a line that renews itself
    double between; // plain lines: seconds at least from one to the next
    double printed; // elapsed seconds when the last plain line was printed
} TrainingDisplay;

TrainingDisplay training_display(double between);

// A bar with loss, tokens/s and time left on a terminal; otherwise plain lines: the first, the
// last, and others with `between` seconds from line to line.
void training_show(TrainingDisplay *display, const StepReport *report);

// TrainEvents.note: a line of its own.
void training_note(void *user, const char *line);

#endif
