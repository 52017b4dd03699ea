// Instruction records as token sequences: see dataset.h.
#include "train/dataset.h"
#include "text/alpaca.h"
#include "train/alpaca_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t example_supervised(const Example *example)
{
    return example->length - example->prompt;
}

uint32_t example_rows(const Example *example)
{
    return example->length - 1;
}

// prompt and output as one text; NULL: out of memory.
static char *join(const char *prompt, const char *output)
{
    size_t a = strlen(prompt), b = strlen(output);
    char *text = malloc(a + b + 1);
    if (!text) return NULL;
    memcpy(text, prompt, a);
    memcpy(text + a, output, b + 1);
    return text;
}

// Appends BOS, text, EOS to all; *prompt_tokens counts BOS and the prompt alone.
static bool encode(TokenList *all, uint32_t *prompt_tokens, const AlpacaRecord *record,
                   const Tokenizer *tokenizer, Error *err)
{
    TokenList alone = {0};
    char *prompt = alpaca_prompt(record->instruction, record->input);
    char *text = prompt ? join(prompt, record->output) : NULL;
    bool ok = text && token_list_push(all, tokenizer_bos(tokenizer));
    if (!ok) error_set(err, "out of memory");
    ok = ok && tokenizer_encode(tokenizer, prompt, strlen(prompt), &alone, err) &&
         tokenizer_encode(tokenizer, text, strlen(text), all, err);
    if (ok && !token_list_push(all, tokenizer_eos(tokenizer))) ok = error_set(err, "out of memory");
    *prompt_tokens = (uint32_t)alone.count + 1;
    token_list_free(&alone);
    free(text);
    free(prompt);
    return ok;
}

// Cuts the newest example at the context; keeps it where something supervised is left.
static void keep(Dataset *set, TokenList *all, size_t first, uint32_t prompt, uint32_t context)
{
    Example example = {.first = first, .prompt = prompt};
    size_t length = all->count - first;
    example.truncated = length > context;
    if (example.truncated) length = context;
    all->count = first + length;
    example.length = (uint32_t)length;
    set->truncated += example.truncated;
    if (prompt >= length) {
        all->count = first;
        set->dropped++;
        return;
    }
    if (example.length > set->longest) set->longest = example.length;
    set->examples[set->count++] = example;
}

static bool add_all(Dataset *set, TokenList *all, const AlpacaFile *file, const char *path,
                    const Tokenizer *tokenizer, uint32_t context, Error *err)
{
    Error inner;
    for (size_t i = 0; i < file->count; i++) {
        size_t first = all->count;
        uint32_t prompt;
        if (!encode(all, &prompt, &file->records[i], tokenizer, &inner))
            return error_set(err, "%s: record %zu: %.300s", path, i + 1, inner.text);
        keep(set, all, first, prompt, context);
    }
    if (set->count) return true;
    return error_set(err, "%s: no record has an output within the context of %u tokens", path,
                     context);
}

bool dataset_load(Dataset *set, const char *path, const Tokenizer *tokenizer, uint32_t context,
                  Error *err)
{
    *set = (Dataset){0};
    AlpacaFile file;
    if (!alpaca_file_load(&file, path, err)) return false;
    TokenList all = {0};
    set->examples = calloc(file.count, sizeof *set->examples);
    bool ok = set->examples || error_set(err, "%s: out of memory", path);
    ok = ok && add_all(set, &all, &file, path, tokenizer, context, err);
    set->tokens = all.ids;
    alpaca_file_free(&file);
    if (!ok) dataset_free(set);
    return ok;
}

void dataset_free(Dataset *set)
{
    free(set->tokens);
    free(set->examples);
    *set = (Dataset){0};
}
