// The program strata: picks the subcommand. Each lives in its own cmd_*.c.
#include "cli.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *what;
    int (*run)(int argc, char **argv);
} COMMANDS[] = {
    {"train", "fine-tune (or train) a model with SoFT or SFT", cmd_train},
    {"plan", "the memory that train will need, and which devices have it", cmd_plan},
    {"eval", "loss, perplexity, accuracy and exact match per depth", cmd_eval},
    {"generate", "generate text: fixed depth, early exits, drafts; one prompt or many",
     cmd_generate},
    {"chat", "a conversation in the terminal", cmd_chat},
    {"calibrate", "choose exit thresholds and drafts for a model, from data", cmd_calibrate},
    {"bench", "tokens per second at each depth and under each policy", cmd_bench},
    {"profile", "where the time of kernels goes, and what limits them", cmd_profile},
    {"devices", "the Vulkan devices and what they can do", cmd_devices},
    {"convert", "between Hugging Face folders and GGUF files, and from llama2.c", cmd_convert},
    {"tokenize", "turn texts into ids of tokens, or ids into texts", cmd_tokenize},
    {"export", "write the model at one depth as a Hugging Face folder", cmd_export},
};
enum { COMMAND_COUNT = sizeof COMMANDS / sizeof *COMMANDS };

static void help(FILE *to)
{
    fprintf(to, "usage: strata COMMAND [ARGUMENT]...\n\n");
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-10s%s\n", COMMANDS[i].name, COMMANDS[i].what);
    fprintf(to, "\n`strata COMMAND --help` says what it takes. STRATA_DEVICE or --device choose "
                "the GPU.\n");
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        help(stderr);
        return EXIT_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        help(stdout);
        return EXIT_OK;
    }
    opterr = 0; // the subcommands name a bad option themselves, in one line
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], COMMANDS[i].name)) continue;
        int status = COMMANDS[i].run(argc - 1, argv + 1);
        if (fflush(stdout) || ferror(stdout)) {
            fprintf(stderr, "strata: standard output: cannot write\n");
            status = status == EXIT_OK ? EXIT_FAILED : status;
        }
        unsigned messages = gpu_validation_messages();
        if (messages) fprintf(stderr, "strata: %u messages of the validation layer\n", messages);
        return status == EXIT_OK && messages ? EXIT_FAILED : status;
    }
    fprintf(stderr, "strata: unknown command '%.40s'; `strata --help` lists them\n", argv[1]);
    return EXIT_USAGE;
}
