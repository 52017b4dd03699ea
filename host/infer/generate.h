// One text generated to its end. Many together: batch.h.
#ifndef STRATA_INFER_GENERATE_H
#define STRATA_INFER_GENERATE_H

#include "infer/decoder.h"
#include "infer/session.h"

// Goes on behind what the sequence holds, with prompt (count) in between, until the text ends.
bool generate(Generation *out, Engine *engine, Sequence *sequence, const uint32_t *prompt,
              uint32_t count, const GenerateOptions *options, Error *err);

// Resets the session and generates the most probable tokens at one depth, at most max_tokens until
// one of eos.
bool generate_greedy(Generation *out, Session *session, const uint32_t *prompt, uint32_t count,
                     uint32_t depth, uint32_t max_tokens, const uint32_t *eos, uint32_t eos_count,
                     Error *err);

// Milliseconds that a token takes at full depth: the last tokens of the sequence (at most `most`)
// once more, one by one. The sequence ends as it was, at full depth. 0: it holds less than two.
bool generate_full_depth_ms(double *ms, Engine *engine, Sequence *sequence, uint32_t most,
                            Error *err);

#endif
