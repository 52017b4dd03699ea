// Which format a data file has, and its folder of texts: see data_source.h.
#define _POSIX_C_SOURCE 200809L
#include "train/data_source.h"
#include "base/file.h"
#include "train/source_internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static bool ends_with(const char *path, const char *end)
{
    size_t a = strlen(path), b = strlen(end);
    return a > b && !strcasecmp(path + a - b, end);
}

// By the first character that is not white space.
static bool look_inside(SourceFormat *format, const char *path, Error *err)
{
    FILE *in = fopen(path, "rb");
    if (!in) return error_set(err, "%s: cannot open: %s", path, strerror(errno));
    int c = getc(in);
    while (c == ' ' || c == '\t' || c == '\r' || c == '\n') c = getc(in);
    fclose(in);
    *format = c == '{' ? SOURCE_LINES : SOURCE_LIST;
    return c == '{' || c == '[' ||
           error_set(err, "%s: unknown format, expected .json, .jsonl, .txt or a folder of .txt",
                     path);
}

bool data_source_format(SourceFormat *format, const char *path, Error *err)
{
    struct stat info;
    *format = SOURCE_LIST;
    if (!strcmp(path, "-")) return true; // standard input
    if (stat(path, &info)) return error_set(err, "%s: cannot open: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode))
        *format = SOURCE_FOLDER;
    else if (ends_with(path, ".txt"))
        *format = SOURCE_TEXT;
    else if (ends_with(path, ".jsonl") || ends_with(path, ".ndjson"))
        *format = SOURCE_LINES;
    else if (S_ISREG(info.st_mode) && !ends_with(path, ".json"))
        return look_inside(format, path, err);
    return true;
}

// ---- folders -----------------------------------------------------------------------------------

static int is_text(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && ends_with(entry->d_name, ".txt");
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); // not alphasort, which follows the locale
}

typedef bool FileAction(void *context, const char *path, Error *err);

static bool each_text(const char *folder, FileAction *action, void *context, Error *err)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_text, compare_names);
    if (count < 0) return error_set(err, "%s: cannot read: %s", folder, strerror(errno));
    bool ok = count > 0 || error_set(err, "%s: holds no .txt files", folder);
    for (int i = 0; i < count; i++) {
        char path[1024];
        ok = ok && path_join(path, sizeof path, folder, entries[i]->d_name, err) &&
             action(context, path, err);
        free(entries[i]);
    }
    free(entries);
    return ok;
}

// Its size first, so that no two folders look alike.
static bool hash_one(void *hasher, const char *path, Error *err)
{
    struct stat info;
    if (stat(path, &info)) return error_set(err, "%s: cannot open: %s", path, strerror(errno));
    uint64_t size = (uint64_t)info.st_size;
    hash_put(hasher, &size, sizeof size);
    return hash_put_file(hasher, path, err);
}

static bool read_one(void *builder, const char *path, Error *err)
{
    return source_read_text(path, NULL, builder, err);
}

// ---- any ---------------------------------------------------------------------------------------

bool data_source_hash(Hasher *hasher, const char *path, SourceFormat format, Error *err)
{
    const uint32_t number = format;
    hash_put(hasher, &number, sizeof number);
    return format == SOURCE_FOLDER ? each_text(path, hash_one, hasher, err)
                                   : hash_one(hasher, path, err);
}

static bool read_any(const char *path, SourceFormat format, const char *separator,
                     ExampleBuilder *builder, Error *err)
{
    if (format == SOURCE_LIST) return source_read_list(path, builder, err);
    if (format == SOURCE_LINES) return source_read_lines(path, builder, err);
    if (format == SOURCE_TEXT) return source_read_text(path, separator, builder, err);
    return each_text(path, read_one, builder, err);
}

bool data_source_read(const char *path, SourceFormat format, const char *separator,
                      ExampleBuilder *builder, Error *err)
{
    return read_any(path, format, separator, builder, err) && example_builder_flush(builder, err);
}
