// Prompts: text from an option or a file, checked, as token ids.
#ifndef STRATA_TOOLS_CLI_PROMPT_H
#define STRATA_TOOLS_CLI_PROMPT_H

#include "cli.h"

// The text of a file ("-": standard input), or of `text` where file is NULL, as malloc'ed valid
// UTF-8 without NUL bytes; in the Alpaca template where asked for. NULL and a message on failure.
char *prompt_read(const char *text, const char *file, bool alpaca, Error *err);
// Appends BOS, where the tokenizer adds one, and the ids of text.
bool prompt_tokens(TokenList *out, const Tokenizer *tokenizer, const char *text, Error *err);

// A text that grows.
typedef struct {
    char *bytes; // (size) and a NUL; NULL where nothing was appended
    size_t size, room;
} Text;
bool text_append(Text *text, const char *more); // false: out of memory
void text_free(Text *text);

#endif
