// What fuzz targets share: the bytes of an input as a file, for the library reads files by name.
#ifndef STRATA_TESTS_FUZZ_INPUT_H
#define STRATA_TESTS_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

// Called by libFuzzer for each input; returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

// A file of that name (such as "model.gguf") that holds bytes[size], in a folder of this process
// that is removed when it ends. The path lives until the next call.
const char *input_file(const char *name, const uint8_t *bytes, size_t size);
// The folder itself, for what reads a folder's files.
const char *input_folder(void);

#endif
