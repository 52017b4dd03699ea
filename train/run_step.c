// One step of a training run: batches, losses, update, and whether it counts. See run.h.
#include "train/run.h"
#include "base/clock.h"
#include "train/step_cost.h"

#include <inttypes.h>
#include <math.h>

static void fill_batch(Run *run, const Draw *draws)
{
    Batch *batch = step_batch(run->step);
    batch_begin(batch);
    for (uint32_t i = 0; i < run->config->batch_size; i++)
        batch_add_example(batch, draws[i].set, draws[i].example);
    batch_end(batch);
}

static void add_losses(const Run *run, StepReport *report)
{
    uint32_t rows = step_batch(run->step)->supervised;
    for (uint32_t e = 0; e < report->exit_count; e++) {
        const float *losses = step_losses(run->step, e);
        const float *divergences = step_divergences(run->step, e);
        for (uint32_t r = 0; r < rows; r++) report->losses[e] += losses[2 * r];
        for (uint32_t r = 0; divergences && r < rows; r++) report->divergences[e] += divergences[r];
    }
}

// From sums to means, and what is minimised. Exits that rested have no loss.
static void finish_losses(const Run *run, const double *shares, StepReport *report)
{
    double distill = run->config->choices.distill;
    for (uint32_t e = 0; e < report->exit_count; e++) {
        bool rested = shares[e] == 0;
        report->losses[e] = rested ? NAN : report->losses[e] / (double)report->supervised;
        report->divergences[e] = rested ? 0 : report->divergences[e] / (double)report->supervised;
        if (!rested)
            report->loss += shares[e] * (report->losses[e] + distill * report->divergences[e]);
    }
}

// The exits' shares of the mean over the step's tokens.
static bool run_batches(Run *run, const Draw *draws, StepReport *report, Error *err)
{
    const TrainConfig *c = run->config;
    double shares[CONFIG_MAX_EXITS], weights[CONFIG_MAX_EXITS];
    bool skip[CONFIG_MAX_BLOCKS];
    const StepTerms terms = {.weights = weights,
                             .skip = c->choices.layer_dropout > 0 ? skip : NULL,
                             .distill = c->choices.distill,
                             .temperature = c->choices.temperature,
                             .scale = run->state.scale};
    uint32_t blocks = run->model.config.blocks;
    StepRows rows = {0};
    for (uint32_t i = 0; i < c->batch_size * c->grad_accum; i++)
        step_rows_add(&rows, &run->model.config, example_rows(draws[i].example),
                      example_supervised(draws[i].example));
    report->tokens = (uint64_t)rows.rows;
    report->supervised = (uint64_t)rows.supervised;
    report->operations = step_operations(&run->model.config, c->exits, c->exit_count, &rows);
    soft_shares(shares, &c->choices, c->exits, c->exit_count, blocks, report->step, c->steps);
    for (uint32_t e = 0; e < c->exit_count; e++)
        weights[e] = shares[e] / (double)report->supervised;
    for (uint32_t i = 0; i < c->grad_accum; i++) {
        fill_batch(run, draws + (size_t)i * c->batch_size);
        if (terms.skip) soft_drop(skip, &c->choices, blocks, &run->state.drops);
        if (!step_run_with(run->step, &terms, err)) return false;
        add_losses(run, report);
    }
    finish_losses(run, shares, report);
    return true;
}

enum { NORM_MEMORY = 100 }; // steps over which the usual gradient norm is a mean

// The loss's scale follows what 16 bits hold: half of it where gradients overflowed, twice after a
// while without (Micikevicius et al., arXiv 1710.03740, 3.2). Whether that may mend a skipped step.
static bool adapt_scale(TrainState *state, const TrainConfig *c, const StepReport *report)
{
    bool overflow = report->skipped && isfinite(report->loss) && !isfinite(report->norm);
    bool mends = overflow && state->scale > 1;
    if (!train_config_scales(c)) return false;
    state->scale_age = report->skipped ? 0 : state->scale_age + 1;
    if (mends) state->scale /= 2;
    if (state->scale_age == c->loss_scale_window) {
        state->scale_age = 0;
        if (state->scale < LARGEST_LOSS_SCALE) state->scale *= 2;
    }
    return mends;
}

// What came of the step: whether the weights were left alone, for how many steps in a row.
static bool count_step(Run *run, StepReport *report, double limit, Error *err)
{
    TrainState *state = &run->state;
    report->skipped =
        !isfinite(report->loss) || !isfinite(report->norm) || (limit > 0 && report->norm > limit);
    state->skipped += report->skipped;
    bool mends = adapt_scale(state, run->config, report);
    state->skipped_in_row = report->skipped ? state->skipped_in_row + !mends : 0;
    report->skipped_in_all = state->skipped;
    if (!report->skipped) {
        uint64_t n = ++state->updates < NORM_MEMORY ? state->updates : NORM_MEMORY;
        state->usual_norm += (report->norm - state->usual_norm) / (double)n;
    }
    if (state->skipped_in_row < run->config->max_skipped) return true;
    return error_set(err,
                     "step %" PRIu64 ": no update in %" PRIu64 " steps in a row (loss %g, gradient "
                     "norm %g); %s is of step %" PRIu64,
                     state->step, state->skipped_in_row, report->loss, report->norm,
                     run->config->out, run->saved);
}

bool run_step(Run *run, Draw *draws, StepReport *report, Error *err)
{
    const TrainConfig *c = run->config;
    double began = clock_seconds(), limit = c->spike_factor * run->state.usual_norm;
    uint64_t number = ++run->state.step;
    *report = (StepReport){.step = number,
                           .steps = c->steps,
                           .exit_count = c->exit_count,
                           .exits = c->exits,
                           .rate = train_config_rate(c, number),
                           .scale = train_config_scales(c) ? run->state.scale : 0};
    for (uint32_t i = 0; i < c->batch_size * c->grad_accum; i++)
        draws[i] = train_data_next(&run->data);
    UpdateValues values = {.rate = report->rate,
                           .beta1 = c->beta1,
                           .beta2 = c->beta2,
                           .epsilon = c->epsilon,
                           .weight_decay = c->weight_decay,
                           .clip = c->clip,
                           .time = run->state.updates + 1,
                           .scale = run->state.scale};
    if (!step_zero_gradients(run->step, err) || !run_batches(run, draws, report, err)) return false;
    values.limit = isfinite(report->loss) ? limit : -1;
    run->keeps = false;
    bool ok = step_update(run->step, &values, &report->norm, err);
    report->seconds = clock_seconds() - began;
    report->memory_bytes = gpu_memory_peak(run->gpu);
    return ok && count_step(run, report, limit, err);
}
