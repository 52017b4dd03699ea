// Tokens that become text: see cli_text.h.
#include "cli_text.h"

#include <stdio.h>

void text_listener_begin(TextListener *l, const Tokenizer *tokenizer, const DecodeOptions *options,
                         bool shown)
{
    *l = (TextListener){.shown = shown};
    token_stream_begin(&l->stream, tokenizer);
    stop_begin(&l->filter, options->stops, options->stop_count);
}

void text_listener_free(TextListener *l)
{
    stop_free(&l->filter);
    text_free(&l->text);
}

static void take(TextListener *l, const char *piece)
{
    if (!piece || !text_append(&l->text, piece)) {
        l->failed = true;
        return;
    }
    if (!l->shown || !*piece) return;
    fputs(piece, stdout);
    fflush(stdout);
}

bool text_listener_token(void *listener, uint32_t id)
{
    TextListener *l = listener;
    take(l, stop_push(&l->filter, token_stream_push(&l->stream, id)));
    return !l->failed && !l->filter.stopped;
}

const char *text_listener_end(TextListener *l)
{
    take(l, stop_push(&l->filter, token_stream_end(&l->stream)));
    take(l, stop_end(&l->filter));
    return l->failed ? NULL : l->text.bytes;
}
