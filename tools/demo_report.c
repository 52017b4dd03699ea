// demo_report BASE TUNED DATA.json: what SoFT did, as one table. Per exit of TUNED: loss and exact
// match of both models on DATA, the speed at that depth, and the answer to one of DATA's records.
#include "cli.h"
#include "infer/generate.h"
#include "text/alpaca.h"
#include "train/alpaca_file.h"
#include "train/evaluate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMED_TOKENS = 64, ANSWER_TOKENS = 40 };

typedef struct {
    uint32_t depths[CONFIG_MAX_EXITS]; // (count)
    uint32_t count;
    DepthScore base[CONFIG_MAX_EXITS], tuned[CONFIG_MAX_EXITS]; // (count)
    double tokens_per_second[CONFIG_MAX_EXITS];                 // (count), of tuned
    char *answers[CONFIG_MAX_EXITS];                            // (count), of tuned
} Report;

static bool score(Loaded *loaded, const char *data, const Report *report, DepthScore *scores,
                  Error *err)
{
    Dataset set;
    if (!dataset_load(&set, data, loaded->tokenizer, loaded->model.config.context, err))
        return false;
    bool ok =
        evaluate(&loaded->model, &set, report->depths, report->count, scores, NULL, NULL, err);
    dataset_free(&set);
    return ok;
}

// One greedy run; NULL and a message on failure. Speed is measured without stopping at EOS.
static char *answer(Loaded *loaded, Session *session, const TokenList *prompt, uint32_t depth,
                    double *tokens_per_second, Error *err)
{
    Generation out;
    if (!generate_greedy(&out, session, prompt->ids, (uint32_t)prompt->count, depth, TIMED_TOKENS,
                         NULL, 0, err))
        return NULL;
    *tokens_per_second = 1e3 / generation_ms_per_token(&out);
    generation_free(&out);
    if (!generate_greedy(&out, session, prompt->ids, (uint32_t)prompt->count, depth, ANSWER_TOKENS,
                         loaded->model.config.eos, loaded->model.config.eos_count, err))
        return NULL;
    char *text = tokenizer_decode(loaded->tokenizer, out.tokens, out.count);
    if (!text) error_set(err, "out of memory");
    generation_free(&out);
    return text;
}

static bool generate_all(Loaded *loaded, const AlpacaRecord *record, Report *report, Error *err)
{
    TokenList prompt = {0};
    char *text = alpaca_prompt(record->instruction, record->input);
    Session *session = session_open(&loaded->model, 0, err);
    bool ok = session && text && tokenizer_begin(loaded->tokenizer, &prompt) &&
              tokenizer_encode(loaded->tokenizer, text, strlen(text), &prompt, err);
    for (uint32_t i = 0; ok && i < report->count; i++) {
        report->answers[i] =
            answer(loaded, session, &prompt, report->depths[i], &report->tokens_per_second[i], err);
        ok = report->answers[i] != NULL;
    }
    session_close(session);
    token_list_free(&prompt);
    free(text);
    return ok;
}

static void print(const Report *report, const AlpacaRecord *record, size_t records)
{
    printf("\nHeld-out data, %zu records. Base: fine-tuned at the last block only (SFT).\n\n",
           records);
    printf("       |     SFT base      |    after SoFT     |          |\n");
    printf(" depth |    loss    exact  |    loss    exact  | tokens/s | answer after SoFT\n");
    printf("-------+-------------------+-------------------+----------+------------------\n");
    for (uint32_t i = 0; i < report->count; i++)
        printf(" %5u | %7.3f  %6.1f %% | %7.3f  %6.1f %% | %8.1f | %s\n", report->depths[i],
               report->base[i].loss, 100 * report->base[i].exact_match, report->tuned[i].loss,
               100 * report->tuned[i].exact_match, report->tokens_per_second[i],
               report->answers[i]);
    printf("\nThe question: %s %s\nExpected:     %s\n", record->instruction, record->input,
           record->output);
}

static bool run(const char *base, const char *tuned, const char *data, Error *err)
{
    Report report = {0};
    Loaded loaded = {0};
    AlpacaFile file;
    if (!alpaca_file_load(&file, data, err)) return false;
    bool ok = cli_load(&loaded, tuned, NULL, DTYPE_F32, err) &&
              (report.count = cli_depths(report.depths, "exits", &loaded.model.config, err)) &&
              score(&loaded, data, &report, report.tuned, err) &&
              generate_all(&loaded, &file.records[0], &report, err);
    cli_unload(&loaded);
    ok = ok && cli_load(&loaded, base, NULL, DTYPE_F32, err) &&
         report.depths[report.count - 1] <= loaded.model.config.blocks &&
         score(&loaded, data, &report, report.base, err);
    cli_unload(&loaded);
    if (ok) print(&report, &file.records[0], file.count);
    for (uint32_t i = 0; i < report.count; i++) free(report.answers[i]);
    alpaca_file_free(&file);
    return ok;
}

int main(int argc, char **argv)
{
    Error err = {"the base has fewer blocks than the exits of the tuned model"};
    if (argc != 4) return cli_usage("demo_report BASE TUNED DATA.json", "three arguments expected");
    return run(argv[1], argv[2], argv[3], &err) ? EXIT_OK : cli_fail(&err);
}
