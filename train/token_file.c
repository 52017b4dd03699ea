// Files of tokens: see token_file.h.
#define _POSIX_C_SOURCE 200809L
#include "train/token_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 16 };

static const char MAGIC[8] = {'s', 't', 'r', 'a', 't', 'a', 'T', '1'};

FILE *temporary_file(Error *err)
{
    char path[1024];
    const char *folder = getenv("TMPDIR");
    if (!folder || !*folder) folder = "/tmp";
    int length = snprintf(path, sizeof path, "%s/strata-XXXXXX", folder);
    int descriptor = length > 0 && (size_t)length < sizeof path ? mkstemp(path) : -1;
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "w+b");
    if (!file) error_set(err, "%s: cannot make a temporary file: %s", folder, strerror(errno));
    if (descriptor >= 0) unlink(path);
    if (descriptor >= 0 && !file) close(descriptor);
    return file;
}

// ---- writing -----------------------------------------------------------------------------------

static void put(TokenWriter *w, const void *bytes, size_t size)
{
    if (fwrite(bytes, 1, size, w->out) != size) w->failed = true;
    hash_put(&w->hasher, bytes, size);
}

bool token_writer_begin(TokenWriter *w, FILE *out, const Hash *key, Error *err)
{
    *w = (TokenWriter){.out = out, .header.key = *key};
    memcpy(w->header.magic, MAGIC, sizeof MAGIC);
    w->table = temporary_file(err);
    if (!w->table) return false;
    const TokenHeader empty = {0}; // until the end
    w->failed = fwrite(&empty, sizeof empty, 1, out) != 1;
    return true;
}

void token_writer_put(TokenWriter *w, Example example, const uint32_t *ids, const uint8_t *marks)
{
    static const uint8_t zeros[4];
    uint64_t rows = example_rows(&example), padding = -(uint64_t)example.length % 4;
    example.first = w->header.words;
    example.unused = 0;
    put(w, ids, example.length * sizeof *ids);
    put(w, marks, example.length);
    put(w, zeros, padding);
    if (fwrite(&example, sizeof example, 1, w->table) != 1) w->failed = true;
    w->header.words += example.length + (example.length + padding) / 4;
    w->header.examples++;
    w->header.truncated += example.truncated;
    if (rows + 1 > w->header.longest) w->header.longest = rows + 1;
}

static void append_table(TokenWriter *w)
{
    char piece[PIECE];
    rewind(w->table);
    for (size_t size; (size = fread(piece, 1, sizeof piece, w->table)) > 0;) put(w, piece, size);
    if (ferror(w->table)) w->failed = true;
}

static void complete(TokenWriter *w)
{
    const uint32_t zero = 0;
    if (w->header.words % 2) put(w, &zero, sizeof zero);
    w->header.words += w->header.words % 2;
    if (fflush(w->table)) w->failed = true;
    append_table(w);
    hash_put(&w->hasher, &w->header, sizeof w->header);
    w->header.checksum = hash_end(&w->hasher);
    if (fseek(w->out, 0, SEEK_SET) || fwrite(&w->header, sizeof w->header, 1, w->out) != 1 ||
        fflush(w->out))
        w->failed = true;
}

bool token_writer_end(TokenWriter *w, bool ok, const char *path, Error *err)
{
    if (!w->table) return false;
    errno = 0;
    if (ok) complete(w);
    int cause = errno;
    fclose(w->table);
    w->table = NULL;
    if (!ok) return false;
    if (!w->failed) return true;
    return error_set(err, "%s: cannot write: %s", path, strerror(cause ? cause : EIO));
}

// ---- reading -----------------------------------------------------------------------------------

// Read, not mapped, so that checking a large file does not fill memory with it.
static bool read_at(int descriptor, void *bytes, size_t size, uint64_t offset)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(descriptor, (char *)bytes + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        done += (size_t)got;
    }
    return true;
}

static bool check_bytes(int descriptor, const TokenHeader *header, uint64_t size)
{
    char piece[PIECE];
    Hasher hasher = {0};
    for (uint64_t at = sizeof *header; at < size;) {
        size_t length = size - at < sizeof piece ? (size_t)(size - at) : sizeof piece;
        if (!read_at(descriptor, piece, length, at)) return false;
        hash_put(&hasher, piece, length);
        at += length;
    }
    TokenHeader plain = *header;
    plain.checksum = (Hash){{0, 0}};
    hash_put(&hasher, &plain, sizeof plain);
    Hash sum = hash_end(&hasher);
    return !memcmp(&sum, &header->checksum, sizeof sum);
}

static bool check_sizes(const TokenHeader *header, uint64_t size)
{
    const uint64_t most = UINT64_C(1) << 56;
    return header->words < most && header->words % 2 == 0 && header->examples <= UINT32_MAX &&
           size == sizeof *header + 4 * header->words + sizeof(Example) * header->examples;
}

bool token_file_map(TokenFile *file, int descriptor, const Hash *key)
{
    struct stat info;
    TokenHeader header;
    *file = (TokenFile){0};
    if (fstat(descriptor, &info) || !read_at(descriptor, &header, sizeof header, 0)) return false;
    uint64_t size = (uint64_t)info.st_size;
    if (memcmp(header.magic, MAGIC, sizeof MAGIC) || memcmp(&header.key, key, sizeof *key) ||
        !check_sizes(&header, size) || !check_bytes(descriptor, &header, size))
        return false;
    uint8_t *map = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, descriptor, 0);
    if (map == MAP_FAILED) return false;
    *file = (TokenFile){.header = (const TokenHeader *)map,
                        .words = (const uint32_t *)(map + sizeof header),
                        .examples = (const Example *)(map + sizeof header + 4 * header.words),
                        .map = map,
                        .size = (size_t)size};
    return true;
}

void token_file_unmap(TokenFile *file)
{
    if (file->map) munmap(file->map, file->size);
    *file = (TokenFile){0};
}
