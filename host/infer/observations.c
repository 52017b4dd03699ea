// Looking at every exit, and timing: see observations.h.
#include "infer/observations.h"
#include "base/clock.h"
#include "text/sampler.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 64, REPEATS = 15 };

void observations_begin(Observations *o, const uint32_t *depths, uint32_t count,
                        Confidence confidence)
{
    assert(count >= 1 && count <= CONFIG_MAX_EXITS + 1);
    *o = (Observations){.exits = count - 1, .confidence = confidence};
    memcpy(o->depths, depths, count * sizeof *depths);
}

void observations_free(Observations *o)
{
    free(o->confidences);
    free(o->right);
    free(o->same);
    free(o->begins);
    *o = (Observations){0};
}

static bool grow(void **list, size_t bytes)
{
    void *more = realloc(*list, bytes ? bytes : 1);
    if (more) *list = more;
    return more != NULL;
}

static bool make_room(Observations *o, size_t more, Error *err)
{
    if (o->count + more <= o->room) return true;
    size_t room = 2 * (o->count + more);
    if (!grow((void **)&o->confidences, room * o->exits * sizeof *o->confidences) ||
        !grow((void **)&o->right, room * (o->exits + 1)) ||
        !grow((void **)&o->same, room * o->exits) || !grow((void **)&o->begins, room))
        return error_set(err, "out of memory");
    o->room = room;
    return true;
}

// One piece of a text: where it begins, its rows, what should follow each, which rows count.
typedef struct {
    const uint32_t *next;
    const uint8_t *marks; // of next
    uint32_t rows;
    float *logits; // (rows, V)
    uint32_t vocab;
} Piece;

// What depth e says at the positions of the piece that count.
static void look(Observations *o, const Piece *piece, uint32_t e)
{
    size_t at = o->count;
    for (uint32_t i = 0; i < piece->rows; i++) {
        if (!piece->marks[i]) continue;
        const float *row = piece->logits + (size_t)i * piece->vocab;
        uint32_t best = argmax(row, piece->vocab);
        o->right[at * (o->exits + 1) + e] = best == piece->next[i];
        if (e < o->exits) {
            o->confidences[at * o->exits + e] = confidence_of(row, piece->vocab, o->confidence);
        }
        at++;
    }
}

// The most probable token of each row, for `same`.
static void best_tokens(uint32_t *best, const Piece *piece)
{
    for (uint32_t i = 0; i < piece->rows; i++)
        best[i] = argmax(piece->logits + (size_t)i * piece->vocab, piece->vocab);
}

static bool add_piece(Observations *o, Engine *engine, Sequence *sequence, Piece *piece, Error *err)
{
    uint32_t(*best)[PIECE] = malloc((o->exits + 1) * sizeof *best);
    bool ok = best || error_set(err, "out of memory");
    for (uint32_t e = 0; ok && e <= o->exits; e++) {
        const Advance all = {sequence, sequence->count, piece->rows, piece->logits};
        ok = engine_advance(engine, &all, 1, o->depths[e], err);
        if (ok) look(o, piece, e);
        if (ok) best_tokens(best[e], piece);
    }
    for (uint32_t i = 0; ok && i < piece->rows; i++) {
        if (!piece->marks[i]) continue;
        for (uint32_t e = 0; e < o->exits; e++)
            o->same[o->count * o->exits + e] = best[e][i] == best[o->exits][i];
        o->begins[o->count++] = false;
    }
    free(best);
    return ok;
}

bool observations_add(Observations *o, Engine *engine, Sequence *sequence, const uint32_t *tokens,
                      const uint8_t *marks, uint32_t count, Error *err)
{
    Piece piece = {.vocab = engine_model(engine)->config.vocab_size};
    size_t before = o->count;
    piece.logits = malloc((size_t)PIECE * piece.vocab * sizeof *piece.logits);
    bool ok = piece.logits || error_set(err, "out of memory");
    sequence_truncate(sequence, 0);
    ok = ok && make_room(o, count, err) && engine_check_tokens(engine, tokens, count, err);
    for (uint32_t at = 0; ok && at + 1 < count; at += piece.rows) {
        piece.rows = count - 1 - at < PIECE ? count - 1 - at : PIECE;
        piece.next = tokens + at + 1;
        piece.marks = marks + at + 1;
        ok = sequence_append(sequence, tokens + at, piece.rows, err) &&
             add_piece(o, engine, sequence, &piece, err);
    }
    if (o->count > before) o->begins[before] = true;
    free(piece.logits);
    return ok;
}

// ---- costs -------------------------------------------------------------------------------------

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// A measurement: so many new rows, that have passed `from` blocks, through depths[0 .. count - 1],
// one after the other.
typedef struct {
    uint32_t from;
    const uint32_t *depths;
    uint32_t count, rows;
    double *out; // the median goes there
    double seconds[REPEATS];
} Timed;

typedef struct {
    Engine *engine;
    Sequence *sequence;
    float *logits; // (DRAFT_WINDOW + 1, V)
    Timed *list;   // (count)
    uint32_t count;
} Stopwatch;

static bool advance(const Stopwatch *w, uint32_t rows, uint32_t depth, Error *err)
{
    const Advance all = {w->sequence, w->sequence->count, rows, w->logits};
    return engine_advance(w->engine, &all, 1, depth, err);
}

static bool time_once(double *seconds, const Stopwatch *w, const Timed *t, Error *err)
{
    uint32_t before = w->sequence->count, tokens[DRAFT_WINDOW + 1] = {0};
    bool ok = sequence_append(w->sequence, tokens, t->rows, err) &&
              (!t->from || advance(w, 0, t->from, err));
    double began = clock_seconds();
    for (uint32_t i = 0; ok && i < t->count; i++) ok = advance(w, t->rows, t->depths[i], err);
    *seconds = clock_seconds() - began;
    sequence_truncate(w->sequence, before);
    return ok;
}

// The medians. All take turns, so that what else the machine does meets all alike; the first turn,
// which may record and compile, does not count.
static bool time_all(Stopwatch *w, Error *err)
{
    for (int turn = -1; turn < REPEATS; turn++)
        for (uint32_t i = 0; i < w->count; i++)
            if (!time_once(&w->list[i].seconds[turn < 0 ? 0 : turn], w, &w->list[i], err))
                return false;
    for (uint32_t i = 0; i < w->count; i++) {
        Timed *t = &w->list[i];
        qsort(t->seconds, REPEATS, sizeof *t->seconds, by_value);
        *t->out = t->seconds[REPEATS / 2];
    }
    return true;
}

static bool fill(Engine *engine, Sequence *sequence, uint32_t count, uint32_t depth, Error *err)
{
    const uint32_t token = 0;
    sequence_truncate(sequence, 0);
    for (uint32_t i = 0; i < count; i++)
        if (!sequence_append(sequence, &token, 1, err)) return false;
    const Advance all = {sequence, count, 0, NULL};
    return engine_advance(engine, &all, 1, depth, err);
}

// Numbers of rows at which checks are timed; those between lie on a line.
static const uint32_t TIMED_ROWS[] = {1, 2, 3, 5, 9, DRAFT_WINDOW + 1};
enum { TIMED_COUNT = sizeof TIMED_ROWS / sizeof *TIMED_ROWS };

static void list_measurements(Stopwatch *w, StepCosts *costs, const Observations *o)
{
    const uint32_t *full = &o->depths[o->exits];
    for (uint32_t e = 0; e <= o->exits; e++)
        w->list[w->count++] = (Timed){0, &o->depths[e], 1, 1, &costs->token[e]};
    w->list[w->count++] = (Timed){0, o->depths, o->exits + 1, 1, &costs->check};
    for (uint32_t e = 0; e < o->exits; e++)
        for (int i = 0; i < TIMED_COUNT; i++) {
            uint32_t rows = TIMED_ROWS[i];
            w->list[w->count++] = (Timed){o->depths[e], full, 1, rows, &costs->checks[e][rows]};
        }
}

static void interpolate(double *checks)
{
    for (int i = 0; i + 1 < TIMED_COUNT; i++) {
        uint32_t low = TIMED_ROWS[i], high = TIMED_ROWS[i + 1];
        if (checks[high] < checks[low]) checks[high] = checks[low]; // noise
        for (uint32_t rows = low + 1; rows < high; rows++)
            checks[rows] = checks[low] + (checks[high] - checks[low]) * (rows - low) / (high - low);
    }
}

// What noise must not say: that deeper, or more rows, take less.
static void straighten(StepCosts *costs, const Observations *o)
{
    for (uint32_t e = 1; e <= o->exits; e++)
        if (costs->token[e] < costs->token[e - 1]) costs->token[e] = costs->token[e - 1];
    for (uint32_t e = 0; e < o->exits; e++) interpolate(costs->checks[e]);
    double full = costs->token[o->exits];
    costs->check = o->exits && costs->check > full ? (costs->check - full) / o->exits : 0;
}

bool step_costs_measure(StepCosts *costs, const Observations *o, Engine *engine, Sequence *sequence,
                        uint32_t context, Error *err)
{
    uint32_t vocab = engine_model(engine)->config.vocab_size, room = sequence->context;
    Stopwatch w = {.engine = engine, .sequence = sequence};
    *costs = (StepCosts){0};
    w.list = calloc(o->exits + 2 + (size_t)TIMED_COUNT * o->exits, sizeof *w.list);
    w.logits = malloc((DRAFT_WINDOW + 1) * (size_t)vocab * sizeof *w.logits);
    bool ok = (w.list && w.logits) || error_set(err, "out of memory");
    if (ok && room <= DRAFT_WINDOW + 1)
        ok = error_set(err, "a context of %u tokens is too short to measure", room);
    if (ok) {
        if (context > room - DRAFT_WINDOW - 1) context = room - DRAFT_WINDOW - 1;
        list_measurements(&w, costs, o);
        ok = fill(engine, sequence, context, o->depths[o->exits], err) && time_all(&w, err);
    }
    if (ok) straighten(costs, o);
    free(w.logits);
    free(w.list);
    return ok;
}
