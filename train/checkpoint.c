// Checkpoints: see checkpoint.h.
#define _POSIX_C_SOURCE 200809L
#include "train/checkpoint.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "model/hf_folder.h"
#include "model/safetensors.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FORMAT = 2, NAME_SIZE = 112 };

static const char FOLDER[] = "checkpoints", TENSORS[] = "state.safetensors", STATE[] = "state.json";

// OUT/checkpoints/step-N, or a file in it.
static bool checkpoint_path(char *path, size_t size, const char *out, uint64_t step,
                            const char *file, Error *err)
{
    char name[200];
    snprintf(name, sizeof name, "%s/step-%010" PRIu64 "%s%s", FOLDER, step, *file ? "/" : "", file);
    return path_join(path, size, out, name, err);
}

// ---- tensors -----------------------------------------------------------------------------------

// A tensor of a checkpoint: all weights, then the moments of what is trained, as they are stored.
typedef struct {
    char name[NAME_SIZE];
    Tensor tensor;
    bool vector; // of one dimension
} Stored;

static void store(Stored *list, size_t *n, const char *prefix, const char *name, const char *suffix,
                  Tensor tensor, bool vector)
{
    if (!tensor.span) return; // not trained
    list[*n] = (Stored){.tensor = tensor, .vector = vector};
    snprintf(list[(*n)++].name, NAME_SIZE, "%s%s%s", prefix, name, suffix);
}

// Fills list (room for five times the parameters).
static size_t list_stored(Stored *list, Llama *model, Step *step)
{
    MomentSet *moments = step_moments(step);
    size_t n = 0, count = llama_parameter_count(&model->config);
    for (size_t i = 0; i < count; i++) {
        LlamaParameter p = llama_parameter(model, i);
        store(list, &n, "", p.name, "", *p.tensor, !p.rows);
    }
    for (size_t i = 0; i < count; i++) {
        LlamaParameter p = llama_parameter(model, i);
        const Moments m = moments_of(moments, i);
        store(list, &n, "mean.", p.name, "", m.mean, !p.rows);
        store(list, &n, "mean.", p.name, ".scale", m.mean_scales, true);
        store(list, &n, "square.", p.name, "", m.square, !p.rows);
        store(list, &n, "square.", p.name, ".scale", m.square_scales, true);
    }
    return n;
}

static Stored *make_list(size_t *count, Llama *model, Step *step, Error *err)
{
    Stored *list = calloc(5 * llama_parameter_count(&model->config), sizeof *list);
    if (list)
        *count = list_stored(list, model, step);
    else
        error_set(err, "out of memory");
    return list;
}

static void *make_buffer(const Stored *list, size_t count, Error *err)
{
    uint64_t most = 1;
    for (size_t i = 0; i < count; i++)
        if (tensor_bytes(list[i].tensor) > most) most = tensor_bytes(list[i].tensor);
    void *bytes = malloc(most);
    if (!bytes) error_set(err, "out of memory");
    return bytes;
}

static SafetensorsWriter *create(const char *path, const Stored *list, size_t count, Error *err)
{
    SafetensorsTensor *tensors = calloc(count, sizeof *tensors);
    if (!tensors) {
        error_set(err, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        Tensor t = list[i].tensor;
        tensors[i] = (SafetensorsTensor){list[i].name, 2, {t.rows, t.cols}, t.dtype};
        if (list[i].vector) tensors[i] = (SafetensorsTensor){list[i].name, 1, {t.cols}, t.dtype};
    }
    SafetensorsWriter *writer = safetensors_create(path, tensors, count, err);
    free(tensors);
    return writer;
}

static bool write_tensors(const char *path, Llama *model, Step *step, Error *err)
{
    size_t count = 0;
    Stored *list = make_list(&count, model, step, err);
    void *bytes = list ? make_buffer(list, count, err) : NULL;
    SafetensorsWriter *writer = bytes ? create(path, list, count, err) : NULL;
    bool ok = writer != NULL;
    for (size_t i = 0; ok && i < count; i++) {
        ok = tensor_download(model->gpu, list[i].tensor, bytes, err);
        if (ok) safetensors_put_bytes(writer, bytes, tensor_bytes(list[i].tensor));
    }
    if (ok)
        ok = safetensors_commit(writer, err);
    else if (writer)
        safetensors_abort(writer);
    free(bytes);
    free(list);
    return ok;
}

static bool read_tensors(const char *path, Llama *model, Step *step, Error *err)
{
    Safetensors file;
    size_t count = 0;
    if (!safetensors_open(&file, path, err)) return false;
    Stored *list = make_list(&count, model, step, err);
    bool ok = list != NULL;
    if (ok && file.count != count)
        ok = error_set(err,
                       "%s: holds %zu tensors, but this model, method and moment_dtype have %zu",
                       path, file.count, count);
    for (size_t i = 0; ok && i < count; i++) {
        Tensor t = list[i].tensor;
        const SafetensorsEntry *entry =
            safetensors_expect_as(&file, list[i].name, t.dtype, t.rows, t.cols, err);
        ok = entry && tensor_upload(model->gpu, t, entry->data, err);
    }
    free(list);
    safetensors_close(&file);
    return ok;
}

// ---- the state ---------------------------------------------------------------------------------

// Whole numbers of 64 bits and doubles do not survive as JSON numbers: they are written as hex.
static bool add_bits(cJSON *object, const char *key, uint64_t bits)
{
    char text[20];
    snprintf(text, sizeof text, "%016" PRIx64, bits);
    return cJSON_AddStringToObject(object, key, text) != NULL;
}

static bool read_bits(uint64_t *bits, const cJSON *object, const char *key, const char *path,
                      Error *err)
{
    const char *text;
    char *end;
    if (!json_string(&text, object, key, path, err)) return false;
    *bits = strtoull(text, &end, 16);
    if (strlen(text) == 16 && !*end) return true;
    return error_set(err, "%s: key '%s' is '%.40s', expected 16 hexadecimal digits", path, key,
                     text);
}

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double double_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool hash_file(Hash *hash, const char *path, Error *err)
{
    Hasher hasher = {0};
    if (!hash_put_file(&hasher, path, err)) return false;
    *hash = hash_end(&hasher);
    return true;
}

static bool add_data(cJSON *object, const DataOrderState *data)
{
    cJSON *files = cJSON_AddArrayToObject(object, "data");
    bool ok = files && add_bits(object, "data_seed", data->seed);
    for (uint64_t i = 0; ok && i < data->file_count; i++) {
        cJSON *file = cJSON_CreateObject();
        ok = file && cJSON_AddItemToArray(files, file) &&
             add_bits(file, "count", data->files[i].count) &&
             add_bits(file, "epoch", data->files[i].epoch) &&
             add_bits(file, "position", data->files[i].position);
    }
    return ok;
}

static bool read_data(DataOrderState *data, const cJSON *object, const char *path, Error *err)
{
    const cJSON *files = cJSON_GetObjectItemCaseSensitive(object, "data");
    *data = (DataOrderState){0};
    if (!cJSON_IsArray(files)) return error_set(err, "%s: key 'data' must be a list", path);
    bool ok = read_bits(&data->seed, object, "data_seed", path, err);
    for (const cJSON *file = files->child; ok && file; file = file->next) {
        uint64_t i = data->file_count++;
        if (i == DATA_FILES) return error_set(err, "%s: key 'data' is too long", path);
        ok = read_bits(&data->files[i].count, file, "count", path, err) &&
             read_bits(&data->files[i].epoch, file, "epoch", path, err) &&
             read_bits(&data->files[i].position, file, "position", path, err);
    }
    return ok;
}

static bool fill_state(cJSON *object, const TrainState *s, Hash hash)
{
    return cJSON_AddNumberToObject(object, "format", FORMAT) &&
           cJSON_AddNumberToObject(object, "step", (double)s->step) &&
           add_bits(object, "updates", s->updates) && add_bits(object, "skipped", s->skipped) &&
           add_bits(object, "skipped_in_row", s->skipped_in_row) &&
           add_bits(object, "usual_norm", bits_of(s->usual_norm)) &&
           add_bits(object, "loss_scale", bits_of(s->scale)) &&
           add_bits(object, "scale_age", s->scale_age) &&
           add_bits(object, "drops", s->drops.state) && add_data(object, &s->data) &&
           (!s->has_loss || cJSON_AddNumberToObject(object, "loss", s->loss)) &&
           add_bits(object, "hash_low", hash.words[0]) &&
           add_bits(object, "hash_high", hash.words[1]);
}

static bool write_state(const char *folder, const TrainState *state, Error *err)
{
    char path[1280];
    Hash hash;
    if (!path_join(path, sizeof path, folder, TENSORS, err) || !hash_file(&hash, path, err) ||
        !path_join(path, sizeof path, folder, STATE, err))
        return false;
    cJSON *object = cJSON_CreateObject();
    bool ok = object && fill_state(object, state, hash) ? json_write(path, object, err)
                                                        : error_set(err, "out of memory");
    cJSON_Delete(object);
    return ok;
}

static bool parse_state(TrainState *s, Hash *hash, const cJSON *object, const char *path,
                        Error *err)
{
    int64_t format, step;
    uint64_t norm, scale;
    *s = (TrainState){0};
    bool ok = json_int(&format, object, "format", FORMAT, FORMAT, path, err) &&
              json_int(&step, object, "step", 1, INT64_C(1) << 53, path, err) &&
              read_bits(&s->updates, object, "updates", path, err) &&
              read_bits(&s->skipped, object, "skipped", path, err) &&
              read_bits(&s->skipped_in_row, object, "skipped_in_row", path, err) &&
              read_bits(&norm, object, "usual_norm", path, err) &&
              read_bits(&scale, object, "loss_scale", path, err) &&
              read_bits(&s->scale_age, object, "scale_age", path, err) &&
              read_bits(&s->drops.state, object, "drops", path, err) &&
              json_number_or(&s->loss, object, "loss", -1, -1, 1e30, path, err) &&
              read_data(&s->data, object, path, err) &&
              read_bits(&hash->words[0], object, "hash_low", path, err) &&
              read_bits(&hash->words[1], object, "hash_high", path, err);
    if (!ok) return false;
    s->step = (uint64_t)step;
    s->usual_norm = double_of(norm);
    s->scale = double_of(scale);
    s->has_loss = s->loss >= 0;
    return true;
}

static bool read_state(TrainState *state, Hash *hash, const char *out, uint64_t step, Error *err)
{
    char path[1024];
    if (!checkpoint_path(path, sizeof path, out, step, STATE, err)) return false;
    cJSON *object = json_read(path, err);
    bool ok = object && parse_state(state, hash, object, path, err);
    cJSON_Delete(object);
    if (ok && state->step != step)
        ok = error_set(err, "%s: is of step %" PRIu64, path, state->step);
    return ok;
}

// ---- saving and loading ------------------------------------------------------------------------

// The names of the files in a folder reach the disk, too.
static void sync_folder(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir) return;
    fsync(dirfd(dir));
    closedir(dir);
}

bool checkpoint_save(const char *out, Llama *model, Step *step, const TrainState *state, Error *err)
{
    char path[1024], tensors[1280];
    HfFolder folder;
    struct stat info;
    if (!checkpoint_path(path, sizeof path, out, state->step, "", err)) return false;
    if (!stat(path, &info)) return true;
    if (!hf_folder_begin(&folder, path, err)) return false;
    if (!path_join(tensors, sizeof tensors, folder.temp, TENSORS, err) ||
        !write_tensors(tensors, model, step, err) || !write_state(folder.temp, state, err)) {
        hf_folder_abort(&folder);
        return false;
    }
    sync_folder(folder.temp);
    if (!hf_folder_commit(&folder, err)) return false;
    if (path_join(path, sizeof path, out, FOLDER, NULL)) sync_folder(path);
    return true;
}

bool checkpoint_load(const char *out, uint64_t step, Llama *model, Step *moments, TrainState *state,
                     Error *err)
{
    char path[1024];
    Hash hash;
    return read_state(state, &hash, out, step, err) &&
           checkpoint_path(path, sizeof path, out, step, TENSORS, err) &&
           read_tensors(path, model, moments, err) && step_refresh(moments, err);
}

// ---- what is there -----------------------------------------------------------------------------

typedef struct {
    uint64_t *steps; // (count)
    size_t count;
} Found;

// The step of a name "step-N" in full; 0: another name.
static uint64_t step_of(const char *name)
{
    char *end;
    if (strncmp(name, "step-", 5)) return 0;
    uint64_t step = strtoull(name + 5, &end, 10);
    return *end ? 0 : step;
}

static int newest_first(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

static Found find_all(const char *out)
{
    char path[1024];
    Found found = {0};
    DIR *dir = path_join(path, sizeof path, out, FOLDER, NULL) ? opendir(path) : NULL;
    for (const struct dirent *item; dir && (item = readdir(dir));) {
        uint64_t step = step_of(item->d_name);
        uint64_t *steps = step ? realloc(found.steps, (found.count + 1) * sizeof *steps) : NULL;
        if (!steps) continue;
        found.steps = steps;
        found.steps[found.count++] = step;
    }
    if (dir) closedir(dir);
    if (found.count) qsort(found.steps, found.count, sizeof *found.steps, newest_first);
    return found;
}

static bool intact(const char *out, uint64_t step, Error *err)
{
    char path[1024];
    TrainState state;
    Hash expected, hash;
    if (!read_state(&state, &expected, out, step, err) ||
        !checkpoint_path(path, sizeof path, out, step, TENSORS, err) ||
        !hash_file(&hash, path, err))
        return false;
    if (!memcmp(&hash, &expected, sizeof hash)) return true;
    return error_set(err, "%s: is damaged, its hash is not that of state.json", path);
}

uint64_t checkpoint_newest(const char *out, void (*damaged)(void *user, const char *line),
                           void *user)
{
    Found found = find_all(out);
    uint64_t newest = 0;
    for (size_t i = 0; i < found.count && !newest; i++) {
        Error err;
        if (intact(out, found.steps[i], &err))
            newest = found.steps[i];
        else if (damaged)
            damaged(user, err.text);
    }
    free(found.steps);
    return newest;
}

// ---- pruning -----------------------------------------------------------------------------------

// state.json goes first: what is half removed is no checkpoint.
static void remove_folder(const char *path)
{
    static const char *const first[] = {STATE, TENSORS};
    char file[1280];
    for (int i = 0; i < 2; i++)
        if (path_join(file, sizeof file, path, first[i], NULL)) unlink(file);
    DIR *dir = opendir(path);
    for (const struct dirent *item; dir && (item = readdir(dir));)
        if (path_join(file, sizeof file, path, item->d_name, NULL)) unlink(file);
    if (dir) closedir(dir);
    rmdir(path);
}

static void remove_partial(const char *out)
{
    char folder[1024], path[1300];
    DIR *dir = path_join(folder, sizeof folder, out, FOLDER, NULL) ? opendir(folder) : NULL;
    for (const struct dirent *item; dir && (item = readdir(dir));)
        if (strstr(item->d_name, ".partial-") &&
            path_join(path, sizeof path, folder, item->d_name, NULL))
            remove_folder(path);
    if (dir) closedir(dir);
}

// How many of the others have a lower loss than this one.
static uint64_t better(const double *losses, size_t count, size_t i)
{
    uint64_t n = 0;
    for (size_t j = 0; j < count; j++)
        n += losses[j] >= 0 && (losses[j] < losses[i] || (losses[j] == losses[i] && j < i));
    return n;
}

void checkpoint_prune(const char *out, uint64_t keep_last, uint64_t keep_best)
{
    Found found = find_all(out);
    double *losses = calloc(found.count + 1, sizeof *losses);
    for (size_t i = 0; losses && i < found.count; i++) {
        TrainState state;
        Hash hash;
        Error err;
        bool known = read_state(&state, &hash, out, found.steps[i], &err) && state.has_loss;
        losses[i] = known ? state.loss : -1;
    }
    for (size_t i = keep_last; losses && i < found.count; i++) {
        char path[1024];
        bool best = losses[i] >= 0 && better(losses, found.count, i) < keep_best;
        if (!best && checkpoint_path(path, sizeof path, out, found.steps[i], "", NULL))
            remove_folder(path);
    }
    free(losses);
    free(found.steps);
    remove_partial(out);
}
