// Choosing exit thresholds, and draft depth and length, from observations: arithmetic, no GPU.
#ifndef STRATA_INFER_CALIBRATE_H
#define STRATA_INFER_CALIBRATE_H

#include "infer/observations.h"

// A choice of thresholds and what comes of it at positions that were not used to choose it.
typedef struct {
    double harm;          // the share of tokens that the exits together were allowed to lose
    DepthPolicy policy;   // exits that pay, of all
    double accuracy;      // share of true tokens
    double full_accuracy; // of the full depth, at the same positions
    double agreement;     // share of tokens that are the full depth's
    double blocks;        // per token, until it leaves
    double speed;         // expected: seconds of the full depth over the policy's
} ExitChoice;

enum { EXIT_CURVE = 12, CALIBRATE_LEAST = 16 }; // points of a curve; observations

// The curve from cautious to bold: for each allowed harm the exits with the least expected time,
// which share the harm evenly and in turn take what tokens they may. Thresholds are chosen at every
// other observation and judged at the rest, so that the curve is not flattered. Returns how many
// points curve (EXIT_CURVE) has; 0: no exits, or too few observations (CALIBRATE_LEAST).
uint32_t calibrate_exits(ExitChoice *curve, const Observations *o, const StepCosts *costs);
// The fastest point whose loss of accuracy (full_accuracy - accuracy) is at most max_loss; NULL:
// none.
const ExitChoice *calibrate_choose(const ExitChoice *curve, uint32_t count, double max_loss);

typedef struct {
    uint32_t depth, window; // 0: no draft pays
    double stop;            // draft_stop
    double acceptance;      // share of drafted tokens
    double speed;           // expected, over the full depth
} DraftChoice;

// The draft with the highest expected speed, as if the observed texts had been generated with it;
// its text is that of the full depth.
DraftChoice calibrate_draft(const Observations *o, const StepCosts *costs);

#endif
