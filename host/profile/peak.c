// A device's ceilings as they are named, kept and read: see peak.h.
#define _POSIX_C_SOURCE 200809L
#include "base/file.h"
#include "base/hash.h"
#include "profile/peak_internal.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VERSION = 1 }; // of what is measured, and how: a file of another one is measured anew
#define HIGHEST 1e30  // no device is faster
// ---- figures -----------------------------------------------------------------------------------

static const struct {
    PeakText text;
    size_t offset; // in Peak
} FIGURES[PEAK_FIGURES] = {
#define FIGURE(field, what, unit)                                                                  \
    {                                                                                              \
        {#field, what, unit}, offsetof(Peak, field)                                                \
    }
    [PEAK_COPY] = FIGURE(copy_bytes_per_second, "copy, device memory", "B/s"),
    [PEAK_READ] = FIGURE(read_bytes_per_second, "read, device memory", "B/s"),
    [PEAK_CACHE_COPY] = FIGURE(cache_copy_bytes_per_second, "copy within caches", "B/s"),
    [PEAK_CACHE_READ] = FIGURE(cache_read_bytes_per_second, "read within caches", "B/s"),
    [PEAK_F32] = FIGURE(f32_operations_per_second, "f32 multiply-add", "op/s"),
    [PEAK_F16] = FIGURE(f16_operations_per_second, "f16 multiply-add, in pairs", "op/s"),
    [PEAK_INT8_DOT] = FIGURE(int8_dot_operations_per_second, "int8 dot product, 4 wide", "op/s"),
    [PEAK_LAUNCH] = FIGURE(launch_seconds, "empty dispatch", "s"),
    [PEAK_BARRIER] = FIGURE(barrier_seconds, "empty dispatch and barrier", "s"),
    [PEAK_SUBMIT] = FIGURE(submit_seconds, "empty submission, to and back", "s"),
    [PEAK_UPLOAD] = FIGURE(upload_bytes_per_second, "upload through staging", "B/s"),
    [PEAK_DOWNLOAD] = FIGURE(download_bytes_per_second, "download through staging", "B/s"),
    [PEAK_MAPPED_WRITE] = FIGURE(mapped_write_bytes_per_second, "host writes mapped", "B/s"),
    [PEAK_MAPPED_READ] = FIGURE(mapped_read_bytes_per_second, "host reads mapped", "B/s"),
#undef FIGURE
};

const PeakText *peak_text(PeakFigure figure)
{
    return &FIGURES[figure].text;
}

double *peak_field(Peak *peak, PeakFigure figure)
{
    return (double *)((char *)peak + FIGURES[figure].offset);
}

double peak_value(const Peak *peak, PeakFigure figure)
{
    return *(const double *)((const char *)peak + FIGURES[figure].offset);
}

// ---- whose they are ----------------------------------------------------------------------------

// The processor's name where the system tells it, for those who share a cache folder among
// machines.
static void read_processor(char *out, size_t size)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(out, size, "processor not known");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon) continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(out, size, "%s", colon + 1 + strspn(colon + 1, " "));
        break;
    }
    if (file) fclose(file);
}

static const char *variable(const char *name)
{
    const char *text = getenv(name);
    return text && *text ? text : "unset";
}

static void describe_host(char *out, size_t size)
{
    char processor[96];
    read_processor(processor, sizeof processor);
    snprintf(out, size, "%s, %ld cores, LP_NUM_THREADS %.20s, LP_NATIVE_VECTOR_WIDTH %.20s",
             processor, sysconf(_SC_NPROCESSORS_ONLN), variable("LP_NUM_THREADS"),
             variable("LP_NATIVE_VECTOR_WIDTH"));
}

void peak_describe(Gpu *gpu, Peak *peak)
{
    const GpuInfo *info = gpu_info(gpu);
    *peak = (Peak){.device = ""};
    snprintf(peak->device, sizeof peak->device, "%s", info->name);
    snprintf(peak->driver, sizeof peak->driver, "%s", info->driver);
    gpu_identity(gpu, peak->identity, sizeof peak->identity);
    if (!strcmp(info->kind, "cpu")) describe_host(peak->host, sizeof peak->host);
}

// ---- JSON --------------------------------------------------------------------------------------

static bool add_figure(cJSON *to, const Peak *peak, PeakFigure figure)
{
    double value = peak_value(peak, figure);
    cJSON *own = cJSON_AddObjectToObject(to, FIGURES[figure].text.name);
    if (value == 0) return own && cJSON_AddNullToObject(own, "best");
    return own && cJSON_AddNumberToObject(own, "best", value) &&
           cJSON_AddNumberToObject(own, "median", peak->median[figure]) &&
           (!peak->way[figure][0] || cJSON_AddStringToObject(own, "way", peak->way[figure]));
}

static bool add_matrix(cJSON *to, const PeakMatrix *matrix)
{
    cJSON *own = cJSON_CreateObject();
    if (!own || !cJSON_AddItemToArray(to, own)) {
        cJSON_Delete(own);
        return false;
    }
    bool ok = cJSON_AddNumberToObject(own, "m", matrix->shape.m) &&
              cJSON_AddNumberToObject(own, "n", matrix->shape.n) &&
              cJSON_AddNumberToObject(own, "k", matrix->shape.k) &&
              cJSON_AddStringToObject(own, "a", matrix->shape.a) &&
              cJSON_AddStringToObject(own, "b", matrix->shape.b) &&
              cJSON_AddStringToObject(own, "c", matrix->shape.c) &&
              cJSON_AddStringToObject(own, "result", matrix->shape.result) &&
              cJSON_AddBoolToObject(own, "saturating", matrix->shape.saturating);
    if (matrix->operations_per_second == 0)
        return ok && cJSON_AddNullToObject(own, "operations_per_second");
    return ok &&
           cJSON_AddNumberToObject(own, "operations_per_second", matrix->operations_per_second) &&
           cJSON_AddNumberToObject(own, "median", matrix->median);
}

cJSON *peak_json(const Peak *peak)
{
    cJSON *root = cJSON_CreateObject();
    bool ok = root && cJSON_AddNumberToObject(root, "version", VERSION) &&
              cJSON_AddStringToObject(root, "device", peak->device) &&
              cJSON_AddStringToObject(root, "driver", peak->driver) &&
              cJSON_AddStringToObject(root, "identity", peak->identity) &&
              cJSON_AddStringToObject(root, "host", peak->host);
    for (int i = 0; ok && i < PEAK_FIGURES; i++) ok = add_figure(root, peak, (PeakFigure)i);
    cJSON *matrices = ok ? cJSON_AddArrayToObject(root, "matrices") : NULL;
    ok = matrices != NULL;
    for (uint32_t i = 0; ok && i < peak->matrix_count; i++)
        ok = add_matrix(matrices, &peak->matrices[i]);
    if (ok) return root;
    cJSON_Delete(root);
    return NULL;
}

// ---- the file ----------------------------------------------------------------------------------

// Named after all that a measurement belongs to; the file says the same in words.
static bool find_path(const Peak *peak, char *out, size_t size, Error *err)
{
    char folder[900], all[sizeof peak->device + sizeof peak->driver + sizeof peak->host + 2];
    char name[128];
    int length = snprintf(all, sizeof all, "%s\n%s\n%s", peak->device, peak->driver, peak->host);
    if (!cache_folder(folder, sizeof folder, err)) return false;
    Hasher hasher = {0};
    hash_put(&hasher, all, (size_t)length);
    snprintf(name, sizeof name, "peak-%s-%016llx.json", peak->identity,
             (unsigned long long)hash_end(&hasher).words[0]);
    return path_join(out, size, folder, name, err);
}

bool peak_path(Gpu *gpu, char *out, size_t size, Error *err)
{
    Peak peak;
    peak_describe(gpu, &peak);
    return find_path(&peak, out, size, err);
}

static const cJSON *object_of(const cJSON *root, const char *key, const char *path, Error *err)
{
    const cJSON *own = cJSON_GetObjectItemCaseSensitive(root, key);
    if (cJSON_IsObject(own)) return own;
    error_set(err, "%s: %s: no object", path, key);
    return NULL;
}

static bool read_figure(Peak *peak, PeakFigure figure, const cJSON *root, const char *path,
                        Error *err)
{
    const char *way;
    const cJSON *own = object_of(root, FIGURES[figure].text.name, path, err);
    double *best = peak_field(peak, figure), *median = &peak->median[figure];
    bool ok = own && json_number_or(best, own, "best", 0, 0, HIGHEST, path, err) &&
              json_number_or(median, own, "median", 0, 0, HIGHEST, path, err) &&
              json_string_or(&way, own, "way", "", path, err);
    if (ok) snprintf(peak->way[figure], sizeof *peak->way, "%s", way);
    return ok;
}

static bool read_word(char out[8], const cJSON *own, const char *key, const char *path, Error *err)
{
    const char *text;
    if (!json_string(&text, own, key, path, err)) return false;
    if (strlen(text) >= 8) return error_set(err, "%s: %s: '%.20s' is no type", path, key, text);
    strcpy(out, text);
    return true;
}

static bool read_matrix(PeakMatrix *matrix, const cJSON *own, const char *path, Error *err)
{
    int64_t m, n, k;
    *matrix = (PeakMatrix){0};
    bool ok = json_int(&m, own, "m", 1, 65536, path, err) &&
              json_int(&n, own, "n", 1, 65536, path, err) &&
              json_int(&k, own, "k", 1, 65536, path, err) &&
              read_word(matrix->shape.a, own, "a", path, err) &&
              read_word(matrix->shape.b, own, "b", path, err) &&
              read_word(matrix->shape.c, own, "c", path, err) &&
              read_word(matrix->shape.result, own, "result", path, err) &&
              json_bool_or(&matrix->shape.saturating, own, "saturating", false, path, err) &&
              json_number_or(&matrix->operations_per_second, own, "operations_per_second", 0, 0,
                             HIGHEST, path, err) &&
              json_number_or(&matrix->median, own, "median", 0, 0, HIGHEST, path, err);
    if (!ok) return false;
    matrix->shape.m = (uint32_t)m;
    matrix->shape.n = (uint32_t)n;
    matrix->shape.k = (uint32_t)k;
    return true;
}

static bool read_matrices(Peak *peak, const cJSON *root, const char *path, Error *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "matrices"), *own;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > PEAK_MATRICES)
        return error_set(err, "%s: matrices: no list of at most %d", path, PEAK_MATRICES);
    cJSON_ArrayForEach(own, list)
    {
        if (!cJSON_IsObject(own)) return error_set(err, "%s: matrices: no objects", path);
        if (!read_matrix(&peak->matrices[peak->matrix_count], own, path, err)) return false;
        peak->matrix_count++;
    }
    return true;
}

// The file's text under that key is that of the device at hand.
static bool same_text(const cJSON *root, const char *key, const char *text, const char *path,
                      Error *err)
{
    const char *own;
    if (!json_string(&own, root, key, path, err)) return false;
    return !strcmp(own, text) ||
           error_set(err, "%s: %s: '%.80s', expected '%.80s'", path, key, own, text);
}

static bool read_peak(Peak *peak, const cJSON *root, const char *path, Error *err)
{
    int64_t version;
    bool ok = json_int(&version, root, "version", VERSION, VERSION, path, err) &&
              same_text(root, "device", peak->device, path, err) &&
              same_text(root, "driver", peak->driver, path, err) &&
              same_text(root, "identity", peak->identity, path, err) &&
              same_text(root, "host", peak->host, path, err);
    for (int i = 0; ok && i < PEAK_FIGURES; i++)
        ok = read_figure(peak, (PeakFigure)i, root, path, err);
    return ok && read_matrices(peak, root, path, err);
}

bool peak_load(Gpu *gpu, Peak *peak, Error *err)
{
    char path[1024];
    peak_describe(gpu, peak);
    if (!find_path(peak, path, sizeof path, err)) return false;
    cJSON *root = json_read(path, err);
    if (!root) return false;
    bool ok = cJSON_IsObject(root) ? read_peak(peak, root, path, err)
                                   : error_set(err, "%s: no object", path);
    cJSON_Delete(root);
    return ok;
}

bool peak_save(Gpu *gpu, const Peak *peak, Error *err)
{
    char path[1024];
    if (!peak_path(gpu, path, sizeof path, err)) return false;
    cJSON *root = peak_json(peak);
    bool ok = root ? json_write(path, root, err) : error_set(err, "out of memory");
    cJSON_Delete(root);
    return ok;
}

bool peak_get(Gpu *gpu, Peak *peak, Error *err)
{
    if (peak_load(gpu, peak, NULL)) return true;
    if (!peak_measure(gpu, peak, NULL, NULL, err)) return false;
    peak_save(gpu, peak, NULL); // a folder that cannot be written is no error
    return true;
}
