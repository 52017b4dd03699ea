// Bringing positions deeper: see engine.h.
#include "infer/engine.h"
#include "infer/runner.h"

#include <assert.h>
#include <stdlib.h>

struct Engine {
    Llama *model;
    uint32_t context;
    PagePool pool;
    Runner *runner;
    RunRow *rows; // (room) that are on their way
    size_t room;
};

Engine *engine_open(Llama *model, uint32_t context, uint32_t pages, Error *err)
{
    Engine *e = calloc(1, sizeof *e);
    if (!e) {
        error_set(err, "out of memory");
        return NULL;
    }
    *e = (Engine){.model = model, .context = context ? context : model->config.context};
    if (page_pool_make(&e->pool, model, pages ? pages : pages_for(e->context), err)) {
        e->runner = runner_open(model, &e->pool, e->context, err);
        if (e->runner) return e;
    }
    engine_close(e);
    return NULL;
}

void engine_close(Engine *e)
{
    if (!e) return;
    runner_close(e->runner);
    page_pool_free(&e->pool);
    free(e->rows);
    free(e);
}

Llama *engine_model(const Engine *engine)
{
    return engine->model;
}

PagePool *engine_pool(Engine *engine)
{
    return &engine->pool;
}

uint32_t engine_context(const Engine *engine)
{
    return engine->context;
}

bool engine_check_tokens(const Engine *engine, const uint32_t *ids, size_t count, Error *err)
{
    uint32_t vocab = engine->model->config.vocab_size;
    for (size_t i = 0; i < count; i++)
        if (ids[i] >= vocab)
            return error_set(err, "token id %u: the model's vocabulary has %u", ids[i], vocab);
    return true;
}

// ---- rows on their way -------------------------------------------------------------------------

static uint32_t row_depth(const RunRow *row)
{
    return row->sequence->depths[row->position];
}

static bool make_room(Engine *e, size_t rows, Error *err)
{
    if (rows <= e->room) return true;
    RunRow *more = realloc(e->rows, rows * sizeof *more);
    if (!more) return error_set(err, "out of memory");
    e->rows = more;
    e->room = rows;
    return true;
}

// All positions that have to move, sequence by sequence, ascending. SIZE_MAX: a failure.
static size_t list_rows(Engine *e, const Advance *list, size_t count, uint32_t depth, Error *err)
{
    size_t n = 0, vocab = e->model->config.vocab_size;
    for (size_t i = 0; i < count; i++) {
        const Advance *a = &list[i];
        uint32_t first = sequence_pending(a->sequence, a->end, depth);
        assert(a->end <= a->sequence->count && a->wanted <= a->end - first);
        if (!make_room(e, n + a->end - first, err)) return SIZE_MAX;
        for (uint32_t p = first; p < a->end; p++) {
            uint32_t behind = a->end - p; // 1: the last
            bool wanted = behind <= a->wanted;
            float *logits = wanted ? a->logits + (a->wanted - behind) * vocab : NULL;
            e->rows[n++] = (RunRow){a->sequence, p, logits};
        }
    }
    return n;
}

// A sequence's own count of blocks and depths, after a run.
static void passed(const RunRow *rows, uint32_t count, uint32_t from, uint32_t to)
{
    for (uint32_t i = 0; i < count; i++) {
        Sequence *s = rows[i].sequence;
        s->depths[rows[i].position] = to;
        if (rows[i].position >= s->counted_from) s->blocks_run += to - from;
    }
}

// Takes the rows at depth `from` to `to`, as many as run together at a time.
static bool run_level(Engine *e, size_t rows, uint32_t from, uint32_t to, bool last, Error *err)
{
    RunRow chunk[RUNNER_ROWS];
    uint32_t n = 0;
    for (size_t i = 0; i < rows; i++) {
        if (row_depth(&e->rows[i]) == from) {
            chunk[n] = e->rows[i];
            if (!last) chunk[n].logits = NULL;
            n++;
        }
        if (!n || (n < RUNNER_ROWS && i + 1 < rows)) continue;
        if (!runner_run(e->runner, chunk, n, from, to, err)) return false;
        passed(chunk, n, from, to);
        n = 0;
    }
    return true;
}

bool engine_advance(Engine *e, const Advance *list, size_t count, uint32_t depth, Error *err)
{
    assert(depth >= 1 && depth <= e->model->config.blocks);
    size_t rows = list_rows(e, list, count, depth, err);
    if (rows == SIZE_MAX) return false;
    for (;;) { // from the shallowest level to the next one on which rows wait
        uint32_t from = depth, to = depth;
        for (size_t i = 0; i < rows; i++)
            if (row_depth(&e->rows[i]) < from) from = row_depth(&e->rows[i]);
        if (from == depth) return true;
        for (size_t i = 0; i < rows; i++) {
            uint32_t at = row_depth(&e->rows[i]);
            if (at > from && at < to) to = at;
        }
        if (!run_level(e, rows, from, to, to == depth, err)) return false;
    }
}
