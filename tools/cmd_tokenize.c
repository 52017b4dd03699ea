// strata tokenize: texts to ids of tokens and back, a line of JSON at a time.
#define _POSIX_C_SOURCE 200809L // getline
#include "base/json_text.h"
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *path;
    bool decode, bos;
} Options;

static const char USAGE[] = "strata tokenize MODEL|FILE [--decode] [--bos]";

static void help(void)
{
    printf("usage: %s\n\n", USAGE);
    printf("Reads a JSON string from each line of standard input and prints the ids of its tokens\n"
           "as a JSON array. MODEL is a folder, FILE a tokenizer.json or tokenizer.model.\n\n"
           "  --decode  the other way round: arrays of ids in, strings out\n"
           "  --bos     the token that begins a text goes in front\n");
}

// -1: go on; else the status to end with.
static int parse(Options *o, int argc, char **argv)
{
    static const struct option options[] = {{"decode", no_argument, NULL, 'd'},
                                            {"bos", no_argument, NULL, 'b'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    *o = (Options){0};
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (option) {
        case 'd':
            o->decode = true;
            break;
        case 'b':
            o->bos = true;
            break;
        case 'h':
            help();
            return EXIT_OK;
        default:
            return cli_bad_option(USAGE, argv);
        }
    }
    if (o->decode && o->bos) return cli_usage(USAGE, "--bos goes with texts, not with --decode");
    if (optind + 1 != argc) return cli_usage(USAGE, "one model is expected");
    o->path = argv[optind];
    return -1;
}

static bool encode_line(const Options *o, const Tokenizer *t, const char *line, size_t size,
                        const char *what, Error *err)
{
    TokenList ids = {0};
    size_t text_size;
    char *text = json_text_string(&text_size, line, size, what, err);
    bool ok = text != NULL;
    if (ok && o->bos && !token_list_push(&ids, tokenizer_bos(t)))
        ok = error_set(err, "%s: out of memory", what);
    ok = ok && tokenizer_encode(t, text, text_size, &ids, err);
    if (ok) {
        putchar('[');
        for (size_t i = 0; i < ids.count; i++) printf(i ? ",%u" : "%u", ids.ids[i]);
        puts("]");
    }
    free(text);
    token_list_free(&ids);
    return ok;
}

static bool decode_line(const Tokenizer *t, const char *line, size_t size, const char *what,
                        Error *err)
{
    size_t count, text_size;
    uint32_t *ids = json_text_numbers(&count, line, size, what, err);
    bool ok = ids != NULL;
    for (size_t i = 0; ok && i < count; i++)
        if (ids[i] >= tokenizer_vocab_size(t))
            ok = error_set(err, "%s: id %u, but the vocabulary has %u", what, ids[i],
                           tokenizer_vocab_size(t));
    char *text = ok ? tokenizer_decode_bytes(t, &text_size, ids, count) : NULL;
    char *quoted = text ? json_text_quote(text, text_size) : NULL;
    if (quoted) puts(quoted);
    if (ok && !quoted) ok = error_set(err, "%s: out of memory", what);
    free(ids);
    free(text);
    free(quoted);
    return ok;
}

// Each answer goes out before the next line is awaited, so that a program can ask line by line.
static bool run(const Options *o, const Tokenizer *t, Error *err)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    bool ok = true;
    for (unsigned long long number = 1; ok && (size = getline(&line, &room, stdin)) >= 0;
         number++) {
        char what[40];
        snprintf(what, sizeof what, "line %llu", number);
        ok = o->decode ? decode_line(t, line, (size_t)size, what, err)
                       : encode_line(o, t, line, (size_t)size, what, err);
        fflush(stdout);
    }
    free(line);
    if (ok && ferror(stdin)) return error_set(err, "standard input: cannot read");
    return ok;
}

int cmd_tokenize(int argc, char **argv)
{
    Options options;
    Error err;
    int status = parse(&options, argc, argv);
    if (status != -1) return status;
    Tokenizer *t = cli_load_tokenizer(options.path, &err);
    bool ok = t != NULL;
    if (ok && options.bos && tokenizer_bos(t) == TOKEN_NONE)
        ok = error_set(&err, "%s: has no token that begins a text", options.path);
    ok = ok && run(&options, t, &err);
    tokenizer_free(t);
    return ok ? EXIT_OK : cli_fail(&err);
}
