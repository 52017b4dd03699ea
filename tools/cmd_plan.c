// strata plan: what a training run will need of a device's memory, by role, and which devices have
// it. Computed from shapes; no device is opened.
#include "base/json.h"
#include "cli.h"
#include "train/plan.h"
#include "train/progress.h"
#include "train/train_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char USAGE[] =
    "strata plan CONFIG.json [--set key=value]... [--json] | strata plan --shape 7b|13b "
    "[--method soft|sft] [--exits LIST] [--context N] [--batch N] [--json]";

enum { MOST_DEVICES = 32, SHAPE_EXITS = 8, SHAPE_EXITS_EVERY = 4, MOST_PLANS = 2 };

// LLaMA 2: what all sizes have.
#define LLAMA2                                                                                     \
    .head_size = 128, .vocab_size = 32000, .context = 4096, .norm_epsilon = 1e-5,                  \
    .rope_theta = 10000, .bos = 1, .eos = {2}, .eos_count = 1
static const struct {
    const char *name;
    LlamaConfig config;
} SHAPES[] = {
    {"7b", {LLAMA2, .blocks = 32, .width = 4096, .hidden = 11008, .heads = 32, .kv_heads = 32}},
    {"13b", {LLAMA2, .blocks = 40, .width = 5120, .hidden = 13824, .heads = 40, .kv_heads = 40}},
};
#undef LLAMA2

typedef struct {
    const char *path, *shape, *exits, *method;
    const char **sets; // (set_count)
    size_t set_count;
    uint64_t context, batch; // 0: not given
    bool json;
} Options;

// What is planned for.
typedef struct {
    LlamaConfig model;
    TrainConfig config; // of it: method, exits, context, batch_size
    Plan plan;
} Planned;

// One plan, or where --shape comes without --method those of SFT and SoFT, in this order.
typedef struct {
    Planned plans[MOST_PLANS]; // (count)
    size_t count;
} Plans;

static double gib(uint64_t bytes)
{
    return (double)bytes / (1 << 30);
}

static const char *method_name(const Planned *p)
{
    static const char *const names[] = {[METHOD_SOFT] = "soft",
                                        [METHOD_SFT] = "sft",
                                        [METHOD_ICT] = "ict",
                                        [METHOD_EXTRACTED] = "extracted"};
    return names[p->config.method];
}

// ---- options -----------------------------------------------------------------------------------

static bool take_option(Options *o, int option)
{
    if (option == 's') o->sets[o->set_count++] = optarg;
    if (option == 'S') o->shape = optarg;
    if (option == 'e') o->exits = optarg;
    if (option == 'm') o->method = optarg;
    if (option == 'j') o->json = true;
    if (option == 'c') return cli_number(optarg, 2, 1 << 20, &o->context);
    if (option == 'b') return cli_number(optarg, 1, 65536, &o->batch);
    return true;
}

// An exit status, or -1 to go on.
static int check(const Options *o, int rest)
{
    bool shaped = o->exits || o->method || o->context || o->batch;
    if (o->shape ? rest != 0 : rest != 1)
        return cli_usage(USAGE, "plan takes one CONFIG.json or --shape");
    if (!o->shape && shaped)
        return cli_usage(USAGE, "with CONFIG.json, use --set instead of --method, --exits, "
                                "--context and --batch");
    if (o->shape && o->set_count) return cli_usage(USAGE, "--set belongs to CONFIG.json");
    if (o->method && strcmp(o->method, "soft") && strcmp(o->method, "sft"))
        return cli_usage(USAGE, "--method %.40s: soft or sft is expected", o->method);
    if (o->exits && o->method && !strcmp(o->method, "sft"))
        return cli_usage(USAGE, "--exits belongs to --method soft");
    return -1;
}

static int parse(Options *o, int argc, char **argv)
{
    static const struct option options[] = {{"set", required_argument, NULL, 's'},
                                            {"shape", required_argument, NULL, 'S'},
                                            {"exits", required_argument, NULL, 'e'},
                                            {"method", required_argument, NULL, 'm'},
                                            {"context", required_argument, NULL, 'c'},
                                            {"batch", required_argument, NULL, 'b'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (option == 'h') {
            printf("usage: %s\n", USAGE);
            return EXIT_OK;
        }
        if (option == '?') return cli_bad_option(USAGE, argv);
        if (!take_option(o, option))
            return cli_usage(USAGE, "'%.40s': a whole number in its range is expected", optarg);
    }
    o->path = argv[optind];
    return check(o, argc - optind);
}

// ---- what is planned for -----------------------------------------------------------------------

static bool find_shape(LlamaConfig *model, const char *name, Error *err)
{
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
        *model = SHAPES[i].config;
        if (!strcmp(SHAPES[i].name, name)) return true;
    }
    return error_set(err, "--shape %.40s: 7b or 13b is expected", name);
}

// A config as --shape and the options beside it state one. Without --exits eight, every fourth
// depth up to the last: for 13B those of the paper, 12 to 40.
static bool config_of_shape(Planned *p, const Options *o, Method method, Error *err)
{
    TrainConfig *c = &p->config;
    if (!find_shape(&p->model, o->shape, err)) return false;
    c->method = method;
    c->context = o->context ? (uint32_t)o->context : 2048;
    c->batch_size = o->batch ? (uint32_t)o->batch : 4;
    if (method == METHOD_SFT) return true;
    if (o->exits) {
        c->exit_count = cli_depths(c->exits, o->exits, &p->model, err);
        return c->exit_count > 0;
    }
    for (uint32_t e = 1; e <= SHAPE_EXITS; e++)
        c->exits[c->exit_count++] = p->model.blocks - (SHAPE_EXITS - e) * SHAPE_EXITS_EVERY;
    return true;
}

static uint32_t most_rows(const TrainConfig *c)
{
    uint64_t rows = (uint64_t)c->batch_size * (c->context - 1);
    return rows > 1 << 24 ? 0 : (uint32_t)rows;
}

// Records are as long as the context allows: the data are not read.
static bool make_plan(Planned *p, Error *err)
{
    TrainConfig *c = &p->config;
    if (!most_rows(c))
        return error_set(err, "batch_size: %u records of %u tokens are too many", c->batch_size,
                         c->context);
    const PlanShape shape = plan_shape(c, &p->model, most_rows(c), c->valid ? c->context : 0);
    return plan_make(&p->plan, &shape, err);
}

static bool plan_of_file(Planned *p, const Options *o, Error *err)
{
    return train_config_load(&p->config, o->path, o->sets, o->set_count, err) &&
           train_config_model(&p->model, &p->config, err) && make_plan(p, err);
}

static bool plan_of_shape(Planned *p, const Options *o, Method method, Error *err)
{
    if (!config_of_shape(p, o, method, err) || !train_config_complete(&p->config, &p->model, err))
        return false;
    train_config_shape(&p->model, &p->config);
    return make_plan(p, err);
}

static bool make_plans(Plans *all, const Options *o, Error *err)
{
    bool both = o->shape && !o->method, sft = o->method && !strcmp(o->method, "sft");
    all->count = both ? 2 : 1;
    if (!o->shape) return plan_of_file(&all->plans[0], o, err);
    if (!both) return plan_of_shape(&all->plans[0], o, sft ? METHOD_SFT : METHOD_SOFT, err);
    return plan_of_shape(&all->plans[0], o, METHOD_SFT, err) &&
           plan_of_shape(&all->plans[1], o, METHOD_SOFT, err);
}

// What SoFT needs of what SFT needs.
static double peak_ratio(const Plans *all)
{
    return (double)all->plans[1].plan.peak / (double)all->plans[0].plan.peak;
}

// ---- devices -----------------------------------------------------------------------------------

typedef struct {
    GpuInfo infos[MOST_DEVICES]; // (count)
    size_t count;
    Error problem; // why there is none
} Devices;

static Devices *list_devices(Error *err)
{
    Devices *devices = calloc(1, sizeof *devices);
    if (!devices)
        error_set(err, "out of memory");
    else if (!gpu_list(devices->infos, MOST_DEVICES, &devices->count, NULL, &devices->problem))
        devices->count = 0;
    return devices;
}

// Whether the run can be made there; else why not.
static bool fits(Error *why, const GpuInfo *info, const Plan *plan)
{
    why->text[0] = 0;
    if (info->problem[0]) return error_set(why, "unusable: %s", info->problem);
    return plan_check(plan, info, why);
}

// ---- printing ----------------------------------------------------------------------------------

static void print_run(const Planned *p)
{
    const TrainConfig *c = &p->config;
    printf("%s at depth", method_name(p));
    for (uint32_t e = 0; e < c->exit_count; e++) printf("%s %u", e ? "," : "", c->exits[e]);
    printf("; batches of %u x %u tokens: %u rows at most\n", c->batch_size, c->context,
           most_rows(c));
}

static void print_table(const Plans *all)
{
    char text[64];
    if (all->count > 1)
        printf("%24s%12s\n", method_name(&all->plans[0]), method_name(&all->plans[1]));
    for (int i = 0; i <= PLAN_ROLES; i++) {
        printf("%s", plan_line(text, sizeof text, &all->plans[0].plan, i));
        if (all->count > 1) printf("%s", plan_line(text, sizeof text, &all->plans[1].plan, i) + 12);
        printf("\n");
    }
    if (all->count > 1) printf("\nsoft's peak is %.6f of sft's\n", peak_ratio(all));
    printf("\n");
}

static void print_devices(const Plans *all, const Devices *devices)
{
    Error why;
    if (!devices->count) printf("no device to compare with: %s\n", devices->problem.text);
    for (size_t i = 0; i < devices->count; i++) {
        const GpuInfo *info = &devices->infos[i];
        for (size_t n = 0; n < all->count; n++) {
            const Planned *p = &all->plans[n];
            printf("%zu: %s (%s), %.2f GiB: ", i, info->name, info->kind, gib(info->local_bytes));
            if (all->count > 1) printf("%s ", method_name(p));
            printf("%s\n", fits(&why, info, &p->plan) ? "fits" : why.text);
        }
    }
}

static void print_plans(const Plans *all, const Devices *devices)
{
    for (size_t i = 0; i < all->count; i++) print_run(&all->plans[i]);
    printf("\n");
    print_table(all);
    print_devices(all, devices);
}

static void add_devices(cJSON *object, const Plan *plan, const Devices *devices)
{
    Error why;
    cJSON *list = cJSON_AddArrayToObject(object, "devices");
    for (size_t i = 0; i < devices->count; i++) {
        const GpuInfo *info = &devices->infos[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", info->name);
        cJSON_AddStringToObject(item, "kind", info->kind);
        cJSON_AddNumberToObject(item, "memory", (double)info->local_bytes);
        cJSON_AddNumberToObject(item, "binding", (double)info->binding_bytes);
        cJSON_AddNumberToObject(item, "allocation", (double)info->allocation_bytes);
        cJSON_AddBoolToObject(item, "fits", fits(&why, info, plan));
        if (why.text[0]) cJSON_AddStringToObject(item, "why_not", why.text);
        if (item) cJSON_AddItemToArray(list, item);
    }
    if (!devices->count) cJSON_AddStringToObject(object, "no_devices", devices->problem.text);
}

static cJSON *plan_json(const Planned *p, const Devices *devices)
{
    const TrainConfig *c = &p->config;
    cJSON *object = cJSON_CreateObject(), *exits, *bytes;
    cJSON_AddStringToObject(object, "method", method_name(p));
    exits = cJSON_AddArrayToObject(object, "exits");
    for (uint32_t e = 0; e < c->exit_count; e++)
        cJSON_AddItemToArray(exits, cJSON_CreateNumber(c->exits[e]));
    cJSON_AddNumberToObject(object, "batch_size", c->batch_size);
    cJSON_AddNumberToObject(object, "context", c->context);
    cJSON_AddNumberToObject(object, "rows", most_rows(c));
    bytes = cJSON_AddObjectToObject(object, "bytes");
    for (int i = 0; i < PLAN_ROLES; i++)
        cJSON_AddNumberToObject(bytes, plan_role_name((PlanRole)i), (double)p->plan.bytes[i]);
    cJSON_AddNumberToObject(object, "peak", (double)p->plan.peak);
    cJSON_AddNumberToObject(object, "largest", (double)p->plan.largest);
    cJSON_AddNumberToObject(object, "bound", (double)p->plan.bound);
    add_devices(object, &p->plan, devices);
    return object;
}

static bool print_json(const Plans *all, const Devices *devices, Error *err)
{
    cJSON *object = NULL;
    if (all->count == 1) {
        object = plan_json(&all->plans[0], devices);
    } else {
        object = cJSON_CreateObject();
        for (size_t i = 0; i < all->count; i++)
            cJSON_AddItemToObject(object, method_name(&all->plans[i]),
                                  plan_json(&all->plans[i], devices));
        cJSON_AddNumberToObject(object, "ratio", peak_ratio(all));
    }
    return cli_print_json(object, err);
}

static bool run(const Options *o, Error *err)
{
    Plans all = {.count = 0};
    Devices *devices = NULL;
    bool ok = make_plans(&all, o, err) && (devices = list_devices(err)) != NULL;
    if (ok && o->json)
        ok = print_json(&all, devices, err);
    else if (ok)
        print_plans(&all, devices);
    free(devices);
    for (size_t i = 0; i < MOST_PLANS; i++) train_config_free(&all.plans[i].config);
    return ok;
}

int cmd_plan(int argc, char **argv)
{
    Options options = {.sets = calloc((size_t)argc, sizeof(const char *))};
    Error err = {"out of memory"};
    if (!options.sets) return cli_fail(&err);
    int status = parse(&options, argc, argv);
    if (status == -1) status = run(&options, &err) ? EXIT_OK : cli_fail(&err);
    free(options.sets);
    return status;
}
