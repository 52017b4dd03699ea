// strata profile static: compiles every pipeline that ops choose on a device, with --all those of
// every variant, runs nothing, and prints what the driver's compiler says of each. Not a
// measurement.
#include "cli.h"
#include "profile/fields.h"
#include "profile/static_kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    bool json, csv, all;
    const char *device;
    char **names; // (name_count) kernels, or files of kernels
    int name_count;
} Options;

typedef enum { LEFT_OUT, COMPILED, REFUSED } State;

typedef struct {
    const StaticPipeline *pipeline;
    State state;
    PipelineStatistics statistics; // of a compiled one
    Error refusal;
} Result;

typedef struct {
    Gpu *gpu;
    const Options *options;
    StaticPipelines pipelines;
    Result *results; // (pipelines.count)
} Static;

// ---- which -------------------------------------------------------------------------------------

static bool is_named(const char *name, Kernel kernel)
{
    return !strcmp(name, kernel_sources[kernel].name) || !strcmp(name, kernel_sources[kernel].file);
}

static bool is_wanted(const Options *options, Kernel kernel)
{
    for (int i = 0; i < options->name_count; i++)
        if (is_named(options->names[i], kernel)) return true;
    return !options->name_count;
}

// Whether ops choose any of what that name stands for.
static bool has_chosen(const StaticPipelines *pipelines, const char *name)
{
    for (size_t i = 0; i < pipelines->count; i++)
        if (pipelines->list[i].chosen && is_named(name, pipelines->list[i].kernel)) return true;
    return false;
}

// What ops choose on the device; everything with --all, or of a name of which they choose nothing.
static bool is_compiled(const Static *all, const StaticPipeline *p)
{
    const Options *options = all->options;
    bool asked = options->all;
    for (int i = 0; i < options->name_count; i++)
        asked |= is_named(options->names[i], p->kernel) &&
                 !has_chosen(&all->pipelines, options->names[i]);
    return is_wanted(options, p->kernel) && (p->chosen || asked);
}

// The first name that no kernel has, or NULL.
static const char *unknown_name(const Options *options)
{
    for (int i = 0; i < options->name_count; i++) {
        int k = 0;
        while (k < KERNEL_COUNT && !is_named(options->names[i], (Kernel)k)) k++;
        if (k == KERNEL_COUNT) return options->names[i];
    }
    return NULL;
}

// ---- compiling ---------------------------------------------------------------------------------

static void compile(Static *all, Result *result)
{
    const StaticPipeline *p = result->pipeline;
    if (!is_compiled(all, p)) return;
    if (getenv("STRATA_VERBOSE")) {
        char constants[GPU_CONSTANTS * 11];
        constants_text(constants, p->constants);
        fprintf(stderr, "compiling %s %s\n", kernel_sources[p->kernel].name, constants);
    }
    bool ok = pipeline_statistics_read(&result->statistics, all->gpu, p->kernel, p->constants,
                                       &result->refusal);
    result->state = ok ? COMPILED : REFUSED;
}

static bool static_open(Static *all, const Options *options, Error *err)
{
    *all = (Static){.options = options};
    all->gpu = gpu_open(options->device, err);
    if (!all->gpu || !static_pipelines_list(&all->pipelines, all->gpu, err)) return false;
    all->results = calloc(all->pipelines.count, sizeof *all->results);
    if (!all->results) return error_set(err, "out of memory");
    for (size_t i = 0; i < all->pipelines.count; i++) {
        all->results[i].pipeline = &all->pipelines.list[i];
        compile(all, &all->results[i]);
    }
    return true;
}

static void static_close(Static *all)
{
    for (size_t i = 0; all->results && i < all->pipelines.count; i++)
        pipeline_statistics_free(&all->results[i].statistics);
    free(all->results);
    static_pipelines_free(&all->pipelines);
    gpu_close(all->gpu);
}

// Pipelines of variants that are wanted, but that ops do not choose here.
static size_t left_out(const Static *all)
{
    size_t count = 0;
    for (size_t i = 0; i < all->pipelines.count; i++)
        count += all->results[i].state == LEFT_OUT &&
                 is_wanted(all->options, all->results[i].pipeline->kernel);
    return count;
}

// ---- JSON --------------------------------------------------------------------------------------

static cJSON *statistic_json(const Statistic *statistic)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "name", statistic->name);
    cJSON_AddStringToObject(object, "description", statistic->description);
    char text[24]; // hashes need all 64 bits
    snprintf(text, sizeof text, "%llu", (unsigned long long)statistic->value.u);
    if (statistic->format == STATISTIC_BOOL)
        cJSON_AddBoolToObject(object, "value", statistic->value.b);
    else if (statistic->format == STATISTIC_UINT)
        cJSON_AddRawToObject(object, "value", text);
    else
        cJSON_AddNumberToObject(object, "value", statistic_number(statistic));
    return object;
}

static cJSON *executable_json(const Executable *executable)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "name", executable->name);
    cJSON_AddStringToObject(object, "description", executable->description);
    cJSON_AddNumberToObject(object, "subgroup_size", executable->subgroup_size);
    cJSON *list = cJSON_AddArrayToObject(object, "statistics");
    for (uint32_t i = 0; i < executable->value_count; i++)
        cJSON_AddItemToArray(list, statistic_json(&executable->values[i]));
    return object;
}

static void add_identity(cJSON *object, const StaticPipeline *p)
{
    cJSON_AddStringToObject(object, "kernel", kernel_sources[p->kernel].name);
    cJSON_AddStringToObject(object, "file", kernel_sources[p->kernel].file);
    cJSON_AddStringToObject(object, "macros", kernel_sources[p->kernel].macros);
    constants_json(object, p->constants);
    cJSON_AddBoolToObject(object, "chosen", p->chosen);
    cJSON_AddStringToObject(object, "shape", p->what);
    cJSON *rows = cJSON_AddArrayToObject(object, "rows");
    for (uint32_t i = 0; i < p->row_count; i++)
        cJSON_AddItemToArray(rows, cJSON_CreateNumber(p->rows[i]));
}

static cJSON *result_json(const Result *result)
{
    cJSON *object = cJSON_CreateObject();
    add_identity(object, result->pipeline);
    cJSON_AddNumberToObject(object, "compile_ms", result->statistics.compile_ms);
    fields_json(object, result->statistics.fields);
    cJSON *list = cJSON_AddArrayToObject(object, "executables");
    for (uint32_t i = 0; i < result->statistics.executable_count; i++)
        cJSON_AddItemToArray(list, executable_json(&result->statistics.executables[i]));
    return object;
}

static cJSON *refusal_json(const Result *result)
{
    cJSON *object = cJSON_CreateObject();
    add_identity(object, result->pipeline);
    cJSON_AddStringToObject(object, "error", result->refusal.text);
    return object;
}

static void add_skipped(cJSON *object, const Static *all)
{
    cJSON *list = cJSON_AddArrayToObject(object, "skipped");
    for (int k = 0; k < KERNEL_COUNT; k++) {
        if (!all->pipelines.missing[k] || !is_wanted(all->options, (Kernel)k)) continue;
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "kernel", kernel_sources[k].name);
        cJSON_AddStringToObject(item, "needs", all->pipelines.missing[k]);
        cJSON_AddItemToArray(list, item);
    }
}

static bool print_json(const Static *all, Error *err)
{
    const GpuInfo *info = gpu_info(all->gpu);
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "device", info->name);
    cJSON_AddStringToObject(object, "driver", info->driver);
    cJSON_AddStringToObject(object, "vulkan", info->vulkan);
    cJSON_AddBoolToObject(object, "statistics", gpu_has_statistics(all->gpu));
    fields_json_meanings(cJSON_AddObjectToObject(object, "fields"));
    cJSON *pipelines = cJSON_AddArrayToObject(object, "pipelines");
    cJSON *refused = cJSON_AddArrayToObject(object, "refused");
    for (size_t i = 0; i < all->pipelines.count; i++) {
        const Result *result = &all->results[i];
        if (result->state == COMPILED) cJSON_AddItemToArray(pipelines, result_json(result));
        if (result->state == REFUSED) cJSON_AddItemToArray(refused, refusal_json(result));
    }
    cJSON_AddNumberToObject(object, "left_out", (double)left_out(all));
    add_skipped(object, all);
    return cli_print_json(object, err);
}

// ---- CSV ---------------------------------------------------------------------------------------

static void print_csv(const Static *all)
{
    bool all_fields[FIELD_COUNT];
    for (int f = 0; f < FIELD_COUNT; f++) all_fields[f] = true;
    printf("kernel,constants,chosen,shape,rows,compile_ms");
    fields_csv_names(stdout, all_fields);
    printf("\n");
    for (size_t i = 0; i < all->pipelines.count; i++) {
        const Result *result = &all->results[i];
        const StaticPipeline *p = result->pipeline;
        char constants[GPU_CONSTANTS * 11];
        if (result->state != COMPILED) continue;
        constants_text(constants, p->constants);
        printf("%s,\"%s\",%d,%s,", kernel_sources[p->kernel].name, constants, p->chosen, p->what);
        for (uint32_t r = 0; r < p->row_count; r++) printf(r ? " %u" : "%u", p->rows[r]);
        printf(",%.3f", result->statistics.compile_ms);
        fields_csv(stdout, result->statistics.fields, all_fields);
        printf("\n");
    }
}

// ---- the table ---------------------------------------------------------------------------------

enum { FIELDS = 2, COLUMN_ROWS = FIELDS + FIELD_COUNT, COLUMN_SHAPE, COLUMNS };

static void put_head(TableLine *line)
{
    snprintf(line->cells[0], TABLE_CELL, "kernel");
    snprintf(line->cells[1], TABLE_CELL, "constants");
    fields_put_names(line, FIELDS);
    snprintf(line->cells[COLUMN_ROWS], TABLE_CELL, "rows");
    snprintf(line->cells[COLUMN_SHAPE], TABLE_CELL, "first shape");
}

static void put_result(TableLine *line, const Result *result)
{
    const StaticPipeline *p = result->pipeline;
    char constants[GPU_CONSTANTS * 11];
    int at = 0;
    constants_text(constants, p->constants);
    snprintf(line->cells[0], TABLE_CELL, "%s", kernel_sources[p->kernel].name);
    snprintf(line->cells[1], TABLE_CELL, "%s", constants);
    fields_put(line, FIELDS, result->statistics.fields);
    for (uint32_t r = 0; r < p->row_count; r++)
        at += snprintf(line->cells[COLUMN_ROWS] + at, (size_t)(TABLE_CELL - at), r ? " %u" : "%u",
                       p->rows[r]);
    snprintf(line->cells[COLUMN_SHAPE], TABLE_CELL, "%s", p->what);
}

// The table, and what its columns count.
static bool print_results(const Static *all, Error *err)
{
    bool known[FIELD_COUNT] = {false};
    size_t used = 1;
    TableLine *lines = calloc(all->pipelines.count + 1, sizeof *lines);
    if (!lines) return error_set(err, "out of memory for a table");
    put_head(lines);
    for (size_t i = 0; i < all->pipelines.count; i++) {
        const Result *result = &all->results[i];
        if (result->state != COMPILED) continue;
        put_result(&lines[used++], result);
        fields_add_known(known, result->statistics.fields);
    }
    columns_print(stdout, lines, used, COLUMNS, 3u | 3u << COLUMN_ROWS);
    free(lines);
    printf("\n");
    fields_print_meanings(stdout, known);
    return true;
}

static bool print_table(const Static *all, Error *err)
{
    const GpuInfo *info = gpu_info(all->gpu);
    size_t hidden = left_out(all);
    printf("%s, %s, Vulkan %s%s\n\n", info->name, info->driver, info->vulkan,
           gpu_has_statistics(all->gpu) ? "" : ": tells no statistics");
    if (!print_results(all, err)) return false;
    if (hidden)
        printf("\n%zu more of variants that ops do not choose on this device: --all\n", hidden);
    for (int k = 0; k < KERNEL_COUNT; k++)
        if (all->pipelines.missing[k] && is_wanted(all->options, (Kernel)k))
            printf("skipped %s: needs %s\n", kernel_sources[k].name, all->pipelines.missing[k]);
    return true;
}

// ---- the command -------------------------------------------------------------------------------

// One line for each pipeline that the driver refused.
static int report_refusals(const Static *all)
{
    int status = EXIT_OK;
    for (size_t i = 0; i < all->pipelines.count; i++) {
        char constants[GPU_CONSTANTS * 11];
        if (all->results[i].state != REFUSED) continue;
        constants_text(constants, all->results[i].pipeline->constants);
        fprintf(stderr, "strata: %s; refused with constants %s\n", all->results[i].refusal.text,
                constants);
        status = EXIT_FAILED;
    }
    return status;
}

static int run(const Options *options)
{
    Static all;
    Error err;
    bool ok = static_open(&all, options, &err);
    if (ok && options->json)
        ok = print_json(&all, &err);
    else if (ok && options->csv)
        print_csv(&all);
    else if (ok)
        ok = print_table(&all, &err);
    int status = ok ? report_refusals(&all) : cli_fail(&err);
    static_close(&all);
    return status;
}

int cmd_profile_static(int argc, char **argv)
{
    static const char usage[] =
        "strata profile static [--device N|NAME] [--all] [--json|--csv] [KERNEL...]";
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'}, {"device", required_argument, NULL, 'D'},
        {"json", no_argument, NULL, 'j'}, {"csv", no_argument, NULL, 'c'},
        {"all", no_argument, NULL, 'a'},  {0}};
    Options own = {0};
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (option) {
        case 'h':
            printf("usage: %s\n", usage);
            return EXIT_OK;
        case 'D':
            own.device = optarg;
            break;
        case 'j':
            own.json = true;
            break;
        case 'c':
            own.csv = true;
            break;
        case 'a':
            own.all = true;
            break;
        default:
            return cli_bad_option(usage, argv);
        }
    }
    own.names = argv + optind;
    own.name_count = argc - optind;
    if (own.json && own.csv) return cli_usage(usage, "--json and --csv exclude each other");
    const char *unknown = unknown_name(&own);
    if (unknown) return cli_usage(usage, "'%.60s' is no kernel", unknown);
    return run(&own);
}
