// What the measurements of a device's ceilings share: probes, and what they run on.
#ifndef STRATA_PROFILE_PEAK_INTERNAL_H
#define STRATA_PROFILE_PEAK_INTERNAL_H

#include "profile/peak.h"

enum { PEAK_ROUNDS = 7, MOST_PROBES = 32 + PEAK_MATRICES };

typedef struct Bench Bench;
typedef struct Probe Probe;

// One way to reach one figure.
struct Probe {
    PeakFigure figure;
    const char *way;    // NULL: there is but one
    PeakMatrix *matrix; // of a matrix's shape: where the rate goes instead of the figure
    // One run is `loops` calls of act. Those of kernels run a tape, which has `dispatches`
    // dispatches of `steps` steps.
    bool (*act)(Bench *bench, Probe *probe, Error *err);
    Dispatch dispatch;
    bool copies;            // tensors[0] to tensors[1] by the driver's own copy instead
    uint32_t blocks, apart; // PeakArgs
    uint32_t steps, most_steps, dispatches, most_dispatches, loops, most_loops;
    double work; // of a step: bytes, operations, or 1
    Tape *tape;
    double seconds[PEAK_ROUNDS]; // of runs
};

struct Bench {
    Gpu *gpu;
    Tensor large[2], small[2]; // copies: from, to
    Tensor floats, words;      // what arithmetic begins with
    Tensor results, one;       // (invocations); what launches wait for
    Tensor device, mapped;     // of transfers
    uint8_t *host;             // as many bytes
    Probe probes[MOST_PROBES]; // (count)
    size_t count;
    PeakProgress *progress;
    void *user;
    uint32_t step;
};

// peak_probes.c: the tensors and the probes that the device has kernels for.
bool probes_open(Bench *bench, Peak *peak, Error *err);
void probes_close(Bench *bench);

// peak.c: the field of that figure, and who the device is in an otherwise empty Peak.
double *peak_field(Peak *peak, PeakFigure figure);
void peak_describe(Gpu *gpu, Peak *peak);

// peak_measure.c: runs the probe's tape.
bool probe_run_tape(Bench *bench, Probe *probe, Error *err);

#endif
