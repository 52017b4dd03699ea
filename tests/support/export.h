// What tests of strata export share: exporting within the running test's own folder, and looking at
// what came out. Fails the running cmocka test itself.
#ifndef STRATA_TESTS_SUPPORT_EXPORT_H
#define STRATA_TESTS_SUPPORT_EXPORT_H

#include "base/json.h"
#include "model/export.h"
#include "support/device.h"
#include "support/models.h"

#define WEIGHTS "model.safetensors"
#define INDEX "model.safetensors.index.json"

// own_folder/name, exported; a shard_size of 0 is the default.
TestPath export_to(const char *name, const char *from, ExportOptions options);

bool has_file(const char *folder, const char *name);
cJSON *read_json(const char *folder, const char *name);
// The file that an index names for a tensor.
const char *shard_of(const cJSON *index, const char *tensor);

// The data of a safetensors file of F32 tensors whose bytes these are; *count values.
float *data_of(char *bytes, size_t size, size_t *count);

#endif
