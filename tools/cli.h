// What the subcommands share: exit statuses, options, the model and tokenizer of a folder.
#ifndef STRATA_TOOLS_CLI_H
#define STRATA_TOOLS_CLI_H

#include "base/json.h"
#include "model/llama.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

#include <getopt.h>
#include <time.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };
enum { EXIT_SLOWER = 3 }; // bench, profile: slower than the run it was compared with

// Each takes its arguments with argv[0] the subcommand's name, and returns an exit status.
int cmd_train(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_generate(int argc, char **argv);
int cmd_chat(int argc, char **argv);
int cmd_calibrate(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_devices(int argc, char **argv);
int cmd_peak(int argc, char **argv);
int cmd_convert(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_profile(int argc, char **argv);
int cmd_profile_train(int argc, char **argv);
int cmd_profile_generate(int argc, char **argv);
int cmd_profile_static(int argc, char **argv);
int cmd_profile_shader(int argc, char **argv);
int cmd_profile_counters(int argc, char **argv);

// Prints "strata: message" on standard error; returns the status for it.
int cli_fail(const Error *err);
int cli_usage(const char *usage, const char *format, ...) __attribute__((format(printf, 2, 3)));
// The same, naming the option at which getopt_long stopped.
int cli_bad_option(const char *usage, char *const *argv);

// Prints the object as one line of JSON, and frees it.
bool cli_print_json(cJSON *object, Error *err);

// A whole number of [low, high] or false.
bool cli_number(const char *text, uint64_t low, uint64_t high, uint64_t *out);
// A number of bytes, or of decimal MB or GB, such as 500MB; 1 and more.
bool cli_bytes(const char *text, uint64_t *out);
// A percentage below 100, as a share.
bool cli_percent(const char *text, double *out);
// A moment as "YYYY-MM-DDThh:mm:ssZ", which is returned; "" where it has no date.
enum { CLI_DATE = 24 };
const char *cli_date(time_t moment, char out[CLI_DATE]);
// The type that --quant names, "q8_0" or "q4_0", or false.
bool cli_quant(const char *text, Dtype *out);

// The tokenizer of a model's folder or GGUF file, or of a tokenizer.json or tokenizer.model named
// itself.
Tokenizer *cli_load_tokenizer(const char *path, Error *err);

// How a model is chatted with, by its template: chat_style_of_folder, or of a GGUF file the same of
// its tokenizer.chat_template.
bool cli_chat_style(ChatStyle *out, const char *model, Error *err);

// A model that is being used: folder or GGUF file, device, weights, tokenizer.
typedef struct {
    Gpu *gpu;
    Llama model;
    Tokenizer *tokenizer;
} Loaded;

// The weights are held as `weights` says: see LoadOptions. Shows its progress on standard error.
bool cli_load(Loaded *loaded, const char *folder, const char *device, Dtype weights, Error *err);
void cli_unload(Loaded *loaded);
// The same on a device that is open. On failure, too, it is unloaded by cli_unload, which closes the
// device where loaded->gpu is not NULL.
bool cli_load_on(Loaded *loaded, Gpu *gpu, const char *folder, Dtype weights, Error *err);

// Depths from "2,3,5", "exits" (those the model was trained with, else the last block) or "all"
// (every depth) into depths, ascending, each within 1..L. Returns how many, 0 and a message on
// failure.
uint32_t cli_depths(uint32_t *depths, const char *text, const LlamaConfig *config, Error *err);

#endif
