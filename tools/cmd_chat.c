// strata chat: a conversation in the terminal, in the model's own chat template. Keys and values
// stay between turns; the depth policy may change with every turn.
#define _POSIX_C_SOURCE 200809L // getline, sigaction
#include "cli_decode.h"
#include "cli_report.h"
#include "cli_text.h"
#include "infer/generate.h"
#include "text/chat_template.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_TOKENS = 1 << 30, MOST_ENDS = CHAT_STOPS + CONFIG_MAX_EOS };

typedef struct {
    const char *folder, *template, *system, *device;
    Dtype weights;
    uint64_t context;
    DecodeOptions decode;
    bool shared_head, report;
} Options;

static const char USAGE[] =
    "strata chat MODEL [--template llama2|llama3|chatml|mistral|alpaca] [--system TEXT]"
    " [--context N] [--report] [--shared-head] [--quant q8_0|q4_0] [--device N|NAME] " DECODE_USAGE;

static const char HELP[] =
    "/depth N, /exit T, /exits D:T,..., /draft N|auto, /temperature T, /top-k K ... as on the\n"
    "command line; /full every block; /policy what is set; /report what each answer took;\n"
    "/reset a new conversation; /quit. Everything else is said to the model.\n";

static bool take(Options *o, int option, bool *known, Error *err)
{
    *known = true;
    switch (option) {
    case 't':
        o->template = optarg;
        return true;
    case 's':
        o->system = optarg;
        return true;
    case 'D':
        o->device = optarg;
        return true;
    case 'S':
        o->shared_head = true;
        return true;
    case 'r':
        o->report = true;
        return true;
    case 'c':
        return cli_number(optarg, 1, UINT32_MAX, &o->context) ||
               error_set(err, "--context '%.40s' is not a number of 1 and more", optarg);
    case 'q':
        return cli_quant(optarg, &o->weights) ||
               error_set(err, "--quant '%.40s' is neither q8_0 nor q4_0", optarg);
    default:
        return decode_option(&o->decode, option, optarg, known, err);
    }
}

static int parse(Options *o, int argc, char **argv)
{
    static const struct option options[] = {DECODE_OPTIONS,
                                            {"template", required_argument, NULL, 't'},
                                            {"system", required_argument, NULL, 's'},
                                            {"context", required_argument, NULL, 'c'},
                                            {"device", required_argument, NULL, 'D'},
                                            {"quant", required_argument, NULL, 'q'},
                                            {"shared-head", no_argument, NULL, 'S'},
                                            {"report", no_argument, NULL, 'r'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    Error err;
    *o = (Options){.weights = LLAMA_STORED, .decode = decode_defaults()};
    o->decode.max_tokens = MOST_TOKENS;
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        bool known;
        if (option == 'h') {
            printf("usage: %s\n%s", USAGE, HELP);
            return EXIT_OK;
        }
        if (!take(o, option, &known, &err)) return cli_usage(USAGE, "%s", err.text);
        if (!known) return cli_bad_option(USAGE, argv);
    }
    if (argc - optind != 1) return cli_usage(USAGE, "chat takes one MODEL");
    if (!decode_check(&o->decode, &err)) return cli_usage(USAGE, "%s", err.text);
    o->folder = o->decode.folder = argv[optind];
    return -1;
}

// ---- the conversation --------------------------------------------------------------------------

typedef struct {
    Options *options;
    Loaded *loaded;
    ChatTemplate chat;
    Engine *engine;
    Sequence sequence;
    TokenList pending; // of the conversation, not fed yet: the end of the last answer
    uint32_t ends[MOST_ENDS];
    uint32_t end_count;
    Drafting learned;                            // draft auto, of the depth that is set
    bool begun;                                  // a turn has been fed
    char *texts[OPTION_STOP - OPTION_DEPTH + 1]; // of commands, which the options point to
} Chat;

static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

// Ctrl-C ends the answer, not the program.
static bool hear(void *listener, uint32_t id)
{
    return text_listener_token(listener, id) && !interrupted;
}

// The text of an answer, on standard output; false where it cannot be given.
static bool answer(Chat *c, const DepthPolicy *policy, const TokenList *turn, Error *err)
{
    TextListener listener;
    Generation out;
    text_listener_begin(&listener, c->loaded->tokenizer, &c->options->decode, true);
    const GenerateOptions options = {.policy = *policy,
                                     .sampler = c->options->decode.sampler,
                                     .max_tokens = (uint32_t)c->options->decode.max_tokens,
                                     .eos = c->ends,
                                     .eos_count = c->end_count,
                                     .clock = true,
                                     .learned = &c->learned,
                                     .token = hear,
                                     .user = &listener};
    uint32_t before = c->sequence.count;
    interrupted = 0;
    bool ok =
        generate(&out, c->engine, &c->sequence, turn->ids, (uint32_t)turn->count, &options, err);
    if (ok) {
        const char *text = text_listener_end(&listener);
        size_t fed = c->sequence.count - before - turn->count;
        c->begun = true;
        c->pending.count = 0;
        for (size_t i = fed; ok && i < out.count; i++)
            ok = token_list_push(&c->pending, out.tokens[i]);
        ok = (ok && text && chat_close_turn(&c->chat, &c->pending, err)) ||
             error_set(err, "out of memory");
        printf("\n");
        fflush(stdout);
        const Report report = {&out, policy, text, turn->count, c->loaded->model.config.blocks, 0};
        if (ok && c->options->report) report_print(&report);
        generation_free(&out);
    }
    text_listener_free(&listener);
    return ok;
}

// What the user says. A turn that does not fit is not taken, and the conversation stays as it was.
static bool say(Chat *c, const char *text, Error *err)
{
    TokenList turn = {0};
    DepthPolicy policy;
    bool ok = decode_policy(&policy, &c->options->decode, &c->loaded->model.config, err);
    for (size_t i = 0; ok && i < c->pending.count; i++)
        ok = token_list_push(&turn, c->pending.ids[i]) || error_set(err, "out of memory");
    ok = ok && chat_user_turn(&c->chat, &turn, c->options->system, text, !c->begun, err);
    if (ok && turn.count >= c->sequence.context - c->sequence.count)
        ok = error_set(err,
                       "%u tokens and %zu more do not fit the context of %u: /reset begins anew",
                       c->sequence.count, turn.count, c->sequence.context);
    ok = ok && answer(c, &policy, &turn, err);
    token_list_free(&turn);
    return ok;
}

// ---- commands ----------------------------------------------------------------------------------

static void reset(Chat *c)
{
    sequence_truncate(&c->sequence, 0);
    c->pending.count = 0;
    c->begun = false;
}

static void show_policy(const Chat *c)
{
    char text[256];
    DepthPolicy policy;
    Error err;
    if (decode_policy(&policy, &c->options->decode, &c->loaded->model.config, &err))
        fprintf(stderr, "%s; temperature %g\n", policy_describe(&policy, text, sizeof text),
                c->options->decode.sampler.temperature);
}

// An option by its name. What does not fit the model is refused, and nothing changes.
static bool set_option(Chat *c, const char *name, const char *value, Error *err)
{
    DecodeOptions changed = c->options->decode;
    DepthPolicy policy;
    int option = decode_option_named(name);
    if (!option) return error_set(err, "/%.40s is unknown: /help lists what there is", name);
    char **kept = &c->texts[option - OPTION_DEPTH];
    char *copy = strdup(value);
    if (!copy) return error_set(err, "out of memory");
    bool ok = decode_replace(&changed, option, copy, err) && decode_check(&changed, err) &&
              decode_policy(&policy, &changed, &c->loaded->model.config, err);
    if (!ok) {
        free(copy);
        return false;
    }
    free(*kept);
    *kept = copy;
    c->options->decode = changed;
    c->learned = (Drafting){0};
    show_policy(c);
    return true;
}

// A line that begins with '/'. False: the conversation ends.
static bool command(Chat *c, char *line)
{
    char *value = line + strcspn(line, " \t");
    Error err;
    if (*value) *value++ = 0;
    value += strspn(value, " \t");
    if (!strcmp(line, "quit")) return false;
    if (!strcmp(line, "help")) {
        fprintf(stderr, "%s", HELP);
    } else if (!strcmp(line, "reset")) {
        reset(c);
    } else if (!strcmp(line, "policy")) {
        show_policy(c);
    } else if (!strcmp(line, "report")) {
        c->options->report = !c->options->report;
    } else if (!strcmp(line, "full")) {
        char blocks[16];
        snprintf(blocks, sizeof blocks, "%u", c->loaded->model.config.blocks);
        if (!set_option(c, "depth", blocks, &err)) cli_fail(&err);
    } else if (!set_option(c, line, value, &err)) {
        cli_fail(&err);
    }
    return true;
}

// ---- the terminal ------------------------------------------------------------------------------

static void watch_interrupts(void)
{
    struct sigaction action = {.sa_handler = interrupt};
    sigemptyset(&action.sa_mask); // no SA_RESTART: at the prompt it ends the program
    sigaction(SIGINT, &action, NULL);
}

static void prompt(void)
{
    if (!isatty(STDIN_FILENO)) return;
    fprintf(stderr, "> ");
    fflush(stderr);
}

// A line of the user at a time. What fails is said, and the conversation goes on where it can.
static bool converse(Chat *c, Error *err)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    bool ok = true;
    for (prompt(); ok && (size = getline(&line, &room, stdin)) >= 0; prompt()) {
        if (size && line[size - 1] == '\n') line[--size] = 0;
        if (!*line) continue;
        if (*line == '/') {
            if (!command(c, line + 1)) break;
            continue;
        }
        if (say(c, line, err)) continue;
        ok = isatty(STDIN_FILENO) && !gpu_failed(c->loaded->gpu);
        if (ok) cli_fail(err);
    }
    if (isatty(STDIN_FILENO)) fprintf(stderr, "\n");
    free(line);
    return ok;
}

static bool choose_style(ChatStyle *style, const Options *o, const LlamaConfig *config, Error *err)
{
    if (o->template) return chat_style_named(style, o->template, err);
    Error why;
    if (cli_chat_style(style, o->folder, &why)) return true;
    // What strata trains on chats has no template of its own and is Alpaca's.
    if (config->exit_count) return chat_style_named(style, "alpaca", err);
    return error_set(err, "%.400s (--template names one)", why.text);
}

static void list_ends(Chat *c)
{
    const LlamaConfig *config = &c->loaded->model.config;
    for (size_t i = 0; i < c->chat.stop_count; i++) c->ends[c->end_count++] = c->chat.stops[i];
    for (uint32_t i = 0; i < config->eos_count; i++)
        if (!chat_is_stop(&c->chat, config->eos[i])) c->ends[c->end_count++] = config->eos[i];
}

static bool open_chat(Chat *c, Error *err)
{
    const LlamaConfig *config = &c->loaded->model.config;
    Options *o = c->options;
    ChatStyle style;
    uint32_t context = config->context;
    if (o->context && o->context < context) context = (uint32_t)o->context;
    if (!choose_style(&style, o, config, err) ||
        !chat_template_open(&c->chat, &style, c->loaded->tokenizer, err))
        return false;
    list_ends(c);
    c->engine = engine_open(&c->loaded->model, context, 0, err);
    return c->engine && sequence_make(&c->sequence, engine_pool(c->engine), context, err);
}

static void close_chat(Chat *c)
{
    sequence_free(&c->sequence);
    engine_close(c->engine);
    token_list_free(&c->pending);
    for (size_t i = 0; i < sizeof c->texts / sizeof *c->texts; i++) free(c->texts[i]);
}

int cmd_chat(int argc, char **argv)
{
    Options options;
    Loaded loaded;
    Error err;
    int status = parse(&options, argc, argv);
    if (status != -1) return status;
    if (!cli_load(&loaded, options.folder, options.device, options.weights, &err))
        return cli_fail(&err);
    if (options.shared_head) llama_share_exits(&loaded.model);
    Chat chat = {.options = &options, .loaded = &loaded};
    bool ok = open_chat(&chat, &err);
    if (ok) watch_interrupts();
    ok = ok && converse(&chat, &err);
    close_chat(&chat);
    cli_unload(&loaded);
    return ok ? EXIT_OK : cli_fail(&err);
}
