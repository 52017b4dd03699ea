// Hashes of contents: see hash.h.
#include "base/hash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const XXH64_hash_t SEEDS[2] = {0, 0x9E3779B97F4A7C15u};

static void begin(Hasher *h)
{
    for (int i = 0; i < 2 && !h->begun; i++) XXH64_reset(&h->states[i], SEEDS[i]);
    h->begun = true;
}

void hash_put(Hasher *h, const void *bytes, size_t size)
{
    begin(h);
    for (int i = 0; i < 2 && size; i++) XXH64_update(&h->states[i], bytes, size);
}

Hash hash_end(const Hasher *h)
{
    Hasher copy = *h;
    begin(&copy);
    return (Hash){{XXH64_digest(&copy.states[0]), XXH64_digest(&copy.states[1])}};
}

bool hash_put_file(Hasher *hasher, const char *path, Error *err)
{
    enum { PIECE = 1 << 16 };
    FILE *in = fopen(path, "rb");
    if (!in) return error_set(err, "%s: cannot open: %s", path, strerror(errno));
    uint8_t *piece = malloc(PIECE);
    bool ok = piece || error_set(err, "%s: out of memory", path);
    for (size_t size; ok && (size = fread(piece, 1, PIECE, in)) > 0;) hash_put(hasher, piece, size);
    if (ok && ferror(in)) ok = error_set(err, "%s: cannot read: %s", path, strerror(errno));
    free(piece);
    fclose(in);
    return ok;
}
