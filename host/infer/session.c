// One sequence with an engine of its own: see session.h.
#include "infer/session.h"

#include <assert.h>
#include <stdlib.h>

struct Session {
    Engine *engine;
    Sequence sequence;
};

Session *session_open(Llama *model, uint32_t context, Error *err)
{
    Session *s = calloc(1, sizeof *s);
    if (!s) {
        error_set(err, "out of memory");
        return NULL;
    }
    s->engine = engine_open(model, context, 0, err);
    if (s->engine &&
        sequence_make(&s->sequence, engine_pool(s->engine), engine_context(s->engine), err))
        return s;
    session_close(s);
    return NULL;
}

void session_close(Session *s)
{
    if (!s) return;
    sequence_free(&s->sequence);
    engine_close(s->engine);
    free(s);
}

void session_reset(Session *session)
{
    sequence_truncate(&session->sequence, 0);
}

uint32_t session_position(const Session *session)
{
    return session->sequence.count;
}

uint32_t session_context(const Session *session)
{
    return session->sequence.context;
}

uint32_t session_vocab(const Session *session)
{
    return engine_model(session->engine)->config.vocab_size;
}

Engine *session_engine(Session *session)
{
    return session->engine;
}

Sequence *session_sequence(Session *session)
{
    return &session->sequence;
}

bool session_feed(Session *s, const uint32_t *tokens, uint32_t count, uint32_t depth,
                  uint32_t wanted, float *logits, Error *err)
{
    uint32_t before = s->sequence.count;
    assert(wanted <= count);
    if (!engine_check_tokens(s->engine, tokens, count, err) ||
        !sequence_append(&s->sequence, tokens, count, err))
        return false;
    const Advance all = {&s->sequence, s->sequence.count, wanted, logits};
    if (engine_advance(s->engine, &all, 1, depth, err)) return true;
    sequence_truncate(&s->sequence, before);
    return false;
}
