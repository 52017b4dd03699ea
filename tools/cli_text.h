// The text of a generation as it comes: tokens become text, text up to a stop string is kept and,
// where asked for, shown at once.
#ifndef STRATA_TOOLS_CLI_TEXT_H
#define STRATA_TOOLS_CLI_TEXT_H

#include "cli_decode.h"
#include "cli_prompt.h"

typedef struct {
    TokenStream stream;
    StopFilter filter;
    Text text;   // so far
    bool shown;  // on standard output as well
    bool failed; // out of memory; the generation ends
} TextListener;

void text_listener_begin(TextListener *listener, const Tokenizer *tokenizer,
                         const DecodeOptions *options, bool shown);
void text_listener_free(TextListener *listener);
// GenerateOptions.token, with a TextListener as user.
bool text_listener_token(void *listener, uint32_t id);
// The whole text, when the generation has ended; NULL: out of memory.
const char *text_listener_end(TextListener *listener);

#endif
