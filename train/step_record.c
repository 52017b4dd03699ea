// The tapes of the SoFT step: see step.h for what they compute and step.c for the order they run
// in.
#include "train/step_internal.h"

#include <stdio.h>

static BlockRows block_rows(const Step *s)
{
    return (BlockRows){batch_rows(&s->batch), s->batch.row_table, s->turns};
}

static void record_embed(Step *s, Tape *tape, uint32_t unused)
{
    (void)unused;
    op_embed(tape, step_stream(s, 0), s->batch.tokens, s->model->embed, batch_rows(&s->batch));
    if (step_sweeps(s)) tape_fill(tape, s->dx, 0);
}

static void record_forward(Step *s, Tape *tape, uint32_t block)
{
    const BlockRows rows = block_rows(s);
    block_forward(tape, &s->model->config, &s->copies.llama.blocks[block], step_kept(s, block),
                  step_stream(s, block + 1), step_stream(s, block), &rows, &s->kept[block]);
}

static void record_skip(Step *s, Tape *tape, uint32_t block)
{
    tape_copy(tape, step_stream(s, block + 1), step_stream(s, block));
}

static void record_back(Step *s, Tape *tape, uint32_t block)
{
    const BlockRows rows = block_rows(s);
    BlockActivations activations = *step_kept(s, block);
    if (step_keeps_halves(s)) {
        block_widen(tape, &activations, &s->kept[block], rows.rows);
        activations.stats = s->kept[block].kept.stats;
    }
    block_back(tape, &s->model->config, &s->copies.llama.blocks[block], &s->gradients.blocks[block],
               &activations, &s->block_gradients, s->dx, step_stream(s, block), &rows);
}

// The logits of an exit's chunk of supervised rows; leaves its rows in picked and normed. Returns
// what the head reads.
static Tensor record_logits(Step *s, Tape *tape, Tensor logits, uint32_t depth, Rows rows)
{
    const Llama *m = &s->copies.llama;
    Tensor norm = llama_exit_norm(m, depth);
    op_gather(tape, s->picked, step_stream(s, depth), s->batch.index, rows);
    if (norm.span)
        op_rmsnorm(tape, s->normed, s->picked, norm, (float)m->config.norm_epsilon, rows);
    Tensor read = norm.span ? s->normed : s->picked;
    op_matmul(tape, logits, read, llama_exit_head(m, depth), rows);
    return read;
}

// The gradient of an exit's logits into its head, its norm and the residual stream. With the blocks
// frozen only what is the exit's own gets one.
static void record_exit_back(Step *s, Tape *tape, uint32_t depth, Tensor read, Rows rows)
{
    const Llama *m = &s->copies.llama, *d = &s->gradients;
    Tensor norm = llama_exit_norm(m, depth), dhead = llama_exit_head(d, depth);
    Tensor dnorm = norm.span ? llama_exit_norm(d, depth) : norm;
    bool sweeps = step_sweeps(s);
    if (dhead.span) op_matmul_back_w(tape, dhead, s->logits, read, rows);
    if (!sweeps && !dnorm.span) return;
    op_matmul_back_x(tape, s->dnormed, s->logits, llama_exit_head(m, depth), false, rows);
    if (norm.span)
        op_rmsnorm_back(tape, s->dpicked, dnorm, s->inverse, s->dnormed, s->picked, norm,
                        (float)m->config.norm_epsilon, false, rows);
    if (sweeps)
        op_scatter(tape, s->dx, norm.span ? s->dpicked : s->dnormed, s->batch.index, true, rows);
}

// One chunk of an exit's supervised rows: loss, and its way back into the residual stream. With
// distill the teacher's logits are computed again for the chunk: those of a batch never exist.
static void record_exit_chunk(Step *s, Tape *tape, uint32_t e, Rows rows)
{
    bool distill = s->options.distill && e + 1 < s->exit_count;
    if (distill) record_logits(s, tape, s->teacher, s->deepest, rows);
    Tensor read = record_logits(s, tape, s->logits, s->exits[e], rows);
    if (distill) op_distill(tape, s->divergences[e], s->teacher, s->logits, s->values, e, rows);
    op_cross_entropy(tape, s->losses[e], s->logits, s->batch.targets, s->values, e,
                     s->options.backward, rows);
    if (distill) op_add(tape, s->logits, s->logits, s->teacher, rows);
    if (s->options.backward) record_exit_back(s, tape, s->exits[e], read, rows);
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
    for (size_t i = step_first_trained(s); i < llama_parameter_count(&s->model->config); i++)
        tape_fill(tape, *llama_parameter(&s->gradients, i).tensor, 0);
}

static void record_update(Step *s, Tape *tape, uint32_t unused)
{
    (void)unused;
    size_t first = step_first_trained(s), count = llama_parameter_count(&s->model->config);
    uint32_t partials = 0;
    for (size_t i = first; i < count; i++)
        partials +=
            op_sum_squares(tape, s->partials, partials, *llama_parameter(&s->gradients, i).tensor);
    op_clip(tape, s->clip, s->partials, partials, s->values);
    for (size_t i = first; i < count; i++) {
        LlamaParameter p = llama_parameter(s->model, i);
        const Moments moments = moments_of(&s->moments, i);
        op_adamw(tape, *p.tensor, &moments, *llama_parameter(&s->gradients, i).tensor, s->values,
                 s->clip, p.decay, (uint32_t)i);
    }
    copies_record(&s->copies, tape);
}

static void record_refresh(Step *s, Tape *tape, uint32_t unused)
{
    (void)unused;
    copies_record(&s->copies, tape);
}

typedef void Recording(Step *step, Tape *tape, uint32_t which);

static bool record(Tape **tape, Step *s, Recording *recording, const char *label, uint32_t which,
                   Error *err)
{
    *tape = tape_begin(s->model->gpu, label, err);
    if (!*tape) return false;
    recording(s, *tape, which);
    return tape_end(*tape, err);
}

// What there is one of for each block, or for each exit; `number` is the block or the depth.
static bool record_numbered(Tape **tape, Step *s, Recording *recording, const char *what,
                            uint32_t number, uint32_t which, Error *err)
{
    char label[48];
    snprintf(label, sizeof label, "%s %u", what, number);
    return record(tape, s, recording, label, which, err);
}

bool step_record(Step *s, Error *err)
{
    bool ok = record(&s->embed, s, record_embed, "embed", 0, err) &&
              record(&s->refresh, s, record_refresh, "refresh", 0, err);
    for (uint32_t i = 0; ok && i < s->deepest; i++)
        ok = record_numbered(&s->forward[i], s, record_forward, "forward", i, i, err);
    for (uint32_t e = 0; ok && e < s->exit_count; e++)
        ok = record_numbered(&s->exit[e], s, record_exit, "exit", s->exits[e], e, err);
    for (uint32_t i = 0; ok && i < s->deepest; i++)
        ok = record_numbered(&s->skip[i], s, record_skip, "skip", i, i, err);
    if (!s->options.backward) return ok;
    for (uint32_t i = 0; ok && i < s->deepest && step_sweeps(s); i++)
        ok = record_numbered(&s->back[i], s, record_back, "backward", i, i, err);
    if (ok && step_sweeps(s))
        ok = record(&s->embed_back, s, record_embed_back, "embed backward", 0, err);
    return ok && record(&s->zero, s, record_zero, "zero gradients", 0, err) &&
           record(&s->update, s, record_update, "optimizer", 0, err);
}
