// Prompts and texts: see cli_prompt.h.
#include "cli_prompt.h"
#include "base/file.h"
#include "base/utf8.h"
#include "text/alpaca.h"

#include <stdlib.h>
#include <string.h>

enum { PROMPT_LIMIT = 1 << 26 };

static char *copy_text(const char *text, size_t *size, Error *err)
{
    *size = strlen(text);
    char *copy = malloc(*size + 1);
    if (copy) return memcpy(copy, text, *size + 1);
    error_set(err, "out of memory");
    return NULL;
}

static bool check_text(const char *text, size_t size, const char *from, Error *err)
{
    size_t valid = utf8_check(text, size);
    if (valid < size) return error_set(err, "%s: invalid UTF-8 at byte %zu", from, valid);
    if (strlen(text) < size) return error_set(err, "%s: a NUL byte at %zu", from, strlen(text));
    return true;
}

char *prompt_read(const char *given, const char *file, bool alpaca, Error *err)
{
    char *text = NULL;
    size_t size = 0;
    if (!file)
        text = copy_text(given, &size, err);
    else if (!file_read(&text, &size, file, PROMPT_LIMIT, err))
        text = NULL;
    if (!text) return NULL;
    if (!check_text(text, size, file ? file : "prompt", err)) {
        free(text);
        return NULL;
    }
    if (!alpaca) return text;
    char *whole = alpaca_prompt(text, NULL);
    free(text);
    if (!whole) error_set(err, "out of memory");
    return whole;
}

bool prompt_tokens(TokenList *out, const Tokenizer *tokenizer, const char *text, Error *err)
{
    if (!tokenizer_begin(tokenizer, out)) return error_set(err, "out of memory");
    if (!tokenizer_encode(tokenizer, text, strlen(text), out, err)) return false;
    return out->count ||
           error_set(err, "the prompt is empty, and the model has no token that begins a text");
}

bool text_append(Text *text, const char *more)
{
    size_t size = strlen(more);
    if (text->size + size + 1 > text->room) {
        size_t room = 2 * (text->size + size + 1);
        char *bytes = realloc(text->bytes, room);
        if (!bytes) return false;
        text->bytes = bytes;
        text->room = room;
    }
    memcpy(text->bytes + text->size, more, size + 1);
    text->size += size;
    return true;
}

void text_free(Text *text)
{
    free(text->bytes);
    *text = (Text){0};
}
