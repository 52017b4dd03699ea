// Whole files: read, mapped, and written beside their final name and then renamed, so that nobody
// ever sees half a file. Not a stream library.
#ifndef STRATA_BASE_FILE_H
#define STRATA_BASE_FILE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

// A file mapped read-only. bytes is NULL where size is 0.
typedef struct {
    const uint8_t *bytes; // (size)
    size_t size;
} FileMap;

// Maps path. The mapping belongs to the caller until file_unmap.
bool file_map(FileMap *map, const char *path, Error *err);
void file_unmap(FileMap *map);

// Reads a whole file of at most limit bytes; "-" is standard input. *bytes is malloc'ed, one NUL
// byte follows the size bytes; the caller frees it.
bool file_read(char **bytes, size_t *size, const char *path, size_t limit, Error *err);

// A file being written under a temporary name in the folder of path.
typedef struct {
    FILE *stream;
    char path[1024]; // the final name
    char temp[1056]; // the name until file_writer_commit
    bool failed;     // a write failed; commit will say so
} FileWriter;

bool file_writer_open(FileWriter *writer, const char *path, Error *err);
void file_writer_put(FileWriter *writer, const void *bytes, size_t size);
// Flushes, syncs and renames. On failure the temporary file is gone and an older file at path is
// untouched.
bool file_writer_commit(FileWriter *writer, Error *err);
// Drops what was written.
void file_writer_abort(FileWriter *writer);

// The whole of a small file at once, through a FileWriter.
bool file_write(const char *path, const void *bytes, size_t size, Error *err);

// Removes a file; that there is none is fine.
bool file_remove(const char *path, Error *err);
// Removes from a folder the temporary files of FileWriters whose process is gone: what a run that
// was killed left half written.
void file_remove_partial(const char *folder);

// Makes a folder and its parents; an existing folder is fine.
bool folder_make(const char *path, Error *err);
// The user's folder for what can be made again, $XDG_CACHE_HOME/strata or ~/.cache/strata, which is
// made where it is not there.
bool cache_folder(char *out, size_t size, Error *err);
bool file_exists(const char *path);
bool file_same(const char *a, const char *b); // both exist and are one file or folder
// "folder/name" into out (size bytes); false where it does not fit.
bool path_join(char *out, size_t size, const char *folder, const char *name, Error *err);

#endif
