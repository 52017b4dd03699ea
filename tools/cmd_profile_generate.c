// strata profile generate: what strata generate does, measured command by command. A step is a
// token.
#include "cli_generate.h"
#include "model/gguf_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void begin(void *profiling)
{
    profiling_start(profiling);
}

static void token(void *profiling)
{
    profiling_step(profiling, NAN, 1);
}

static bool load(Loaded *loaded, Profiling *profiling, const GenerateCommand *command, Error *err)
{
    LlamaConfig config; // a wrong folder fails before a device is opened
    return model_config_load(&config, command->folder, err) &&
           profiling_open(profiling, command->device, err) &&
           cli_load_on(loaded, profiling->gpu, command->folder, command->weights, err);
}

// Fewer steps than were asked for.
static void note_end(const GenerateCommand *command, const Profiling *profiling)
{
    uint64_t wanted = profiling->options->steps;
    if (!command->batch.in && profiling->count < wanted)
        fprintf(stderr, "the text ended behind %zu of %llu tokens\n", profiling->count,
                (unsigned long long)wanted);
}

static bool run(const GenerateCommand *command, Profiling *profiling, Loaded *loaded,
                const char *text, int *status, Error *err)
{
    if (!load(loaded, profiling, command, err) || !generate_run(command, loaded, text, err))
        return false;
    note_end(command, profiling);
    return profiling_report(profiling, "generate", command->folder, status, err);
}

int cmd_profile_generate(int argc, char **argv)
{
    ProfilingOptions options = profiling_defaults(0, 1);
    Profiling profiling = {.options = &options};
    GenerateCommand command;
    Loaded loaded = {0};
    Error err;
    int status = generate_parse(&command, &options, argc, argv);
    if (status != -1) return status;
    command.begin = begin;
    command.token = token;
    command.user = &profiling;
    bool batch = command.batch.in != NULL;
    char *text = batch ? NULL : generate_text(&command, &err);
    status = EXIT_OK;
    bool ok = (batch || text) && run(&command, &profiling, &loaded, text, &status, &err);
    loaded.gpu = NULL; // which profiling closes
    cli_unload(&loaded);
    profiling_close(&profiling);
    free(text);
    return ok ? status : cli_fail(&err);
}
