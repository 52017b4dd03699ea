// Generating as strata generate does: see cli_generate.h.
#include "cli_generate.h"
#include "cli_report.h"
#include "cli_text.h"
#include "infer/generate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLAYED = 9 }; // tokens that measure full depth, the first of which warms up

// What is the same for both commands.
#define ARGUMENTS(command)                                                                         \
    command " MODEL --prompt TEXT|--prompt-file FILE|- " DECODE_USAGE                              \
            " [--alpaca] [--shared-head] [--quant q8_0|q4_0] [--device N|NAME]"
#define BATCH_ARGUMENTS(command)                                                                   \
    " | " command " MODEL --batch FILE --out FILE [--places N] [--kv-budget SIZE] [--pandalm] ..."
static const char USAGE[] = ARGUMENTS("strata generate") " [--json]" BATCH_ARGUMENTS("strata "
                                                                                     "generate");
static const char PROFILE_USAGE[] = ARGUMENTS(
    "strata profile generate") " " PROFILING_USAGE BATCH_ARGUMENTS("strata profile generate");

static const char *usage_of(const GenerateCommand *o)
{
    return o->profiling ? PROFILE_USAGE : USAGE;
}

static bool take_text(GenerateCommand *o, int option, const char *value)
{
    switch (option) {
    case 'p':
        o->prompt = value;
        return true;
    case 'f':
        o->prompt_file = value;
        return true;
    case 'D':
        o->device = value;
        return true;
    case 'b':
        o->batch.in = value;
        return true;
    case 'o':
        o->batch.out = value;
        return true;
    case 'a':
        o->alpaca = true;
        return true;
    case 's':
        o->shared_head = true;
        return true;
    case 'j':
        o->json = true;
        return true;
    case 'P':
        o->batch.pandalm = true;
        o->for_batch = "--pandalm";
        return true;
    default:
        return false;
    }
}

static bool take_number(GenerateCommand *o, int option, const char *value, bool *known, Error *err)
{
    *known = true;
    if (option == 'n') {
        uint64_t places;
        if (!cli_number(value, 1, 4096, &places))
            return error_set(err, "--places '%.40s' is not a number of 1 to 4096", value);
        o->batch.places = (uint32_t)places;
        o->for_batch = "--places";
        return true;
    }
    if (option == 'q')
        return cli_quant(value, &o->weights) ||
               error_set(err, "--quant '%.40s' is neither q8_0 nor q4_0", value);
    if (option == 'k') {
        o->for_batch = "--kv-budget";
        return cli_bytes(value, &o->batch.kv_budget) ||
               error_set(err, "--kv-budget '%.40s': bytes, nMB or nGB are expected", value);
    }
    *known = false;
    return true;
}

// What getopt_long knows of both commands, and of each.
#define OPTIONS                                                                                    \
    DECODE_OPTIONS, {"prompt", required_argument, NULL, 'p'},                                      \
        {"prompt-file", required_argument, NULL, 'f'}, {"alpaca", no_argument, NULL, 'a'},         \
        {"shared-head", no_argument, NULL, 's'}, {"device", required_argument, NULL, 'D'},         \
        {"quant", required_argument, NULL, 'q'}, {"batch", required_argument, NULL, 'b'},          \
        {"out", required_argument, NULL, 'o'}, {"places", required_argument, NULL, 'n'},           \
        {"kv-budget", required_argument, NULL, 'k'}, {"pandalm", no_argument, NULL, 'P'},          \
    {                                                                                              \
        "help", no_argument, NULL, 'h'                                                             \
    }
static const struct option PLAIN[] = {OPTIONS, {"json", no_argument, NULL, 'j'}, {0}};
static const struct option PROFILED[] = {OPTIONS, PROFILING_OPTIONS, {0}};

static bool take(GenerateCommand *o, int option, const char *value, bool *known, Error *err)
{
    *known = true;
    if (take_text(o, option, value)) return true;
    if (!decode_option(&o->decode, option, value, known, err)) return false;
    if (!*known && !take_number(o, option, value, known, err)) return false;
    return *known || !o->profiling || profiling_option(o->profiling, option, value, known, err);
}

// -1: go on, else the status to end with.
static int parse_options(GenerateCommand *o, int argc, char **argv)
{
    const struct option *options = o->profiling ? PROFILED : PLAIN;
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        Error err;
        bool known;
        if (option == 'h') {
            printf("usage: %s\n", usage_of(o));
            return EXIT_OK;
        }
        if (!take(o, option, optarg, &known, &err)) return cli_usage(usage_of(o), "%s", err.text);
        if (!known) return cli_bad_option(usage_of(o), argv);
    }
    return -1;
}

int generate_parse(GenerateCommand *o, ProfilingOptions *profiling, int argc, char **argv)
{
    Error err;
    *o = (GenerateCommand){.weights = LLAMA_STORED,
                           .decode = decode_defaults(),
                           .batch = {.places = 8},
                           .profiling = profiling};
    const char *usage = usage_of(o);
    int status = parse_options(o, argc, argv);
    if (status != -1) return status;
    if (argc - optind == 2 && !strcmp(argv[optind + 1], "-") && !o->prompt_file) {
        o->prompt_file = "-"; // a bare - is standard input
        argc--;
    }
    if (argc - optind != 1) return cli_usage(usage, "generate takes one MODEL");
    if ((o->prompt != NULL) + (o->prompt_file != NULL) + (o->batch.in != NULL) != 1)
        return cli_usage(usage, "one of --prompt, --prompt-file and --batch is expected");
    if (!o->batch.in != !o->batch.out) return cli_usage(usage, "--batch and --out belong together");
    if (o->for_batch && !o->batch.in) return cli_usage(usage, "%s is for --batch", o->for_batch);
    if (!decode_check(&o->decode, &err) || (profiling && !profiling_check(profiling, &err)))
        return cli_usage(usage, "%s", err.text);
    o->all_depths = o->decode.depth && !strcmp(o->decode.depth, "all");
    if (o->all_depths) o->decode.depth = NULL;
    if (o->all_depths && (decode_has_policy(&o->decode) || o->batch.in))
        return cli_usage(usage, "--depth all stands alone");
    o->batch.alpaca = o->alpaca;
    if (profiling && profiling->steps) o->decode.max_tokens = profiling->steps;
    if (profiling && o->batch.in) profiling->warmup = 0; // answers are written once
    o->folder = o->decode.folder = argv[optind];
    return -1;
}

// ---- one prompt --------------------------------------------------------------------------------

typedef struct {
    const GenerateCommand *options;
    Loaded *loaded;
    Session *session;
    TokenList prompt;
} Run;

static bool report(Run *run, const Generation *out, const DepthPolicy *policy, const char *text,
                   Error *err)
{
    const LlamaConfig *config = &run->loaded->model.config;
    bool full = policy->depth == config->blocks && policy_is_fixed(policy);
    Report report = {out, policy, text, run->prompt.count, config->blocks, 0};
    if (!full && !generate_full_depth_ms(&report.full_ms, session_engine(run->session),
                                         session_sequence(run->session), REPLAYED, err))
        return false;
    if (run->options->json) return cli_print_json(report_json(&report), err);
    printf("\n");
    fflush(stdout);
    report_print(&report);
    return true;
}

// Who hears each token.
typedef struct {
    TextListener *text;
    const GenerateCommand *command;
} Heard;

static bool hear(void *user, uint32_t id)
{
    const Heard *heard = user;
    const GenerateCommand *o = heard->command;
    if (o->token) o->token(o->user);
    return text_listener_token(heard->text, id);
}

static bool generate_one(Run *run, const DepthPolicy *policy, Error *err)
{
    const GenerateCommand *o = run->options;
    const LlamaConfig *config = &run->loaded->model.config;
    TextListener listener;
    Generation out;
    text_listener_begin(&listener, run->loaded->tokenizer, &o->decode, !o->json && !o->profiling);
    Heard heard = {&listener, o};
    const GenerateOptions options = {.policy = *policy,
                                     .sampler = o->decode.sampler,
                                     .max_tokens = (uint32_t)o->decode.max_tokens,
                                     .eos = config->eos,
                                     .eos_count = config->eos_count,
                                     .clock = true,
                                     .token = hear,
                                     .user = &heard};
    session_reset(run->session);
    bool ok = generate(&out, session_engine(run->session), session_sequence(run->session),
                       run->prompt.ids, (uint32_t)run->prompt.count, &options, err);
    if (ok) {
        const char *text = text_listener_end(&listener);
        ok = text ? o->profiling || report(run, &out, policy, text, err)
                  : error_set(err, "out of memory");
        generation_free(&out);
    }
    text_listener_free(&listener);
    return ok;
}

static bool generate_depths(Run *run, Error *err)
{
    const LlamaConfig *config = &run->loaded->model.config;
    uint32_t depths[CONFIG_MAX_EXITS];
    uint32_t count = cli_depths(depths, config->exit_count ? "exits" : "all", config, err);
    for (uint32_t i = 0; i < count; i++) {
        DepthPolicy policy = policy_fixed(depths[i]);
        if (!run->options->json && !run->options->profiling)
            printf("%s--- depth %u ---\n", i ? "\n" : "", depths[i]);
        if (!generate_one(run, &policy, err)) return false;
    }
    return count != 0;
}

static bool run_policy(Run *run, const DepthPolicy *policy, Error *err)
{
    return run->options->all_depths ? generate_depths(run, err) : generate_one(run, policy, err);
}

// No more keys and values than the prompt and what may follow need.
static uint32_t context_for(const Run *run)
{
    uint32_t most = run->loaded->model.config.context;
    uint64_t wanted = run->prompt.count + run->options->decode.max_tokens;
    return wanted < most ? (uint32_t)wanted : most;
}

static bool run_prompt(const GenerateCommand *o, Loaded *loaded, const char *text, Error *err)
{
    Run run = {.options = o, .loaded = loaded};
    DepthPolicy policy;
    bool ok = (o->all_depths || decode_policy(&policy, &o->decode, &loaded->model.config, err)) &&
              prompt_tokens(&run.prompt, loaded->tokenizer, text, err) &&
              (run.session = session_open(&loaded->model, context_for(&run), err)) != NULL;
    for (uint64_t i = 0; ok && o->profiling && i < o->profiling->warmup; i++)
        ok = run_policy(&run, &policy, err);
    if (ok && o->begin) o->begin(o->user);
    ok = ok && run_policy(&run, &policy, err);
    session_close(run.session);
    token_list_free(&run.prompt);
    return ok;
}

char *generate_text(const GenerateCommand *o, Error *err)
{
    return prompt_read(o->prompt, o->prompt_file, o->alpaca, err);
}

bool generate_run(const GenerateCommand *o, Loaded *loaded, const char *text, Error *err)
{
    if (o->shared_head) llama_share_exits(&loaded->model);
    if (text) return run_prompt(o, loaded, text, err);
    if (o->begin) o->begin(o->user);
    return batch_run(&o->batch, &o->decode, loaded, err);
}
