// tokenizer.json from a stranger.
#include "use_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    Error err;
    use_tokenizer(tokenizer_load(input_file("tokenizer.json", bytes, size), &err));
    return 0;
}
