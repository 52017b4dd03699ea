// strata convert: a llama2.c checkpoint and tokenizer become a Hugging Face folder.
#include "cli.h"
#include "model/llama2c.h"

#include <stdio.h>

int cmd_convert(int argc, char **argv)
{
    static const char usage[] = "strata convert CHECKPOINT.bin TOKENIZER.bin OUT";
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
    int option = getopt_long(argc, argv, "h", options, NULL);
    if (option == 'h') {
        printf("usage: %s\n", usage);
        return EXIT_OK;
    }
    if (option != -1) return cli_bad_option(usage, argv);
    if (argc - optind != 3) return cli_usage(usage, "convert takes three arguments");
    Error err;
    if (!llama2c_convert(argv[optind], argv[optind + 1], argv[optind + 2], &err))
        return cli_fail(&err);
    return EXIT_OK;
}
