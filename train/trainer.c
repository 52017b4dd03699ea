// The training run: see trainer.h.
#define _POSIX_C_SOURCE 200809L
#include "train/trainer.h"
#include "base/file.h"
#include "base/random.h"
#include "train/step.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
    TrainConfig *config;
    Gpu *gpu;
    const TrainEvents *events;
    Tokenizer *tokenizer;
    char tokenizer_path[1024];
    Llama model;
    Dataset data, valid; // valid.count 0: none
    Step *step;
    uint32_t *order; // (data.count) the epoch's order of examples
    size_t at;       // next in order
    Random random;
    uint64_t saved; // the step that was saved last
} Run;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void note(const Run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(const Run *run, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (run->events->note) run->events->note(run->events->user, line);
}

// ---- what a run begins with --------------------------------------------------------------------

static bool open_model(Run *run, Error *err)
{
    TrainConfig *c = run->config;
    bool ok = c->has_init ? llama_make(&run->model, run->gpu, &c->init, err) &&
                                llama_randomize(&run->model, c->seed, err)
                          : llama_load(&run->model, run->gpu, c->model, err);
    if (!ok || !train_config_complete(c, &run->model.config, err)) return false;
    // What it was trained with goes into its config.json.
    LlamaConfig *shape = &run->model.config;
    shape->exit_count = c->method == METHOD_SOFT ? c->exit_count : 0;
    memcpy(shape->exits, c->exits, sizeof shape->exits);
    note(run, "model: %" PRIu64 " parameters, %" PRIu32 " blocks, %" PRIu32 " wide",
         config_parameters(shape), shape->blocks, shape->width);
    return true;
}

static bool open_tokenizer(Run *run, Error *err)
{
    const TrainConfig *c = run->config;
    if (!path_join(run->tokenizer_path, sizeof run->tokenizer_path,
                   c->tokenizer ? c->tokenizer : c->model, "tokenizer.json", err))
        return false;
    run->tokenizer = tokenizer_load(run->tokenizer_path, err);
    if (!run->tokenizer) return false;
    if (tokenizer_vocab_size(run->tokenizer) <= run->model.config.vocab_size) return true;
    return error_set(err, "%s: has %" PRIu32 " tokens, but the model's vocabulary has %" PRIu32,
                     run->tokenizer_path, tokenizer_vocab_size(run->tokenizer),
                     run->model.config.vocab_size);
}

static bool open_set(Run *run, Dataset *set, const char *path, Error *err)
{
    uint32_t context = run->config->context;
    if (!dataset_load(set, path, run->tokenizer, context, err)) return false;
    note(run,
         "%s: %zu records, longest %" PRIu32 " tokens, %zu cut at %" PRIu32
         " tokens, %zu left out because nothing of their output is left; rows are laid end to end, "
         "without padding",
         path, set->count, set->longest, set->truncated, context, set->dropped);
    return true;
}

static bool open_data(Run *run, Error *err)
{
    TrainConfig *c = run->config;
    if (!open_set(run, &run->data, c->data, err)) return false;
    if (c->valid && !open_set(run, &run->valid, c->valid, err)) return false;
    uint64_t records = (uint64_t)c->batch_size * c->grad_accum;
    if (!c->steps) c->steps = (2 * (uint64_t)run->data.count + records - 1) / records;
    if (c->warmup < 0) c->warmup = (int64_t)(c->steps * 3 / 100);
    run->order = malloc(run->data.count * sizeof *run->order);
    if (!run->order) return error_set(err, "out of memory");
    run->at = run->data.count; // the first epoch is yet to be shuffled
    run->random = random_seed(c->seed);
    return true;
}

// Fails before any step where the result could not be written.
static bool open_folder(const Run *run, Error *err)
{
    char path[1024];
    const TrainConfig *c = run->config;
    if (c->model && file_same(c->model, c->out))
        return error_set(err, "out: %s is the model itself; choose another folder", c->out);
    if (!folder_make(c->out, err) || !path_join(path, sizeof path, c->out, ".writable", err))
        return false;
    if (!file_write(path, "", 0, err)) return false;
    remove(path);
    return true;
}

static bool open_run(Run *run, Error *err)
{
    const TrainConfig *c = run->config;
    if (!open_model(run, err) || !open_tokenizer(run, err) || !open_data(run, err) ||
        !open_folder(run, err))
        return false;
    uint64_t rows = (uint64_t)c->batch_size * (run->data.longest - 1);
    if (rows > 1 << 24) return error_set(err, "batch_size: %" PRIu64 " rows are too many", rows);
    run->step = step_open(&run->model, c->exits, c->exit_count, (uint32_t)rows, true, err);
    if (run->step)
        note(run, "device: %s; %.1f MiB held", gpu_info(run->gpu)->name,
             (double)gpu_memory_used(run->gpu) / (1 << 20));
    return run->step && (!run->events->begin || run->events->begin(run->events->user, err));
}

static void close_run(Run *run)
{
    step_close(run->step);
    free(run->order);
    dataset_free(&run->data);
    dataset_free(&run->valid);
    tokenizer_free(run->tokenizer);
    llama_free(&run->model);
}

// ---- steps -------------------------------------------------------------------------------------

// The next example; each epoch has an order of its own (Fisher-Yates).
static const Example *next_example(Run *run)
{
    size_t count = run->data.count;
    if (run->at == count) {
        for (size_t i = 0; i < count; i++) run->order[i] = (uint32_t)i;
        for (size_t i = count - 1; i > 0; i--) {
            size_t j = random_below(&run->random, i + 1);
            uint32_t kept = run->order[i];
            run->order[i] = run->order[j];
            run->order[j] = kept;
        }
        run->at = 0;
    }
    return &run->data.examples[run->order[run->at++]];
}

static void fill_batch(Run *run, const Example *const *examples)
{
    Batch *batch = step_batch(run->step);
    batch_begin(batch);
    for (uint32_t i = 0; i < run->config->batch_size; i++)
        batch_add(batch, run->data.tokens + examples[i]->first, examples[i]->length,
                  examples[i]->prompt);
    batch_end(batch);
}

static void add_losses(const Run *run, StepReport *report)
{
    uint32_t rows = step_batch(run->step)->supervised;
    for (uint32_t e = 0; e < report->exit_count; e++) {
        const float *losses = step_losses(run->step, e);
        for (uint32_t r = 0; r < rows; r++) report->losses[e] += losses[2 * r];
    }
}

// Every exit counts in every step; the mean over exits of the mean over the step's tokens.
static bool run_batches(Run *run, const Example *const *examples, StepReport *report, Error *err)
{
    const TrainConfig *c = run->config;
    double weights[CONFIG_MAX_EXITS];
    for (uint32_t i = 0; i < c->batch_size * c->grad_accum; i++) {
        report->tokens += example_rows(examples[i]);
        report->supervised += example_supervised(examples[i]);
    }
    for (uint32_t e = 0; e < c->exit_count; e++)
        weights[e] = 1.0 / ((double)report->supervised * c->exit_count);
    for (uint32_t i = 0; i < c->grad_accum; i++) {
        fill_batch(run, examples + (size_t)i * c->batch_size);
        if (!step_run(run->step, weights, err)) return false;
        add_losses(run, report);
    }
    for (uint32_t e = 0; e < c->exit_count; e++) {
        report->losses[e] /= (double)report->supervised;
        report->loss += report->losses[e] / c->exit_count;
    }
    return true;
}

static bool run_step(Run *run, uint64_t number, const Example **examples, StepReport *report,
                     Error *err)
{
    const TrainConfig *c = run->config;
    double began = now();
    *report = (StepReport){.step = number,
                           .steps = c->steps,
                           .exit_count = c->exit_count,
                           .exits = c->exits,
                           .rate = train_config_rate(c, number)};
    for (uint32_t i = 0; i < c->batch_size * c->grad_accum; i++) examples[i] = next_example(run);
    const UpdateValues values = {.rate = report->rate,
                                 .beta1 = c->beta1,
                                 .beta2 = c->beta2,
                                 .epsilon = c->epsilon,
                                 .weight_decay = c->weight_decay,
                                 .clip = c->clip,
                                 .time = number};
    bool ok = step_zero_gradients(run->step, err) && run_batches(run, examples, report, err) &&
              step_update(run->step, &values, &report->norm, err);
    report->seconds = now() - began;
    return ok;
}

static bool save(Run *run, uint64_t step, Error *err)
{
    char path[1024];
    const char *out = run->config->out;
    if (run->saved == step && step) return true;
    if (!path_join(path, sizeof path, out, "tokenizer.json", err) ||
        !tokenizer_save(run->tokenizer, path, err) || !llama_save(&run->model, out, err))
        return false;
    run->saved = step;
    if (run->events->saved) run->events->saved(run->events->user, step);
    return true;
}

static bool validate(Run *run, uint64_t step, Error *err)
{
    const TrainConfig *c = run->config;
    DepthScore scores[CONFIG_MAX_EXITS];
    if (!run->valid.count || !run->events->validated) return true;
    if (!evaluate(&run->model, &run->valid, c->exits, c->exit_count, scores, NULL, NULL, err))
        return false;
    run->events->validated(run->events->user, step, scores, c->exit_count);
    return true;
}

static bool due(uint64_t step, uint64_t every)
{
    return every && step % every == 0;
}

static bool run_steps(Run *run, const volatile sig_atomic_t *stop, Error *err)
{
    const TrainConfig *c = run->config;
    size_t records = (size_t)c->batch_size * c->grad_accum;
    const Example **examples = malloc(records * sizeof(const Example *));
    bool ok = examples || error_set(err, "out of memory");
    double began = now();
    uint64_t step = 0;
    while (ok && step < c->steps && !(stop && *stop)) {
        StepReport report;
        ok = run_step(run, ++step, examples, &report, err);
        report.elapsed = now() - began;
        if (ok && run->events->stepped) run->events->stepped(run->events->user, &report);
        if (ok && due(step, c->save_every)) ok = save(run, step, err);
        if (ok && due(step, c->validate_every) && step < c->steps) ok = validate(run, step, err);
    }
    free(examples);
    return ok && save(run, step, err) && (step < c->steps || validate(run, step, err));
}

bool train(TrainConfig *config, Gpu *gpu, const TrainEvents *events,
           const volatile sig_atomic_t *stop, Error *err)
{
    Run run = {.config = config, .gpu = gpu, .events = events};
    bool ok = open_run(&run, err) && run_steps(&run, stop, err);
    close_run(&run);
    return ok;
}
