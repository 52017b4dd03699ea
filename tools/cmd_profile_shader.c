// strata profile shader: one kernel by itself, and another version of its source beside it.
#define _POSIX_C_SOURCE 200809L
#include "base/json.h"
#include "cli.h"
#include "profile/cost.h"
#include "profile/fields.h"
#include "profile/shader_trial.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char USAGE[] =
    "strata profile shader KERNEL [--with FILE.comp] [--shape AxB...] [--type T] [--device N|NAME] "
    "[--seconds S] [--counters A,B...] [--json] | KERNEL --source | --list";

typedef struct {
    TrialOptions trial;
    const char *kernel, *shape, *type, *device;
    const char *counters[TRIAL_COUNTERS]; // (counter_count), pieces of the argument
    uint32_t counter_count;
    bool json, list, source;
} Options;

// ---- what there is -----------------------------------------------------------------------------

static int list_kernels(void)
{
    printf("%-26s %-34s %-14s %s\n", "kernel", "shape", "timed at", "variants");
    for (uint32_t i = 0; i < KERNEL_CASE_COUNT; i++) {
        const KernelCase *k = &KERNEL_CASES[i];
        char shape[TRIAL_SHAPE_TEXT];
        kernel_shape_write(shape, sizeof shape, k, &k->timed);
        printf("%-26s %-34.*s %-14s", k->file, (int)strcspn(kernel_shape_form(k), " "),
               kernel_shape_form(k), shape);
        for (int v = 0; v < KERNEL_COUNT; v++)
            if (!strcmp(kernel_sources[v].file, k->file) && *kernel_sources[v].macros)
                printf(" %s", kernel_sources[v].name);
        printf("\n");
    }
    return EXIT_OK;
}

static int print_source(const KernelCase *kase)
{
    char name[64];
    snprintf(name, sizeof name, "%s.comp", kase->file);
    fputs(gpu_shader_text(name), stdout);
    return EXIT_OK;
}

// ---- the report --------------------------------------------------------------------------------

static void print_version(const char *name, const TrialVersion *v, const ShaderTrial *t)
{
    const BedError *e = &v->error;
    printf("%-10s %.4g ms (lowest %.4g, spread %.2g %%)", name, 1e3 * v->seconds.median,
           1e3 * v->seconds.lowest, 100 * v->seconds.deviation / v->seconds.median);
    if (t->cost.bytes > 0) printf(", %.3g GB/s", 1e-9 * t->cost.bytes / v->seconds.median);
    if (t->cost.operations > 0)
        printf(", %.3g GFLOP/s", 1e-9 * t->cost.operations / v->seconds.median);
    printf(
        "\n%-10s error at most %.3g; by tolerance %.3g of %.2g + %.2g |x|, %s[%u][%u] at %s; %s\n",
        "", e->largest, e->share, e->tolerance, e->relative, e->tensor, e->row, e->col,
        v->error_shape, v->repeats ? "two runs give the same bits" : "TWO RUNS DIFFER");
}

// What the driver's compiler says of both, where it says anything.
static void print_fields(const ShaderTrial *t)
{
    bool any = false;
    for (int i = 0; i < FIELD_COUNT; i++) {
        const double *own = t->versions[0].fields, *other = t->versions[1].fields;
        if (isnan(own[i])) continue;
        printf("%s%s %g", any ? ", " : "compiler   ", STATISTIC_FIELDS[i].name, own[i]);
        if (t->version_count == 2) printf(" -> %g", other[i]);
        any = true;
    }
    printf("%s\n", any ? "" : "compiler   tells nothing of registers on this device");
}

static void print_counters(const Options *o, const ShaderTrial *t)
{
    for (uint32_t i = 0; i < o->counter_count; i++) {
        printf("%-10s %s %g", "counter", o->counters[i], t->versions[0].counters[i]);
        if (t->version_count == 2) printf(" -> %g", t->versions[1].counters[i]);
        printf("\n");
    }
}

static void print_ratio(const ShaderTrial *t)
{
    const SeriesRatio *r = &t->ratio;
    const char *verdict = !r->known     ? "too few pairs to bound it"
                          : r->high < 1 ? "faster"
                          : r->low > 1  ? "slower"
                                        : "no difference beyond the noise";
    printf("%-10s %.3f of the time, 95 %% interval %.3f to %.3f (%u pairs): %s; results are %s\n",
           "ratio", r->ratio, r->low, r->high, t->pairs, verdict,
           t->same_bits ? "the same to the bit" : "not the same bits");
}

static void print_text(const Options *o, const Gpu *gpu, const ShaderTrial *t)
{
    char shape[TRIAL_SHAPE_TEXT];
    kernel_shape_write(shape, sizeof shape, o->trial.name.kase, &o->trial.shape);
    printf("%s at %s %s on %s (%s)\n", kernel_sources[t->way.kernel].name, shape,
           dtype_name(o->trial.dtype), gpu_info(gpu)->name, gpu_info(gpu)->driver);
    printf("%-10s %u shapes compared%s, %u passed over; samples of %u runs, %s\n", "", t->shapes,
           t->timed_compared ? ", the timed one among them"
                             : "; the reference of the timed one would take too long",
           t->passed_over, t->times,
           t->timestamps ? "by the device's clock" : "by the host's clock");
    if (t->cost.bytes > 0)
        printf("%-10s %.4g bytes must move, %.4g operations be done\n", "", t->cost.bytes,
               t->cost.operations);
    print_version("strata", &t->versions[0], t);
    if (t->version_count == 2) print_version("new", &t->versions[1], t);
    print_fields(t);
    print_counters(o, t);
    if (t->version_count == 2) print_ratio(t);
}

static void add_number(cJSON *to, const char *key, double value)
{
    if (isfinite(value))
        cJSON_AddNumberToObject(to, key, value);
    else
        cJSON_AddNullToObject(to, key);
}

static cJSON *version_json(const Options *o, const TrialVersion *v, const ShaderTrial *t)
{
    cJSON *out = cJSON_CreateObject(), *error = cJSON_AddObjectToObject(out, "error");
    add_number(out, "median_seconds", v->seconds.median);
    add_number(out, "lowest_seconds", v->seconds.lowest);
    add_number(out, "deviation_seconds", v->seconds.deviation);
    if (t->cost.bytes > 0) {
        add_number(out, "gigabytes_per_second", 1e-9 * t->cost.bytes / v->seconds.median);
        add_number(out, "gflops", 1e-9 * t->cost.operations / v->seconds.median);
    }
    cJSON_AddBoolToObject(out, "right", v->right);
    cJSON_AddBoolToObject(out, "repeats", v->repeats);
    add_number(error, "largest", v->error.largest);
    add_number(error, "by_tolerance", v->error.share);
    add_number(error, "tolerance", v->error.tolerance);
    add_number(error, "relative", v->error.relative);
    add_number(error, "got", v->error.got);
    add_number(error, "want", v->error.want);
    cJSON_AddStringToObject(error, "tensor", v->error.tensor);
    cJSON_AddNumberToObject(error, "row", v->error.row);
    cJSON_AddNumberToObject(error, "col", v->error.col);
    cJSON_AddStringToObject(error, "shape", v->error_shape);
    fields_json(cJSON_AddObjectToObject(out, "compiler"), v->fields);
    cJSON *counters = o->counter_count ? cJSON_AddObjectToObject(out, "counters") : NULL;
    for (uint32_t i = 0; i < o->counter_count; i++)
        add_number(counters, o->counters[i], v->counters[i]);
    return out;
}

static bool print_json(const Options *o, const Gpu *gpu, const ShaderTrial *t, Error *err)
{
    char shape[TRIAL_SHAPE_TEXT];
    cJSON *root = cJSON_CreateObject();
    kernel_shape_write(shape, sizeof shape, o->trial.name.kase, &o->trial.shape);
    cJSON_AddStringToObject(root, "device", gpu_info(gpu)->name);
    cJSON_AddStringToObject(root, "driver", gpu_info(gpu)->driver);
    cJSON_AddStringToObject(root, "kernel", kernel_sources[t->way.kernel].name);
    cJSON_AddStringToObject(root, "shape", shape);
    cJSON_AddStringToObject(root, "type", dtype_name(o->trial.dtype));
    cJSON_AddNumberToObject(root, "shapes_compared", t->shapes);
    cJSON_AddNumberToObject(root, "shapes_passed_over", t->passed_over);
    cJSON_AddBoolToObject(root, "timed_shape_compared", t->timed_compared);
    cJSON_AddNumberToObject(root, "runs_per_sample", t->times);
    cJSON_AddNumberToObject(root, "samples", t->pairs);
    cJSON_AddBoolToObject(root, "timestamps", t->timestamps);
    if (t->cost.bytes > 0) {
        cJSON_AddNumberToObject(root, "bytes", t->cost.bytes);
        cJSON_AddNumberToObject(root, "operations", t->cost.operations);
    }
    cJSON_AddItemToObject(root, "strata", version_json(o, &t->versions[0], t));
    if (t->version_count == 2) {
        cJSON *ratio = cJSON_AddObjectToObject(root, "ratio");
        cJSON_AddItemToObject(root, "new", version_json(o, &t->versions[1], t));
        cJSON_AddStringToObject(root, "with", o->trial.with);
        cJSON_AddBoolToObject(root, "same_bits", t->same_bits);
        cJSON_AddNumberToObject(ratio, "median", t->ratio.ratio);
        cJSON_AddNumberToObject(ratio, "low", t->ratio.low);
        cJSON_AddNumberToObject(ratio, "high", t->ratio.high);
        cJSON_AddBoolToObject(ratio, "known", t->ratio.known);
    }
    return cli_print_json(root, err);
}

// ---- the command -------------------------------------------------------------------------------

// A version that is wrong, or that gives other bits each time, in one line.
static int verdict(const Options *o, const ShaderTrial *t)
{
    for (uint32_t i = 0; i < t->version_count; i++) {
        const TrialVersion *v = &t->versions[i];
        const BedError *e = &v->error;
        const char *who = i ? o->trial.with : kernel_sources[t->way.kernel].name;
        Error err;
        if (v->right && v->repeats) continue;
        if (!v->right)
            error_set(&err,
                      "%s is wrong: %s[%u][%u] at %s is %.9g, expected %.9g, at most %.3g off", who,
                      e->tensor, e->row, e->col, v->error_shape, e->got, e->want,
                      e->tolerance + e->relative * fabs(e->want));
        else
            error_set(&err, "%s is wrong: two runs give different bits", who);
        return cli_fail(&err);
    }
    return EXIT_OK;
}

static int run(const Options *o)
{
    ShaderTrial trial;
    Error err;
    TrialOptions options = o->trial;
    Gpu *gpu = (o->counter_count ? gpu_open_counting : gpu_open)(o->device, &err);
    if (!gpu) return cli_fail(&err);
    if (o->counter_count)
        options.counting = counting_open(gpu, o->counters, o->counter_count, &err);
    const ProfileOptions profile = {.cost = cost_of};
    bool ok = (options.counting || !o->counter_count) && gpu_profile(gpu, &profile, &err) &&
              shader_trial(&trial, gpu, &options, &err);
    counting_close(options.counting);
    if (ok && o->json)
        ok = print_json(o, gpu, &trial, &err);
    else if (ok)
        print_text(o, gpu, &trial);
    gpu_close(gpu);
    return ok ? verdict(o, &trial) : cli_fail(&err);
}

static bool read_type(Options *o, Error *err)
{
    const KernelName *name = &o->trial.name;
    static const Dtype types[] = {DTYPE_F32,  DTYPE_F16,  DTYPE_BF16, DTYPE_Q8_0,
                                  DTYPE_Q4_0, DTYPE_Q4_K, DTYPE_Q6_K};
    o->trial.dtype = kernel_type(name->kase, name->kernel);
    for (size_t i = 0; o->type && i < sizeof types / sizeof *types; i++)
        if (!strcasecmp(o->type, dtype_name(types[i]))) {
            o->trial.dtype = types[i];
            return kernel_type_fits(name->kase, name->kernel, types[i]) ||
                   error_set(err, "type '%s': %s has no such parameter", o->type, o->kernel);
        }
    return !o->type ||
           error_set(err, "type '%.20s': f32, f16, bf16, q8_0, q4_0, q4_k or q6_k is expected",
                     o->type);
}

// What the kernel's name decides on.
static bool resolve(Options *o, Error *err)
{
    if (!kernel_name_read(&o->trial.name, o->kernel, err) || !read_type(o, err)) return false;
    const KernelCase *kase = o->trial.name.kase;
    o->trial.shape = kase->timed;
    if (o->shape && !kernel_shape_read(&o->trial.shape, kase, o->shape, err)) return false;
    const char *why = kernel_shape_refused(kase, &o->trial.shape, o->trial.dtype);
    return !why || error_set(err, "shape '%s': %s: %s", o->shape ? o->shape : "", o->kernel, why);
}

static bool read_seconds(double *seconds, const char *text)
{
    char *end;
    *seconds = strtod(text, &end);
    return *text && !*end && *seconds >= 0 && *seconds <= 3600;
}

// Takes "A,B" apart where it stands.
static bool read_counters(Options *o, char *text)
{
    for (char *name = strtok(text, ","); name; name = strtok(NULL, ",")) {
        if (o->counter_count == TRIAL_COUNTERS) return false;
        o->counters[o->counter_count++] = name;
    }
    return o->counter_count > 0;
}

// -1: go on.
static int parse(Options *o, int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {"with", required_argument, NULL, 'w'},
                                            {"shape", required_argument, NULL, 'S'},
                                            {"type", required_argument, NULL, 't'},
                                            {"device", required_argument, NULL, 'D'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"list", no_argument, NULL, 'l'},
                                            {"source", no_argument, NULL, 'c'},
                                            {"counters", required_argument, NULL, 'n'},
                                            {0}};
    *o = (Options){.trial.seconds = 4};
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (option) {
        case 'h':
            printf("usage: %s\n", USAGE);
            return EXIT_OK;
        case 'w':
            o->trial.with = optarg;
            break;
        case 'S':
            o->shape = optarg;
            break;
        case 't':
            o->type = optarg;
            break;
        case 'D':
            o->device = optarg;
            break;
        case 'j':
            o->json = true;
            break;
        case 'l':
            o->list = true;
            break;
        case 'c':
            o->source = true;
            break;
        case 'n':
            if (read_counters(o, optarg)) break;
            return cli_usage(USAGE, "--counters: 1 to %d names of strata profile counters",
                             TRIAL_COUNTERS);
        case 's':
            if (read_seconds(&o->trial.seconds, optarg)) break;
            return cli_usage(USAGE, "--seconds '%.20s': 0 to 3600 is expected", optarg);
        default:
            return cli_bad_option(USAGE, argv);
        }
    }
    if (o->list ? optind != argc : optind + 1 != argc)
        return cli_usage(USAGE, o->list ? "--list takes no argument" : "one KERNEL is expected");
    o->kernel = argv[optind];
    return -1;
}

int cmd_profile_shader(int argc, char **argv)
{
    Options options;
    Error err;
    int status = parse(&options, argc, argv);
    if (status >= 0) return status;
    if (options.list) return list_kernels();
    if (!resolve(&options, &err)) {
        cli_fail(&err);
        return EXIT_USAGE;
    }
    return options.source ? print_source(options.trial.name.kase) : run(&options);
}
