// strata convert: between Hugging Face folders and GGUF files, and from llama2.c checkpoints to
// folders.
#include "cli.h"
#include "model/export.h"
#include "model/gguf_convert.h"
#include "model/gguf_model.h"
#include "model/llama2c.h"

#include <stdio.h>
#include <string.h>

static const char USAGE[] =
    "strata convert FOLDER OUT.gguf [--type f32|f16|bf16|q8_0|q4_0]"
    " | FILE.gguf OUT [--dtype f32|f16|bf16] | CHECKPOINT.bin TOKENIZER.bin OUT";

typedef struct {
    const char *type, *dtype;
} Options;

// The floats and what only GGUF files hold, by name; the first `count` of them are looked for.
static bool find_dtype(Dtype *out, const char *name, int count)
{
    static const struct {
        const char *name;
        Dtype dtype;
    } names[] = {{"f32", DTYPE_F32},
                 {"f16", DTYPE_F16},
                 {"bf16", DTYPE_BF16},
                 {"q8_0", DTYPE_Q8_0},
                 {"q4_0", DTYPE_Q4_0}};
    *out = DTYPE_COUNT;
    for (int i = 0; name && i < count; i++)
        if (!strcmp(name, names[i].name)) *out = names[i].dtype;
    return !name || *out != DTYPE_COUNT;
}

static int from_llama2c(const Options *o, char **args)
{
    Error err;
    if (o->type || o->dtype) return cli_usage(USAGE, "a llama2.c checkpoint stays f32");
    return llama2c_convert(args[0], args[1], args[2], &err) ? EXIT_OK : cli_fail(&err);
}

static int from_folder(const Options *o, char **args)
{
    Dtype dtype;
    Error err;
    if (o->dtype) return cli_usage(USAGE, "--dtype is for folders that are written");
    if (!find_dtype(&dtype, o->type, 5)) return cli_usage(USAGE, "--type '%.40s'", o->type);
    return gguf_from_folder(args[1], args[0], dtype, &err) ? EXIT_OK : cli_fail(&err);
}

static int to_folder(const Options *o, char **args)
{
    Dtype dtype;
    Error err;
    if (o->type) return cli_usage(USAGE, "--type is for GGUF files that are written");
    if (!find_dtype(&dtype, o->dtype, 3)) return cli_usage(USAGE, "--dtype '%.40s'", o->dtype);
    return gguf_to_folder(args[1], args[0], dtype, EXPORT_SHARD_SIZE, &err) ? EXIT_OK
                                                                            : cli_fail(&err);
}

int cmd_convert(int argc, char **argv)
{
    static const struct option options[] = {{"type", required_argument, NULL, 't'},
                                            {"dtype", required_argument, NULL, 'd'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    Options o = {0};
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (option) {
        case 't':
            o.type = optarg;
            break;
        case 'd':
            o.dtype = optarg;
            break;
        case 'h':
            printf("usage: %s\n", USAGE);
            return EXIT_OK;
        default:
            return cli_bad_option(USAGE, argv);
        }
    }
    char **args = argv + optind;
    if (argc - optind == 3) return from_llama2c(&o, args);
    if (argc - optind != 2) return cli_usage(USAGE, "convert takes two arguments, or three");
    return gguf_is_file(args[0]) ? to_folder(&o, args) : from_folder(&o, args);
}
