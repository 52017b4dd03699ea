// What strata generate and strata profile generate share: their arguments, and generating by them.
#ifndef STRATA_TOOLS_CLI_GENERATE_H
#define STRATA_TOOLS_CLI_GENERATE_H

#include "cli_batch.h"
#include "cli_decode.h"
#include "cli_profiling.h"

typedef struct {
    const char *folder, *prompt, *prompt_file, *device;
    Dtype weights;
    DecodeOptions decode;
    BatchOptions batch;
    bool alpaca, json, shared_head, all_depths;
    const char *for_batch; // an option that was given and is for --batch alone, or NULL
    // With profiling texts are generated `warmup` times before they count, and nothing is printed.
    ProfilingOptions *profiling; // NULL: strata generate
    void (*begin)(void *user);   // what counts begins; or NULL
    void (*token)(void *user);   // a token of a single text is known; or NULL
    void *user;
} GenerateCommand;

// -1: go on, else the status to end with. profiling may be NULL and must outlive the command.
int generate_parse(GenerateCommand *command, ProfilingOptions *profiling, int argc, char **argv);
// The prompt's text, malloc'ed. NULL and a message on failure. Not for batches.
char *generate_text(const GenerateCommand *command, Error *err);
// Generates behind `text`, or for a batch, where it is NULL.
bool generate_run(const GenerateCommand *command, Loaded *loaded, const char *text, Error *err);

#endif
