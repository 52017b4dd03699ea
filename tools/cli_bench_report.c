// What strata bench prints: see cli_bench.h.
#include "cli_bench.h"
#include "infer/cost.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    Summary speed, ratio, whole;
    double ms, blocks, acceptance, share; // 0: not there
} Figures;

static Figures figures_of(const Bench *b, const BenchRow *row)
{
    size_t repeats = b->options->repeats;
    Figures f = {.speed = statistics_summarize(row->speeds, repeats),
                 .ratio = statistics_summarize(row->ratios, 2 * repeats),
                 .whole = statistics_summarize(row->wholes, 2 * repeats)};
    if (f.speed.median > 0) f.ms = 1e3 / f.speed.median;
    if (row->prompt)
        f.blocks = row->policy.depth;
    else if (row->timed)
        f.blocks = (double)row->blocks_run / (double)row->timed;
    if (row->drafted) f.acceptance = (double)row->accepted / (double)row->drafted;
    f.share = cost_share_reached(f.ratio.median, row->weight_bytes, row->full_bytes);
    return f;
}

const char *bench_dtype(const Bench *b)
{
    return dtype_name(b->loaded->model.blocks[0].q.dtype);
}

static double share_of(uint64_t part, uint64_t all)
{
    return all ? (double)part / (double)all : 0;
}

// ---- table -------------------------------------------------------------------------------------

static void print_head(const Bench *b)
{
    const GpuInfo *gpu = gpu_info(b->loaded->gpu);
    const LlamaConfig *c = &b->loaded->model.config;
    char date[CLI_DATE];
    uint64_t known = b->model_bytes + b->kv_bytes;
    printf("strata %s, %s\n%s, %s\n", STRATA_VERSION, cli_date(b->began, date), gpu->name,
           gpu->driver);
    printf("%s: %llu parameters, %u blocks of width %u, vocabulary %u, %s\n", b->options->folder,
           (unsigned long long)config_parameters(c), c->blocks, c->width, c->vocab_size,
           bench_dtype(b));
    printf("device memory: %.2f MB at the peak: weights %.2f, keys and values %.2f, other %.2f\n",
           1e-6 * (double)b->peak_bytes, 1e-6 * (double)b->model_bytes, 1e-6 * (double)b->kv_bytes,
           1e-6 * (double)(b->peak_bytes > known ? b->peak_bytes - known : 0));
    if (b->options->data)
        printf("answers: the first %zu records of %s\n", b->prompt_count, b->options->data);
    printf("medians of %llu repeats with lowest and highest; x full: over full depth run just "
           "before and just behind\n\n",
           (unsigned long long)b->options->repeats);
}

// A number, or "-" where it is 0, right-aligned.
static void print_or_dash(int width, const char *format, double value)
{
    char text[40];
    snprintf(text, sizeof text, format, value);
    printf("  %*s", width, value > 0 ? text : "-");
}

// A factor and its bounds, which a hitch of the machine can make large.
static void print_factors(double factor, double low, double high)
{
    const double values[] = {factor, low, high};
    for (int i = 0; i < 3; i++)
        printf("%s%5.*f%s", i ? " " : "  ", values[i] < 100 ? 2 : 0, values[i], i ? "" : "x");
}

static void print_row(const Bench *b, const BenchRow *row, int label)
{
    char test[24];
    Figures f = figures_of(b, row);
    printf("%-8s  %-*s  %9.1f  %9.1f  %9.1f", bench_row_test(row, test, sizeof test), label,
           row->label, f.speed.median, f.speed.lowest, f.speed.highest);
    print_or_dash(6, "%.1f%%", f.speed.median > 0 ? 100 * f.speed.deviation / f.speed.median : 0);
    print_or_dash(9, "%.3f", f.ms);
    print_factors(f.ratio.median, f.ratio.lowest, f.ratio.highest);
    print_or_dash(6, "%.2f", f.blocks);
    print_or_dash(8, "%.0f%%", 100 * f.acceptance);
    print_or_dash(8, "%.3f", 1e-6 * row->weight_bytes);
    print_or_dash(7, "%.2f", f.share);
    if (row->prompt)
        printf("  %9s", "-");
    else
        printf("  %8.1f%%", 100 * share_of(row->identical, row->compared));
    if (!b->options->data) return;
    if (row->prompt)
        printf("  %6s  %6s", "-", "-");
    else
        printf("  %5.2fx  %5.1f%%", f.whole.median, 100 * share_of(row->exact, row->texts));
}

static void print_change(const BenchChange *c)
{
    if (c->change == CHANGE_NONE) {
        printf("  new");
        return;
    }
    print_factors(c->speed.ratio, c->speed.low, c->speed.high);
    printf("  %s", CHANGE_NAMES[c->change]);
}

void bench_print_table(const Bench *b, const BenchChange *changes)
{
    int label = 6;
    for (size_t i = 0; i < b->row_count; i++) {
        int length = (int)strlen(b->rows[i].label);
        if (length > label) label = length;
    }
    print_head(b);
    printf("%-8s  %-*s  %9s  %9s  %9s  %6s  %9s  %-18s  %6s  %8s  %8s  %7s  %9s", "test", label,
           "policy", "tokens/s", "lowest", "highest", "spread", "ms/token", "x full", "blocks",
           "accepted", "MB read", "reached", "identical");
    printf("%s%s\n", b->options->data ? "  whole   exact " : "",
           changes ? "  new/old 95% of cases" : "");
    for (size_t i = 0; i < b->row_count; i++) {
        print_row(b, &b->rows[i], label);
        if (changes) print_change(&changes[i]);
        printf("\n");
    }
}

// ---- JSON --------------------------------------------------------------------------------------

static cJSON *summary_json(const Summary *s)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "median", s->median);
    cJSON_AddNumberToObject(object, "lowest", s->lowest);
    cJSON_AddNumberToObject(object, "highest", s->highest);
    cJSON_AddNumberToObject(object, "deviation", s->deviation);
    return object;
}

static void add_generation(cJSON *object, const Bench *b, const BenchRow *row)
{
    cJSON *depths = cJSON_AddObjectToObject(object, "tokens_at");
    for (uint32_t d = 1; d <= b->loaded->model.config.blocks; d++) {
        char key[16];
        snprintf(key, sizeof key, "%u", d);
        if (row->tokens_at[d]) cJSON_AddNumberToObject(depths, key, (double)row->tokens_at[d]);
    }
    if (policy_drafts(&row->policy)) {
        cJSON_AddNumberToObject(object, "drafted", (double)row->drafted);
        cJSON_AddNumberToObject(object, "accepted", (double)row->accepted);
        cJSON_AddNumberToObject(object, "acceptance", share_of(row->accepted, row->drafted));
        cJSON_AddNumberToObject(object, "checks", (double)row->checks);
    }
    cJSON_AddNumberToObject(object, "identical", share_of(row->identical, row->compared));
    if (b->options->data)
        cJSON_AddNumberToObject(object, "exact_match", share_of(row->exact, row->texts));
}

static cJSON *change_json(const BenchChange *c)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "change", CHANGE_NAMES[c->change]);
    if (c->change == CHANGE_NONE) return object;
    cJSON_AddNumberToObject(object, "ratio", c->speed.ratio);
    cJSON_AddNumberToObject(object, "low", c->speed.low);
    cJSON_AddNumberToObject(object, "high", c->speed.high);
    cJSON_AddNumberToObject(object, "old_tokens_per_second", c->old_median);
    if (c->old_speedup > 0) cJSON_AddNumberToObject(object, "old_speedup", c->old_speedup);
    return object;
}

static cJSON *row_json(const Bench *b, const BenchRow *row, const BenchChange *change)
{
    Figures f = figures_of(b, row);
    int repeats = (int)b->options->repeats;
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "kind", row->prompt ? "prompt" : "generation");
    cJSON_AddNumberToObject(object, "prompt_tokens", row->prompt_tokens);
    cJSON_AddNumberToObject(object, "gen_tokens", row->gen_tokens);
    cJSON_AddStringToObject(object, "policy", row->label);
    cJSON_AddNumberToObject(object, "depth", row->policy.depth);
    cJSON_AddItemToObject(object, "tokens_per_second", summary_json(&f.speed));
    cJSON_AddNumberToObject(object, "ms_per_token", f.ms);
    cJSON_AddItemToObject(object, "speedup", summary_json(&f.ratio));
    cJSON_AddItemToObject(object, "speedup_whole", summary_json(&f.whole));
    cJSON_AddItemToObject(object, "repeats", cJSON_CreateDoubleArray(row->speeds, repeats));
    cJSON_AddItemToObject(object, "speedups", cJSON_CreateDoubleArray(row->ratios, 2 * repeats));
    cJSON_AddNumberToObject(object, "blocks_per_token", f.blocks);
    if (row->weight_bytes > 0) {
        cJSON_AddNumberToObject(object, "weight_bytes_per_token", row->weight_bytes);
        cJSON_AddNumberToObject(object, "predicted_speedup", row->full_bytes / row->weight_bytes);
        cJSON_AddNumberToObject(object, "predicted_reached", f.share);
    }
    if (!row->prompt) add_generation(object, b, row);
    if (change) cJSON_AddItemToObject(object, "compared", change_json(change));
    return object;
}

static cJSON *model_json(const Bench *b)
{
    const LlamaConfig *c = &b->loaded->model.config;
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "folder", b->options->folder);
    cJSON_AddNumberToObject(object, "parameters", (double)config_parameters(c));
    cJSON_AddNumberToObject(object, "blocks", c->blocks);
    cJSON_AddNumberToObject(object, "width", c->width);
    cJSON_AddNumberToObject(object, "vocabulary", c->vocab_size);
    cJSON_AddStringToObject(object, "dtype", bench_dtype(b));
    return object;
}

static cJSON *settings_json(const Bench *b)
{
    const BenchOptions *o = b->options;
    cJSON *object = cJSON_CreateObject();
    cJSON *prompts = cJSON_AddArrayToObject(object, "prompt_tokens");
    for (uint32_t i = 0; i < o->prompt_count; i++)
        cJSON_AddItemToArray(prompts, cJSON_CreateNumber((double)o->prompts[i]));
    cJSON_AddNumberToObject(object, "gen_tokens", (double)o->gen_tokens);
    cJSON_AddNumberToObject(object, "repeat", (double)o->repeats);
    cJSON_AddBoolToObject(object, "shared_head", o->shared_head);
    if (!o->data) return object;
    cJSON_AddStringToObject(object, "data", o->data);
    cJSON_AddNumberToObject(object, "records", (double)b->prompt_count);
    return object;
}

static cJSON *memory_json(const Bench *b)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "peak_bytes", (double)b->peak_bytes);
    cJSON_AddNumberToObject(object, "model_bytes", (double)b->model_bytes);
    cJSON_AddNumberToObject(object, "kv_bytes", (double)b->kv_bytes);
    return object;
}

bool bench_print_json(const Bench *b, const BenchChange *changes, Error *err)
{
    char date[CLI_DATE];
    const GpuInfo *gpu = gpu_info(b->loaded->gpu);
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "strata", STRATA_VERSION);
    cJSON_AddStringToObject(object, "date", cli_date(b->began, date));
    cJSON_AddStringToObject(object, "device", gpu->name);
    cJSON_AddStringToObject(object, "driver", gpu->driver);
    cJSON_AddItemToObject(object, "model", model_json(b));
    cJSON_AddItemToObject(object, "settings", settings_json(b));
    cJSON_AddItemToObject(object, "memory", memory_json(b));
    cJSON *rows = cJSON_AddArrayToObject(object, "rows");
    for (size_t i = 0; i < b->row_count; i++)
        cJSON_AddItemToArray(rows, row_json(b, &b->rows[i], changes ? &changes[i] : NULL));
    return cli_print_json(object, err);
}

// ---- CSV ---------------------------------------------------------------------------------------

static void print_quoted(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"') putchar('"');
        putchar(*text);
    }
    printf("\",");
}

static void print_csv_row(const Bench *b, const BenchRow *row)
{
    Figures f = figures_of(b, row);
    char date[CLI_DATE];
    print_quoted(cli_date(b->began, date));
    print_quoted(gpu_info(b->loaded->gpu)->name);
    print_quoted(gpu_info(b->loaded->gpu)->driver);
    print_quoted(b->options->folder);
    printf("%llu,%s,%s,%u,%u,", (unsigned long long)config_parameters(&b->loaded->model.config),
           bench_dtype(b), row->prompt ? "prompt" : "generation", row->prompt_tokens,
           row->gen_tokens);
    print_quoted(row->label);
    printf("%llu,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.0f,%.6g,",
           (unsigned long long)b->options->repeats, f.speed.median, f.speed.lowest, f.speed.highest,
           f.speed.deviation, f.ms, f.ratio.median, f.ratio.lowest, f.ratio.highest, f.whole.median,
           f.blocks, f.acceptance, row->weight_bytes, f.share);
    if (!row->prompt) printf("%.6g", share_of(row->identical, row->compared));
    putchar(',');
    if (!row->prompt && b->options->data) printf("%.6g", share_of(row->exact, row->texts));
    printf(",%llu,%llu,%llu", (unsigned long long)b->peak_bytes, (unsigned long long)b->model_bytes,
           (unsigned long long)b->kv_bytes);
}

void bench_print_csv(const Bench *b, const BenchChange *changes)
{
    printf("date,device,driver,model,parameters,dtype,kind,prompt_tokens,gen_tokens,policy,repeats,"
           "tokens_per_second,lowest,highest,deviation,ms_per_token,speedup,speedup_lowest,"
           "speedup_highest,speedup_whole,blocks_per_token,acceptance,weight_bytes_per_token,"
           "predicted_reached,identical,exact_match,peak_bytes,model_bytes,kv_bytes%s\n",
           changes ? ",change,new_over_old,new_over_old_low,new_over_old_high" : "");
    for (size_t i = 0; i < b->row_count; i++) {
        print_csv_row(b, &b->rows[i]);
        if (changes) {
            const BenchChange *c = &changes[i];
            printf(",%s,", CHANGE_NAMES[c->change]);
            if (c->change == CHANGE_NONE)
                printf(",,");
            else
                printf("%.6g,%.6g,%.6g", c->speed.ratio, c->speed.low, c->speed.high);
        }
        printf("\n");
    }
}
