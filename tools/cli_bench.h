// strata bench in its parts: what is measured (cli_bench.c), measuring (cli_bench_run.c), what is
// printed (cli_bench_report.c), and the comparison with an earlier run (cli_bench_compare.c).
#ifndef STRATA_TOOLS_CLI_BENCH_H
#define STRATA_TOOLS_CLI_BENCH_H

#include "base/json.h"
#include "base/statistics.h"
#include "cli_decode.h"
#include "cli_prompt.h"
#include "infer/generate.h"
#include "train/dataset.h"

#include <time.h>

enum { BENCH_PROMPTS = 16, BENCH_REPEATS = 100, BENCH_LABEL = 320 };

typedef struct {
    const char *folder, *depths, *policies, *data, *compare, *device; // NULL: not given
    uint64_t prompts[BENCH_PROMPTS];                                  // (prompt_count) tokens, > 0
    uint32_t prompt_count;
    uint64_t gen_tokens; // 0: nothing is generated
    bool gen_given;      // answers of a data file are cut there
    uint64_t repeats, records;
    double tolerance; // a share; below 0: not given
    Dtype weights;    // as cli_load takes it
    bool json, csv, shared_head;
} BenchOptions;

// One prompt to generate from, and the answer that is right.
typedef struct {
    const uint32_t *tokens; // (count) the prompt, then (answer_count) the answer with its EOS
    uint32_t count, answer_count;
    uint32_t most;       // tokens to generate, an EOS included
    uint32_t *reference; // (reference_count) what full depth generated, an EOS included
    uint32_t reference_count;
} BenchPrompt;

// Time and what it was spent on.
typedef struct {
    double seconds, tokens;             // of the prompt; or of what is generated
    double whole_seconds, whole_tokens; // prompt and answer together
} BenchTiming;

// One line of the result. Where a repeat had no token to be timed its figures are 0.
typedef struct {
    bool prompt;            // processing of a prompt; else generation
    uint32_t prompt_tokens; // 0: those of the data file
    uint32_t gen_tokens;    // 0: none, or those of the data file
    DepthPolicy policy;
    Drafting learned; // draft auto: from the run that warms up on
    char label[BENCH_LABEL];
    double speeds[BENCH_REPEATS]; // (repeats) tokens per second
    // (2 repeats) over full depth just before, and just behind; wholes: the same of prompt and
    // answer together. Not over the mean of both: times have long tails, so that it mostly lies
    // above.
    double ratios[2 * BENCH_REPEATS], wholes[2 * BENCH_REPEATS];
    BenchTiming own, before, behind; // of the repeat at hand
    // Sums over all repeats.
    uint64_t *tokens_at; // (L + 1) tokens that left at a depth
    uint64_t timed, blocks_run, drafted, accepted, checks;
    uint64_t texts, exact;        // answers, and those that are right
    uint64_t compared, identical; // tokens, and those that full depth has at their place
    // Bytes of weights that are read per token, here and at full depth; 0: depends on the text.
    double weight_bytes, full_bytes;
} BenchRow;

typedef struct {
    const BenchOptions *options;
    Loaded *loaded;
    DecodeOptions decode; // what a policy does not say; with the model's stored policies
    Session *session;
    TokenList text; // the built-in prompt
    Dataset set;    // of --data
    BenchPrompt *prompts;
    size_t prompt_count; // of generation
    BenchRow *rows;
    size_t row_count;
    float *logits; // (V)
    time_t began;
    uint64_t model_bytes, kv_bytes, peak_bytes;
} Bench;

// ---- what is measured --------------------------------------------------------------------------

// Rows, prompts and a session for them; loaded must outlive it. bench_close also after a failure.
bool bench_open(Bench *bench, const BenchOptions *options, Loaded *loaded, Error *err);
void bench_close(Bench *bench);
// "pp64", "tg64" or "answers", into out (size). Returns out.
const char *bench_row_test(const BenchRow *row, char *out, size_t size);
// The tokens that end a text.
const uint32_t *bench_eos(const LlamaConfig *config, uint32_t *count);

// ---- measuring ---------------------------------------------------------------------------------

// All repeats of all rows, each run between two of full depth, so that what the machine does beside
// touches both. Everything runs once before it counts, as kernels are compiled then.
bool bench_run(Bench *bench, Error *err);

// ---- comparing ---------------------------------------------------------------------------------

// A row against the same row of an earlier run.
typedef struct {
    Change change;      // NONE: the earlier run had no such row; UNKNOWN: too few repeats to tell
    SeriesRatio speed;  // tokens/s, new over old
    double old_median;  // tokens/s
    double old_speedup; // over full depth of that run; 0: not stated
} BenchChange;

// What --json printed into a file, checked; the caller frees with cJSON_Delete. NULL and a message
// on failure.
cJSON *bench_read_old(const char *path, Error *err);
// Compares with it row by row into changes (row_count), malloc'ed. *notes says in what the runs
// differ otherwise, a line each, malloc'ed; "": in nothing.
bool bench_compare(BenchChange **changes, char **notes, const Bench *bench, const cJSON *old,
                   Error *err);
// Whether a row is slower by more than tolerance, and that is not within the noise of both runs,
// where there were enough repeats to know it.
bool bench_is_slower(const BenchChange *change, double tolerance);

// ---- printing ----------------------------------------------------------------------------------

// changes (row_count) or NULL, as a table, as one JSON object, as lines of CSV.
void bench_print_table(const Bench *bench, const BenchChange *changes);
bool bench_print_json(const Bench *bench, const BenchChange *changes, Error *err);
void bench_print_csv(const Bench *bench, const BenchChange *changes);
// How the weights lie on the device.
const char *bench_dtype(const Bench *bench);

#endif
