// Fuzz target: a config.json is read and, where it is one, cut to its first block.
#include "base/json.h"
#include "input.h"
#include "model/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Error err;
    LlamaConfig config = {0};
    cJSON *json = json_parse((const char *)data, size, "config.json", &err);
    if (json && config_read(&config, json, "config.json", &err)) {
        config_parameters(&config);
        config_rope_frequency(&config, config.head_size / 2 - 1);
        config_first_blocks(&config, 1);
        if (!config_check(&config, "config.json", &err)) __builtin_trap();
    }
    cJSON_Delete(json);
    return 0;
}
