// SoFT's choices beyond the exits themselves: how much each exit counts in a step, which exits take
// part in it, which blocks are dropped, what an exit has of its own, distillation. Formulas and
// their sources are at each function; where the config keys come from is soft_read.
#ifndef STRATA_TRAIN_SOFT_H
#define STRATA_TRAIN_SOFT_H

#include "base/random.h"
#include "model/config.h"

struct cJSON;

typedef enum { WEIGHTS_MEAN, WEIGHTS_SUM, WEIGHTS_DEPTH, WEIGHTS_LIST } ExitWeighting;
typedef enum { CURRICULUM_ALL, CURRICULUM_ROTATIONAL, CURRICULUM_GRADUAL } Curriculum;

typedef struct {
    ExitWeighting weighting;       // exit_weights
    double list[CONFIG_MAX_EXITS]; // (list_count) of WEIGHTS_LIST
    uint32_t list_count;
    double exit_scale; // of WEIGHTS_DEPTH
    Curriculum curriculum;
    uint32_t rotation;    // R of CURRICULUM_ROTATIONAL, in exits
    double layer_dropout; // the last block's probability; 0: none
    ExitNorm exit_norm;
    bool separate_heads;         // exit_head
    double distill, temperature; // share of the term (0: none), distill_temperature
} SoftChoices;

// Reads exit_weights, exit_scale, curriculum, rotation, layer_dropout, exit_norm, exit_head,
// distill and distill_temperature from the config `file`; whatever is absent gets the paper's
// choice.
bool soft_read(SoftChoices *choices, const struct cJSON *config, const char *file, Error *err);
// Whether anything but the paper's choice was made (what plain fine-tuning has no use for).
bool soft_is_plain(const SoftChoices *choices);

// The share of each exit in the loss of step `step` of `steps` (1 ..), over `blocks` blocks; 0: the
// exit rests. With C = 1 for exits that take part:
//   mean   C_e / sum C                           arXiv 2309.08968, Eq. 1
//   sum    C_e                                   its prose
//   list   C_e list_e
//   depth  C_e g_e / sum C g, at block l = depth - 1: g = scale l (l + 1) / 2, and at the last
//   block
//          g = l + scale (l - 1) l / 2           arXiv 2404.16710, section 4.1
// Exits that take part (arXiv 2404.16710, section 4.1, with exits in the place of layers), always
// the deepest and with
//   all         every one
//   rotational  those with (e + step) % R == 0
//   gradual     one more every steps / (2 exits) steps, from the deepest down
void soft_shares(double *shares, const SoftChoices *choices, const uint32_t *exits, uint32_t count,
                 uint32_t blocks, uint64_t step, uint64_t steps);

// Which of the blocks are left out of a micro-batch: block l with probability
// layer_dropout (2^(l / (L - 1)) - 1), arXiv 2404.16710, section 4.1, where each sample draws its
// own.
void soft_drop(bool *skip, const SoftChoices *choices, uint32_t blocks, Random *random);

#endif
