// What `strata train` is told: see train_config.h.
#include "train/train_config.h"
#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const KEYS[] = {
    "model",  "tokenizer",     "init",     "data",       "valid",         "out",
    "method", "exits",         "steps",    "batch_size", "grad_accum",    "context",
    "seed",   "learning_rate", "schedule", "warmup",     "weight_decay",  "beta1",
    "beta2",  "epsilon",       "clip",     "save_every", "validate_every"};

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

// One of two words.
static bool read_choice(int *out, const cJSON *object, const char *key, const char *first,
                        const char *second, const char *file, Error *err)
{
    const char *text;
    if (!json_string_or(&text, object, key, first, file, err)) return false;
    *out = strcmp(text, first) ? 1 : 0;
    if (!*out || !strcmp(text, second)) return true;
    return error_set(err, "%s: key '%s' is '%.40s', expected '%s' or '%s'", file, key, text, first,
                     second);
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
           read_text(&config->data, object, "data", file, err) &&
           read_text(&config->valid, object, "valid", file, err) &&
           read_text(&config->out, object, "out", file, err) &&
           (!config->has_init || config_read(&config->init, init, file, err));
}

static bool read_choices(TrainConfig *config, const cJSON *object, const char *file, Error *err)
{
    int method, schedule;
    if (!read_choice(&method, object, "method", "soft", "sft", file, err) ||
        !read_choice(&schedule, object, "schedule", "cosine", "constant", file, err))
        return false;
    config->method = method ? METHOD_SFT : METHOD_SOFT;
    config->schedule = schedule ? SCHEDULE_CONSTANT : SCHEDULE_COSINE;
    return read_exits(config, object, file, err);
}

static bool read_counts(TrainConfig *config, const cJSON *object, const char *file, Error *err)
{
    const int64_t most = 1000000000;
    int64_t steps, batch, accum, context, warmup, seed, save, validate;
    bool ok = json_int_or(&steps, object, "steps", 0, 0, most, file, err) &&
              json_int_or(&batch, object, "batch_size", 4, 1, 65536, file, err) &&
              json_int_or(&accum, object, "grad_accum", 8, 1, 65536, file, err) &&
              json_int_or(&context, object, "context", 0, 0, 1 << 20, file, err) &&
              json_int_or(&warmup, object, "warmup", -1, 0, most, file, err) &&
              json_int_or(&seed, object, "seed", 42, 0, INT64_C(1) << 53, file, err) &&
              json_int_or(&save, object, "save_every", 0, 0, most, file, err) &&
              json_int_or(&validate, object, "validate_every", 0, 0, most, file, err);
    if (!ok) return false;
    config->steps = (uint64_t)steps;
    config->batch_size = (uint32_t)batch;
    config->grad_accum = (uint32_t)accum;
    config->context = (uint32_t)context;
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

static bool read_rates(TrainConfig *c, const cJSON *object, const char *file, Error *err)
{
    return json_number_or(&c->learning_rate, object, "learning_rate", 2e-5, 0, 1e3, file, err) &&
           json_number_or(&c->weight_decay, object, "weight_decay", 0, 0, 1e3, file, err) &&
           json_number_or(&c->beta1, object, "beta1", 0.9, 0, 0.999999, file, err) &&
           json_number_or(&c->beta2, object, "beta2", 0.999, 0, 0.999999999, file, err) &&
           json_number_or(&c->epsilon, object, "epsilon", 1e-8, 1e-30, 1, file, err) &&
           json_number_or(&c->clip, object, "clip", 1.0, 0, 1e9, file, err);
}

static bool check_together(const TrainConfig *c, const char *file, Error *err)
{
    if (!c->model == !c->has_init)
        return error_set(err, "%s: one of 'model' and 'init' is expected", file);
    if (c->has_init && !c->tokenizer)
        return error_set(err, "%s: with 'init', 'tokenizer' must name the folder of tokenizer.json",
                         file);
    if (!c->data) return error_set(err, "%s: key 'data' is missing", file);
    if (!c->out) return error_set(err, "%s: key 'out' is missing", file);
    if (c->method == METHOD_SOFT && !c->exit_count)
        return error_set(err, "%s: method 'soft' needs 'exits', such as [2,4,6]", file);
    if (c->method == METHOD_SFT && c->exit_count)
        return error_set(err, "%s: 'exits' belongs to method 'soft', not to 'sft'", file);
    for (uint32_t i = 1; i < c->exit_count; i++)
        if (c->exits[i] <= c->exits[i - 1])
            return error_set(err, "%s: exits must ascend: %" PRIu32 " stands before %" PRIu32, file,
                             c->exits[i - 1], c->exits[i]);
    return true;
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
    char *const texts[] = {config->model, config->tokenizer, config->data, config->valid,
                           config->out};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) free(texts[i]);
    *config = (TrainConfig){0};
}

bool train_config_complete(TrainConfig *config, const LlamaConfig *model, Error *err)
{
    if (config->method == METHOD_SFT) {
        config->exits[0] = model->blocks;
        config->exit_count = 1;
    }
    uint32_t deepest = config->exits[config->exit_count - 1];
    if (deepest > model->blocks)
        return error_set(err, "exits: depth %" PRIu32 ", but the model has %" PRIu32 " blocks",
                         deepest, model->blocks);
    if (config->context > model->context)
        return error_set(err, "context: %" PRIu32 ", but the model's context is %" PRIu32,
                         config->context, model->context);
    if (!config->context) config->context = model->context < 2048 ? model->context : 2048;
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
