// strata generate --batch: a file of prompts, each with its own depth policy and sampling, in; a
// file of answers in the same order, out.
#ifndef STRATA_TOOLS_CLI_BATCH_H
#define STRATA_TOOLS_CLI_BATCH_H

#include "cli_decode.h"

typedef struct {
    const char *in;     // JSON lines, or a JSON list, of records
    const char *out;    // JSON lines of reports with "index", or with pandalm a list of texts
    uint32_t places;    // that run together, at most
    uint64_t kv_budget; // bytes of pages, at most; 0: what `places` of the longest need
    bool pandalm;
    bool alpaca; // "prompt" is an instruction
} BatchOptions;

// A record has a "prompt", or an "instruction" and perhaps an "input" (the Alpaca template); beside
// these the long names of options of decoding with "_" for "-", for this prompt alone: "depth",
// "exit", "exits", "confidence", "draft", "temperature", "seed", "max_tokens", "stop" (a text or a
// list) ... A record with "prompt" may have no other keys. `defaults` is what records do not say.
// Nothing is written where anything fails.
bool batch_run(const BatchOptions *options, const DecodeOptions *defaults, Loaded *loaded,
               Error *err);

#endif
