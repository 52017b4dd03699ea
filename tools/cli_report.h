// What a generation did, for people and for scripts.
#ifndef STRATA_TOOLS_CLI_REPORT_H
#define STRATA_TOOLS_CLI_REPORT_H

#include "base/json.h"
#include "infer/decoder.h"

// A generation, and what goes with it.
typedef struct {
    const Generation *generation;
    const DepthPolicy *policy;
    const char *text;     // of its tokens, up to a stop string
    size_t prompt_tokens; // with BOS
    uint32_t blocks;      // L
    double full_ms;       // a token at full depth; 0: not measured
} Report;

// {"policy","depth","text","prompt_tokens","tokens","ms_per_token","prompt_ms","stop","tokens_at",
// "blocks_per_token"} and, with drafts, "drafted","accepted","acceptance","checks"; where full
// depth was measured "full_depth_ms" and "speedup". The caller owns it; NULL: no memory.
cJSON *report_json(const Report *report);
// Some lines on standard error.
void report_print(const Report *report);

#endif
