// strata eval: loss, perplexity, token accuracy and exact match per depth, as a table or as JSON.
#include "cli.h"
#include "base/json.h"
#include "train/evaluate.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct {
    const char *folder, *data, *depths, *device;
    Dtype weights;
    bool json, shared_head;
} Options;

static const char USAGE[] =
    "strata eval MODEL --data FILE.json [--depths 2,3,5|exits|all] [--shared-head] [--json]"
    " [--quant q8_0|q4_0] [--device N|NAME]";

// -1: go on; else the status to end with.
static int parse(Options *o, int argc, char **argv)
{
    static const struct option options[] = {
        {"data", required_argument, NULL, 'd'},  {"depths", required_argument, NULL, 'n'},
        {"json", no_argument, NULL, 'j'},        {"device", required_argument, NULL, 'D'},
        {"quant", required_argument, NULL, 'q'}, {"shared-head", no_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},        {0}};
    *o = (Options){.depths = "exits", .weights = LLAMA_STORED};
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (option) {
        case 'd':
            o->data = optarg;
            break;
        case 'n':
            o->depths = optarg;
            break;
        case 's':
            o->shared_head = true;
            break;
        case 'j':
            o->json = true;
            break;
        case 'D':
            o->device = optarg;
            break;
        case 'q':
            if (!cli_quant(optarg, &o->weights))
                return cli_usage(USAGE, "--quant '%.40s' is neither q8_0 nor q4_0", optarg);
            break;
        case 'h':
            printf("usage: %s\n", USAGE);
            return EXIT_OK;
        default:
            return cli_bad_option(USAGE, argv);
        }
    }
    if (argc - optind != 1) return cli_usage(USAGE, "eval takes one MODEL");
    if (!o->data) return cli_usage(USAGE, "--data is missing");
    o->folder = argv[optind];
    return -1;
}

static void print_table(const DepthScore *scores, uint32_t count)
{
    printf("%5s  %8s  %10s  %14s  %11s\n", "depth", "loss", "perplexity", "token accuracy",
           "exact match");
    for (uint32_t i = 0; i < count; i++)
        printf("%5u  %8.4f  %10.3f  %13.2f%%  %10.2f%%\n", scores[i].depth, scores[i].loss,
               scores[i].perplexity, 100 * scores[i].token_accuracy, 100 * scores[i].exact_match);
}

static bool print_json(const DepthScore *scores, uint32_t count, Error *err)
{
    cJSON *object = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(object, "depths");
    for (uint32_t i = 0; i < count; i++) {
        cJSON *item = depth_score_json(&scores[i]);
        if (item) cJSON_AddItemToArray(list, item);
    }
    return cli_print_json(object, err);
}

static void show_progress(void *user, size_t done)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%zu of %zu records%s", done, *(const size_t *)user,
                done == *(const size_t *)user ? "\n" : "");
}

static bool run(const Options *o, Loaded *loaded, Error *err)
{
    uint32_t depths[CONFIG_MAX_EXITS];
    DepthScore scores[CONFIG_MAX_EXITS];
    Dataset set;
    uint32_t count = cli_depths(depths, o->depths, &loaded->model.config, err);
    if (!count ||
        !dataset_load(&set, o->data, loaded->tokenizer, loaded->model.config.context, err))
        return false;
    if (set.truncated || set.dropped)
        fprintf(stderr, "%s: %zu records cut at the context of %u tokens, %zu left out\n", o->data,
                set.truncated, loaded->model.config.context, set.dropped);
    bool ok = evaluate(&loaded->model, &set, depths, count, scores, show_progress, &set.count, err);
    dataset_free(&set);
    if (ok && o->json)
        ok = print_json(scores, count, err);
    else if (ok)
        print_table(scores, count);
    return ok;
}

int cmd_eval(int argc, char **argv)
{
    Options options;
    Loaded loaded;
    Error err;
    int status = parse(&options, argc, argv);
    if (status != -1) return status;
    if (!cli_load(&loaded, options.folder, options.device, options.weights, &err))
        return cli_fail(&err);
    if (options.shared_head) llama_share_exits(&loaded.model);
    bool ok = run(&options, &loaded, &err);
    cli_unload(&loaded);
    return ok ? EXIT_OK : cli_fail(&err);
}
