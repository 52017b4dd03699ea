// Places, and who takes them: see batch.h.
#include "infer/batch.h"
#include "infer/round.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    Decoder *decoder; // NULL: the place is free
    Sequence sequence;
    size_t item;
    uint32_t pages; // that it may come to need
} Place;

typedef struct {
    Generation *out; // (count)
    Engine *engine;
    const BatchItem *items; // (count)
    size_t count, next;     // next: the first that has not begun
    Place *places;          // (place_count)
    uint32_t place_count;
    uint32_t reserved; // pages of all places
    Decoder **list;    // (place_count) scratch
    Advance *wants;    // (place_count) scratch
} Batch;

// With every token that it may generate.
static uint32_t worst_pages(const Batch *b, const BatchItem *item)
{
    uint32_t context = engine_context(b->engine);
    uint64_t tokens = (uint64_t)item->count + item->options.max_tokens;
    return pages_for(tokens < context ? (uint32_t)tokens : context);
}

static bool check_item(const Batch *b, size_t i, Error *err)
{
    const BatchItem *item = &b->items[i];
    uint32_t context = engine_context(b->engine), pages = engine_pool(b->engine)->pages;
    uint32_t worst = worst_pages(b, item);
    Error inner;
    if (!item->count || item->count > context)
        return error_set(err, "prompt %zu: %u tokens, but the context is %u tokens", i + 1,
                         item->count, context);
    if (worst > pages)
        return error_set(err,
                         "prompt %zu: %u tokens and up to %u more need %u pages of KV cache, but "
                         "its budget is %u",
                         i + 1, item->count, item->options.max_tokens, worst, pages);
    return engine_check_tokens(b->engine, item->prompt, item->count, &inner) ||
           error_set(err, "prompt %zu: %.200s", i + 1, inner.text);
}

static bool begin(Batch *b, Place *place, Error *err)
{
    const BatchItem *item = &b->items[b->next];
    if (!sequence_make(&place->sequence, engine_pool(b->engine), engine_context(b->engine), err))
        return false;
    place->decoder =
        decoder_open(b->engine, &place->sequence, item->prompt, item->count, &item->options, err);
    if (!place->decoder) {
        sequence_free(&place->sequence);
        return false;
    }
    place->item = b->next++;
    place->pages = worst_pages(b, item);
    b->reserved += place->pages;
    return true;
}

static void end(Batch *b, Place *place)
{
    decoder_close(place->decoder);
    sequence_free(&place->sequence);
    b->reserved -= place->pages;
    *place = (Place){0};
}

// Begins what there is room for, in order: nobody waits for ever.
static bool fill_places(Batch *b, Error *err)
{
    uint32_t pages = engine_pool(b->engine)->pages;
    for (uint32_t i = 0; i < b->place_count && b->next < b->count; i++) {
        if (b->places[i].decoder) continue;
        if (b->reserved + worst_pages(b, &b->items[b->next]) > pages) return true;
        if (!begin(b, &b->places[i], err)) return false;
    }
    return true;
}

static size_t list_decoders(Batch *b)
{
    size_t n = 0;
    for (uint32_t i = 0; i < b->place_count; i++) {
        Decoder *decoder = b->places[i].decoder;
        if (decoder && decoder_depth(decoder)) b->list[n++] = decoder;
    }
    return n;
}

static void collect(Batch *b, void (*done)(void *user, size_t index), void *user)
{
    for (uint32_t i = 0; i < b->place_count; i++) {
        Place *place = &b->places[i];
        if (!place->decoder || decoder_depth(place->decoder)) continue;
        size_t item = place->item;
        b->out[item] = decoder_result(place->decoder);
        end(b, place);
        if (done) done(user, item);
    }
}

static bool run(Batch *b, void (*done)(void *user, size_t index), void *user, Error *err)
{
    for (;;) {
        if (!fill_places(b, err)) return false;
        size_t running = list_decoders(b);
        if (running && !decoders_round(b->engine, b->list, b->wants, running, err)) return false;
        collect(b, done, user);
        if (!running && b->next == b->count) return true;
    }
}

bool batch_generate(Generation *out, Engine *engine, const BatchItem *items, size_t count,
                    uint32_t places, void (*done)(void *user, size_t index), void *user, Error *err)
{
    assert(places > 0);
    Batch b = {.out = out,
               .engine = engine,
               .items = items,
               .count = count,
               .places = calloc(places, sizeof(Place)),
               .place_count = places,
               .list = calloc(places, sizeof(Decoder *)),
               .wants = calloc(places, sizeof(Advance))};
    bool ok = (b.places && b.list && b.wants) || error_set(err, "out of memory");
    memset(out, 0, count * sizeof *out);
    for (size_t i = 0; ok && i < count; i++) ok = check_item(&b, i, err);
    ok = ok && run(&b, done, user, err);
    for (uint32_t i = 0; b.places && i < places; i++)
        if (b.places[i].decoder) end(&b, &b.places[i]);
    free(b.places);
    free(b.list);
    free(b.wants);
    return ok;
}
