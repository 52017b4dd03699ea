// The depth policies in a model's folder.
#include "infer/policy_file.h"
#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    Error err;
    StoredPolicies policies;
    bool found;
    const LlamaConfig config = {.blocks = 8};
    input_file("strata_policy.json", bytes, size);
    policy_file_load(&policies, &found, input_folder(), &config, &err);
    return 0;
}
