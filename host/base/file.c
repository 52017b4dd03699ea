// Whole files: see file.h.
#define _POSIX_C_SOURCE 200809L
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char PARTIAL[] = ".partial-"; // a process number follows

bool file_map(FileMap *map, const char *path, Error *err)
{
    *map = (FileMap){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return error_set(err, "%s: cannot open: %s", path, strerror(errno));
    struct stat info;
    bool ok = fstat(fd, &info) == 0;
    if (!ok) {
        error_set(err, "%s: cannot read its size: %s", path, strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        ok = error_set(err, "%s: is not a regular file", path);
    } else if (info.st_size > 0) {
        void *at = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        ok = at != MAP_FAILED || error_set(err, "%s: cannot map: %s", path, strerror(errno));
        if (ok) *map = (FileMap){at, (size_t)info.st_size};
    }
    close(fd);
    return ok;
}

void file_unmap(FileMap *map)
{
    if (map->bytes) munmap((void *)(uintptr_t)map->bytes, map->size);
    *map = (FileMap){0};
}

// Reads until the end, growing the buffer.
static bool read_stream(char **bytes, size_t *size, FILE *in, const char *path, size_t limit,
                        Error *err)
{
    size_t capacity = 1 << 16;
    char *data = malloc(capacity + 1);
    size_t used = 0;
    while (data) {
        used += fread(data + used, 1, capacity - used, in);
        if (used < capacity) break;
        if (used > limit) break;
        capacity *= 2;
        char *larger = realloc(data, capacity + 1);
        if (!larger) free(data);
        data = larger;
    }
    if (!data) return error_set(err, "%s: out of memory while reading", path);
    if (ferror(in) || used > limit) {
        free(data);
        return ferror(in) ? error_set(err, "%s: cannot read: %s", path, strerror(errno))
                          : error_set(err, "%s: larger than the %zu bytes that are allowed here",
                                      path, limit);
    }
    data[used] = 0;
    *bytes = data;
    *size = used;
    return true;
}

bool file_read(char **bytes, size_t *size, const char *path, size_t limit, Error *err)
{
    *bytes = NULL;
    *size = 0;
    if (!strcmp(path, "-")) return read_stream(bytes, size, stdin, "standard input", limit, err);
    FILE *in = fopen(path, "rb");
    if (!in) return error_set(err, "%s: cannot open: %s", path, strerror(errno));
    bool ok = read_stream(bytes, size, in, path, limit, err);
    fclose(in);
    return ok;
}

bool file_writer_open(FileWriter *writer, const char *path, Error *err)
{
    *writer = (FileWriter){0};
    int length = snprintf(writer->path, sizeof writer->path, "%s", path);
    if (length < 0 || (size_t)length >= sizeof writer->path)
        return error_set(err, "%.80s...: path is too long", path);
    snprintf(writer->temp, sizeof writer->temp, "%s%s%ld", path, PARTIAL, (long)getpid());
    writer->stream = fopen(writer->temp, "wb");
    if (!writer->stream) return error_set(err, "%s: cannot write: %s", path, strerror(errno));
    return true;
}

void file_writer_put(FileWriter *writer, const void *bytes, size_t size)
{
    if (size && fwrite(bytes, 1, size, writer->stream) != size) writer->failed = true;
}

bool file_writer_commit(FileWriter *writer, Error *err)
{
    errno = 0;
    bool ok = !writer->failed && fflush(writer->stream) == 0 && fsync(fileno(writer->stream)) == 0;
    if (fclose(writer->stream)) ok = false;
    writer->stream = NULL;
    if (ok && rename(writer->temp, writer->path) == 0) return true;
    int cause = errno ? errno : EIO;
    unlink(writer->temp);
    return error_set(err, "%s: cannot write: %s", writer->path, strerror(cause));
}

void file_writer_abort(FileWriter *writer)
{
    if (!writer->stream) return;
    fclose(writer->stream);
    writer->stream = NULL;
    unlink(writer->temp);
}

bool file_write(const char *path, const void *bytes, size_t size, Error *err)
{
    FileWriter writer;
    if (!file_writer_open(&writer, path, err)) return false;
    file_writer_put(&writer, bytes, size);
    return file_writer_commit(&writer, err);
}

bool file_remove(const char *path, Error *err)
{
    return unlink(path) == 0 || errno == ENOENT ||
           error_set(err, "%s: cannot remove: %s", path, strerror(errno));
}

// Whether a file's name is one of a FileWriter of a process that is gone.
static bool is_abandoned(const char *name)
{
    const char *mark = strstr(name, PARTIAL);
    char *end;
    if (!mark) return false;
    long process = strtol(mark + strlen(PARTIAL), &end, 10);
    return !*end && process > 0 && kill((pid_t)process, 0) && errno == ESRCH;
}

void file_remove_partial(const char *folder)
{
    char path[1300];
    DIR *dir = opendir(folder);
    for (const struct dirent *item; dir && (item = readdir(dir));)
        if (is_abandoned(item->d_name) && path_join(path, sizeof path, folder, item->d_name, NULL))
            unlink(path); // of a folder it fails, and should
    if (dir) closedir(dir);
}

bool folder_make(const char *path, Error *err)
{
    char part[1024];
    int length = snprintf(part, sizeof part, "%s", path);
    if (length <= 0 || (size_t)length >= sizeof part)
        return error_set(err, "'%.80s': not a usable folder name", path);
    for (char *c = part + 1;; c++) {
        if (*c && *c != '/') continue;
        char kept = *c;
        *c = 0;
        if (mkdir(part, 0777) && errno != EEXIST)
            return error_set(err, "%s: cannot make the folder: %s", part, strerror(errno));
        *c = kept;
        if (!kept) break;
    }
    struct stat info;
    if (stat(path, &info) || !S_ISDIR(info.st_mode))
        return error_set(err, "%s: is not a folder", path);
    return true;
}

bool cache_folder(char *out, size_t size, Error *err)
{
    const char *home = getenv("HOME"), *cache = getenv("XDG_CACHE_HOME");
    if (cache && *cache == '/')
        return path_join(out, size, cache, "strata", err) && folder_make(out, err);
    if (home && *home)
        return path_join(out, size, home, ".cache/strata", err) && folder_make(out, err);
    return error_set(err, "no cache folder: neither XDG_CACHE_HOME nor HOME is set");
}

bool file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool file_same(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool path_join(char *out, size_t size, const char *folder, const char *name, Error *err)
{
    int length = snprintf(out, size, "%s/%s", folder, name);
    if (length >= 0 && (size_t)length < size) return true;
    return error_set(err, "%.80s.../%.80s: path is too long", folder, name);
}
