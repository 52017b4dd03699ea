// Fuzz target: the index of a sharded checkpoint, whose shards are not there.
#include "input.h"
#include "model/weight_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Error err;
    WeightFiles files;
    if (weight_files_open(&files, fuzz_folder("model.safetensors.index.json", data, size), &err))
        weight_files_close(&files);
    return 0;
}
