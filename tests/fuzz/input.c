// Inputs as files: see input.h. In memory (/dev/shm) where there is such a folder.
#define _POSIX_C_SOURCE 200809L // mkdtemp
#include "input.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static void remove_folder(void)
{
    DIR *dir = opendir(folder);
    for (struct dirent *item; dir && (item = readdir(dir)) != NULL;) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", folder, item->d_name);
        if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0) unlink(path);
    }
    if (dir) closedir(dir);
    rmdir(folder);
}

const char *input_folder(void)
{
    if (*folder) return folder;
    struct stat info;
    bool memory = stat("/dev/shm", &info) == 0 && access("/dev/shm", W_OK) == 0;
    snprintf(folder, sizeof folder, "%s/strata-fuzz-XXXXXX", memory ? "/dev/shm" : "/tmp");
    if (!mkdtemp(folder)) abort();
    atexit(remove_folder);
    return folder;
}

const char *input_file(const char *name, const uint8_t *bytes, size_t size)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", input_folder(), name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) abort();
    return path;
}
