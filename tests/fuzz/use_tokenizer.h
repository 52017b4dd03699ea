// What a tokenizer that could be loaded is put through: encoding, decoding, and saving.
#ifndef STRATA_TESTS_FUZZ_USE_TOKENIZER_H
#define STRATA_TESTS_FUZZ_USE_TOKENIZER_H

#include "input.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void use_tokenizer(Tokenizer *t)
{
    static const char TEXT[] =
        "Hello, it's <s>a\n\n  b\t</s> 12345 \xC3\xA9\xCC\x81 \xF0\x9F\x98\x80"
        "aaaaaaaaaaaaaaaa \xE2\x96\x81 <|im_end|>\xE3\x80\x80 ";
    TokenList ids = {0};
    Error err;
    char path[200];
    if (!t) return;
    if (tokenizer_begin(t, &ids) && tokenizer_encode(t, TEXT, sizeof TEXT - 1, &ids, &err)) {
        for (size_t i = 0; i < ids.count; i++)
            if (ids.ids[i] >= tokenizer_vocab_size(t)) abort();
        size_t size;
        free(tokenizer_decode_bytes(t, &size, ids.ids, ids.count));
    }
    token_list_free(&ids);
    snprintf(path, sizeof path, "%s/saved.json", input_folder());
    tokenizer_save(t, path, &err);
    tokenizer_free(t);
}

#endif
