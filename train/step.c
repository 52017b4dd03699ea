// The SoFT step: see step.h.
#include "train/step.h"

#include "../shaders/args.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOGITS_VALUES = 8 << 20 }; // of one chunk, at most: 32 MiB

struct Step {
    Llama *model;
    Llama gradients, means, squares; // only with backward
    Batch batch;
    bool backward;
    uint32_t exits[CONFIG_MAX_EXITS]; // (exit_count)
    uint32_t exit_count, deepest;     // deepest exit
    uint32_t chunk;                   // rows of an exit's chunk (C)

    Tensor turns;                  // (T, S)
    Tensor *streams;               // (deepest + 1) of (R, D): the residual stream at each boundary;
                                   // without backward two tensors taken in turn
    BlockActivations *activations; // (deepest); without backward one set
    BlockGradients block_gradients;
    Tensor dx;                       // (R, D) gradient of the residual stream
    Tensor picked, normed;           // (C, D) supervised rows of an exit
    Tensor dpicked, dnormed;         // (C, D)
    Tensor inverse;                  // (C, 1)
    Tensor logits;                   // (C, V), then their gradient
    Tensor losses[CONFIG_MAX_EXITS]; // (R, 2) MEMORY_HOST, per exit
    Tensor values;                   // (1, STEP_VALUES) MEMORY_HOST
    Tensor partials, clip;           // gradient norm; clip (1, 2) MEMORY_HOST

    Tape *embed, *embed_back, *zero, *update;
    Tape **forward, **exit, **back; // (deepest), exit by index of exits
    Tape **list;                    // (3 * deepest + 2) what is submitted
};

// ---- memory ------------------------------------------------------------------------------------

static bool make(Tensor *tensor, Gpu *gpu, Memory memory, uint32_t rows, uint32_t cols, Error *err)
{
    *tensor = tensor_make(gpu, memory, rows, cols, err);
    return tensor->span != NULL;
}

static uint32_t stored_sets(const Step *s)
{
    return s->backward ? s->deepest : 1;
}

static uint32_t stored_streams(const Step *s)
{
    return s->backward ? s->deepest + 1 : 2;
}

static Tensor stream(const Step *s, uint32_t boundary)
{
    return s->streams[boundary % stored_streams(s)];
}

static const BlockActivations *kept(const Step *s, uint32_t block)
{
    return &s->activations[block % stored_sets(s)];
}

static uint32_t count_partials(Step *s)
{
    uint32_t count = 0;
    for (size_t i = 0; i < llama_parameter_count(&s->model->config); i++)
        count += op_sum_squares_count(*llama_parameter(&s->gradients, i).tensor);
    return count;
}

static bool make_training(Step *s, Error *err)
{
    Gpu *gpu = s->model->gpu;
    const LlamaConfig *c = &s->model->config;
    uint32_t rows = s->batch.capacity;
    return llama_make(&s->gradients, gpu, c, err) && llama_make(&s->means, gpu, c, err) &&
           llama_make(&s->squares, gpu, c, err) &&
           block_gradients_make(&s->block_gradients, gpu, c, rows, err) &&
           make(&s->dx, gpu, MEMORY_DEVICE, rows, c->width, err) &&
           make(&s->dpicked, gpu, MEMORY_DEVICE, s->chunk, c->width, err) &&
           make(&s->dnormed, gpu, MEMORY_DEVICE, s->chunk, c->width, err) &&
           make(&s->inverse, gpu, MEMORY_DEVICE, s->chunk, 1, err) &&
           make(&s->partials, gpu, MEMORY_DEVICE, count_partials(s), 1, err) &&
           make(&s->clip, gpu, MEMORY_HOST, 1, 2, err);
}

static bool make_tensors(Step *s, Error *err)
{
    Gpu *gpu = s->model->gpu;
    const LlamaConfig *c = &s->model->config;
    uint32_t rows = s->batch.capacity;
    s->turns = rope_turns_make(gpu, c, rows < c->context ? rows : c->context, err);
    bool ok = s->turns.span && make(&s->values, gpu, MEMORY_HOST, 1, STEP_VALUES, err) &&
              make(&s->picked, gpu, MEMORY_DEVICE, s->chunk, c->width, err) &&
              make(&s->normed, gpu, MEMORY_DEVICE, s->chunk, c->width, err) &&
              make(&s->logits, gpu, MEMORY_DEVICE, s->chunk, c->vocab_size, err);
    for (uint32_t i = 0; ok && i < stored_streams(s); i++)
        ok = make(&s->streams[i], gpu, MEMORY_DEVICE, rows, c->width, err);
    for (uint32_t i = 0; ok && i < stored_sets(s); i++)
        ok = block_activations_make(&s->activations[i], gpu, c, rows, err);
    for (uint32_t e = 0; ok && e < s->exit_count; e++)
        ok = make(&s->losses[e], gpu, MEMORY_HOST, rows, 2, err);
    return ok && (!s->backward || make_training(s, err));
}

// ---- recording ---------------------------------------------------------------------------------

static BlockRows block_rows(const Step *s)
{
    return (BlockRows){batch_rows(&s->batch), s->batch.row_table, s->turns};
}

static void record_embed(Step *s, Tape *tape, uint32_t unused)
{
    (void)unused;
    op_embed(tape, stream(s, 0), s->batch.tokens, s->model->embed, batch_rows(&s->batch));
    if (s->backward) tape_fill(tape, s->dx, 0);
}

static void record_forward(Step *s, Tape *tape, uint32_t block)
{
    const BlockRows rows = block_rows(s);
    block_forward(tape, &s->model->config, &s->model->blocks[block], kept(s, block),
                  stream(s, block + 1), stream(s, block), &rows, NULL);
}

static void record_back(Step *s, Tape *tape, uint32_t block)
{
    const BlockRows rows = block_rows(s);
    block_back(tape, &s->model->config, &s->model->blocks[block], &s->gradients.blocks[block],
               kept(s, block), &s->block_gradients, s->dx, stream(s, block), &rows);
}

// One chunk of an exit's supervised rows: loss, and its way back into the residual stream.
static void record_exit_chunk(Step *s, Tape *tape, uint32_t e, Rows rows)
{
    const Llama *m = s->model;
    float epsilon = (float)m->config.norm_epsilon;
    op_gather(tape, s->picked, stream(s, s->exits[e]), s->batch.index, rows);
    op_rmsnorm(tape, s->normed, s->picked, m->norm, epsilon, rows);
    op_matmul(tape, s->logits, s->normed, m->head, rows);
    op_cross_entropy(tape, s->losses[e], s->logits, s->batch.targets, s->values, e, s->backward,
                     rows);
    if (!s->backward) return;
    op_matmul_back_x(tape, s->dnormed, s->logits, m->head, false, rows);
    op_matmul_back_w(tape, m->config.tied ? s->gradients.embed : s->gradients.head, s->logits,
                     s->normed, rows);
    op_rmsnorm_back(tape, s->dpicked, s->gradients.norm, s->inverse, s->dnormed, s->picked, m->norm,
                    epsilon, false, rows);
    op_scatter(tape, s->dx, s->dpicked, s->batch.index, true, rows);
}

static void record_exit(Step *s, Tape *tape, uint32_t e)
{
    for (uint32_t at = 0; at < s->batch.capacity; at += s->chunk)
        record_exit_chunk(s, tape, e, batch_supervised(&s->batch, at, s->chunk));
}

static void record_embed_back(Step *s, Tape *tape, uint32_t unused)
{
    (void)unused;
    op_embed_back(tape, s->gradients.embed, s->dx, s->batch.uses, s->batch.order,
                  batch_distinct(&s->batch));
}

static void record_zero(Step *s, Tape *tape, uint32_t unused)
{
    (void)unused;
    for (size_t i = 0; i < llama_parameter_count(&s->model->config); i++)
        tape_fill(tape, *llama_parameter(&s->gradients, i).tensor, 0);
}

static void record_update(Step *s, Tape *tape, uint32_t unused)
{
    (void)unused;
    size_t count = llama_parameter_count(&s->model->config);
    uint32_t partials = 0;
    for (size_t i = 0; i < count; i++)
        partials +=
            op_sum_squares(tape, s->partials, partials, *llama_parameter(&s->gradients, i).tensor);
    op_clip(tape, s->clip, s->partials, partials, s->values);
    for (size_t i = 0; i < count; i++) {
        LlamaParameter p = llama_parameter(s->model, i);
        op_adamw(tape, *p.tensor, *llama_parameter(&s->means, i).tensor,
                 *llama_parameter(&s->squares, i).tensor, *llama_parameter(&s->gradients, i).tensor,
                 s->values, s->clip, p.decay);
    }
}

typedef void Recording(Step *step, Tape *tape, uint32_t which);

static bool record(Tape **tape, Step *s, Recording *recording, const char *what, uint32_t which,
                   Error *err)
{
    char label[48];
    snprintf(label, sizeof label, "%s %u", what, which);
    *tape = tape_begin(s->model->gpu, label, err);
    if (!*tape) return false;
    recording(s, *tape, which);
    return tape_end(*tape, err);
}

static bool record_all(Step *s, Error *err)
{
    bool ok = record(&s->embed, s, record_embed, "embed", 0, err);
    for (uint32_t i = 0; ok && i < s->deepest; i++)
        ok = record(&s->forward[i], s, record_forward, "forward", i, err);
    for (uint32_t e = 0; ok && e < s->exit_count; e++)
        ok = record(&s->exit[e], s, record_exit, "exit", e, err);
    if (!s->backward) return ok;
    for (uint32_t i = 0; ok && i < s->deepest; i++)
        ok = record(&s->back[i], s, record_back, "backward", i, err);
    return ok && record(&s->embed_back, s, record_embed_back, "embed backward", 0, err) &&
           record(&s->zero, s, record_zero, "zero gradients", 0, err) &&
           record(&s->update, s, record_update, "optimizer", 0, err);
}

// ---- life time ---------------------------------------------------------------------------------

static uint32_t chunk_rows(uint32_t capacity, uint32_t vocab)
{
    uint32_t rows = LOGITS_VALUES / vocab / 64 * 64;
    if (rows < 64) rows = 64;
    return rows < capacity ? rows : capacity;
}

Step *step_open(Llama *model, const uint32_t *exits, uint32_t exit_count, uint32_t capacity,
                bool backward, Error *err)
{
    Step *s = calloc(1, sizeof *s);
    if (!s) {
        error_set(err, "out of memory");
        return NULL;
    }
    assert(exit_count && exit_count <= CONFIG_MAX_EXITS);
    s->model = model;
    s->backward = backward;
    s->exit_count = exit_count;
    memcpy(s->exits, exits, exit_count * sizeof *exits);
    s->deepest = exits[exit_count - 1];
    s->chunk = chunk_rows(capacity, model->config.vocab_size);
    s->streams = calloc(s->deepest + 1, sizeof *s->streams);
    s->activations = calloc(s->deepest, sizeof *s->activations);
    s->forward = calloc(s->deepest, sizeof *s->forward);
    s->back = calloc(s->deepest, sizeof *s->back);
    s->exit = calloc(exit_count, sizeof *s->exit);
    s->list = calloc(2 * s->deepest + exit_count + 2, sizeof *s->list);
    bool ok = s->streams && s->activations && s->forward && s->back && s->exit && s->list;
    if (!ok) error_set(err, "out of memory");
    ok = ok && batch_make(&s->batch, model->gpu, capacity, err) && make_tensors(s, err) &&
         record_all(s, err);
    if (ok) return s;
    step_close(s);
    return NULL;
}

static void free_tapes(Step *s)
{
    Tape *const single[] = {s->embed, s->embed_back, s->zero, s->update};
    for (size_t i = 0; i < sizeof single / sizeof *single; i++) tape_free(single[i]);
    for (uint32_t i = 0; s->forward && i < s->deepest; i++) tape_free(s->forward[i]);
    for (uint32_t i = 0; s->back && i < s->deepest; i++) tape_free(s->back[i]);
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
                               &s->values,  &s->partials, &s->clip};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) tensor_free(gpu, tensors[i]);
    for (uint32_t i = 0; s->streams && i <= s->deepest; i++) tensor_free(gpu, &s->streams[i]);
    for (uint32_t i = 0; s->activations && i < s->deepest; i++)
        block_activations_free(&s->activations[i], gpu);
    for (uint32_t e = 0; e < s->exit_count; e++) tensor_free(gpu, &s->losses[e]);
    block_gradients_free(&s->block_gradients, gpu);
    llama_free(&s->gradients);
    llama_free(&s->means);
    llama_free(&s->squares);
    free(s->streams);
    free(s->activations);
    free(s->forward);
    free(s->back);
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

Llama *step_gradients(Step *step)
{
    return &step->gradients;
}

// ---- running -----------------------------------------------------------------------------------

bool step_zero_gradients(Step *step, Error *err)
{
    return gpu_run(step->model->gpu, &step->zero, 1, err);
}

// All blocks, then the sweep back in which every exit joins at its own boundary.
static size_t list_training(Step *s)
{
    size_t n = 0;
    uint32_t e = s->exit_count;
    s->list[n++] = s->embed;
    for (uint32_t l = 0; l < s->deepest; l++) s->list[n++] = s->forward[l];
    for (uint32_t l = s->deepest; l > 0; l--) {
        if (e && s->exits[e - 1] == l) s->list[n++] = s->exit[--e];
        s->list[n++] = s->back[l - 1];
    }
    s->list[n++] = s->embed_back;
    return n;
}

// Each exit right after its block: only two streams are kept.
static size_t list_evaluation(Step *s)
{
    size_t n = 0;
    uint32_t e = 0;
    s->list[n++] = s->embed;
    for (uint32_t l = 1; l <= s->deepest; l++) {
        s->list[n++] = s->forward[l - 1];
        if (s->exits[e] == l) s->list[n++] = s->exit[e++];
    }
    return n;
}

bool step_run(Step *s, const double *weights, Error *err)
{
    float *values = tensor_host(s->values);
    for (uint32_t e = 0; weights && e < s->exit_count; e++)
        values[STEP_WEIGHTS + e] = (float)weights[e];
    size_t n = s->backward ? list_training(s) : list_evaluation(s);
    return gpu_run(s->model->gpu, s->list, n, err);
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
    if (!gpu_run(s->model->gpu, &s->update, 1, err)) return false;
    *norm = ((const float *)tensor_host(s->clip))[CLIP_NORM];
    return true;
}
