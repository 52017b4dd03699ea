// What a pass reads of the weights: the figure that bounds the speed of generating on a device
// whose memory is the limit. Not a measurement.
#ifndef STRATA_INFER_COST_H
#define STRATA_INFER_COST_H

#include "model/llama.h"

// Bytes of all parameters on the device; a tied head counts once.
uint64_t cost_model_bytes(Llama *model);

// Bytes of weights that `tokens` tokens read which pass the first `depth` blocks (1 .. L) in
// `passes` passes and whose logits are computed `exits` times: a row of the embedding for each, the
// blocks for each pass, norm and head of that exit for each time. A generated token is 1, 1, 1.
// Keys and values are not weights.
uint64_t cost_read_bytes(Llama *model, uint32_t depth, uint32_t tokens, uint32_t passes,
                         uint32_t exits);

// Passes that a prompt of so many tokens takes.
uint32_t cost_prompt_passes(uint32_t tokens);

// The share that was reached of the speed that the bytes predict, 1 at full depth: time in
// proportion to bytes. speedup is against full depth, as a factor.
double cost_share_reached(double speedup, double bytes, double full_bytes);

#endif
