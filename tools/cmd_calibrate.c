// strata calibrate: chooses exit thresholds, and draft depth and length, from held-out data for a
// stated loss of accuracy, shows the trade-off, and stores the choice in the model's folder.
#include "base/json.h"
#include "cli.h"
#include "infer/calibrate.h"
#include "infer/policy_file.h"
#include "train/dataset.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TIMED_BEHIND = 64 }; // positions

typedef struct {
    const char *folder, *data, *exits, *device;
    Confidence confidence;
    double max_loss;
    uint64_t records;
    bool json, dry_run;
} Options;

static const char USAGE[] =
    "strata calibrate MODEL --data FILE --max-loss-of-accuracy X [--exits LIST|exits|all]"
    " [--confidence probability|margin|entropy] [--records N] [--dry-run] [--json]"
    " [--device N|NAME]";

static bool parse_loss(double *out, const char *text)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && !*end && *out >= 0 && *out <= 1;
}

// One option; the status to end with, or -1.
static int take(Options *o, int option, char **argv)
{
    switch (option) {
    case 'd':
        o->data = optarg;
        return -1;
    case 'e':
        o->exits = optarg;
        return -1;
    case 'D':
        o->device = optarg;
        return -1;
    case 'j':
        o->json = true;
        return -1;
    case 'n':
        o->dry_run = true;
        return -1;
    case 'c':
        if (confidence_named(&o->confidence, optarg)) return -1;
        return cli_usage(USAGE, "--confidence '%.40s': probability, margin or entropy is expected",
                         optarg);
    case 'l':
        if (parse_loss(&o->max_loss, optarg)) return -1;
        return cli_usage(USAGE, "--max-loss-of-accuracy '%.40s' is not a number of 0 to 1", optarg);
    case 'r':
        if (cli_number(optarg, 1, 1 << 30, &o->records)) return -1;
        return cli_usage(USAGE, "--records '%.40s' is not a number of 1 and more", optarg);
    case 'h':
        printf("usage: %s\n", USAGE);
        return EXIT_OK;
    default:
        return cli_bad_option(USAGE, argv);
    }
}

static int parse(Options *o, int argc, char **argv)
{
    static const struct option options[] = {{"data", required_argument, NULL, 'd'},
                                            {"max-loss-of-accuracy", required_argument, NULL, 'l'},
                                            {"exits", required_argument, NULL, 'e'},
                                            {"confidence", required_argument, NULL, 'c'},
                                            {"records", required_argument, NULL, 'r'},
                                            {"dry-run", no_argument, NULL, 'n'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"device", required_argument, NULL, 'D'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    *o = (Options){.exits = "exits", .max_loss = NAN, .records = 500};
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        int status = take(o, option, argv);
        if (status != -1) return status;
    }
    if (argc - optind != 1) return cli_usage(USAGE, "calibrate takes one MODEL");
    if (!o->data) return cli_usage(USAGE, "--data is missing");
    if (isnan(o->max_loss)) return cli_usage(USAGE, "--max-loss-of-accuracy is missing");
    o->folder = argv[optind];
    return -1;
}

// ---- observing ---------------------------------------------------------------------------------

typedef struct {
    const Options *options;
    Loaded *loaded;
    Engine *engine;
    Sequence sequence;
    Observations seen;
    StepCosts costs;
    ExitChoice curve[EXIT_CURVE];
    uint32_t points;
    const ExitChoice *chosen; // NULL: none
    DraftChoice draft;
    StoredPolicies stored;
} Calibration;

// The depths of the exits, and the last block.
static bool choose_depths(Calibration *c, Error *err)
{
    const LlamaConfig *config = &c->loaded->model.config;
    uint32_t depths[CONFIG_MAX_EXITS + 1];
    const char *list = c->options->exits;
    if (!strcmp(list, "exits") && !config->exit_count) list = "all";
    uint32_t count = cli_depths(depths, list, config, err);
    if (!count) return false;
    if (depths[count - 1] != config->blocks) depths[count++] = config->blocks;
    observations_begin(&c->seen, depths, count, c->options->confidence);
    return true;
}

// The sequences of an example, each a text of its own.
static bool observe_example(Calibration *c, const Dataset *set, const Example *example, Error *err)
{
    const uint32_t *tokens = set->tokens + example->first;
    const uint8_t *marks = dataset_marks(set, example);
    uint8_t *loss = malloc(example->length);
    bool ok = loss || error_set(err, "out of memory");
    for (uint32_t i = 0; ok && i < example->length; i++) loss[i] = marks[i] & MARK_LOSS;
    for (uint32_t first = 0, end; ok && first < example->length; first = end) {
        for (end = first + 1; end < example->length && !(marks[end] & MARK_BEGIN);) end++;
        ok = observations_add(&c->seen, c->engine, &c->sequence, tokens + first, loss + first,
                              end - first, err);
    }
    free(loss);
    return ok;
}

static bool observe(Calibration *c, Error *err)
{
    const Options *o = c->options;
    Dataset set;
    uint32_t context = c->loaded->model.config.context;
    if (!dataset_load(&set, o->data, c->loaded->tokenizer, context, err)) return false;
    size_t count = set.count < o->records ? set.count : o->records;
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        // Spread over the file.
        ok = observe_example(c, &set, &set.examples[i * set.count / count], err);
        if (isatty(STDERR_FILENO)) fprintf(stderr, "\r%zu of %zu records", i + 1, count);
    }
    if (isatty(STDERR_FILENO)) fprintf(stderr, "\r\033[K");
    dataset_free(&set);
    return ok;
}

// Policies of too little data would be chance, and replace better ones.
static bool check_observed(const Calibration *c, Error *err)
{
    return c->seen.count >= CALIBRATE_LEAST ||
           error_set(err, "%s: %zu tokens to calibrate with, at least %d are expected",
                     c->options->data, c->seen.count, CALIBRATE_LEAST);
}

// ---- choosing ----------------------------------------------------------------------------------

static void choose(Calibration *c)
{
    StoredPolicies *s = &c->stored;
    uint32_t blocks = c->loaded->model.config.blocks;
    c->points = calibrate_exits(c->curve, &c->seen, &c->costs);
    c->chosen = calibrate_choose(c->curve, c->points, c->options->max_loss);
    c->draft = calibrate_draft(&c->seen, &c->costs);
    *s = (StoredPolicies){.exits = policy_fixed(blocks), .draft = policy_fixed(blocks)};
    double best = 1;
    if (c->chosen && c->chosen->policy.exit_count) {
        s->has_exits = true;
        s->exits = c->chosen->policy;
        if (c->chosen->speed > best) s->kind = POLICY_EXITS;
        best = fmax(best, c->chosen->speed);
    }
    if (c->draft.depth) {
        s->has_draft = true;
        s->draft.draft = c->draft.depth;
        s->draft.window = c->draft.window;
        s->draft.draft_stop = c->draft.stop;
        if (c->draft.speed > best) s->kind = POLICY_DRAFT;
    }
}

// ---- showing -----------------------------------------------------------------------------------

static cJSON *point_json(const ExitChoice *point)
{
    char policy[512];
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "harm", point->harm);
    cJSON_AddStringToObject(object, "policy",
                            policy_describe(&point->policy, policy, sizeof policy));
    cJSON_AddNumberToObject(object, "accuracy", point->accuracy);
    cJSON_AddNumberToObject(object, "loss_of_accuracy", point->full_accuracy - point->accuracy);
    cJSON_AddNumberToObject(object, "agreement", point->agreement);
    cJSON_AddNumberToObject(object, "blocks_per_token", point->blocks);
    cJSON_AddNumberToObject(object, "expected_speed", point->speed);
    return object;
}

static cJSON *calibration_json(const Calibration *c)
{
    const GpuInfo *info = gpu_info(c->loaded->gpu);
    cJSON *object = cJSON_CreateObject(), *curve;
    cJSON_AddStringToObject(object, "data", c->options->data);
    cJSON_AddStringToObject(object, "device", info->name);
    cJSON_AddStringToObject(object, "driver", info->driver);
    cJSON_AddNumberToObject(object, "positions", (double)c->seen.count);
    cJSON_AddNumberToObject(object, "max_loss_of_accuracy", c->options->max_loss);
    curve = cJSON_AddArrayToObject(object, "curve");
    for (uint32_t i = 0; i < c->points; i++) cJSON_AddItemToArray(curve, point_json(&c->curve[i]));
    if (c->draft.depth) {
        cJSON *draft = cJSON_AddObjectToObject(object, "draft");
        cJSON_AddNumberToObject(draft, "depth", c->draft.depth);
        cJSON_AddNumberToObject(draft, "window", c->draft.window);
        cJSON_AddNumberToObject(draft, "stop", c->draft.stop);
        cJSON_AddNumberToObject(draft, "acceptance", c->draft.acceptance);
        cJSON_AddNumberToObject(draft, "expected_speed", c->draft.speed);
    }
    return object;
}

static void print_curve(const Calibration *c)
{
    char policy[512];
    printf("%zu positions; thresholds chosen at half of them, judged at the others\n",
           c->seen.count);
    if (!c->points)
        printf("no exits to choose from\n");
    else
        printf("  %9s  %7s  %9s  %12s  %7s  policy\n", "accuracy", "loss", "as full",
               "blocks/token", "speed");
    for (uint32_t i = 0; i < c->points; i++) {
        const ExitChoice *p = &c->curve[i];
        printf("%c %8.2f%%  %6.2f%%  %8.2f%%  %12.2f  %6.2fx  %s\n", p == c->chosen ? '*' : ' ',
               100 * p->accuracy, 100 * (p->full_accuracy - p->accuracy), 100 * p->agreement,
               p->blocks, p->speed, policy_describe(&p->policy, policy, sizeof policy));
    }
    if (c->draft.depth)
        printf("draft %u, window %u, stop %.1f: %.2fx expected, %.1f %% of drafts accepted\n",
               c->draft.depth, c->draft.window, c->draft.stop, c->draft.speed,
               100 * c->draft.acceptance);
    else
        printf("no draft pays on this device\n");
}

static bool show(const Calibration *c, cJSON *calibration, Error *err)
{
    static const char *const names[] = {"depth", "exits", "draft"}; // by PolicyKind, as stored
    if (c->options->json) {
        cJSON_AddStringToObject(calibration, "default", names[c->stored.kind]);
        char *text = cJSON_PrintUnformatted(calibration);
        if (text) printf("%s\n", text);
        free(text);
        return text || error_set(err, "out of memory");
    }
    print_curve(c);
    printf("default: %s%s\n", c->stored.kind ? names[c->stored.kind] : "full depth",
           c->options->dry_run ? " (not stored)" : ", stored in strata_policy.json");
    return true;
}

static bool run(Calibration *c, Error *err)
{
    c->engine = engine_open(&c->loaded->model, 0, 0, err);
    if (!c->engine ||
        !sequence_make(&c->sequence, engine_pool(c->engine), engine_context(c->engine), err))
        return false;
    if (!observe(c, err) || !check_observed(c, err) ||
        !step_costs_measure(&c->costs, &c->seen, c->engine, &c->sequence, TIMED_BEHIND, err))
        return false;
    choose(c);
    cJSON *calibration = calibration_json(c);
    bool ok = calibration || error_set(err, "out of memory");
    if (ok && !c->options->dry_run)
        ok = policy_file_save(&c->stored, c->options->folder, calibration, err);
    ok = ok && show(c, calibration, err);
    cJSON_Delete(calibration);
    return ok;
}

// Before the work, not behind it: is there a folder that the policies can be stored in?
static bool check_folder(const Options *o, Error *err)
{
    struct stat info;
    if (o->dry_run || stat(o->folder, &info)) return true; // loading says what is missing
    if (!S_ISDIR(info.st_mode))
        return error_set(
            err, "%s: not a folder, in which policies could be stored; --dry-run shows them",
            o->folder);
    return access(o->folder, W_OK) == 0 ||
           error_set(err, "%s: cannot write: %s; --dry-run shows the policies", o->folder,
                     strerror(errno));
}

int cmd_calibrate(int argc, char **argv)
{
    Options options;
    Loaded loaded;
    Error err;
    int status = parse(&options, argc, argv);
    if (status != -1) return status;
    if (!check_folder(&options, &err) ||
        !cli_load(&loaded, options.folder, options.device, LLAMA_STORED, &err))
        return cli_fail(&err);
    Calibration calibration = {.options = &options, .loaded = &loaded};
    bool ok = choose_depths(&calibration, &err) && run(&calibration, &err);
    observations_free(&calibration.seen);
    sequence_free(&calibration.sequence);
    engine_close(calibration.engine);
    cli_unload(&loaded);
    return ok ? EXIT_OK : cli_fail(&err);
}
