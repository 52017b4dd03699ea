// strata generate: text under a depth policy, streamed, with what it took; or a file of many
// prompts (cli_batch.h).
#include "cli_generate.h"

#include <stdlib.h>

int cmd_generate(int argc, char **argv)
{
    GenerateCommand command;
    Loaded loaded;
    Error err;
    int status = generate_parse(&command, NULL, argc, argv);
    if (status != -1) return status;
    bool batch = command.batch.in != NULL;
    char *text = batch ? NULL : generate_text(&command, &err);
    bool ok =
        (batch || text) && cli_load(&loaded, command.folder, command.device, command.weights, &err);
    if (ok) {
        ok = generate_run(&command, &loaded, text, &err);
        cli_unload(&loaded);
    }
    free(text);
    return ok ? EXIT_OK : cli_fail(&err);
}
