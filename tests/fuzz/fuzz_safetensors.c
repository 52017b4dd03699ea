// Fuzz target: a safetensors file is opened and the ends of its tensors are read.
#include "input.h"
#include "model/safetensors.h"

enum { VALUES = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Error err;
    Safetensors file;
    float values[VALUES];
    if (!safetensors_open(&file, input_file("model.safetensors", data, size), &err)) return 0;
    for (size_t i = 0; i < file.count; i++) {
        const SafetensorsEntry *entry = &file.entries[i];
        Dtype dtype = safetensors_dtype(entry);
        if (dtype == DTYPE_COUNT) continue;
        uint64_t all = entry->size / dtype_size(dtype), count = all < VALUES ? all : VALUES;
        safetensors_values(entry, 0, count, values);
        safetensors_values(entry, all - count, count, values);
        if (entry->rank == 1) safetensors_expect(&file, entry->name, 1, entry->shape[0], &err);
    }
    safetensors_close(&file);
    return 0;
}
