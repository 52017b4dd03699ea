// What is left of a run whose device fails: see run.h. A device that is lost has lost its memory,
// too (its contents are undefined from then on), so that the newest checkpoint is all there is. One
// that only refused some work, for want of memory say, still holds the weights of the last whole
// step, unless the update of the next one had begun.
#include "train/run.h"

#include <inttypes.h>

void run_rescue(Run *run, Error *err)
{
    const Error why = *err;
    const char *out = run->config->out;
    uint64_t kept = 0;
    if (!gpu_lost(run->gpu) && run->keeps && run->whole.step &&
        checkpoint_save(out, &run->model, run->step, &run->whole, NULL))
        kept = run->whole.step;
    if (!kept) kept = checkpoint_newest(out, NULL, NULL);
    if (kept)
        error_set(err,
                  "%.300s, at step %" PRIu64
                  "; --resume goes on from the checkpoint of step %" PRIu64,
                  why.text, run->state.step, kept);
    else
        error_set(err, "%.300s, at step %" PRIu64 "; there is no checkpoint to go on from",
                  why.text, run->state.step);
}
