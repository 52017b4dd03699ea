// One sequence being run through a model at any depth: see session.h.
#include "infer/session.h"
#include "model/block.h"

#include "../../shaders/args.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 64 };             // rows of a prompt that run together
enum { SLOT_ROWS, SLOT_WANTED }; // of the counts

// The tapes for chunks of up to `rows` rows. Recorded once, replayed for every chunk.
typedef struct {
    uint32_t rows;
    Tape *embed, *exit;
    Tape **blocks; // (L)
} TapeSet;

struct Session {
    Llama *model;
    uint32_t context, position, depth; // depth 0: nothing fed yet
    Counts *counts;
    BlockCache *caches; // (L); slots is one tensor for all
    BlockActivations activations;
    Tensor turns;
    Tensor tokens, row_table, slots, wanted; // MEMORY_HOST: (CHUNK, 1), (CHUNK, 4), (CHUNK, 1) ..
    Tensor streams[2];                       // (CHUNK, D): the residual stream, taken in turn
    Tensor last, normed;                     // (CHUNK, D)
    Tensor logits;                           // (CHUNK, V) MEMORY_HOST
    TapeSet prompt, single;                  // CHUNK rows and one row
    Tape **list;                             // (L + 2) what is submitted
};

// ---- recording ---------------------------------------------------------------------------------

static Tape *record_embed(Session *s, Rows rows, Error *err)
{
    Tape *tape = tape_begin(s->model->gpu, "embed", err);
    if (!tape) return NULL;
    op_embed(tape, s->streams[0], s->tokens, s->model->embed, rows);
    if (tape_end(tape, err)) return tape;
    tape_free(tape);
    return NULL;
}

static Tape *record_block(Session *s, uint32_t block, Rows rows, Error *err)
{
    char label[32];
    snprintf(label, sizeof label, "block %u", block);
    Tape *tape = tape_begin(s->model->gpu, label, err);
    if (!tape) return NULL;
    const BlockRows block_rows = {rows, s->row_table, s->turns};
    block_forward(tape, &s->model->config, &s->model->blocks[block], &s->activations,
                  s->streams[(block + 1) % 2], s->streams[block % 2], &block_rows,
                  &s->caches[block], NULL);
    if (tape_end(tape, err)) return tape;
    tape_free(tape);
    return NULL;
}

// The exit reads the stream that block depth - 1 wrote, through its own norm and head where it has
// them.
static Tape *record_exit(Session *s, uint32_t depth, Rows rows, Error *err)
{
    const Llama *m = s->model;
    Tape *tape = tape_begin(m->gpu, "exit", err);
    if (!tape) return NULL;
    Rows wanted = rows;
    wanted.slot = SLOT_WANTED;
    Tensor norm = llama_exit_norm(m, depth);
    op_gather(tape, s->last, s->streams[depth % 2], s->wanted, wanted);
    if (norm.span)
        op_rmsnorm(tape, s->normed, s->last, norm, (float)m->config.norm_epsilon, wanted);
    op_matmul(tape, s->logits, norm.span ? s->normed : s->last, llama_exit_head(m, depth), wanted);
    if (tape_end(tape, err)) return tape;
    tape_free(tape);
    return NULL;
}

// Records what is missing of the set for that depth. The exit belongs to one depth.
static bool tapes_ready(Session *s, TapeSet *set, uint32_t depth, Error *err)
{
    const Rows rows = {s->counts, SLOT_ROWS, 0, set->rows};
    if (!set->embed && !(set->embed = record_embed(s, rows, err))) return false;
    for (uint32_t i = 0; i < depth; i++)
        if (!set->blocks[i] && !(set->blocks[i] = record_block(s, i, rows, err))) return false;
    if (set->exit) return true;
    set->exit = record_exit(s, depth, rows, err);
    return set->exit != NULL;
}

static void forget_exits(Session *s)
{
    tape_free(s->prompt.exit);
    tape_free(s->single.exit);
    s->prompt.exit = s->single.exit = NULL;
}

static void tapes_free(TapeSet *set, uint32_t blocks)
{
    tape_free(set->embed);
    tape_free(set->exit);
    for (uint32_t i = 0; set->blocks && i < blocks; i++) tape_free(set->blocks[i]);
    free(set->blocks);
}

// ---- life time ---------------------------------------------------------------------------------

static bool make_caches(Session *s, Error *err)
{
    const LlamaConfig *c = &s->model->config;
    for (uint32_t i = 0; i < c->blocks; i++) {
        BlockCache *cache = &s->caches[i];
        uint32_t cols = c->kv_heads * c->head_size;
        cache->slots = s->slots;
        cache->k = tensor_make(s->model->gpu, MEMORY_DEVICE, s->context, cols, err);
        if (!cache->k.span) return false;
        cache->v = tensor_make(s->model->gpu, MEMORY_DEVICE, s->context, cols, err);
        if (!cache->v.span) return false;
    }
    return true;
}

static bool make_tensors(Session *s, Error *err)
{
    Gpu *gpu = s->model->gpu;
    const LlamaConfig *c = &s->model->config;
    const struct {
        Tensor *tensor;
        Memory memory;
        uint32_t cols;
    } all[] = {
        {&s->tokens, MEMORY_HOST, 1},
        {&s->row_table, MEMORY_HOST, ROW_WORDS},
        {&s->slots, MEMORY_HOST, 1},
        {&s->wanted, MEMORY_HOST, 1},
        {&s->logits, MEMORY_HOST, c->vocab_size},
        {&s->streams[0], MEMORY_DEVICE, c->width},
        {&s->streams[1], MEMORY_DEVICE, c->width},
        {&s->last, MEMORY_DEVICE, c->width},
        {&s->normed, MEMORY_DEVICE, c->width},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        *all[i].tensor = tensor_make(gpu, all[i].memory, CHUNK, all[i].cols, err);
        if (!all[i].tensor->span) return false;
    }
    s->turns = rope_turns_make(gpu, c, s->context, err);
    return s->turns.span && block_activations_make(&s->activations, gpu, c, CHUNK, err) &&
           make_caches(s, err);
}

Session *session_open(Llama *model, uint32_t context, Error *err)
{
    uint32_t blocks = model->config.blocks;
    Session *s = calloc(1, sizeof *s);
    if (s) {
        s->model = model;
        s->context = context ? context : model->config.context;
        s->caches = calloc(blocks, sizeof *s->caches);
        s->prompt = (TapeSet){.rows = CHUNK, .blocks = calloc(blocks, sizeof(Tape *))};
        s->single = (TapeSet){.rows = 1, .blocks = calloc(blocks, sizeof(Tape *))};
        s->list = calloc(blocks + 2, sizeof *s->list);
    }
    if (!s || !s->caches || !s->prompt.blocks || !s->single.blocks || !s->list)
        error_set(err, "out of memory");
    else if ((s->counts = counts_open(model->gpu, err)) && make_tensors(s, err))
        return s;
    session_close(s);
    return NULL;
}

void session_close(Session *s)
{
    if (!s) return;
    Gpu *gpu = s->model->gpu;
    uint32_t blocks = s->model->config.blocks;
    tapes_free(&s->prompt, blocks);
    tapes_free(&s->single, blocks);
    for (uint32_t i = 0; s->caches && i < blocks; i++) {
        tensor_free(gpu, &s->caches[i].k);
        tensor_free(gpu, &s->caches[i].v);
    }
    block_activations_free(&s->activations, gpu);
    Tensor *const tensors[] = {&s->turns,  &s->tokens,     &s->row_table,  &s->slots,
                               &s->wanted, &s->streams[0], &s->streams[1], &s->last,
                               &s->normed, &s->logits};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) tensor_free(gpu, tensors[i]);
    counts_close(s->counts);
    free(s->caches);
    free(s->list);
    free(s);
}

void session_reset(Session *session)
{
    session->position = 0;
    session->depth = 0;
}

uint32_t session_position(const Session *session)
{
    return session->position;
}

uint32_t session_context(const Session *session)
{
    return session->context;
}

uint32_t session_vocab(const Session *session)
{
    return session->model->config.vocab_size;
}

// ---- feeding -----------------------------------------------------------------------------------

// The tables of a chunk: position p attends to itself and to what is before it, or in its window.
static void write_tables(Session *s, const uint32_t *tokens, uint32_t count, uint32_t wanted)
{
    uint32_t *table = tensor_host(s->row_table), *slots = tensor_host(s->slots);
    uint32_t *rows = tensor_host(s->wanted);
    memcpy(tensor_host(s->tokens), tokens, count * sizeof *tokens);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t position = s->position + i;
        table[ROW_WORDS * i + ROW_POSITION] = position;
        table[ROW_WORDS * i + ROW_FIRST_KEY] = config_first_key(&s->model->config, position);
        table[ROW_WORDS * i + ROW_LAST_KEY] = position + 1;
        slots[i] = position;
    }
    for (uint32_t i = 0; i < wanted; i++) rows[i] = count - wanted + i;
    counts_set(s->counts, SLOT_ROWS, count);
    counts_set(s->counts, SLOT_WANTED, wanted);
}

static bool feed_chunk(Session *s, const uint32_t *tokens, uint32_t count, uint32_t wanted,
                       float *logits, Error *err)
{
    TapeSet *set = count == 1 ? &s->single : &s->prompt;
    if (!tapes_ready(s, set, s->depth, err)) return false;
    write_tables(s, tokens, count, wanted);
    size_t n = 0;
    s->list[n++] = set->embed;
    for (uint32_t i = 0; i < s->depth; i++) s->list[n++] = set->blocks[i];
    if (wanted) s->list[n++] = set->exit;
    if (!gpu_run(s->model->gpu, s->list, n, err)) return false;
    size_t row = s->model->config.vocab_size;
    if (wanted) memcpy(logits, tensor_host(s->logits), wanted * row * sizeof *logits);
    s->position += count;
    return true;
}

static bool check_feed(const Session *s, const uint32_t *tokens, uint32_t count, Error *err)
{
    uint32_t vocab = s->model->config.vocab_size;
    if (count > s->context - s->position)
        return error_set(err, "%u tokens behind %u: the context is %u tokens", count, s->position,
                         s->context);
    for (uint32_t i = 0; i < count; i++)
        if (tokens[i] >= vocab)
            return error_set(err, "token id %u: the model's vocabulary has %u", tokens[i], vocab);
    return true;
}

bool session_feed(Session *s, const uint32_t *tokens, uint32_t count, uint32_t depth,
                  uint32_t wanted, float *logits, Error *err)
{
    assert(wanted <= count && depth >= 1 && depth <= s->model->config.blocks);
    assert(!s->position || s->depth == depth);
    if (!check_feed(s, tokens, count, err)) return false;
    if (s->depth != depth) forget_exits(s);
    s->depth = depth;
    size_t row = s->model->config.vocab_size;
    for (uint32_t at = 0; at < count;) {
        uint32_t size = count - at < CHUNK ? count - at : CHUNK;
        uint32_t behind = count - at - size; // tokens after this chunk
        uint32_t here = wanted > behind ? wanted - behind : 0;
        if (here > size) here = size;
        if (!feed_chunk(s, tokens + at, size, here, logits, err)) return false;
        if (here) logits += here * row;
        at += size;
    }
    return true;
}
