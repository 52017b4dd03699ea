// What `strata train` is told: see train_config.h.
#include "train/train_config.h"
#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// clang-format off: keys that belong together stand together
static const char *const KEYS[] = {
    "model", "tokenizer", "init", "data", "valid", "document_separator", "out",
    "method", "exits", "depth",
    "exit_weights", "exit_scale", "curriculum", "rotation", "layer_dropout", "exit_norm", "exit_head",
    "distill", "distill_temperature",
    "steps", "batch_size", "grad_accum", "context", "seed",
    "learning_rate", "schedule", "warmup", "weight_decay", "beta1", "beta2", "epsilon", "clip",
    "recompute", "weight_dtype", "gradient_dtype", "moment_dtype", "activation_dtype",
    "loss_scale", "loss_scale_window",
    "save_every", "keep_last", "keep_best", "validate_every", "max_skipped", "spike_factor",
    "submit_ms",
};
// clang-format on

static bool known(const char *key)
{
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (!strcmp(KEYS[i], key)) return true;
    return false;
}

static bool check_keys(const cJSON *object, const char *file, Error *err)
{
    if (!cJSON_IsObject(object)) return error_set(err, "%s: a JSON object is expected", file);
    for (const cJSON *item = object->child; item; item = item->next)
        if (!known(item->string))
            return error_set(err, "%s: unknown key '%.60s'; the README lists the keys", file,
                             item->string);
    return true;
}

// Replaces or adds one key.
static bool apply_set(cJSON *object, const char *set, Error *err)
{
    const char *equals = strchr(set, '=');
    if (!equals || equals == set) return error_set(err, "--set %.80s: key=value is expected", set);
    size_t length = (size_t)(equals - set);
    char key[64];
    if (length >= sizeof key) return error_set(err, "--set %.80s: unknown key", set);
    memcpy(key, set, length);
    key[length] = 0;
    if (!known(key)) return error_set(err, "--set %s: unknown key; the README lists the keys", key);
    cJSON *value = json_parse(equals + 1, strlen(equals + 1), "--set", NULL);
    if (!value) value = cJSON_CreateString(equals + 1);
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
    return cJSON_AddItemToObject(object, key, value) || error_set(err, "out of memory");
}

// A copy of an optional string.
static bool read_text(char **out, const cJSON *object, const char *key, const char *file,
                      Error *err)
{
    const char *text;
    if (!json_string_or(&text, object, key, NULL, file, err)) return false;
    if (!text) return true;
    if (!*text) return error_set(err, "%s: key '%s' is empty", file, key);
    size_t size = strlen(text) + 1;
    *out = malloc(size);
    if (!*out) return error_set(err, "out of memory");
    memcpy(*out, text, size);
    return true;
}

static bool read_exits(TrainConfig *config, const cJSON *object, const char *file, Error *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(object, "exits");
    if (!list || cJSON_IsNull(list)) return true;
    if (!cJSON_IsArray(list))
        return error_set(err, "%s: key 'exits' must be a list of depths, such as [2,4,6]", file);
    for (const cJSON *item = list->child; item; item = item->next) {
        double depth = cJSON_IsNumber(item) ? item->valuedouble : 0.0;
        if (!(depth >= 1 && depth <= 65535) || depth != floor(depth))
            return error_set(err, "%s: key 'exits' must hold whole numbers of 1 and more", file);
        if (config->exit_count == CONFIG_MAX_EXITS)
            return error_set(err, "%s: key 'exits' holds more than %d depths", file,
                             CONFIG_MAX_EXITS);
        config->exits[config->exit_count++] = (uint32_t)depth;
    }
    return true;
}

static bool read_texts(TrainConfig *config, const cJSON *object, const char *file, Error *err)
{
    const cJSON *init = cJSON_GetObjectItemCaseSensitive(object, "init");
    config->has_init = init && !cJSON_IsNull(init);
    return read_text(&config->model, object, "model", file, err) &&
           read_text(&config->tokenizer, object, "tokenizer", file, err) &&
           data_files_read(&config->data, object, file, err) &&
           read_text(&config->valid, object, "valid", file, err) &&
           read_text(&config->separator, object, "document_separator", file, err) &&
           read_text(&config->out, object, "out", file, err) &&
           (!config->has_init || config_read(&config->init, init, file, err));
}

static bool read_choices(TrainConfig *config, const cJSON *object, const char *file, Error *err)
{
    static const char *const methods[] = {"soft", "sft", "ict", "extracted", NULL};
    static const char *const schedules[] = {"cosine", "constant", NULL};
    static const char *const recomputes[] = {"none", "block", NULL};
    int method, schedule, recompute;
    if (!json_word_or(&method, object, "method", methods, file, err) ||
        !json_word_or(&schedule, object, "schedule", schedules, file, err) ||
        !json_word_or(&recompute, object, "recompute", recomputes, file, err))
        return false;
    config->method = (Method)method;
    config->schedule = (Schedule)schedule;
    config->recompute = recompute == 1;
    return read_exits(config, object, file, err) &&
           soft_read(&config->choices, object, file, err) &&
           storage_read(&config->storage, object, file, err);
}

static bool read_counts(TrainConfig *config, const cJSON *object, const char *file, Error *err)
{
    const int64_t most = 1000000000;
    int64_t steps, batch, accum, context, warmup, seed, save, validate, depth, last, best, skipped,
        window;
    bool ok = json_int_or(&steps, object, "steps", 0, 0, most, file, err) &&
              json_int_or(&batch, object, "batch_size", 4, 1, 65536, file, err) &&
              json_int_or(&accum, object, "grad_accum", 8, 1, 65536, file, err) &&
              json_int_or(&context, object, "context", 0, 0, 1 << 20, file, err) &&
              json_int_or(&depth, object, "depth", 0, 0, 65535, file, err) &&
              json_int_or(&warmup, object, "warmup", -1, 0, most, file, err) &&
              json_int_or(&seed, object, "seed", 42, 0, INT64_C(1) << 53, file, err) &&
              json_int_or(&save, object, "save_every", 0, 0, most, file, err) &&
              json_int_or(&validate, object, "validate_every", 0, 0, most, file, err);
    ok = ok && json_int_or(&last, object, "keep_last", 2, 1, most, file, err) &&
         json_int_or(&best, object, "keep_best", 0, 0, most, file, err) &&
         json_int_or(&skipped, object, "max_skipped", 10, 1, most, file, err) &&
         json_int_or(&window, object, "loss_scale_window", 2000, 1, most, file, err);
    if (!ok) return false;
    config->keep_last = (uint64_t)last;
    config->keep_best = (uint64_t)best;
    config->max_skipped = (uint64_t)skipped;
    config->loss_scale_window = (uint64_t)window;
    config->steps = (uint64_t)steps;
    config->batch_size = (uint32_t)batch;
    config->grad_accum = (uint32_t)accum;
    config->context = (uint32_t)context;
    config->depth = (uint32_t)depth;
    config->warmup = warmup;
    config->seed = (uint64_t)seed;
    config->save_every = (uint64_t)save;
    config->validate_every = (uint64_t)validate;
    if (batch * accum > 1 << 24)
        return error_set(err, "%s: batch_size * grad_accum is %" PRId64 ", expected at most %d",
                         file, batch * accum, 1 << 24);
    if (context == 1) return error_set(err, "%s: key 'context' is 1, expected 2 or more", file);
    return true;
}

// A power of two, so that scaling and back loses nothing.
static bool check_scale(double scale, const char *file, Error *err)
{
    int exponent;
    if (frexp(scale, &exponent) == 0.5) return true;
    return error_set(err, "%s: key 'loss_scale' is %g, expected a power of two", file, scale);
}

static bool read_rates(TrainConfig *c, const cJSON *object, const char *file, Error *err)
{
    return json_number_or(&c->learning_rate, object, "learning_rate", 2e-5, 0, 1e3, file, err) &&
           json_number_or(&c->weight_decay, object, "weight_decay", 0, 0, 1e3, file, err) &&
           json_number_or(&c->beta1, object, "beta1", 0.9, 0, 0.999999, file, err) &&
           json_number_or(&c->beta2, object, "beta2", 0.999, 0, 0.999999999, file, err) &&
           json_number_or(&c->epsilon, object, "epsilon", 1e-8, 1e-30, 1, file, err) &&
           json_number_or(&c->clip, object, "clip", 1.0, 0, 1e9, file, err) &&
           json_number_or(&c->spike_factor, object, "spike_factor", 0, 0, 1e9, file, err) &&
           json_number_or(&c->loss_scale, object, "loss_scale", 65536, 1, LARGEST_LOSS_SCALE, file,
                          err) &&
           check_scale(c->loss_scale, file, err) &&
           json_number_or(&c->submit_ms, object, "submit_ms", 0, 0, 1e9, file, err);
}

static bool check_exits(const TrainConfig *c, const char *file, Error *err)
{
    for (uint32_t i = 1; i < c->exit_count; i++)
        if (c->exits[i] <= c->exits[i - 1])
            return error_set(err, "%s: exits must ascend: %" PRIu32 " stands before %" PRIu32, file,
                             c->exits[i - 1], c->exits[i]);
    return true;
}

// What only some methods have a use for.
static bool check_method(const TrainConfig *c, const char *file, Error *err)
{
    bool exits = c->method == METHOD_SOFT || c->method == METHOD_ICT;
    const char *name = c->method == METHOD_ICT ? "ict" : "soft";
    if (exits && !c->exit_count)
        return error_set(err, "%s: method '%s' needs 'exits', such as [2,4,6]", file, name);
    if (!exits && c->exit_count)
        return error_set(err, "%s: 'exits' belongs to the methods 'soft' and 'ict'", file);
    if ((c->method == METHOD_EXTRACTED) != (c->depth > 0))
        return error_set(err, "%s: %s", file,
                         c->depth ? "'depth' belongs to method 'extracted'"
                                  : "method 'extracted' needs 'depth', the blocks that it keeps");
    if (c->method == METHOD_EXTRACTED && c->has_init)
        return error_set(err, "%s: method 'extracted' needs 'model', not 'init'", file);
    if (c->method != METHOD_SOFT && !soft_is_plain(&c->choices))
        return error_set(err,
                         "%s: exit_weights, curriculum, exit_norm, exit_head and distill belong to "
                         "method 'soft'",
                         file);
    if (c->choices.weighting == WEIGHTS_LIST && c->choices.list_count != c->exit_count)
        return error_set(err, "%s: exit_weights holds %" PRIu32 " numbers for %" PRIu32 " exits",
                         file, c->choices.list_count, c->exit_count);
    return check_exits(c, file, err);
}

static bool check_together(const TrainConfig *c, const char *file, Error *err)
{
    if (!c->model == !c->has_init)
        return error_set(err, "%s: one of 'model' and 'init' is expected", file);
    if (c->has_init && !c->tokenizer)
        return error_set(err, "%s: with 'init', 'tokenizer' must name the folder of tokenizer.json",
                         file);
    if (!c->data.count) return error_set(err, "%s: key 'data' is missing", file);
    if (!c->out) return error_set(err, "%s: key 'out' is missing", file);
    return check_method(c, file, err);
}

static bool read_all(TrainConfig *config, const cJSON *object, const char *path, Error *err)
{
    return check_keys(object, path, err) && read_texts(config, object, path, err) &&
           read_choices(config, object, path, err) && read_counts(config, object, path, err) &&
           read_rates(config, object, path, err) && check_together(config, path, err);
}

bool train_config_load(TrainConfig *config, const char *path, const char *const *sets,
                       size_t set_count, Error *err)
{
    *config = (TrainConfig){0};
    cJSON *object = json_read(path, err);
    bool ok = object != NULL && check_keys(object, path, err);
    for (size_t i = 0; ok && i < set_count; i++) ok = apply_set(object, sets[i], err);
    ok = ok && read_all(config, object, path, err);
    cJSON_Delete(object);
    if (!ok) train_config_free(config);
    return ok;
}

void train_config_free(TrainConfig *config)
{
    char *const texts[] = {config->model, config->tokenizer, config->valid, config->separator,
                           config->out};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) free(texts[i]);
    data_files_free(&config->data);
    *config = (TrainConfig){0};
}

bool train_config_complete(TrainConfig *config, const LlamaConfig *model, Error *err)
{
    if (config->method == METHOD_SFT || config->method == METHOD_EXTRACTED) {
        config->exits[0] = model->blocks;
        config->exit_count = 1;
    }
    uint32_t deepest = config->exits[config->exit_count - 1];
    if (deepest > model->blocks)
        return error_set(err, "exits: depth %" PRIu32 ", but the model has %" PRIu32 " blocks",
                         deepest, model->blocks);
    if (config->method == METHOD_ICT && config->exits[0] == model->blocks)
        return error_set(err, "exits: method 'ict' needs one before the last block, %" PRIu32,
                         model->blocks);
    if (config->context > model->context)
        return error_set(err, "context: %" PRIu32 ", but the model's context is %" PRIu32,
                         config->context, model->context);
    if (!storage_check(&config->storage, model, err)) return false;
    if (!config->context) config->context = model->context < 2048 ? model->context : 2048;
    return true;
}

void train_config_shape(LlamaConfig *shape, const TrainConfig *c)
{
    bool exits = c->method == METHOD_SOFT || c->method == METHOD_ICT;
    if (c->method == METHOD_EXTRACTED && c->depth < shape->blocks) shape->blocks = c->depth;
    shape->exit_count = exits ? c->exit_count : 0;
    memcpy(shape->exits, c->exits, sizeof shape->exits);
    shape->exit_norm = exits ? c->choices.exit_norm : EXIT_NORM_SHARED;
    shape->separate_heads = c->method == METHOD_ICT || (exits && c->choices.separate_heads);
}

bool train_config_scales(const TrainConfig *c)
{
    return c->storage.gradients == DTYPE_F16;
}

bool train_config_model(LlamaConfig *shape, TrainConfig *c, Error *err)
{
    if (c->has_init)
        *shape = c->init;
    else if (!config_load(shape, c->model, err))
        return false;
    if (c->method == METHOD_EXTRACTED && c->depth > shape->blocks)
        return error_set(err, "depth: %" PRIu32 ", but the model has %" PRIu32 " blocks", c->depth,
                         shape->blocks);
    if (c->method == METHOD_EXTRACTED) shape->blocks = c->depth;
    if (!train_config_complete(c, shape, err)) return false;
    train_config_shape(shape, c);
    return true;
}

double train_config_rate(const TrainConfig *c, uint64_t step)
{
    uint64_t warmup = (uint64_t)c->warmup;
    if (step <= warmup) return c->learning_rate * (double)step / (double)warmup;
    if (c->schedule == SCHEDULE_CONSTANT) return c->learning_rate;
    double done = (double)(step - 1 - warmup) / (double)(c->steps - warmup);
    return c->learning_rate * 0.5 * (1.0 + cos(3.14159265358979323846 * done));
}
