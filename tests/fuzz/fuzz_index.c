// Fuzz target: the index of a sharded checkpoint, whose shards are not there.
#include "input.h"
#include "model/weight_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Error err;
    WeightFiles files;
    input_file("model.safetensors.index.json", data, size);
    if (weight_files_open(&files, input_folder(), &err)) weight_files_close(&files);
    return 0;
}
