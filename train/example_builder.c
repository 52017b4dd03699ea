// Examples of records: see example_builder.h. While an example is being made, its marks are the two
// upper bits of its ids.
#include "train/example_builder.h"

#include <stdlib.h>
#include <string.h>

enum { FLAG_SHIFT = 30 };

static const uint32_t ID_BITS = (UINT32_C(1) << FLAG_SHIFT) - 1;

static bool no_memory(Error *err)
{
    return error_set(err, "out of memory");
}

static bool push(TokenList *list, uint32_t id, uint32_t mark, Error *err)
{
    return token_list_push(list, id | mark << FLAG_SHIFT) || no_memory(err);
}

void example_builder_begin(ExampleBuilder *b, TokenWriter *out, const Tokenizer *tokenizer,
                           uint32_t context)
{
    *b = (ExampleBuilder){.tokenizer = tokenizer, .out = out, .context = context};
}

void example_builder_free(ExampleBuilder *b)
{
    token_list_free(&b->record);
    token_list_free(&b->piece);
    token_list_free(&b->pack);
    free(b->marks);
    *b = (ExampleBuilder){0};
}

// Parts ids from marks in place, counts, and hands the example on; without loss it is dropped.
static bool emit(ExampleBuilder *b, TokenList *list, uint32_t sequences, bool truncated, Error *err)
{
    if (b->out->header.examples == UINT32_MAX) return error_set(err, "too many records");
    if (list->count > b->marks_size) {
        uint8_t *larger = realloc(b->marks, list->capacity);
        if (!larger) return no_memory(err);
        b->marks = larger;
        b->marks_size = list->capacity;
    }
    uint32_t supervised = 0, prompt = (uint32_t)list->count;
    for (uint32_t i = 0; i < list->count; i++) {
        b->marks[i] = (uint8_t)(list->ids[i] >> FLAG_SHIFT);
        list->ids[i] &= ID_BITS;
        if (!(b->marks[i] & MARK_LOSS)) continue;
        if (!supervised++) prompt = i;
    }
    const Example example = {.length = (uint32_t)list->count,
                             .sequences = sequences,
                             .supervised = supervised,
                             .prompt = prompt,
                             .truncated = truncated};
    if (supervised) token_writer_put(b->out, example, list->ids, b->marks);
    if (!supervised) b->out->header.dropped++;
    if (!supervised) b->out->header.truncated += truncated;
    list->count = 0;
    return true;
}

// ---- instruction records and chats -------------------------------------------------------------

bool example_builder_record(ExampleBuilder *b, Error *err)
{
    b->records++;
    b->record.count = 0;
    if (!tokenizer_adds_bos(b->tokenizer)) return true;
    return push(&b->record, tokenizer_bos(b->tokenizer), MARK_BEGIN, err);
}

// prompt and answer as one text; NULL: out of memory.
static char *join(const char *prompt, const char *answer)
{
    size_t a = strlen(prompt), b = strlen(answer);
    char *text = malloc(a + b + 1);
    if (!text) return NULL;
    memcpy(text, prompt, a);
    memcpy(text + a, answer, b + 1);
    return text;
}

bool example_builder_round(ExampleBuilder *b, const char *prompt, const char *answer, Error *err)
{
    size_t first = b->record.count;
    if (first > b->context) return true; // all of it will be cut
    TokenList alone = {0};
    char *text = join(prompt, answer);
    bool ok = (text || no_memory(err)) &&
              tokenizer_encode(b->tokenizer, prompt, strlen(prompt), &alone, err) &&
              tokenizer_encode(b->tokenizer, text, strlen(text), &b->record, err) &&
              push(&b->record, tokenizer_eos(b->tokenizer), 0, err);
    if (ok && !first) b->record.ids[0] |= (uint32_t)MARK_BEGIN << FLAG_SHIFT; // without BOS
    for (size_t i = first + alone.count; ok && i < b->record.count; i++)
        b->record.ids[i] |= (uint32_t)MARK_LOSS << FLAG_SHIFT;
    token_list_free(&alone);
    free(text);
    return ok;
}

bool example_builder_record_end(ExampleBuilder *b, Error *err)
{
    bool truncated = b->record.count > b->context;
    if (truncated) b->record.count = b->context;
    return emit(b, &b->record, 1, truncated, err);
}

// ---- documents ---------------------------------------------------------------------------------

bool example_builder_flush(ExampleBuilder *b, Error *err)
{
    uint32_t sequences = b->pack_sequences;
    b->pack_sequences = 0;
    return !sequences || emit(b, &b->pack, sequences, false, err);
}

// Adds the piece to the pack, to a new one where it does not fit any more.
static bool end_piece(ExampleBuilder *b, Error *err)
{
    size_t rows = b->pack.count - b->pack_sequences + b->piece.count - 1;
    if (rows > b->context - 1 && !example_builder_flush(b, err)) return false;
    for (size_t i = 0; i < b->piece.count; i++)
        if (!push(&b->pack, b->piece.ids[i], i ? MARK_LOSS : MARK_BEGIN, err)) return false;
    b->pack_sequences++;
    return true;
}

static bool push_text(ExampleBuilder *b, uint32_t id, Error *err)
{
    if (b->piece.count == b->context) {
        if (!end_piece(b, err)) return false;
        b->piece.ids[0] = b->piece.ids[b->context - 1];
        b->piece.count = 1;
    }
    return push(&b->piece, id, 0, err);
}

bool example_builder_text(ExampleBuilder *b, const char *text, size_t size, Error *err)
{
    if (!b->piece.count) {
        b->records++;
        if (tokenizer_adds_bos(b->tokenizer) && !push_text(b, tokenizer_bos(b->tokenizer), err))
            return false;
    }
    TokenList ids = {0};
    bool ok = tokenizer_encode(b->tokenizer, text, size, &ids, err);
    for (size_t i = 0; ok && i < ids.count; i++) ok = push_text(b, ids.ids[i], err);
    token_list_free(&ids);
    return ok;
}

bool example_builder_text_end(ExampleBuilder *b, Error *err)
{
    if (!b->piece.count) return true; // no document was begun
    bool ok = push_text(b, tokenizer_eos(b->tokenizer), err) && end_piece(b, err);
    b->piece.count = 0;
    return ok;
}
