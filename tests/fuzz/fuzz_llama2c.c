// Fuzz target: the tokenizer and the checkpoint of llama2.c. The first byte says where one ends.
#include "input.h"
#include "model/llama2c.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Error err;
    if (!size) return 0;
    const char *path = input_file("file.bin", data + 1, size - 1);
    if (data[0] & 1) {
        tokenizer_free(tokenizer_load_llama2c(path, 256 + (uint32_t)data[0], &err));
    } else { // what converts would be written; a tokenizer that is not there ends it before that
        llama2c_convert(path, "/nonexistent/tokenizer.bin", "/nonexistent/out", &err);
    }
    return 0;
}
