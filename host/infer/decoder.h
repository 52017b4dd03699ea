// One text in the making: prompt, depth policy, sampling, and what happened. A decoder says which
// positions it wants at which depth; somebody runs them (generate.h alone, batch.h many together)
// and tells it. Knows no text: stop strings are the business of who hears the tokens.
#ifndef STRATA_INFER_DECODER_H
#define STRATA_INFER_DECODER_H

#include "infer/drafting.h"
#include "infer/engine.h"
#include "text/sampler.h"

typedef enum {
    END_NONE,   // still going
    END_EOS,    // a token that ends texts
    END_LENGTH, // max_tokens, or the context is full
    END_STOP,   // the listener said so
} GenerationEnd;
extern const char *const END_NAMES[]; // "", "eos", "length", "stop"

typedef struct {
    DepthPolicy policy;
    SamplerOptions sampler;
    uint32_t max_tokens; // 0: none are generated
    const uint32_t *eos; // (eos_count) ids that end the text
    uint32_t eos_count;
    bool clock; // draft_auto may measure: not with sampling or beside other texts
    // With clock and draft_auto: what earlier texts taught of drafts, which this one adds to; zero
    // for the first one of a model and depth. NULL: each text begins anew.
    Drafting *learned;
    // Hears each token as it comes (may be NULL); false ends the text behind it.
    bool (*token)(void *user, uint32_t id);
    void *user;
} GenerateOptions;

// What happened. tokens_at[d]: tokens that left at depth d (accepted drafts: at the draft's).
typedef struct {
    uint32_t *tokens_at;        // (L + 1)
    uint64_t drafted, accepted; // tokens
    uint64_t rounds;            // checks of drafts
    uint64_t blocks_run;        // generated positions times the blocks they were run through
} GenerationReport;

typedef struct {
    uint32_t *tokens; // (count) without the prompt, without EOS
    size_t count;
    size_t first; // of these, how many were known together as the first: drafts come in company
    GenerationEnd end;
    double prompt_seconds; // until then
    double seconds;        // for the tokens after them
    GenerationReport report;
} Generation;

void generation_free(Generation *generation);
// Milliseconds per token after the first ones; of the prompt's pass where there are no others.
double generation_ms_per_token(const Generation *generation);
// Blocks that ran per token after the first, 0 where there is only one.
double generation_blocks_per_token(const Generation *generation);

typedef struct Decoder Decoder;

// Goes on from what sequence holds: prompt (count, 1 and more) is appended. The sequence must
// outlive the decoder. Fails where the prompt is longer than the context or a token is unknown.
Decoder *decoder_open(Engine *engine, Sequence *sequence, const uint32_t *prompt, uint32_t count,
                      const GenerateOptions *options, Error *err);
void decoder_close(Decoder *decoder);

// What it wants to be run next: "prompt", "draft", "verify" (of drafts) or "decode".
const char *decoder_phase(const Decoder *decoder);
// The depth at which it wants logits; 0: it has ended.
uint32_t decoder_depth(const Decoder *decoder);
// Its part of an advance to `depth`, which is at most decoder_depth; logits only where it is that.
Advance decoder_want(Decoder *decoder, uint32_t depth);
// Goes on behind an advance to decoder_depth. False: a failure, not the end.
bool decoder_take(Decoder *decoder, Error *err);
// Hands the result over, to be freed by the caller; once.
Generation decoder_result(Decoder *decoder);

#endif
