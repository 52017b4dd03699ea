// Prompts in, answers out: see cli_batch.h.
#include "cli_batch.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "cli_report.h"
#include "cli_text.h"
#include "infer/batch.h"
#include "text/alpaca.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCH_LIMIT = 1 << 30 };

// One record and what becomes of it.
typedef struct {
    char place[64]; // "line 3" or "record 3", for messages
    cJSON *json;    // owns the texts that decode points to
    char number_texts[4][32];
    DecodeOptions decode;
    DepthPolicy policy;
    TokenList prompt;
    TextListener listener;
} Record;

typedef struct {
    const BatchOptions *options;
    Loaded *loaded;
    Record *records; // (count)
    size_t count, room;
    BatchItem *items;    // (count)
    Generation *results; // (count)
    size_t done, tokens;
    uint64_t blocks; // that ran for generated tokens
    double began;
} BatchRun;

// ---- records -----------------------------------------------------------------------------------

static Record *add_record(BatchRun *run, Error *err)
{
    if (run->count == run->room) {
        size_t room = run->room ? 2 * run->room : 64;
        Record *records = realloc(run->records, room * sizeof *records);
        if (!records) {
            error_set(err, "out of memory");
            return NULL;
        }
        run->records = records;
        run->room = room;
    }
    Record *record = &run->records[run->count++];
    *record = (Record){0};
    return record;
}

static bool add_list(BatchRun *run, cJSON *list, Error *err)
{
    for (size_t n = 1; list->child; n++) {
        Record *record = add_record(run, err);
        if (!record) return false;
        snprintf(record->place, sizeof record->place, "record %zu", n);
        record->json = cJSON_DetachItemViaPointer(list, list->child);
    }
    return true;
}

static bool add_lines(BatchRun *run, const char *text, size_t size, Error *err)
{
    size_t number = 0;
    for (const char *at = text, *end = text + size; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((stop ? stop : end) - at);
        number++;
        if (strspn(at, " \t\r") < length) {
            Record *record = add_record(run, err);
            char name[1200];
            if (!record) return false;
            snprintf(record->place, sizeof record->place, "line %zu", number);
            snprintf(name, sizeof name, "%s: %s", run->options->in, record->place);
            record->json = json_parse(at, length, name, err);
            if (!record->json) return false;
        }
        at += length + (stop != NULL);
    }
    return true;
}

static bool read_records(BatchRun *run, Error *err)
{
    char *text;
    size_t size;
    if (!file_read(&text, &size, run->options->in, BATCH_LIMIT, err)) return false;
    bool ok;
    if (text[strspn(text, " \t\r\n")] == '[') {
        cJSON *list = json_parse(text, size, run->options->in, err);
        ok = list && add_list(run, list, err);
        cJSON_Delete(list);
    } else {
        ok = add_lines(run, text, size, err);
    }
    free(text);
    if (ok && !run->count) ok = error_set(err, "%s: no prompts", run->options->in);
    return ok;
}

// ---- options of a record -----------------------------------------------------------------------

// What a record says of its policy replaces the command line's, in whatever order its keys come.
static void forget_policy(Record *r)
{
    for (const cJSON *value = r->json->child; value; value = value->next) {
        int option = decode_option_named(value->string);
        if (option == OPTION_DEPTH || option == OPTION_EXIT || option == OPTION_EXITS ||
            option == OPTION_DRAFT)
            r->decode.exit = r->decode.exits = r->decode.draft = NULL;
    }
}

static bool set_text(Record *r, int option, const char *value, Error *err)
{
    bool known;
    return decode_option(&r->decode, option, value, &known, err);
}

static bool set_stops(Record *r, const cJSON *list, Error *err)
{
    for (const cJSON *stop = list->child; stop; stop = stop->next) {
        if (!cJSON_IsString(stop))
            return error_set(err, "stop: a text or a list of texts is expected");
        if (!set_text(r, OPTION_STOP, stop->valuestring, err)) return false;
    }
    return true;
}

// A value as the command line would have it. Numbers become texts, which live in the record.
static bool set_option(Record *r, int option, const cJSON *value, Error *err)
{
    if (option == OPTION_STOP) r->decode.stop_count = 0;
    if (cJSON_IsArray(value) && option == OPTION_STOP) return set_stops(r, value, err);
    if (cJSON_IsString(value)) return set_text(r, option, value->valuestring, err);
    if (option == OPTION_STOP) return error_set(err, "stop: a text or a list of texts is expected");
    if (option == OPTION_EXITS || option == OPTION_CONFIDENCE)
        return error_set(err, "%s: a text is expected", value->string);
    if (!cJSON_IsNumber(value)) return error_set(err, "%s: a number or a text", value->string);
    int kept = option == OPTION_DEPTH   ? 0
               : option == OPTION_EXIT  ? 1
               : option == OPTION_DRAFT ? 2
                                        : 3;
    snprintf(r->number_texts[kept], sizeof r->number_texts[kept], "%.17g", value->valuedouble);
    return set_text(r, option, r->number_texts[kept], err);
}

static bool read_options(Record *r, bool strict, Error *err)
{
    forget_policy(r);
    for (const cJSON *value = r->json->child; value; value = value->next) {
        int option = decode_option_named(value->string);
        if (option) {
            if (!set_option(r, option, value, err)) return false;
        } else if (strict && strcmp(value->string, "prompt") != 0) {
            return error_set(err, "key '%.60s' is unknown", value->string);
        }
    }
    return decode_check(&r->decode, err);
}

static char *prompt_text(const BatchRun *run, const Record *r, Error *err)
{
    const char *prompt, *instruction, *input;
    if (!json_string_or(&prompt, r->json, "prompt", NULL, r->place, err) ||
        !json_string_or(&instruction, r->json, "instruction", NULL, r->place, err) ||
        !json_string_or(&input, r->json, "input", NULL, r->place, err))
        return NULL;
    if (!prompt == !instruction) {
        error_set(err, "one of prompt and instruction is expected");
        return NULL;
    }
    if (prompt) return prompt_read(prompt, NULL, run->options->alpaca, err);
    char *text = alpaca_prompt(instruction, input);
    if (!text) error_set(err, "out of memory");
    return text;
}

static bool read_record(BatchRun *run, Record *r, const DecodeOptions *defaults, Error *err)
{
    if (!cJSON_IsObject(r->json)) return error_set(err, "an object is expected");
    r->decode = *defaults;
    if (!read_options(r, cJSON_HasObjectItem(r->json, "prompt"), err) ||
        !decode_policy(&r->policy, &r->decode, &run->loaded->model.config, err))
        return false;
    char *text = prompt_text(run, r, err);
    bool ok = text && prompt_tokens(&r->prompt, run->loaded->tokenizer, text, err);
    free(text);
    uint32_t context = run->loaded->model.config.context;
    if (ok && r->prompt.count > context)
        ok = error_set(err, "a prompt of %zu tokens, but the context is %u tokens", r->prompt.count,
                       context);
    return ok;
}

static bool prepare(BatchRun *run, const DecodeOptions *defaults, Error *err)
{
    for (size_t i = 0; i < run->count; i++) {
        Record *r = &run->records[i];
        Error inner;
        if (!read_record(run, r, defaults, &inner))
            return error_set(err, "%s: %s: %.300s", run->options->in, r->place, inner.text);
    }
    run->items = calloc(run->count, sizeof *run->items);
    run->results = calloc(run->count, sizeof *run->results);
    if (!run->items || !run->results) return error_set(err, "out of memory");
    for (size_t i = 0; i < run->count; i++) {
        Record *r = &run->records[i];
        text_listener_begin(&r->listener, run->loaded->tokenizer, &r->decode, false);
        run->items[i] = (BatchItem){r->prompt.ids,
                                    (uint32_t)r->prompt.count,
                                    {.policy = r->policy,
                                     .sampler = r->decode.sampler,
                                     .max_tokens = (uint32_t)r->decode.max_tokens,
                                     .eos = run->loaded->model.config.eos,
                                     .eos_count = run->loaded->model.config.eos_count,
                                     .token = text_listener_token,
                                     .user = &r->listener}};
    }
    return true;
}

// ---- running -----------------------------------------------------------------------------------

static void show_progress(void *user, size_t index)
{
    BatchRun *run = user;
    run->done++;
    run->tokens += run->results[index].count;
    run->blocks += run->results[index].report.blocks_run;
    if (!isatty(STDERR_FILENO)) return;
    double seconds = clock_seconds() - run->began, left = seconds / (double)run->done;
    fprintf(stderr, "\r%zu of %zu prompts, %.1f tokens/s, %.0f s left \033[K", run->done,
            run->count, (double)run->tokens / seconds, left * (double)(run->count - run->done));
    if (run->done == run->count) fprintf(stderr, "\r\033[K");
}

// Positions of the longest item, with all that may follow.
static uint32_t longest(const BatchRun *run)
{
    uint64_t most = 1, context = run->loaded->model.config.context;
    for (size_t i = 0; i < run->count; i++) {
        uint64_t tokens = run->items[i].count + (uint64_t)run->items[i].options.max_tokens;
        if (tokens > most) most = tokens;
    }
    return (uint32_t)(most < context ? most : context);
}

static Engine *open_engine(const BatchRun *run, Error *err)
{
    const BatchOptions *o = run->options;
    uint32_t context = longest(run);
    uint64_t page = page_bytes(&run->loaded->model.config);
    uint64_t places = run->count < o->places ? run->count : o->places;
    uint64_t pages = places * pages_for(context); // more would never be used
    if (o->kv_budget && o->kv_budget / page < pages) pages = o->kv_budget / page;
    if (!pages) {
        error_set(err, "--kv-budget: %llu bytes, but a page of %d positions takes %llu",
                  (unsigned long long)o->kv_budget, PAGE_POSITIONS, (unsigned long long)page);
        return NULL;
    }
    uint32_t most = UINT32_MAX / PAGE_POSITIONS;
    return engine_open(&run->loaded->model, context, pages < most ? (uint32_t)pages : most, err);
}

static bool generate_all(BatchRun *run, Error *err)
{
    Engine *engine = open_engine(run, err);
    run->began = clock_seconds();
    Error inner;
    bool ok = engine && (batch_generate(run->results, engine, run->items, run->count,
                                        run->options->places, show_progress, run, &inner) ||
                         error_set(err, "%s: %.300s", run->options->in, inner.text));
    engine_close(engine);
    if (!ok) return false;
    double seconds = clock_seconds() - run->began;
    fprintf(stderr,
            "%zu prompts, %zu tokens in %.1f s: %.1f tokens/s, %.2f of %u blocks per token\n",
            run->count, run->tokens, seconds, (double)run->tokens / seconds,
            run->tokens ? (double)run->blocks / (double)run->tokens : 0.0,
            run->loaded->model.config.blocks);
    return true;
}

// ---- answers -----------------------------------------------------------------------------------

static cJSON *answer_json(BatchRun *run, size_t i)
{
    Record *r = &run->records[i];
    const char *text = text_listener_end(&r->listener);
    const Report report = {
        &run->results[i], &r->policy, text, r->prompt.count, run->loaded->model.config.blocks, 0};
    if (!text) return NULL;
    if (run->options->pandalm) return cJSON_CreateString(text);
    cJSON *object = report_json(&report);
    cJSON *index = cJSON_CreateNumber((double)i);
    cJSON_AddItemToObject(object, "index", index);
    return object;
}

static bool write_lines(BatchRun *run, Error *err)
{
    FileWriter writer;
    if (!file_writer_open(&writer, run->options->out, err)) return false;
    for (size_t i = 0; i < run->count; i++) {
        cJSON *answer = answer_json(run, i);
        char *line = answer ? cJSON_PrintUnformatted(answer) : NULL;
        cJSON_Delete(answer);
        if (!line) {
            file_writer_abort(&writer);
            return error_set(err, "out of memory");
        }
        file_writer_put(&writer, line, strlen(line));
        file_writer_put(&writer, "\n", 1);
        free(line);
    }
    return file_writer_commit(&writer, err);
}

static bool write_list(BatchRun *run, Error *err)
{
    cJSON *list = cJSON_CreateArray();
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < run->count; i++) {
        cJSON *answer = answer_json(run, i);
        ok = answer && cJSON_AddItemToArray(list, answer);
    }
    ok = ok ? json_write(run->options->out, list, err) : error_set(err, "out of memory");
    cJSON_Delete(list);
    return ok;
}

// Said before anything is computed, not hours later.
static bool can_write(const char *path, Error *err)
{
    FileWriter writer;
    if (!file_writer_open(&writer, path, err)) return false;
    file_writer_abort(&writer);
    return true;
}

static void run_free(BatchRun *run)
{
    for (size_t i = 0; i < run->count; i++) {
        Record *r = &run->records[i];
        cJSON_Delete(r->json);
        token_list_free(&r->prompt);
        text_listener_free(&r->listener);
        if (run->results) generation_free(&run->results[i]);
    }
    free(run->records);
    free(run->items);
    free(run->results);
}

bool batch_run(const BatchOptions *options, const DecodeOptions *defaults, Loaded *loaded,
               Error *err)
{
    BatchRun run = {.options = options, .loaded = loaded};
    bool ok = read_records(&run, err) && prepare(&run, defaults, err) &&
              can_write(options->out, err) && generate_all(&run, err) &&
              (options->pandalm ? write_list(&run, err) : write_lines(&run, err));
    run_free(&run);
    return ok;
}
