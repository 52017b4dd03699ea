// strata generate: greedy text at one depth or at each exit, streamed, with its speed.
#include "cli.h"
#include "base/file.h"
#include "base/json.h"
#include "base/utf8.h"
#include "infer/generate.h"
#include "text/alpaca.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROMPT_LIMIT = 1 << 26 };

typedef struct {
    const char *folder, *depth, *prompt, *prompt_file, *device;
    Dtype weights;
    uint64_t max_tokens;
    bool alpaca, json, shared_head;
} Options;

static const char USAGE[] =
    "strata generate MODEL [--depth N|all] --prompt TEXT|--prompt-file FILE|-"
    " [--max-tokens N] [--alpaca] [--shared-head] [--json] [--quant q8_0|q4_0] [--device N|NAME]";

// -1: go on; else the status to end with.
static int parse(Options *o, int argc, char **argv)
{
    static const struct option options[] = {{"depth", required_argument, NULL, 'd'},
                                            {"prompt", required_argument, NULL, 'p'},
                                            {"prompt-file", required_argument, NULL, 'f'},
                                            {"max-tokens", required_argument, NULL, 'n'},
                                            {"alpaca", no_argument, NULL, 'a'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"shared-head", no_argument, NULL, 's'},
                                            {"device", required_argument, NULL, 'D'},
                                            {"quant", required_argument, NULL, 'q'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    *o = (Options){.max_tokens = 256, .weights = LLAMA_STORED};
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (option) {
        case 'd':
            o->depth = optarg;
            break;
        case 'p':
            o->prompt = optarg;
            break;
        case 'f':
            o->prompt_file = optarg;
            break;
        case 'a':
            o->alpaca = true;
            break;
        case 's':
            o->shared_head = true;
            break;
        case 'j':
            o->json = true;
            break;
        case 'D':
            o->device = optarg;
            break;
        case 'q':
            if (!cli_quant(optarg, &o->weights))
                return cli_usage(USAGE, "--quant '%.40s' is neither q8_0 nor q4_0", optarg);
            break;
        case 'h':
            printf("usage: %s\n", USAGE);
            return EXIT_OK;
        case 'n':
            if (!cli_number(optarg, 1, 1 << 30, &o->max_tokens))
                return cli_usage(USAGE, "--max-tokens '%.40s' is not a number of 1 and more",
                                 optarg);
            break;
        default:
            return cli_bad_option(USAGE, argv);
        }
    }
    if (argc - optind == 2 && !strcmp(argv[optind + 1], "-") && !o->prompt_file) {
        o->prompt_file = "-"; // a bare - is standard input
        argc--;
    }
    if (argc - optind != 1) return cli_usage(USAGE, "generate takes one MODEL");
    if (!o->prompt == !o->prompt_file)
        return cli_usage(USAGE, "one of --prompt and --prompt-file is expected");
    o->folder = argv[optind];
    return -1;
}

// The prompt as text, in the Alpaca template where asked for; NULL and a message on failure.
static char *read_prompt(const Options *o, Error *err)
{
    char *text = NULL;
    size_t size = 0;
    const char *from = o->prompt_file ? o->prompt_file : "prompt";
    if (o->prompt_file) {
        if (!file_read(&text, &size, o->prompt_file, PROMPT_LIMIT, err)) return NULL;
    } else {
        size = strlen(o->prompt);
        text = malloc(size + 1);
        if (text) memcpy(text, o->prompt, size + 1);
    }
    size_t valid = text ? utf8_check(text, size) : 0;
    if (text && valid == size && strlen(text) == size) {
        char *whole = o->alpaca ? alpaca_prompt(text, NULL) : text;
        if (o->alpaca) free(text);
        if (!whole) error_set(err, "out of memory");
        return whole;
    }
    if (!text)
        error_set(err, "out of memory");
    else if (valid < size)
        error_set(err, "%s: invalid UTF-8 at byte %zu", from, valid);
    else
        error_set(err, "%s: a NUL byte at %zu", from, strlen(text));
    free(text);
    return NULL;
}

static void print_token(void *user, uint32_t id)
{
    fputs(token_stream_push(user, id), stdout);
    fflush(stdout);
}

static bool print_json(const Generation *out, uint32_t depth, uint32_t prompt_count,
                       const Tokenizer *tokenizer)
{
    char *text = tokenizer_decode(tokenizer, out->tokens, out->count);
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "depth", depth);
    cJSON_AddStringToObject(object, "text", text ? text : "");
    cJSON_AddNumberToObject(object, "prompt_tokens", prompt_count);
    cJSON *ids = cJSON_AddArrayToObject(object, "tokens");
    for (size_t i = 0; i < out->count; i++)
        cJSON_AddItemToArray(ids, cJSON_CreateNumber(out->tokens[i]));
    cJSON_AddNumberToObject(object, "ms_per_token", generation_ms_per_token(out));
    cJSON_AddNumberToObject(object, "prompt_ms", 1e3 * out->prompt_seconds);
    cJSON_AddStringToObject(object, "stop", out->ended ? "eos" : "length");
    char *line = text ? cJSON_PrintUnformatted(object) : NULL;
    if (line) printf("%s\n", line);
    free(line);
    free(text);
    cJSON_Delete(object);
    return line != NULL;
}

static bool generate(const Options *o, Loaded *loaded, Session *session, const TokenList *prompt,
                     uint32_t depth, Error *err)
{
    Generation out;
    TokenStream stream;
    token_stream_begin(&stream, loaded->tokenizer);
    bool ok = generate_greedy(&out, session, prompt->ids, (uint32_t)prompt->count, depth,
                              (uint32_t)o->max_tokens, &loaded->model.config,
                              o->json ? NULL : print_token, &stream, err);
    if (!ok) return false;
    if (o->json) {
        ok = print_json(&out, depth, (uint32_t)prompt->count, loaded->tokenizer) ||
             error_set(err, "out of memory");
    } else {
        printf("%s\n", token_stream_end(&stream));
        fflush(stdout);
        double ms = generation_ms_per_token(&out);
        fprintf(stderr,
                "depth %u: prompt %zu tokens in %.1f ms; %zu tokens, %.2f ms per token, "
                "%.1f tokens/s\n",
                depth, prompt->count, 1e3 * out.prompt_seconds, out.count, ms,
                ms > 0 ? 1e3 / ms : 0.0);
    }
    generation_free(&out);
    return ok;
}

static uint32_t choose_depths(uint32_t *depths, const Options *o, const LlamaConfig *config,
                              Error *err)
{
    uint64_t depth = config->blocks;
    if (o->depth && !strcmp(o->depth, "all"))
        return cli_depths(depths, config->exit_count ? "exits" : "all", config, err);
    if (o->depth && !cli_number(o->depth, 1, config->blocks, &depth)) {
        error_set(err, "--depth %.40s: the model has depths 1 to %u, or 'all'", o->depth,
                  config->blocks);
        return 0;
    }
    depths[0] = (uint32_t)depth;
    return 1;
}

static bool run(const Options *o, Loaded *loaded, const char *text, Error *err)
{
    uint32_t depths[CONFIG_MAX_EXITS];
    TokenList prompt = {0};
    Session *session = NULL;
    uint32_t count = choose_depths(depths, o, &loaded->model.config, err);
    bool ok = count != 0;
    if (ok && !tokenizer_begin(loaded->tokenizer, &prompt)) ok = error_set(err, "out of memory");
    ok = ok && tokenizer_encode(loaded->tokenizer, text, strlen(text), &prompt, err);
    if (ok && !prompt.count)
        ok = error_set(err, "the prompt is empty, and the model has no token that begins a text");
    ok = ok && (session = session_open(&loaded->model, 0, err)) != NULL;
    for (uint32_t i = 0; ok && i < count; i++) {
        if (count > 1 && !o->json) printf("%s--- depth %u ---\n", i ? "\n" : "", depths[i]);
        ok = generate(o, loaded, session, &prompt, depths[i], err);
    }
    session_close(session);
    token_list_free(&prompt);
    return ok;
}

int cmd_generate(int argc, char **argv)
{
    Options options;
    Loaded loaded;
    Error err;
    int status = parse(&options, argc, argv);
    if (status != -1) return status;
    char *text = read_prompt(&options, &err);
    bool ok = text && cli_load(&loaded, options.folder, options.device, options.weights, &err);
    if (ok) {
        if (options.shared_head) llama_share_exits(&loaded.model);
        ok = run(&options, &loaded, text, &err);
        cli_unload(&loaded);
    }
    free(text);
    return ok ? EXIT_OK : cli_fail(&err);
}
