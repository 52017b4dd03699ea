// What strata bench measures: rows, prompts, labels. See cli_bench.h.
#define _POSIX_C_SOURCE 200809L
#include "cli_bench.h"
#include "infer/cost.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Encoded as often as it takes to fill a prompt.
static const char STORY[] =
    "The keeper of the lighthouse had a small blue boat and a dog that did not like water. Every"
    " morning they walked down to the shore, and every morning the dog sat on the sand while the"
    " keeper rowed out to see whether the nets had caught a fish. One day a storm came from the"
    " north. The waves were high, the lamp went dark, and nobody on the island could see the boat."
    " Then the dog began to bark, loud and long, until the keeper heard where the land was and"
    " rowed home. From that day on the dog had a place in the boat, and it liked the water a little"
    " more. ";

const uint32_t *bench_eos(const LlamaConfig *config, uint32_t *count)
{
    *count = config->eos_count;
    return config->eos;
}

const char *bench_row_test(const BenchRow *row, char *out, size_t size)
{
    if (row->prompt)
        snprintf(out, size, "pp%u", row->prompt_tokens);
    else if (row->gen_tokens)
        snprintf(out, size, "tg%u", row->gen_tokens);
    else
        snprintf(out, size, "answers");
    return out;
}

// ---- policies ----------------------------------------------------------------------------------

static int policy_option(const char *name)
{
    static const struct {
        const char *name;
        int option;
    } known[] = {{"depth", OPTION_DEPTH},           {"exit", OPTION_EXIT},
                 {"exits", OPTION_EXITS},           {"draft", OPTION_DRAFT},
                 {"confidence", OPTION_CONFIDENCE}, {"draft-stop", OPTION_DRAFT_STOP},
                 {"draft-window", OPTION_WINDOW}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i].name)) return known[i].option;
    return 0;
}

// One threshold for all exits is named as it was given, as a list of all exits can be long.
static bool one_threshold(const DepthPolicy *p)
{
    for (uint32_t i = 1; i < p->exit_count; i++)
        if (p->thresholds[i] != p->thresholds[0]) return false;
    return p->exit_count > 1;
}

// Names the policy with what is not the default of it.
static void describe(BenchRow *row, bool every_exit)
{
    const DepthPolicy *p = &row->policy;
    if (every_exit && one_threshold(p))
        snprintf(row->label, sizeof row->label, "exit %g of %u", p->thresholds[0], p->depth);
    else
        policy_describe(p, row->label, 256);
    size_t used = strlen(row->label), room = sizeof row->label;
    if (p->exit_count && p->confidence != CONFIDENCE_PROBABILITY)
        used += (size_t)snprintf(row->label + used, room - used, " by %s",
                                 CONFIDENCE_NAMES[p->confidence]);
    if (!policy_drafts(p)) return;
    if (p->window)
        used += (size_t)snprintf(row->label + used, room - used, " window %u", p->window);
    if (p->draft_stop != DRAFT_STOP_DEFAULT)
        snprintf(row->label + used, room - used, " stop %g", p->draft_stop);
}

// One policy: names of the options of generate, each with its value, without dashes. Changes text.
// every_exit: whether it is `exit`, not `exits`.
static bool parse_policy(Bench *b, DepthPolicy *policy, bool *every_exit, char *text, Error *err)
{
    DecodeOptions options = b->decode;
    char *rest = NULL, *name = strtok_r(text, " \t", &rest);
    for (; name; name = strtok_r(NULL, " \t", &rest)) {
        bool known;
        int option = policy_option(name);
        const char *value = strtok_r(NULL, " \t", &rest);
        if (!option)
            return error_set(err,
                             "--policies '%.40s': depth, exit, exits, draft, confidence, "
                             "draft-stop or draft-window is expected",
                             name);
        if (!value) return error_set(err, "--policies: '%s' lacks its value", name);
        if (!decode_option(&options, option, value, &known, err)) return false;
    }
    *every_exit = options.exit != NULL;
    return decode_check(&options, err) &&
           decode_policy(policy, &options, &b->loaded->model.config, err);
}

static BenchRow *add_row(Bench *b, Error *err)
{
    BenchRow *more = realloc(b->rows, (b->row_count + 1) * sizeof *more);
    uint64_t *tokens_at = calloc(b->loaded->model.config.blocks + 1, sizeof *tokens_at);
    if (more) b->rows = more;
    if (!more || !tokens_at) {
        free(tokens_at);
        error_set(err, "out of memory");
        return NULL;
    }
    BenchRow *row = &b->rows[b->row_count++];
    memset(row, 0, sizeof *row);
    row->tokens_at = tokens_at;
    return row;
}

static bool add_generation(Bench *b, const DepthPolicy *policy, bool every_exit, Error *err)
{
    BenchRow *row = add_row(b, err);
    if (!row) return false;
    row->policy = *policy;
    if (!b->options->data) {
        row->prompt_tokens = b->prompts->count;
        row->gen_tokens = (uint32_t)b->options->gen_tokens;
    }
    describe(row, every_exit);
    return true;
}

static bool add_policies(Bench *b, Error *err)
{
    char *copy = b->options->policies ? strdup(b->options->policies) : NULL;
    if (!copy) return !b->options->policies || error_set(err, "out of memory");
    bool ok = true;
    char *rest = NULL, *text = strtok_r(copy, ";", &rest);
    for (; ok && text; text = strtok_r(NULL, ";", &rest)) {
        DepthPolicy policy;
        bool every_exit = false;
        if (!text[strspn(text, " \t")]) continue;
        ok = parse_policy(b, &policy, &every_exit, text, err) &&
             add_generation(b, &policy, every_exit, err);
    }
    free(copy);
    return ok;
}

// ---- rows --------------------------------------------------------------------------------------

// Bytes are known beforehand where every token goes equally deep.
static void predict(Bench *b, BenchRow *row)
{
    Llama *model = &b->loaded->model;
    const DepthPolicy *p = &row->policy;
    if (!policy_is_fixed(p)) return;
    uint32_t tokens = row->prompt ? row->prompt_tokens : 1, passes = cost_prompt_passes(tokens);
    uint64_t bytes = cost_read_bytes(model, p->depth, tokens, passes, 1);
    uint64_t full = cost_read_bytes(model, model->config.blocks, tokens, passes, 1);
    row->weight_bytes = (double)bytes / tokens;
    row->full_bytes = (double)full / tokens;
}

static bool add_rows(Bench *b, Error *err)
{
    const LlamaConfig *config = &b->loaded->model.config;
    uint32_t depths[CONFIG_MAX_EXITS + 1];
    uint32_t count =
        cli_depths(depths, b->options->depths ? b->options->depths : "exits", config, err);
    if (!count) return false;
    if (depths[count - 1] != config->blocks) depths[count++] = config->blocks;
    for (uint32_t p = 0; p < b->options->prompt_count; p++)
        for (uint32_t i = 0; i < count; i++) {
            BenchRow *row = add_row(b, err);
            if (!row) return false;
            row->prompt = true;
            row->prompt_tokens = (uint32_t)b->options->prompts[p];
            row->policy = policy_fixed(depths[i]);
            describe(row, false);
        }
    for (uint32_t i = 0; b->prompt_count && i < count; i++) {
        const DepthPolicy policy = policy_fixed(depths[i]);
        if (!add_generation(b, &policy, false, err)) return false;
    }
    if (b->prompt_count && !add_policies(b, err)) return false;
    for (size_t i = 0; i < b->row_count; i++) predict(b, &b->rows[i]);
    return true;
}

// ---- prompts -----------------------------------------------------------------------------------

static bool make_text(Bench *b, size_t count, Error *err)
{
    if (!prompt_tokens(&b->text, b->loaded->tokenizer, STORY, err)) return false;
    while (b->text.count < count)
        if (!tokenizer_encode(b->loaded->tokenizer, STORY, strlen(STORY), &b->text, err))
            return false;
    return true;
}

// The first answer of a record: the tokens with loss behind its prompt.
static BenchPrompt read_example(const Bench *b, const Example *example)
{
    const uint8_t *marks = dataset_marks(&b->set, example);
    BenchPrompt p = {.tokens = b->set.tokens + example->first, .count = example->prompt};
    uint32_t end = p.count;
    while (end < example->length && (marks[end] & MARK_LOSS) && !(marks[end] & MARK_BEGIN)) end++;
    p.most = p.answer_count = end - p.count;
    if (b->options->gen_given && p.most > b->options->gen_tokens)
        p.most = (uint32_t)b->options->gen_tokens;
    return p;
}

static bool read_data(Bench *b, Error *err)
{
    const BenchOptions *o = b->options;
    if (!dataset_load(&b->set, o->data, b->loaded->tokenizer, b->loaded->model.config.context, err))
        return false;
    b->prompts = calloc(b->set.count, sizeof *b->prompts);
    if (!b->prompts) return error_set(err, "out of memory");
    for (size_t i = 0; i < b->set.count && b->prompt_count < o->records; i++) {
        BenchPrompt prompt = read_example(b, &b->set.examples[i]);
        if (prompt.count && prompt.most) b->prompts[b->prompt_count++] = prompt;
    }
    return b->prompt_count || error_set(err, "%s: no record has a prompt and an answer", o->data);
}

static bool make_prompt(Bench *b, Error *err)
{
    b->prompts = calloc(1, sizeof *b->prompts);
    if (!b->prompts) return error_set(err, "out of memory");
    b->prompt_count = 1;
    *b->prompts =
        (BenchPrompt){.tokens = b->text.ids,
                      .count = b->options->prompt_count ? (uint32_t)b->options->prompts[0] : 1,
                      .most = (uint32_t)b->options->gen_tokens};
    return true;
}

// Positions that the longest of all needs, at least 1; 0 and a message where the model has less.
static uint32_t context_needed(const Bench *b, Error *err)
{
    uint64_t most = 1, context = b->loaded->model.config.context;
    for (uint32_t i = 0; i < b->options->prompt_count; i++)
        if (b->options->prompts[i] > most) most = b->options->prompts[i];
    for (size_t i = 0; i < b->prompt_count; i++) {
        uint64_t needed = (uint64_t)b->prompts[i].count + b->prompts[i].most;
        if (needed > most) most = needed;
    }
    if (most <= context) return (uint32_t)most;
    error_set(err, "--prompt-tokens, --gen-tokens: %llu positions, but the model's context is %llu",
              (unsigned long long)most, (unsigned long long)context);
    return 0;
}

static bool make_prompts(Bench *b, Error *err)
{
    const BenchOptions *o = b->options;
    uint64_t most = 1;
    for (uint32_t i = 0; i < o->prompt_count; i++)
        if (o->prompts[i] > most) most = o->prompts[i];
    if (most > b->loaded->model.config.context)
        return error_set(err, "--prompt-tokens %llu: the model's context is %u tokens",
                         (unsigned long long)most, b->loaded->model.config.context);
    if (!make_text(b, most, err)) return false;
    if (o->data) return read_data(b, err);
    return !o->gen_tokens || make_prompt(b, err);
}

bool bench_open(Bench *b, const BenchOptions *options, Loaded *loaded, Error *err)
{
    *b = (Bench){
        .options = options, .loaded = loaded, .decode = decode_defaults(), .began = time(NULL)};
    b->decode.folder = options->folder;
    if (options->shared_head) llama_share_exits(&loaded->model);
    if (!make_prompts(b, err) || !add_rows(b, err)) return false;
    if (!b->row_count) return error_set(err, "--prompt-tokens 0 and --gen-tokens 0: nothing to do");
    uint32_t context = context_needed(b, err);
    if (!context || !(b->session = session_open(&loaded->model, context, err))) return false;
    b->logits = malloc(loaded->model.config.vocab_size * sizeof *b->logits);
    b->model_bytes = cost_model_bytes(&loaded->model);
    b->kv_bytes = (uint64_t)engine_pool(session_engine(b->session))->pages *
                  page_bytes(&loaded->model.config);
    return b->logits || error_set(err, "out of memory");
}

void bench_close(Bench *b)
{
    for (size_t i = 0; i < b->prompt_count; i++) free(b->prompts[i].reference);
    for (size_t i = 0; i < b->row_count; i++) free(b->rows[i].tokens_at);
    session_close(b->session);
    token_list_free(&b->text);
    if (b->set.examples) dataset_free(&b->set);
    free(b->prompts);
    free(b->rows);
    free(b->logits);
    *b = (Bench){0};
}
