// The training run: see trainer.h.
#define _POSIX_C_SOURCE 200809L
#include "train/run.h"
#include "base/clock.h"
#include "base/file.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DROPS UINT64_C(0x6c62272e07bb0142) // so that drops do not follow the order of records

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

static bool open_shape(Run *run, Error *err)
{
    const LlamaConfig *shape = &run->shape;
    if (!train_config_model(&run->shape, run->config, err)) return false;
    note(run, "model: %" PRIu64 " parameters, %" PRIu32 " blocks, %" PRIu32 " wide",
         config_parameters(shape), shape->blocks, shape->width);
    return true;
}

static bool open_tokenizer(Run *run, Error *err)
{
    const TrainConfig *c = run->config;
    const char *folder = c->tokenizer ? c->tokenizer : c->model;
    if (!tokenizer_find_file(run->tokenizer_path, sizeof run->tokenizer_path, folder, err))
        return false;
    run->tokenizer = tokenizer_load_folder(folder, err);
    if (!run->tokenizer) return false;
    if (tokenizer_eos(run->tokenizer) == TOKEN_NONE)
        return error_set(err, "%s: names no token that ends a text, which training needs",
                         run->tokenizer_path);
    if (tokenizer_vocab_size(run->tokenizer) <= run->shape.vocab_size) return true;
    return error_set(err, "%s: has %" PRIu32 " tokens, but the model's vocabulary has %" PRIu32,
                     run->tokenizer_path, tokenizer_vocab_size(run->tokenizer),
                     run->shape.vocab_size);
}

static bool open_data(Run *run, Error *err)
{
    TrainConfig *c = run->config;
    if (!train_data_open(&run->data, c, run->tokenizer, run->tokenizer_path, run->events->note,
                         run->events->user, err))
        return false;
    uint64_t records = (uint64_t)c->batch_size * c->grad_accum;
    if (!c->steps) c->steps = (2 * run->data.records + records - 1) / records;
    if (c->warmup < 0) c->warmup = (int64_t)(c->steps * 3 / 100);
    return true;
}

// Fails before any step where the result could not be written.
static bool open_folder(const Run *run, Error *err)
{
    char path[1024];
    const TrainConfig *c = run->config;
    if (c->leaves_nothing) return true;
    if (c->model && file_same(c->model, c->out))
        return error_set(err, "out: %s is the model itself; choose another folder", c->out);
    if (!folder_make(c->out, err) || !path_join(path, sizeof path, c->out, ".writable", err))
        return false;
    if (!file_write(path, "", 0, err)) return false;
    remove(path);
    file_remove_partial(c->out);
    return true;
}

// What the run will hold on the device, by role; refused where the device lacks any of it.
static bool open_plan(Run *run, Error *err)
{
    const TrainConfig *c = run->config;
    const GpuInfo *info = gpu_info(run->gpu);
    uint64_t rows = (uint64_t)c->batch_size * (run->data.longest - 1);
    if (rows > 1 << 24) return error_set(err, "batch_size: %" PRIu64 " rows are too many", rows);
    run->rows = (uint32_t)rows;
    const PlanShape shape =
        plan_shape(c, &run->shape, run->rows, run->data.valid.count ? run->data.valid.longest : 0);
    if (!plan_make(&run->plan, &shape, err)) return false;
    char line[64];
    note(run, "memory needed:");
    for (int i = 0; i <= PLAN_ROLES; i++)
        note(run, "  %s", plan_line(line, sizeof line, &run->plan, i));
    Error why;
    return plan_check(&run->plan, info, &why) ||
           error_set(err, "device %s: %s", info->name, why.text);
}

static void note_memory(const Run *run)
{
    note(run, "memory: planned %.1f MiB, measured peak %.1f MiB",
         (double)run->plan.peak / (1 << 20), (double)gpu_memory_peak(run->gpu) / (1 << 20));
}

static void note_damaged(void *user, const char *line)
{
    note(user, "checkpoint passed over: %s", line);
}

// From the newest intact checkpoint, or from the beginning where there is none. A run that was not
// asked to go on must not mix with the checkpoints of an older one.
static bool resume(Run *run, Error *err)
{
    const TrainConfig *c = run->config;
    if (c->leaves_nothing) return true;
    uint64_t step = checkpoint_newest(c->out, c->resume ? note_damaged : NULL, run);
    if (!step && c->resume)
        note(run, "%s: no checkpoint to go on from: from the beginning", c->out);
    if (!step) return true;
    if (!c->resume)
        return error_set(err,
                         "%s/checkpoints: holds a run that stopped at step %" PRIu64
                         "; --resume goes on with it, or remove them",
                         c->out, step);
    if (!checkpoint_load(c->out, step, &run->model, run->step, &run->state, err) ||
        !data_order_restore(run->data.order, &run->state.data, err))
        return false;
    run->saved = step;
    note(run, "going on from the checkpoint of step %" PRIu64, step);
    return true;
}

// What the model is trained with goes into its config.json: exits, and what they have of their own.
// A model that comes with heads for the same exits keeps and trains them.
static bool open_exits(Run *run, Error *err)
{
    const LlamaConfig *have = &run->model.config, *want = &run->shape;
    bool same = have->exit_count == want->exit_count && have->exit_norm == want->exit_norm &&
                have->separate_heads == want->separate_heads &&
                !memcmp(have->exits, want->exits, want->exit_count * sizeof *want->exits);
    if (same) return true;
    llama_share_exits(&run->model);
    return llama_add_exits(&run->model, want->exits, want->exit_count, want->exit_norm,
                           want->separate_heads, err);
}

static bool open_model(Run *run, Error *err)
{
    const TrainConfig *c = run->config;
    bool ok;
    if (c->has_init)
        ok = llama_make(&run->model, run->gpu, &c->init, err) &&
             llama_randomize(&run->model, c->seed, err);
    else if (c->method == METHOD_EXTRACTED)
        ok = llama_load_first(&run->model, run->gpu, c->model, c->depth, err);
    else
        ok = llama_load(&run->model, run->gpu, c->model, err);
    return ok && open_exits(run, err);
}

static bool open_step(Run *run, Error *err)
{
    const TrainConfig *c = run->config;
    run->step = step_open_with(&run->model,
                               &(StepOptions){.exits = c->exits,
                                              .exit_count = c->exit_count,
                                              .capacity = run->rows,
                                              .backward = true,
                                              .recompute = c->recompute,
                                              .exits_alone = c->method == METHOD_ICT,
                                              .distill = c->choices.distill > 0,
                                              .storage = c->storage},
                               err);
    if (!run->step) return false;
    note(run, "device: %s; %.1f MiB held", gpu_info(run->gpu)->name,
         (double)gpu_memory_used(run->gpu) / (1 << 20));
    return true;
}

// Whatever can be refused is refused before the weights are read, which may take minutes.
static bool open_run(Run *run, Error *err)
{
    const TrainConfig *c = run->config;
    run->state.drops = random_seed(c->seed ^ DROPS);
    run->state.scale = train_config_scales(c) ? c->loss_scale : 1;
    if (c->submit_ms > 0) gpu_set_submit_limit(run->gpu, c->submit_ms);
    return open_shape(run, err) && open_tokenizer(run, err) && open_data(run, err) &&
           open_folder(run, err) && open_plan(run, err) && open_model(run, err) &&
           open_step(run, err) && resume(run, err) &&
           (!run->events->begin || run->events->begin(run->events->user, run->state.step, err));
}

static void close_run(Run *run)
{
    step_close(run->step);
    train_data_close(&run->data);
    tokenizer_free(run->tokenizer);
    llama_free(&run->model);
}

// ---- saving and the loop -----------------------------------------------------------------------

static bool save(Run *run, Error *err)
{
    char path[1024];
    const char *out = run->config->out;
    uint64_t step = run->state.step;
    if (run->saved == step && step) return true;
    if (!path_join(path, sizeof path, out, "tokenizer.json", err) ||
        !tokenizer_save(run->tokenizer, path, err) || !llama_save(&run->model, out, err))
        return false;
    if (!tokenizer_is_llama(run->tokenizer) && // which llama_save takes it for
        (!path_join(path, sizeof path, out, "tokenizer_config.json", err) ||
         !tokenizer_save_config(run->tokenizer, path, run->shape.context, err)))
        return false;
    run->saved = step;
    if (run->events->saved) run->events->saved(run->events->user, step);
    return true;
}

// A checkpoint comes before the model: what was saved last can always be gone on from.
static bool checkpoint(Run *run, Error *err)
{
    const TrainConfig *c = run->config;
    if (!run->state.step) return true;
    data_order_save(run->data.order, &run->state.data);
    if (!checkpoint_save(c->out, &run->model, run->step, &run->state, err)) return false;
    checkpoint_prune(c->out, c->keep_last, c->keep_best);
    return true;
}

// Scores all exits; the checkpoint of this step will know the mean of their losses.
static bool validate(Run *run, Error *err)
{
    const TrainConfig *c = run->config;
    DepthScore scores[CONFIG_MAX_EXITS];
    if (!run->data.valid.count || c->leaves_nothing) return true;
    if (!evaluate(&run->model, &run->data.valid, c->exits, c->exit_count, scores, NULL, NULL, err))
        return false;
    run->state.has_loss = true;
    run->state.loss = 0;
    for (uint32_t e = 0; e < c->exit_count; e++) run->state.loss += scores[e].loss / c->exit_count;
    if (run->events->validated)
        run->events->validated(run->events->user, run->state.step, scores, c->exit_count);
    return true;
}

// The step at hand is whole: what a device that fails in the next one is rescued from.
static void mark_whole(Run *run)
{
    run->whole = run->state;
    data_order_save(run->data.order, &run->whole.data);
    run->keeps = !run->config->leaves_nothing;
}

static bool due(uint64_t step, uint64_t every)
{
    return every && step % every == 0;
}

static bool train_once(Run *run, Draw *draws, double began, uint64_t first, Error *err)
{
    const TrainConfig *c = run->config;
    StepReport report;
    run->state.has_loss = false;
    bool ok = run_step(run, draws, &report, err);
    uint64_t step = run->state.step;
    if (ok) mark_whole(run);
    report.elapsed = clock_seconds() - began;
    report.done_here = step - first;
    if ((ok || report.skipped) && run->events->stepped)
        run->events->stepped(run->events->user, &report);
    if (ok && (due(step, c->validate_every) || step == c->steps)) ok = validate(run, err);
    if (ok && due(step, c->save_every) && !c->leaves_nothing)
        ok = checkpoint(run, err) && save(run, err);
    return ok;
}

// A run that is stopped leaves a checkpoint; one that ends leaves one where it was to leave any.
static bool finish(Run *run, Error *err)
{
    if (run->config->leaves_nothing) return true;
    bool ended = run->state.step >= run->config->steps;
    bool wanted = run->saved != run->state.step && (!ended || run->config->save_every);
    return (!wanted || checkpoint(run, err)) && save(run, err);
}

static bool run_steps(Run *run, const volatile sig_atomic_t *stop, Error *err)
{
    const TrainConfig *c = run->config;
    size_t records = (size_t)c->batch_size * c->grad_accum;
    Draw *draws = malloc(records * sizeof *draws);
    bool ok = draws || error_set(err, "out of memory");
    double began = clock_seconds();
    uint64_t first = run->state.step;
    mark_whole(run);
    while (ok && run->state.step < c->steps && !(stop && *stop))
        ok = train_once(run, draws, began, first, err);
    free(draws);
    ok = ok && finish(run, err);
    if (!ok && gpu_failed(run->gpu)) run_rescue(run, err);
    return ok;
}

bool train(TrainConfig *config, Gpu *gpu, const TrainEvents *events,
           const volatile sig_atomic_t *stop, Error *err)
{
    Run run = {.config = config, .gpu = gpu, .events = events};
    bool ok = open_run(&run, err) && run_steps(&run, stop, err);
    if (ok) note_memory(&run);
    close_run(&run);
    return ok;
}
