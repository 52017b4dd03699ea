// What tests of strata export share: see export.h.
#include "support/export.h"
#include "base/file.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

TestPath export_to(const char *name, const char *from, ExportOptions options)
{
    Error err;
    TestPath out = test_path(own_folder.text, name);
    if (!options.shard_size) options.shard_size = EXPORT_SHARD_SIZE;
    if (!model_export(out.text, from, &options, &err)) fail_msg("%s", err.text);
    return out;
}

bool has_file(const char *folder, const char *name)
{
    return file_exists(test_path(folder, name).text);
}

cJSON *read_json(const char *folder, const char *name)
{
    Error err;
    cJSON *object = json_read(test_path(folder, name).text, &err);
    if (!object) fail_msg("%s", err.text);
    return object;
}

const char *shard_of(const cJSON *index, const char *tensor)
{
    const cJSON *map = cJSON_GetObjectItem(index, "weight_map");
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(map, tensor);
    if (!item) fail_msg("%s is not in the index", tensor);
    return item->valuestring;
}

float *data_of(char *bytes, size_t size, size_t *count)
{
    uint64_t header;
    memcpy(&header, bytes, sizeof header);
    *count = (size - 8 - header) / 4;
    return (float *)(void *)(bytes + 8 + header); // the header is padded to 8
}
