// Measuring: see cli_bench.h.
#include "cli_bench.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WARM_PROMPTS = 4 }; // of a data file, that meet the numbers of rows that there are

// ---- one run -----------------------------------------------------------------------------------

static bool run_prompt(Bench *b, const BenchRow *row, uint32_t depth, BenchTiming *timing,
                       Error *err)
{
    uint32_t count = row->prompt_tokens;
    session_reset(b->session);
    double began = clock_seconds();
    if (!session_feed(b->session, b->text.ids, count, depth, 1, b->logits, err)) return false;
    double seconds = clock_seconds() - began;
    *timing = (BenchTiming){seconds, count, seconds, count};
    return true;
}

// Tokens that were computed, an EOS included.
static size_t heard(const Generation *g)
{
    return g->count + (g->end == END_EOS);
}

// The prompt but for its last token has passed all blocks that the policy may use before
// generation is timed, so that every token costs a pass, the first one too. (Timed from the first
// token on, drafts that were accepted with it would cost nothing.)
static bool run_text(Bench *b, const DepthPolicy *policy, Drafting *learned,
                     const BenchPrompt *prompt, BenchTiming *timing, Generation *out, Error *err)
{
    GenerateOptions options = {.policy = *policy,
                               .sampler = sampler_greedy(),
                               .max_tokens = prompt->most,
                               .clock = true,
                               .learned = learned};
    uint32_t fed = prompt->count - 1;
    if (b->options->data) options.eos = bench_eos(&b->loaded->model.config, &options.eos_count);
    session_reset(b->session);
    double began = clock_seconds();
    if (!session_feed(b->session, prompt->tokens, fed, policy->depth, 0, NULL, err)) return false;
    double fed_at = clock_seconds();
    if (!generate(out, session_engine(b->session), session_sequence(b->session),
                  prompt->tokens + fed, 1, &options, err))
        return false;
    double ended = clock_seconds();
    *timing = (BenchTiming){ended - fed_at, (double)heard(out), ended - began, (double)heard(out)};
    return true;
}

// ---- what came of it ---------------------------------------------------------------------------

static bool ends_text(const Bench *b, uint32_t token)
{
    uint32_t count;
    const uint32_t *eos = bench_eos(&b->loaded->model.config, &count);
    for (uint32_t i = 0; i < count; i++)
        if (token == eos[i]) return true;
    return false;
}

static bool is_answer(const Bench *b, const BenchPrompt *prompt, const Generation *g)
{
    const uint32_t *answer = prompt->tokens + prompt->count;
    return g->end == END_EOS && g->count + 1 == prompt->answer_count &&
           ends_text(b, answer[g->count]) && !memcmp(answer, g->tokens, g->count * sizeof *answer);
}

// The token at that place, with UINT32_MAX for an EOS, of which a model may have several.
static uint32_t token_at(const Generation *g, size_t i)
{
    return i < g->count ? g->tokens[i] : UINT32_MAX;
}

static bool keep_reference(BenchPrompt *prompt, const Generation *g, Error *err)
{
    free(prompt->reference);
    prompt->reference_count = (uint32_t)heard(g);
    prompt->reference = malloc((heard(g) + 1) * sizeof *prompt->reference);
    if (!prompt->reference) return error_set(err, "out of memory");
    for (size_t i = 0; i < heard(g); i++) prompt->reference[i] = token_at(g, i);
    return true;
}

static void count_text(const Bench *b, BenchRow *row, const BenchPrompt *prompt,
                       const Generation *g)
{
    const GenerationReport *r = &g->report;
    size_t length = heard(g), other = prompt->reference_count;
    for (uint32_t d = 1; d <= b->loaded->model.config.blocks; d++)
        row->tokens_at[d] += r->tokens_at[d];
    row->timed += length - 1;
    row->blocks_run += r->blocks_run;
    row->drafted += r->drafted;
    row->accepted += r->accepted;
    row->checks += r->rounds;
    row->texts++;
    row->exact += b->options->data && is_answer(b, prompt, g);
    row->compared += length > other ? length : other;
    for (size_t i = 0; i < length && i < other; i++)
        row->identical += token_at(g, i) == prompt->reference[i];
}

// ---- rounds ------------------------------------------------------------------------------------

static void add_timing(BenchTiming *sum, const BenchTiming *more)
{
    sum->seconds += more->seconds;
    sum->tokens += more->tokens;
    sum->whole_seconds += more->whole_seconds;
    sum->whole_tokens += more->whole_tokens;
}

// prompt NULL: a row of prompt processing. counted NULL: full depth, whose text becomes the
// reference.
static bool run_once(Bench *b, const BenchRow *row, BenchPrompt *prompt, BenchRow *counted,
                     BenchTiming *timing, Error *err)
{
    const DepthPolicy full = policy_fixed(b->loaded->model.config.blocks);
    const DepthPolicy *policy = counted ? &row->policy : &full;
    Generation out;
    if (!prompt) return run_prompt(b, row, policy->depth, timing, err);
    Drafting *learned = counted ? &counted->learned : NULL;
    if (!run_text(b, policy, learned, prompt, timing, &out, err)) return false;
    bool ok = counted || keep_reference(prompt, &out, err);
    if (counted) count_text(b, counted, prompt, &out);
    generation_free(&out);
    return ok;
}

// The rows (count) that share prompts and full depth, once for a prompt: full, row, full, row,
// full ...
static bool run_between(Bench *b, BenchRow *rows, size_t count, BenchPrompt *prompt, Error *err)
{
    BenchTiming own, before, behind;
    if (!run_once(b, rows, prompt, NULL, &before, err)) return false;
    for (size_t i = 0; i < count; i++) {
        BenchRow *row = &rows[i];
        if (!run_once(b, row, prompt, row, &own, err) ||
            !run_once(b, row, prompt, NULL, &behind, err))
            return false;
        add_timing(&row->own, &own);
        add_timing(&row->before, &before);
        add_timing(&row->behind, &behind);
        before = behind;
    }
    return true;
}

static double rate(double tokens, double seconds)
{
    return seconds > 0 ? tokens / seconds : 0;
}

static double over(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static void end_repeat(BenchRow *row, size_t repeat)
{
    const BenchTiming *own = &row->own, *full[] = {&row->before, &row->behind};
    double whole = rate(own->whole_tokens, own->whole_seconds);
    row->speeds[repeat] = rate(own->tokens, own->seconds);
    for (size_t i = 0; i < 2; i++) {
        row->ratios[2 * repeat + i] =
            over(row->speeds[repeat], rate(full[i]->tokens, full[i]->seconds));
        row->wholes[2 * repeat + i] =
            over(whole, rate(full[i]->whole_tokens, full[i]->whole_seconds));
    }
    row->own = row->before = row->behind = (BenchTiming){0};
}

// Rows from `first` on that belong together.
static size_t group_size(const Bench *b, size_t first)
{
    const BenchRow *row = &b->rows[first];
    size_t count = 1;
    while (first + count < b->row_count && row[count].prompt == row->prompt &&
           row[count].prompt_tokens == row->prompt_tokens)
        count++;
    return count;
}

// Every row once, generation for the first `most` prompts.
static bool run_round(Bench *b, size_t most, Error *err)
{
    for (size_t first = 0; first < b->row_count; first += group_size(b, first)) {
        BenchRow *rows = &b->rows[first];
        size_t count = group_size(b, first), prompts = rows->prompt ? 1 : most;
        for (size_t p = 0; p < prompts && (rows->prompt || p < b->prompt_count); p++)
            if (!run_between(b, rows, count, rows->prompt ? NULL : &b->prompts[p], err))
                return false;
    }
    return true;
}

static void forget(Bench *b)
{
    for (size_t i = 0; i < b->row_count; i++) {
        BenchRow *row = &b->rows[i];
        memset(row->tokens_at, 0, (b->loaded->model.config.blocks + 1) * sizeof *row->tokens_at);
        row->own = row->before = row->behind = (BenchTiming){0};
        row->timed = row->blocks_run = row->drafted = row->accepted = row->checks = 0;
        row->texts = row->exact = row->compared = row->identical = 0;
    }
}

static void show(uint64_t done, uint64_t all)
{
    if (!isatty(STDERR_FILENO)) return;
    if (done < all)
        fprintf(stderr, "\rrepeat %llu of %llu", (unsigned long long)done + 1,
                (unsigned long long)all);
    else
        fprintf(stderr, "\r%30s\r", "");
}

bool bench_run(Bench *b, Error *err)
{
    uint64_t repeats = b->options->repeats;
    show(0, repeats);
    if (!run_round(b, WARM_PROMPTS, err)) return false;
    forget(b);
    for (uint64_t r = 0; r < repeats; r++) {
        show(r, repeats);
        if (!run_round(b, SIZE_MAX, err)) return false;
        for (size_t i = 0; i < b->row_count; i++) end_repeat(&b->rows[i], r);
    }
    show(repeats, repeats);
    b->peak_bytes = gpu_memory_peak(b->loaded->gpu);
    return true;
}
