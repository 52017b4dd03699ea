// A SentencePiece tokenizer.model from a stranger.
#include "use_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    Error err;
    use_tokenizer(tokenizer_load_sentencepiece(input_file("tokenizer.model", bytes, size), &err));
    return 0;
}
