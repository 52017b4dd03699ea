// The SoFT step: memory, and the order in which its tapes run. See step.h; the tapes are recorded
// in step_record.c.
#include "train/step_internal.h"

#include "../shaders/args.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LOGITS_VALUES = 8 << 20 }; // of one chunk, at most: 32 MiB

// ---- memory ------------------------------------------------------------------------------------

static bool make(Tensor *tensor, Gpu *gpu, Memory memory, uint32_t rows, uint32_t cols, Error *err)
{
    *tensor = tensor_make(gpu, memory, rows, cols, err);
    return tensor->span != NULL;
}

bool step_sweeps(const Step *s)
{
    return s->options.backward && !s->options.exits_alone;
}

size_t step_first_trained(const Step *s)
{
    return s->options.exits_alone ? llama_shared_count(&s->model->config) : 0;
}

bool step_keeps_halves(const Step *s)
{
    return step_sweeps(s) && !s->options.recompute && s->options.storage.activations != DTYPE_F32;
}

static uint32_t stored_sets(const Step *s)
{
    return step_sweeps(s) && !s->options.recompute && !step_keeps_halves(s) ? s->deepest : 1;
}

static uint32_t stored_streams(const Step *s)
{
    return step_sweeps(s) || s->options.distill ? s->deepest + 1 : 2;
}

Tensor step_stream(const Step *s, uint32_t boundary)
{
    return s->streams[boundary % stored_streams(s)];
}

const BlockActivations *step_kept(const Step *s, uint32_t block)
{
    return &s->activations[block % stored_sets(s)];
}

static uint32_t count_partials(Step *s)
{
    uint32_t count = 0;
    for (size_t i = step_first_trained(s); i < llama_parameter_count(&s->model->config); i++)
        count += op_sum_squares_count(*llama_parameter(&s->gradients, i).tensor);
    return count;
}

static bool make_sweep(Step *s, Error *err)
{
    const LlamaConfig *c = &s->model->config;
    uint32_t rows = s->batch.capacity;
    return block_gradients_make(&s->block_gradients, s->model->gpu, c, rows, err) &&
           make(&s->dx, s->model->gpu, MEMORY_DEVICE, rows, c->width, err);
}

static bool make_training(Step *s, Error *err)
{
    Gpu *gpu = s->model->gpu;
    const LlamaConfig *c = &s->model->config;
    const StorageTypes *types = &s->options.storage;
    size_t first = step_first_trained(s);
    return llama_make_as(&s->gradients, gpu, c, first, types->gradients, err) &&
           moments_make(&s->moments, gpu, c, first, types->moments, err) &&
           (!step_sweeps(s) || make_sweep(s, err)) &&
           make(&s->dpicked, gpu, MEMORY_DEVICE, s->chunk, c->width, err) &&
           make(&s->dnormed, gpu, MEMORY_DEVICE, s->chunk, c->width, err) &&
           make(&s->inverse, gpu, MEMORY_DEVICE, s->chunk, 1, err) &&
           make(&s->partials, gpu, MEMORY_DEVICE, count_partials(s), 1, err) &&
           make(&s->clip, gpu, MEMORY_HOST, 1, 2, err);
}

// What each block keeps, where that has 16 bits; otherwise how its activations are rounded, if at
// all.
static bool make_kept(Step *s, Error *err)
{
    const Llama *m = s->model;
    Dtype dtype = s->options.storage.activations;
    bool ok = true;
    for (uint32_t i = 0; ok && i < s->deepest; i++) {
        s->kept[i].dtype = dtype;
        if (step_keeps_halves(s))
            ok = block_kept_make(&s->kept[i].kept, m->gpu, &m->config, dtype, s->batch.capacity,
                                 err);
    }
    return ok;
}

static bool make_losses(Step *s, Error *err)
{
    Gpu *gpu = s->model->gpu;
    uint32_t rows = s->batch.capacity;
    bool ok = true;
    for (uint32_t e = 0; ok && e < s->exit_count; e++)
        ok = make(&s->losses[e], gpu, MEMORY_HOST, rows, 2, err);
    if (!s->options.distill) return ok;
    ok = ok && make(&s->teacher, gpu, MEMORY_DEVICE, s->chunk, s->model->config.vocab_size, err);
    for (uint32_t e = 0; ok && e + 1 < s->exit_count; e++)
        ok = make(&s->divergences[e], gpu, MEMORY_HOST, rows, 1, err);
    return ok;
}

static bool make_tensors(Step *s, Error *err)
{
    Gpu *gpu = s->model->gpu;
    const LlamaConfig *c = &s->model->config;
    uint32_t rows = s->batch.capacity;
    s->turns = rope_turns_make(gpu, c, rows < c->context ? rows : c->context, err);
    bool ok = s->turns.span && copies_make(&s->copies, s->model, s->options.storage.weights, err) &&
              make(&s->values, gpu, MEMORY_HOST, 1, STEP_VALUES, err) &&
              make(&s->picked, gpu, MEMORY_DEVICE, s->chunk, c->width, err) &&
              make(&s->normed, gpu, MEMORY_DEVICE, s->chunk, c->width, err) &&
              make(&s->logits, gpu, MEMORY_DEVICE, s->chunk, c->vocab_size, err);
    for (uint32_t i = 0; ok && i < stored_streams(s); i++)
        ok = make(&s->streams[i], gpu, MEMORY_DEVICE, rows, c->width, err);
    for (uint32_t i = 0; ok && i < stored_sets(s); i++)
        ok = block_activations_make(&s->activations[i], gpu, c, rows, err);
    return ok && make_kept(s, err) && make_losses(s, err) &&
           (!s->options.backward || make_training(s, err));
}

// ---- life time ---------------------------------------------------------------------------------

uint32_t step_chunk_rows(uint32_t capacity, uint32_t vocab)
{
    uint32_t rows = LOGITS_VALUES / vocab / 64 * 64;
    if (rows < 64) rows = 64;
    return rows < capacity ? rows : capacity;
}

static bool make_lists(Step *s, Error *err)
{
    s->streams = calloc(s->deepest + 1, sizeof *s->streams);
    s->activations = calloc(s->deepest, sizeof *s->activations);
    s->kept = calloc(s->deepest, sizeof *s->kept);
    s->forward = calloc(s->deepest, sizeof *s->forward);
    s->back = calloc(s->deepest, sizeof *s->back);
    s->skip = calloc(s->deepest, sizeof *s->skip);
    s->exit = calloc(s->exit_count, sizeof *s->exit);
    s->list = calloc(3 * s->deepest + s->exit_count + 2, sizeof *s->list);
    if (s->streams && s->activations && s->kept && s->forward && s->back && s->skip && s->exit &&
        s->list)
        return true;
    return error_set(err, "out of memory");
}

Step *step_open_with(Llama *model, const StepOptions *options, Error *err)
{
    if (options->backward && !llama_expect_f32(model, "training", err)) return NULL;
    Step *s = calloc(1, sizeof *s);
    if (!s) {
        error_set(err, "out of memory");
        return NULL;
    }
    uint32_t count = options->exit_count;
    assert(count && count <= CONFIG_MAX_EXITS && (options->backward || !options->exits_alone));
    s->model = model;
    s->options = *options;
    s->exit_count = count;
    memcpy(s->exits, options->exits, count * sizeof *options->exits);
    s->options.exits = s->exits;
    s->deepest = s->exits[count - 1];
    s->chunk = step_chunk_rows(options->capacity, model->config.vocab_size);
    if (make_lists(s, err) &&
        batch_make(&s->batch, model->gpu, options->capacity, model->config.window, err) &&
        make_tensors(s, err) && step_record(s, err) && step_refresh(s, err))
        return s;
    step_close(s);
    return NULL;
}

Step *step_open(Llama *model, const uint32_t *exits, uint32_t exit_count, uint32_t capacity,
                bool backward, Error *err)
{
    return step_open_with(
        model,
        &(StepOptions){
            .exits = exits, .exit_count = exit_count, .capacity = capacity, .backward = backward},
        err);
}

static void free_tapes(Step *s)
{
    Tape *const single[] = {s->embed, s->embed_back, s->zero, s->update, s->refresh};
    for (size_t i = 0; i < sizeof single / sizeof *single; i++) tape_free(single[i]);
    for (uint32_t i = 0; s->forward && i < s->deepest; i++) tape_free(s->forward[i]);
    for (uint32_t i = 0; s->back && i < s->deepest; i++) tape_free(s->back[i]);
    for (uint32_t i = 0; s->skip && i < s->deepest; i++) tape_free(s->skip[i]);
    for (uint32_t e = 0; s->exit && e < s->exit_count; e++) tape_free(s->exit[e]);
}

void step_close(Step *s)
{
    if (!s) return;
    Gpu *gpu = s->model->gpu;
    free_tapes(s);
    batch_free(&s->batch);
    Tensor *const tensors[] = {&s->turns,   &s->dx,       &s->picked,  &s->normed,
                               &s->dpicked, &s->dnormed,  &s->inverse, &s->logits,
                               &s->values,  &s->partials, &s->clip,    &s->teacher};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) tensor_free(gpu, tensors[i]);
    for (uint32_t i = 0; s->streams && i <= s->deepest; i++) tensor_free(gpu, &s->streams[i]);
    for (uint32_t i = 0; s->activations && i < s->deepest; i++)
        block_activations_free(&s->activations[i], gpu);
    for (uint32_t i = 0; s->kept && i < s->deepest; i++)
        block_activations_free(&s->kept[i].kept, gpu);
    for (uint32_t e = 0; e < s->exit_count; e++) tensor_free(gpu, &s->losses[e]);
    for (uint32_t e = 0; e < s->exit_count; e++) tensor_free(gpu, &s->divergences[e]);
    block_gradients_free(&s->block_gradients, gpu);
    llama_free(&s->gradients);
    moments_free(&s->moments);
    copies_free(&s->copies);
    free(s->streams);
    free(s->activations);
    free(s->kept);
    free(s->forward);
    free(s->back);
    free(s->skip);
    free(s->exit);
    free(s->list);
    free(s);
}

Batch *step_batch(Step *step)
{
    return &step->batch;
}

const float *step_losses(const Step *step, uint32_t exit)
{
    return tensor_host(step->losses[exit]);
}

const float *step_divergences(const Step *step, uint32_t exit)
{
    return step->divergences[exit].span ? tensor_host(step->divergences[exit]) : NULL;
}

Llama *step_gradients(Step *step)
{
    return &step->gradients;
}

MomentSet *step_moments(Step *step)
{
    return &step->moments;
}

// ---- running -----------------------------------------------------------------------------------

bool step_refresh(Step *step, Error *err)
{
    return gpu_run(step->model->gpu, &step->refresh, 1, err);
}

bool step_zero_gradients(Step *step, Error *err)
{
    return gpu_run(step->model->gpu, &step->zero, 1, err);
}

static bool rests(const StepTerms *terms, uint32_t e)
{
    return terms->weights && terms->weights[e] == 0;
}

static Tape *forward(const Step *s, const StepTerms *terms, uint32_t block)
{
    return terms->skip && terms->skip[block] ? s->skip[block] : s->forward[block];
}

// The block's way back; with recompute its forward again first, but for the last block, whose
// activations are still there.
static size_t add_back(Step *s, const StepTerms *terms, uint32_t block, size_t n)
{
    if (terms->skip && terms->skip[block]) return n;
    if (s->options.recompute) s->list[n++] = s->forward[block];
    s->list[n++] = s->back[block];
    return n;
}

// All blocks, then the sweep back in which every exit joins at its own boundary.
static size_t list_training(Step *s, const StepTerms *terms)
{
    size_t n = 0;
    uint32_t e = s->exit_count;
    s->list[n++] = s->embed;
    for (uint32_t l = 0; l < s->deepest; l++) s->list[n++] = forward(s, terms, l);
    for (uint32_t l = s->deepest; l > 0; l--) {
        if (e && s->exits[e - 1] == l && !rests(terms, --e)) s->list[n++] = s->exit[e];
        n = add_back(s, terms, l - 1, n);
    }
    s->list[n++] = s->embed_back;
    return n;
}

// Each exit right after its block: only two streams are kept. With distill the exits wait for the
// teacher, the last block.
static size_t list_forward(Step *s, const StepTerms *terms)
{
    size_t n = 0;
    uint32_t e = 0;
    s->list[n++] = s->embed;
    for (uint32_t l = 1; l <= s->deepest; l++) {
        s->list[n++] = forward(s, terms, l - 1);
        if (!s->options.distill && s->exits[e] == l && !rests(terms, e++))
            s->list[n++] = s->exit[e - 1];
    }
    for (; e < s->exit_count; e++)
        if (!rests(terms, e)) s->list[n++] = s->exit[e];
    return n;
}

bool step_run_with(Step *s, const StepTerms *terms, Error *err)
{
    float *values = tensor_host(s->values);
    double scale = terms->scale > 0 ? terms->scale : 1;
    for (uint32_t e = 0; terms->weights && e < s->exit_count; e++)
        values[STEP_WEIGHTS + e] = (float)(scale * terms->weights[e]);
    values[STEP_DISTILL] = (float)terms->distill;
    values[STEP_TEMPERATURE] = (float)terms->temperature;
    size_t n = step_sweeps(s) ? list_training(s, terms) : list_forward(s, terms);
    return gpu_run(s->model->gpu, s->list, n, err);
}

bool step_run(Step *s, const double *weights, Error *err)
{
    return step_run_with(s, &(StepTerms){.weights = weights}, err);
}

bool step_update(Step *s, const UpdateValues *update, double *norm, Error *err)
{
    float *values = tensor_host(s->values);
    values[STEP_RATE] = (float)update->rate;
    values[STEP_BETA1] = (float)update->beta1;
    values[STEP_BETA2] = (float)update->beta2;
    values[STEP_REST1] = (float)(1.0 - update->beta1);
    values[STEP_REST2] = (float)(1.0 - update->beta2);
    values[STEP_EPSILON] = (float)update->epsilon;
    values[STEP_DECAY] = (float)update->weight_decay;
    values[STEP_CORRECTION1] = (float)(1.0 - pow(update->beta1, (double)update->time));
    values[STEP_CORRECTION2] = (float)(1.0 - pow(update->beta2, (double)update->time));
    values[STEP_CLIP] = (float)update->clip;
    values[STEP_LIMIT] = (float)update->limit;
    values[STEP_UNSCALE] = (float)(1 / (update->scale > 0 ? update->scale : 1));
    values[STEP_TIME] = (float)update->time;
    if (!gpu_run(s->model->gpu, &s->update, 1, err)) return false;
    *norm = ((const float *)tensor_host(s->clip))[CLIP_NORM];
    return true;
}
