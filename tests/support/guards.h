// Tensors under guard: a view between canaries, and a record of which of its rows may change. After
// a run every other word must be what it was. Canaries are NaNs and, as indices, far out of range,
// so that a kernel that reads them shows it, too.
#ifndef STRATA_TESTS_SUPPORT_GUARDS_H
#define STRATA_TESTS_SUPPORT_GUARDS_H

#include "gpu/gpu.h"

#include <stdbool.h>

enum { GUARDS_MAX = 16 };

typedef struct {
    Tensor whole;          // (1, words)
    Tensor view;           // what the op sees, within whole
    uint32_t *image;       // (words): what is there before a run
    uint32_t *now;         // (words): what was there after it
    uint64_t words, first; // first: where the view begins
    uint64_t open, closed; // the words that may change: open .. closed - 1 of image
} Guard;

// The guards of one run.
typedef struct {
    Gpu *gpu;
    Guard guards[GUARDS_MAX]; // (count)
    uint32_t count;
} Guards;

// A view of (rows, cols), all canaries, nothing open. Fails the running test where memory lacks.
Guard *guards_add(Guards *guards, uint32_t rows, uint32_t cols);
// Writes rows of values into the image, from row `first` on.
void guard_put(Guard *guard, uint32_t first, uint32_t rows, const void *values);
void guard_put_doubles(Guard *guard, uint32_t first, uint32_t rows, const double *values);
// Lets rows first .. first + rows - 1 change.
void guard_open(Guard *guard, uint32_t first, uint32_t rows);
// Row `row` of the view after the run.
const float *guard_row(const Guard *guard, uint32_t row);

// Uploads all images; runs the tape; fetches all words.
void guards_run(Guards *guards, Tape *tape);
// Fails unless all that is not open is as it was; `what` names the run.
void guards_check(const Guards *guards, const char *what);
// Runs again and fails unless every word is the same.
void guards_repeat(Guards *guards, Tape *tape, const char *what);
void guards_free(Guards *guards);

#endif
