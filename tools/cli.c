// What the subcommands share: see cli.h.
#include "cli.h"
#include "base/file.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cli_fail(const Error *err)
{
    fprintf(stderr, "strata: %s\n", err->text);
    return EXIT_FAILED;
}

int cli_usage(const char *usage, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "strata: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "; usage: %s\n", usage);
    return EXIT_USAGE;
}

int cli_bad_option(const char *usage, char *const *argv)
{
    const char *last = argv[optind - 1];
    if (optopt && strncmp(last, "--", 2) != 0)
        return cli_usage(usage, "unknown option '-%c'", optopt);
    return cli_usage(usage, "option '%.40s' is unknown or lacks its value", last);
}

bool cli_number(const char *text, uint64_t low, uint64_t high, uint64_t *out)
{
    char *end;
    if (!isdigit((unsigned char)text[0]) || strlen(text) > 18) return false;
    *out = strtoull(text, &end, 10);
    return !*end && *out >= low && *out <= high;
}

bool cli_bytes(const char *text, uint64_t *out)
{
    char digits[20];
    size_t length = strspn(text, "0123456789");
    const char *unit = text + length;
    uint64_t scale = !*unit                ? 1
                     : !strcmp(unit, "MB") ? 1000000
                     : !strcmp(unit, "GB") ? 1000000000
                                           : 0;
    if (!scale || length >= sizeof digits) return false;
    memcpy(digits, text, length);
    digits[length] = 0;
    if (!cli_number(digits, 1, UINT64_MAX / scale, out)) return false;
    *out *= scale;
    return true;
}

bool cli_quant(const char *text, Dtype *out)
{
    *out = strcmp(text, "q4_0") ? DTYPE_Q8_0 : DTYPE_Q4_0;
    return *out == DTYPE_Q4_0 || !strcmp(text, "q8_0");
}

static bool load_tokenizer(Loaded *loaded, const char *folder, Error *err)
{
    char path[1024];
    if (!path_join(path, sizeof path, folder, "tokenizer.json", err)) return false;
    loaded->tokenizer = tokenizer_load(path, err);
    if (!loaded->tokenizer) return false;
    uint32_t tokens = tokenizer_vocab_size(loaded->tokenizer);
    if (tokens <= loaded->model.config.vocab_size) return true;
    return error_set(err, "%s: has %u tokens, but the model's vocabulary has %u", path, tokens,
                     loaded->model.config.vocab_size);
}

bool cli_load(Loaded *loaded, const char *folder, const char *device, Dtype weights, Error *err)
{
    *loaded = (Loaded){0};
    LlamaConfig config; // a wrong folder fails before a device is opened
    if (!config_load(&config, folder, err)) return false;
    loaded->gpu = gpu_open(device, err);
    if (loaded->gpu && llama_load_as(&loaded->model, loaded->gpu, folder, weights, err) &&
        load_tokenizer(loaded, folder, err))
        return true;
    cli_unload(loaded);
    return false;
}

void cli_unload(Loaded *loaded)
{
    tokenizer_free(loaded->tokenizer);
    llama_free(&loaded->model);
    gpu_close(loaded->gpu);
    *loaded = (Loaded){0};
}

static uint32_t every_depth(uint32_t *depths, const LlamaConfig *config)
{
    uint32_t count = config->blocks < CONFIG_MAX_EXITS ? config->blocks : CONFIG_MAX_EXITS;
    for (uint32_t i = 0; i < count; i++) depths[i] = i + 1;
    return count;
}

static uint32_t trained_depths(uint32_t *depths, const LlamaConfig *config)
{
    if (!config->exit_count) depths[0] = config->blocks;
    memcpy(depths, config->exits, config->exit_count * sizeof *depths);
    return config->exit_count ? config->exit_count : 1;
}

uint32_t cli_depths(uint32_t *depths, const char *text, const LlamaConfig *config, Error *err)
{
    if (!strcmp(text, "all")) return every_depth(depths, config);
    if (!strcmp(text, "exits")) return trained_depths(depths, config);
    uint32_t count = 0;
    while (*text) {
        char *end;
        unsigned long depth = isdigit((unsigned char)*text) ? strtoul(text, &end, 10) : 0;
        if (!depth || (*end && *end != ',') || (*end == ',' && !end[1])) {
            error_set(err, "depths '%.40s': a list such as 2,3,5 is expected, or 'exits' or 'all'",
                      text);
            return 0;
        }
        if (depth > config->blocks) {
            error_set(err, "depth %lu: the model has %u blocks", depth, config->blocks);
            return 0;
        }
        if (count && depth <= depths[count - 1]) {
            error_set(err, "depth %lu stands behind %u: depths must ascend", depth,
                      depths[count - 1]);
            return 0;
        }
        if (count == CONFIG_MAX_EXITS) {
            error_set(err, "more than %d depths", CONFIG_MAX_EXITS);
            return 0;
        }
        depths[count++] = (uint32_t)depth;
        text = *end ? end + 1 : end;
    }
    if (!count) error_set(err, "no depth is given");
    return count;
}
