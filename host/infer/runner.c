// Tapes of blocks and exits, and their tables: see runner.h.
#include "infer/runner.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOT_ROWS, SLOT_WANTED }; // of the counts

// Kernels work on tiles of rows, so there are tapes for a few numbers of rows, and the smallest
// that suffices is run. Which one it is changes no bit.
static const uint32_t SIZES[] = {1, 2, 4, 8, RUNNER_ROWS};
enum { SETS = sizeof SIZES / sizeof *SIZES };

// Recorded when they are first needed, replayed ever after.
typedef struct {
    uint32_t rows;
    Tape *embed, *load, *store;
    Tape **blocks; // (L)
    Tape **exits;  // (L + 1) by depth
} TapeSet;

struct Runner {
    Llama *model;
    PagePool *pool;
    Counts *counts;
    BlockActivations activations;
    Tensor turns;
    // R = RUNNER_ROWS; MEMORY_HOST
    Tensor tokens, slots, wanted; // (R, 1)
    Tensor row_table;             // (R, ROW_WORDS)
    Tensor pages;                 // (pool's pages, 1)
    Tensor logits;                // (R, V)
    Tensor stream;                // (R, D): the residual stream
    Tensor last, normed;          // (R, D) behind an exit
    TapeSet sets[SETS];
    Tape **list; // (L + 4) what is submitted
};

// ---- recording ---------------------------------------------------------------------------------

typedef void Record(Runner *r, Tape *tape, uint32_t depth, Rows rows);

static void record_embed(Runner *r, Tape *tape, uint32_t depth, Rows rows)
{
    (void)depth;
    op_embed(tape, r->stream, r->tokens, r->model->embed, rows);
}

static void record_load(Runner *r, Tape *tape, uint32_t depth, Rows rows)
{
    (void)depth;
    op_gather(tape, r->stream, r->pool->residuals, r->slots, rows);
}

static void record_store(Runner *r, Tape *tape, uint32_t depth, Rows rows)
{
    (void)depth;
    op_scatter(tape, r->pool->residuals, r->stream, r->slots, false, rows);
}

static void record_block(Runner *r, Tape *tape, uint32_t depth, Rows rows)
{
    const BlockRows block_rows = {rows, r->row_table, r->turns};
    BlockCache cache = r->pool->caches[depth];
    cache.slots = r->slots;
    cache.pages = r->pages;
    block_cached(tape, &r->model->config, &r->model->blocks[depth], &r->activations, r->stream,
                 &block_rows, &cache);
}

// An exit has its own norm and head where the model says so.
static void record_exit(Runner *r, Tape *tape, uint32_t depth, Rows rows)
{
    const Llama *m = r->model;
    Tensor norm = llama_exit_norm(m, depth);
    rows.slot = SLOT_WANTED;
    op_gather(tape, r->last, r->stream, r->wanted, rows);
    if (norm.span) op_rmsnorm(tape, r->normed, r->last, norm, (float)m->config.norm_epsilon, rows);
    op_matmul(tape, r->logits, norm.span ? r->normed : r->last, llama_exit_head(m, depth), rows);
}

// *tape, recorded if it is not there yet; NULL and a message on failure.
static Tape *ready(Runner *r, Tape **tape, const char *what, Record *record, uint32_t depth,
                   uint32_t rows, Error *err)
{
    char label[40];
    bool numbered = record == record_block || record == record_exit;
    if (*tape) return *tape;
    snprintf(label, sizeof label, numbered ? "%s %u" : "%s", what, depth);
    Tape *made = tape_begin(r->model->gpu, label, err);
    if (!made) return NULL;
    record(r, made, depth, (Rows){r->counts, SLOT_ROWS, 0, rows});
    if (tape_end(made, err)) return *tape = made;
    tape_free(made);
    return NULL;
}

static TapeSet *set_for(Runner *r, uint32_t rows)
{
    TapeSet *set = r->sets;
    while (set->rows < rows) set++;
    return set;
}

// ---- life time ---------------------------------------------------------------------------------

static bool make_tensors(Runner *r, Error *err)
{
    const LlamaConfig *c = &r->model->config;
    const struct {
        Tensor *tensor;
        Memory memory;
        uint32_t rows, cols;
    } all[] = {
        {&r->tokens, MEMORY_HOST, RUNNER_ROWS, 1},
        {&r->slots, MEMORY_HOST, RUNNER_ROWS, 1},
        {&r->wanted, MEMORY_HOST, RUNNER_ROWS, 1},
        {&r->row_table, MEMORY_HOST, RUNNER_ROWS, ROW_WORDS},
        {&r->pages, MEMORY_HOST, r->pool->pages, 1},
        {&r->logits, MEMORY_HOST, RUNNER_ROWS, c->vocab_size},
        {&r->stream, MEMORY_DEVICE, RUNNER_ROWS, c->width},
        {&r->last, MEMORY_DEVICE, RUNNER_ROWS, c->width},
        {&r->normed, MEMORY_DEVICE, RUNNER_ROWS, c->width},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        *all[i].tensor = tensor_make(r->model->gpu, all[i].memory, all[i].rows, all[i].cols, err);
        if (!all[i].tensor->span) return false;
    }
    return true;
}

static bool make_sets(Runner *r, Error *err)
{
    size_t room = r->model->config.blocks + 1;
    r->list = calloc(room + 3, sizeof(Tape *));
    bool ok = r->list != NULL;
    for (int i = 0; i < SETS; i++) {
        TapeSet *set = &r->sets[i];
        set->rows = SIZES[i];
        set->blocks = calloc(2 * room, sizeof(Tape *));
        if (!set->blocks) return error_set(err, "out of memory");
        set->exits = set->blocks + room;
    }
    return ok || error_set(err, "out of memory");
}

Runner *runner_open(Llama *model, PagePool *pool, uint32_t context, Error *err)
{
    Runner *r = calloc(1, sizeof *r);
    if (!r) {
        error_set(err, "out of memory");
        return NULL;
    }
    *r = (Runner){.model = model, .pool = pool};
    bool ok = make_sets(r, err) && make_tensors(r, err) &&
              (r->counts = counts_open(model->gpu, err)) != NULL;
    if (ok) r->turns = rope_turns_make(model->gpu, &model->config, context, err);
    if (ok && r->turns.span &&
        block_activations_make(&r->activations, model->gpu, &model->config, RUNNER_ROWS, err))
        return r;
    runner_close(r);
    return NULL;
}

static void set_free(TapeSet *set, uint32_t blocks)
{
    tape_free(set->embed);
    tape_free(set->load);
    tape_free(set->store);
    for (size_t i = 0; set->blocks && i < 2 * ((size_t)blocks + 1); i++) tape_free(set->blocks[i]);
    free(set->blocks);
}

void runner_close(Runner *r)
{
    if (!r) return;
    Gpu *gpu = r->model->gpu;
    for (int i = 0; i < SETS; i++) set_free(&r->sets[i], r->model->config.blocks);
    block_activations_free(&r->activations, gpu);
    Tensor *const tensors[] = {&r->turns, &r->tokens, &r->slots, &r->wanted, &r->row_table,
                               &r->pages, &r->stream, &r->last,  &r->normed, &r->logits};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) tensor_free(gpu, tensors[i]);
    counts_close(r->counts);
    free(r->list);
    free(r);
}

// ---- running -----------------------------------------------------------------------------------

// The pages of each sequence, one list behind the other; a position attends to itself and to what
// is before it, or in its window.
static void write_tables(Runner *r, const RunRow *rows, uint32_t count)
{
    uint32_t *table = tensor_host(r->row_table), *slots = tensor_host(r->slots);
    uint32_t *tokens = tensor_host(r->tokens), *pages = tensor_host(r->pages);
    uint32_t begin = 0, end = 0; // of the list of the row's sequence
    for (uint32_t i = 0; i < count; i++) {
        const Sequence *s = rows[i].sequence;
        if (!i || s != rows[i - 1].sequence) {
            begin = end;
            memcpy(pages + begin, s->pages, s->page_count * sizeof *pages);
            end += s->page_count;
        }
        uint32_t *row = table + (size_t)ROW_WORDS * i;
        row[ROW_POSITION] = rows[i].position;
        row[ROW_FIRST_KEY] = config_first_key(&r->model->config, rows[i].position);
        row[ROW_LAST_KEY] = rows[i].position + 1;
        row[ROW_PAGES] = begin;
        tokens[i] = s->tokens[rows[i].position];
        slots[i] = sequence_slot(s, rows[i].position);
    }
    counts_set(r->counts, SLOT_ROWS, count);
}

// How many rows want logits.
static uint32_t write_wanted(Runner *r, const RunRow *rows, uint32_t count)
{
    uint32_t *wanted = tensor_host(r->wanted), n = 0;
    for (uint32_t i = 0; i < count; i++)
        if (rows[i].logits) wanted[n++] = i;
    counts_set(r->counts, SLOT_WANTED, n);
    return n;
}

// Lists what is to be submitted; 0 and a message on failure.
static size_t list_tapes(Runner *r, uint32_t count, uint32_t wanted, uint32_t from, uint32_t to,
                         Error *err)
{
    TapeSet *set = set_for(r, count);
    Tape **list = r->list;
    *list++ = from ? ready(r, &set->load, "load", record_load, 0, set->rows, err)
                   : ready(r, &set->embed, "embed", record_embed, 0, set->rows, err);
    for (uint32_t i = from; i < to && list[-1]; i++)
        *list++ = ready(r, &set->blocks[i], "block", record_block, i, set->rows, err);
    if (to < r->model->config.blocks && list[-1])
        *list++ = ready(r, &set->store, "store", record_store, 0, set->rows, err);
    if (wanted && list[-1]) {
        set = set_for(r, wanted);
        *list++ = ready(r, &set->exits[to], "exit", record_exit, to, set->rows, err);
    }
    return list[-1] ? (size_t)(list - r->list) : 0;
}

static void read_logits(const Runner *r, const RunRow *rows, uint32_t count)
{
    size_t vocab = r->model->config.vocab_size;
    const float *from = tensor_host(r->logits);
    for (uint32_t i = 0; i < count; i++) {
        if (!rows[i].logits) continue;
        memcpy(rows[i].logits, from, vocab * sizeof *from);
        from += vocab;
    }
}

bool runner_run(Runner *r, const RunRow *rows, uint32_t count, uint32_t from, uint32_t to,
                Error *err)
{
    assert(count > 0 && count <= RUNNER_ROWS && from < to && to <= r->model->config.blocks);
    write_tables(r, rows, count);
    uint32_t wanted = write_wanted(r, rows, count);
    size_t tapes = list_tapes(r, count, wanted, from, to, err);
    if (!tapes || !gpu_run(r->model->gpu, r->list, tapes, err)) return false;
    read_logits(r, rows, count);
    return true;
}
