// What the subcommands share: see cli.h.
#include "cli.h"
#include "base/clock.h"
#include "base/file.h"
#include "model/gguf_model.h"
#include "model/gguf_tokenizer.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

bool cli_print_json(cJSON *object, Error *err)
{
    char *text = cJSON_PrintUnformatted(object);
    cJSON_Delete(object);
    if (!text) return error_set(err, "out of memory");
    printf("%s\n", text);
    free(text);
    return true;
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

bool cli_percent(const char *text, double *out)
{
    char *end;
    double percent = isdigit((unsigned char)*text) || *text == '.' ? strtod(text, &end) : -1;
    if (percent < 0 || end == text || *end || !(percent < 100)) return false;
    *out = percent / 100;
    return true;
}

const char *cli_date(time_t moment, char out[CLI_DATE])
{
    const struct tm *utc = gmtime(&moment);
    if (!utc || !strftime(out, CLI_DATE, "%Y-%m-%dT%H:%M:%SZ", utc)) out[0] = 0;
    return out;
}

bool cli_quant(const char *text, Dtype *out)
{
    *out = strcmp(text, "q4_0") ? DTYPE_Q8_0 : DTYPE_Q4_0;
    return *out == DTYPE_Q4_0 || !strcmp(text, "q8_0");
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && !strcmp(text + size - end_size, end);
}

// The one place that knows which forms of file hold a tokenizer.
Tokenizer *cli_load_tokenizer(const char *path, Error *err)
{
    if (ends_with(path, ".json")) return tokenizer_load(path, err);
    if (ends_with(path, ".model")) return tokenizer_load_sentencepiece(path, err);
    if (gguf_is_file(path)) return gguf_tokenizer_load(path, err);
    return tokenizer_load_folder(path, err);
}

static bool style_of_file(ChatStyle *out, const Gguf *file, Error *err)
{
    GgufText text;
    if (!gguf_chat_template(&text, file, err)) return false;
    if (!text.text)
        return error_set(err, "%s: key 'tokenizer.chat_template' is missing", file->path);
    char *jinja = malloc(text.size + 1); // up to a NUL, should there be one
    if (!jinja) return error_set(err, "%s: out of memory", file->path);
    memcpy(jinja, text.text, text.size);
    jinja[text.size] = 0;
    bool ok = chat_style_detect(out, jinja, file->path, err);
    free(jinja);
    return ok;
}

bool cli_chat_style(ChatStyle *out, const char *model, Error *err)
{
    Gguf file;
    if (!gguf_is_file(model)) return chat_style_of_folder(out, model, err);
    if (!gguf_open(&file, model, err)) return false;
    bool ok = style_of_file(out, &file, err);
    gguf_close(&file);
    return ok;
}

static bool load_tokenizer(Loaded *loaded, const char *path, Error *err)
{
    loaded->tokenizer = cli_load_tokenizer(path, err);
    if (!loaded->tokenizer) return false;
    uint32_t tokens = tokenizer_vocab_size(loaded->tokenizer);
    if (tokens <= loaded->model.config.vocab_size) return true;
    return error_set(err, "%s: the tokenizer has %u tokens, but the model's vocabulary has %u",
                     path, tokens, loaded->model.config.vocab_size);
}

// What loading shows: on a terminal a line that renews itself, from the first moment that a user
// would wait; at the end one line where it took a second, or where STRATA_VERBOSE is set.
typedef struct {
    double begun; // seconds
    uint64_t bytes;
    bool shown;
} LoadDisplay;

static void show_loading(void *user, uint64_t done, uint64_t all)
{
    LoadDisplay *display = user;
    display->bytes = all;
    if (clock_seconds() - display->begun < 0.3 || !isatty(STDERR_FILENO)) return;
    fprintf(stderr, "\rloading: %.2f of %.2f GB, %3.0f %%", 1e-9 * (double)done, 1e-9 * (double)all,
            100 * (double)done / (double)all);
    display->shown = true;
}

static void end_loading(const LoadDisplay *display)
{
    double seconds = clock_seconds() - display->begun, gigabytes = 1e-9 * (double)display->bytes;
    if (display->shown) fprintf(stderr, "\r\033[K");
    if (display->bytes && (seconds >= 1 || getenv("STRATA_VERBOSE")))
        fprintf(stderr, "loaded %.3g GB in %.2f s, %.3g GB/s\n", gigabytes, seconds,
                gigabytes / seconds);
}

static bool load_model(Loaded *loaded, const char *path, Dtype weights, Error *err)
{
    LoadDisplay display = {.begun = clock_seconds()};
    const LoadOptions options = {weights, show_loading, &display};
    bool ok = llama_load_with(&loaded->model, loaded->gpu, path, &options, err);
    if (!ok && display.shown) fprintf(stderr, "\n");
    if (ok) end_loading(&display);
    return ok;
}

bool cli_load_on(Loaded *loaded, Gpu *gpu, const char *folder, Dtype weights, Error *err)
{
    *loaded = (Loaded){.gpu = gpu};
    return load_model(loaded, folder, weights, err) && load_tokenizer(loaded, folder, err);
}

bool cli_load(Loaded *loaded, const char *folder, const char *device, Dtype weights, Error *err)
{
    *loaded = (Loaded){0};
    LlamaConfig config; // a wrong folder fails before a device is opened
    if (!model_config_load(&config, folder, err)) return false;
    Gpu *gpu = gpu_open(device, err);
    if (gpu && cli_load_on(loaded, gpu, folder, weights, err)) return true;
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
