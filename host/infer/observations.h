// What every exit says at the positions of known text, and what a step costs on this device: what
// calibrate.h chooses policies from.
#ifndef STRATA_INFER_OBSERVATIONS_H
#define STRATA_INFER_OBSERVATIONS_H

#include "infer/engine.h"
#include "infer/policy.h"

// E exits before the last depth; P positions.
typedef struct {
    uint32_t depths[CONFIG_MAX_EXITS + 1]; // (E + 1) ascending; the last one is the full depth
    uint32_t exits;                        // E
    Confidence confidence;
    size_t count, room;  // P
    double *confidences; // (P, E) within [0, 1], as decoding compares them
    uint8_t *right;      // (P, E + 1) 1: the most probable token is the true one
    uint8_t *same;       // (P, E) 1: it is that of the full depth
    uint8_t *begins;     // (P) 1: a text begins with it
} Observations;

// Exits below `depths`' last. depths (count, 1 and more) ascending.
void observations_begin(Observations *o, const uint32_t *depths, uint32_t count,
                        Confidence confidence);
void observations_free(Observations *o);
// Runs tokens (count) as one text of its own; position i counts where marks[i + 1] (count) is not
// 0: there token i + 1 is what should come. The sequence is emptied first and left in any state.
bool observations_add(Observations *o, Engine *engine, Sequence *sequence, const uint32_t *tokens,
                      const uint8_t *marks, uint32_t count, Error *err);

// Seconds on this device, medians of some repeats.
typedef struct {
    double token[CONFIG_MAX_EXITS + 1]; // (E + 1) a token at each depth, with its logits
    double check;                       // what an exit that is not taken costs more
    // So many rows from an exit's depth through the blocks behind it, with all their logits.
    double checks[CONFIG_MAX_EXITS][DRAFT_WINDOW + 2]; // (E, ...) [e][rows], rows from 1 on
} StepCosts;

// Measures behind `context` positions of some text (cut to what the engine holds).
bool step_costs_measure(StepCosts *costs, const Observations *o, Engine *engine, Sequence *sequence,
                        uint32_t context, Error *err);

#endif
