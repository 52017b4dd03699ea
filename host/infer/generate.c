// Running decoders: see generate.h.
#include "infer/generate.h"
#include "base/clock.h"
#include "infer/round.h"

#include <stdlib.h>
#include <string.h>

bool generate(Generation *out, Engine *engine, Sequence *sequence, const uint32_t *prompt,
              uint32_t count, const GenerateOptions *options, Error *err)
{
    Advance want;
    *out = (Generation){0};
    Decoder *decoder = decoder_open(engine, sequence, prompt, count, options, err);
    bool ok = decoder != NULL;
    while (ok && decoder_depth(decoder)) ok = decoders_round(engine, &decoder, &want, 1, err);
    if (ok) *out = decoder_result(decoder);
    decoder_close(decoder);
    return ok;
}

bool generate_greedy(Generation *out, Session *session, const uint32_t *prompt, uint32_t count,
                     uint32_t depth, uint32_t max_tokens, const uint32_t *eos, uint32_t eos_count,
                     Error *err)
{
    const GenerateOptions options = {.policy = policy_fixed(depth),
                                     .sampler = sampler_greedy(),
                                     .max_tokens = max_tokens,
                                     .eos = eos,
                                     .eos_count = eos_count};
    session_reset(session);
    return generate(out, session_engine(session), session_sequence(session), prompt, count,
                    &options, err);
}

bool generate_full_depth_ms(double *ms, Engine *engine, Sequence *sequence, uint32_t most,
                            Error *err)
{
    const LlamaConfig *c = &engine_model(engine)->config;
    uint32_t count = sequence->count, again = count > most ? most : count - (count > 0);
    float *logits = malloc(c->vocab_size * sizeof *logits);
    uint32_t *tokens = malloc((most + 1) * sizeof *tokens);
    bool ok = (logits && tokens) || error_set(err, "out of memory");
    *ms = 0;
    if (ok && again) {
        memcpy(tokens, sequence->tokens + count - again, again * sizeof *tokens);
        sequence_truncate(sequence, count - again);
        const Advance rest = {sequence, sequence->count, 0, NULL};
        ok = engine_advance(engine, &rest, 1, c->blocks, err);
    }
    double began = clock_seconds();
    for (uint32_t i = 0; ok && i < again; i++) {
        if (i == 1) began = clock_seconds(); // the first one may record tapes
        ok = sequence_append(sequence, tokens + i, 1, err);
        const Advance next = {sequence, sequence->count, 1, logits};
        ok = ok && engine_advance(engine, &next, 1, c->blocks, err);
    }
    if (again > 1) *ms = 1e3 * (clock_seconds() - began) / (again - 1);
    free(logits);
    free(tokens);
    return ok;
}
