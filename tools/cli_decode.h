// The options of how a model decodes, which generate, chat and bench share: depth policy, sampling,
// limits.
#ifndef STRATA_TOOLS_CLI_DECODE_H
#define STRATA_TOOLS_CLI_DECODE_H

#include "cli.h"
#include "infer/decoder.h"
#include "infer/policy_file.h"
#include "text/stop.h"

typedef struct {
    const char *depth, *exit, *exits, *draft; // as given; NULL: not
    Confidence confidence;
    double draft_stop;
    uint64_t window; // 0: not given
    SamplerOptions sampler;
    uint64_t max_tokens;
    const char *stops[STOP_MOST]; // (stop_count)
    size_t stop_count;
    const char
        *folder; // the model's, where calibrated policies are looked for; NULL: there are none
} DecodeOptions;

DecodeOptions decode_defaults(void);

// For getopt_long's table.
enum {
    OPTION_DEPTH = 1000,
    OPTION_EXIT,
    OPTION_EXITS,
    OPTION_CONFIDENCE,
    OPTION_DRAFT,
    OPTION_DRAFT_STOP,
    OPTION_WINDOW,
    OPTION_TEMPERATURE,
    OPTION_TOP_K,
    OPTION_TOP_P,
    OPTION_MIN_P,
    OPTION_PENALTY,
    OPTION_SEED,
    OPTION_MAX_TOKENS,
    OPTION_STOP,
};
#define DECODE_OPTIONS                                                                             \
    {"depth", required_argument, NULL, OPTION_DEPTH},                                              \
        {"exit", required_argument, NULL, OPTION_EXIT},                                            \
        {"exits", required_argument, NULL, OPTION_EXITS},                                          \
        {"confidence", required_argument, NULL, OPTION_CONFIDENCE},                                \
        {"draft", required_argument, NULL, OPTION_DRAFT},                                          \
        {"draft-stop", required_argument, NULL, OPTION_DRAFT_STOP},                                \
        {"draft-window", required_argument, NULL, OPTION_WINDOW},                                  \
        {"temperature", required_argument, NULL, OPTION_TEMPERATURE},                              \
        {"top-k", required_argument, NULL, OPTION_TOP_K},                                          \
        {"top-p", required_argument, NULL, OPTION_TOP_P},                                          \
        {"min-p", required_argument, NULL, OPTION_MIN_P},                                          \
        {"repetition-penalty", required_argument, NULL, OPTION_PENALTY},                           \
        {"seed", required_argument, NULL, OPTION_SEED},                                            \
        {"max-tokens", required_argument, NULL, OPTION_MAX_TOKENS},                                \
    {                                                                                              \
        "stop", required_argument, NULL, OPTION_STOP                                               \
    }
#define DECODE_USAGE                                                                               \
    "[--depth N] [--exit THRESHOLD | --exits D:T,...|calibrated]"                                  \
    " [--confidence probability|margin|entropy] [--draft N|auto|calibrated] [--draft-stop P]"      \
    " [--draft-window N] [--temperature T] [--top-k K] [--top-p P] [--min-p P]"                    \
    " [--repetition-penalty R] [--seed N] [--max-tokens N] [--stop TEXT]..."

// Takes one of these options with its value. False and a message where the value is wrong. An
// option that is none of these is not touched: *known is false then.
bool decode_option(DecodeOptions *options, int option, const char *value, bool *known, Error *err);
// The option of that long name, also with "_" for "-"; 0: none.
int decode_option_named(const char *name);
// Takes a value in place of what was there before: an option that stands for a policy replaces the
// policy, a stop text all stop texts. value must outlive the options.
bool decode_replace(DecodeOptions *options, int option, const char *value, Error *err);
// Sampling values that do not belong together, two policies at once, or a depth beside a calibrated
// one, which is of all blocks.
bool decode_check(const DecodeOptions *options, Error *err);
// The depth policy for that model: what the options ask for ("calibrated" as --exits or --draft:
// what is stored), else the stored default, else full depth.
bool decode_policy(DepthPolicy *policy, const DecodeOptions *options, const LlamaConfig *config,
                   Error *err);
// Whether any option asks for a policy.
bool decode_has_policy(const DecodeOptions *options);

#endif
