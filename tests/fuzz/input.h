// What fuzz targets of functions that take paths share: the bytes as a file in memory. All of it
// stands here, so that each target is one file. Include it first.
#ifndef STRATA_TESTS_FUZZ_INPUT_H
#define STRATA_TESTS_FUZZ_INPUT_H

#define _GNU_SOURCE // memfd_create
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static inline void write_all(int fd, const uint8_t *data, size_t size)
{
    if (ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size) abort();
}

// A path under which the bytes can be opened, until the next call.
static inline const char *fuzz_file(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0) abort();
    write_all(fd, data, size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

static char folder[64], inside[160];

static inline void remove_folder(void)
{
    unlink(inside);
    rmdir(folder);
}

// A folder in memory that holds the bytes as `name`, and nothing else; until the next call.
static inline const char *fuzz_folder(const char *name, const uint8_t *data, size_t size)
{
    if (!*folder) {
        snprintf(folder, sizeof folder, "/dev/shm/fuzz-%ld", (long)getpid());
        if (mkdir(folder, 0700)) abort();
        snprintf(inside, sizeof inside, "%s/%s", folder, name);
        atexit(remove_folder);
    }
    FILE *out = fopen(inside, "wb");
    if (!out || fwrite(data, 1, size, out) != size || fclose(out)) abort();
    return folder;
}

#endif
