// Model folders: see hf_folder.h.
#define _POSIX_C_SOURCE 200809L
#include "model/hf_folder.h"
#include "base/file.h"
#include "model/config_internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_dots(const char *name)
{
    return !strcmp(name, ".") || !strcmp(name, "..");
}

bool hf_folder_check(const char *path, Error *err)
{
    struct stat info;
    if (!*path) return error_set(err, "the name of the folder to write is empty");
    if (lstat(path, &info)) {
        if (errno == ENOENT) return true;
        return error_set(err, "%s: cannot write there: %s", path, strerror(errno));
    }
    if (!S_ISDIR(info.st_mode)) return error_set(err, "%s: exists and is not a folder", path);
    DIR *dir = opendir(path);
    if (!dir) return error_set(err, "%s: cannot read the folder: %s", path, strerror(errno));
    bool empty = true;
    for (const struct dirent *item; empty && (item = readdir(dir));) empty = is_dots(item->d_name);
    closedir(dir);
    return empty || error_set(err, "%s: the folder exists and is not empty", path);
}

bool hf_folder_begin(HfFolder *folder, const char *path, Error *err)
{
    *folder = (HfFolder){0};
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    if (length >= sizeof folder->path) return error_set(err, "%.80s...: path is too long", path);
    memcpy(folder->path, path, length);
    if (!hf_folder_check(folder->path, err)) return false;
    char *slash = strrchr(folder->path, '/');
    if (slash && slash > folder->path) {
        *slash = 0;
        bool made = folder_make(folder->path, err);
        *slash = '/';
        if (!made) return false;
    }
    snprintf(folder->temp, sizeof folder->temp, "%s.partial-%ld", folder->path, (long)getpid());
    if (mkdir(folder->temp, 0777) == 0) return true;
    return error_set(err, "%s: cannot make the folder: %s", folder->temp, strerror(errno));
}

bool hf_folder_commit(HfFolder *folder, Error *err)
{
    // An empty folder at path is replaced by rename itself.
    if (rename(folder->temp, folder->path) == 0) return true;
    error_set(err, "%s: cannot write: %s", folder->path, strerror(errno));
    hf_folder_abort(folder);
    return false;
}

void hf_folder_abort(HfFolder *folder)
{
    char path[1280];
    DIR *dir = opendir(folder->temp);
    for (const struct dirent *item; dir && (item = readdir(dir));)
        if (!is_dots(item->d_name) &&
            path_join(path, sizeof path, folder->temp, item->d_name, NULL))
            unlink(path);
    if (dir) closedir(dir);
    rmdir(folder->temp);
}

static bool write_object(cJSON *object, bool filled, const char *folder, const char *name,
                         Error *err)
{
    char path[1024];
    bool ok = path_join(path, sizeof path, folder, name, err);
    if (ok && !filled) ok = error_set(err, "%s: out of memory", path);
    ok = ok && json_write(path, object, err);
    cJSON_Delete(object);
    return ok;
}

static bool write_tokenizer_config(const char *folder, const LlamaConfig *config, Error *err)
{
    cJSON *object = cJSON_CreateObject();
    bool filled = cJSON_AddTrueToObject(object, "add_bos_token") &&
                  cJSON_AddFalseToObject(object, "add_eos_token") &&
                  cJSON_AddStringToObject(object, "bos_token", "<s>") &&
                  cJSON_AddStringToObject(object, "eos_token", "</s>") &&
                  cJSON_AddStringToObject(object, "unk_token", "<unk>") &&
                  cJSON_AddNullToObject(object, "pad_token") &&
                  cJSON_AddFalseToObject(object, "legacy") &&
                  cJSON_AddNumberToObject(object, "model_max_length", config->context) &&
                  cJSON_AddObjectToObject(object, "sp_model_kwargs") &&
                  cJSON_AddStringToObject(object, "tokenizer_class", "LlamaTokenizer") &&
                  cJSON_AddFalseToObject(object, "clean_up_tokenization_spaces");
    return write_object(object, filled, folder, "tokenizer_config.json", err);
}

static bool write_generation_config(const char *folder, const LlamaConfig *config, Error *err)
{
    cJSON *object = cJSON_CreateObject();
    bool filled = config_add_tokens(object, config) &&
                  cJSON_AddStringToObject(object, "transformers_version", "4.31.0");
    return write_object(object, filled, folder, "generation_config.json", err);
}

bool hf_folder_write_extras(const char *folder, const LlamaConfig *config, Error *err)
{
    return write_tokenizer_config(folder, config, err) &&
           write_generation_config(folder, config, err);
}
