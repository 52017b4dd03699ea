// strata export: the first blocks of a model as a Hugging Face folder of their own.
#include "cli.h"
#include "model/export.h"
#include "model/gguf_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *from, *to, *depth;
    ExportOptions export;
} Options;

static const char USAGE[] =
    "strata export MODEL --depth N OUT [--dtype f32|f16|bf16] [--max-shard-size BYTES|nMB|nGB]";

// By Dtype.
static const char *const DTYPES[] = {"f32", "f16", "bf16"};
enum { EXPORT_DTYPES = sizeof DTYPES / sizeof *DTYPES };

static bool parse_dtype(const char *text, Dtype *out)
{
    for (int i = 0; i < EXPORT_DTYPES; i++) {
        if (strcmp(text, DTYPES[i])) continue;
        *out = (Dtype)i;
        return true;
    }
    return false;
}

// -1: go on; else the status to end with.
static int parse(Options *o, int argc, char **argv)
{
    static const struct option options[] = {{"depth", required_argument, NULL, 'd'},
                                            {"dtype", required_argument, NULL, 't'},
                                            {"max-shard-size", required_argument, NULL, 's'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    *o = (Options){.export = {.dtype = DTYPE_F32, .shard_size = EXPORT_SHARD_SIZE}};
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (option) {
        case 'd':
            o->depth = optarg;
            break;
        case 't':
            if (!parse_dtype(optarg, &o->export.dtype))
                return cli_usage(USAGE, "--dtype '%.40s' is not f32, f16 or bf16", optarg);
            break;
        case 's':
            if (!cli_bytes(optarg, &o->export.shard_size))
                return cli_usage(USAGE, "--max-shard-size '%.40s' is not a size such as 500MB",
                                 optarg);
            break;
        case 'h':
            printf("usage: %s\n", USAGE);
            return EXIT_OK;
        default:
            return cli_bad_option(USAGE, argv);
        }
    }
    if (argc - optind != 2) return cli_usage(USAGE, "export takes MODEL and OUT");
    if (!o->depth) return cli_usage(USAGE, "--depth is missing");
    o->from = argv[optind];
    o->to = argv[optind + 1];
    return -1;
}

int cmd_export(int argc, char **argv)
{
    Options o;
    LlamaConfig config;
    Error err;
    uint64_t depth;
    int status = parse(&o, argc, argv);
    if (status != -1) return status;
    if (!model_config_load(&config, o.from, &err)) return cli_fail(&err);
    if (!cli_number(o.depth, 1, config.blocks, &depth)) {
        error_set(&err, "--depth %.40s: the model has depths 1 to %u", o.depth, config.blocks);
        return cli_fail(&err);
    }
    o.export.depth = (uint32_t)depth;
    return model_export(o.to, o.from, &o.export, &err) ? EXIT_OK : cli_fail(&err);
}
