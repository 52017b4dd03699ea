// 128 bits that tell contents apart: caches and checkpoints are named and checked by them. Not for
// secrets. Two XXH64 of different seeds, by libxxhash.
#ifndef STRATA_BASE_HASH_H
#define STRATA_BASE_HASH_H

#include "base/error.h"

#define XXH_STATIC_LINKING_ONLY // for the size of the state
#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>

typedef struct {
    uint64_t words[2];
} Hash;

// Start from {0}.
typedef struct {
    XXH64_state_t states[2];
    bool begun;
} Hasher;

void hash_put(Hasher *hasher, const void *bytes, size_t size);
Hash hash_end(const Hasher *hasher); // of all that was put; more may follow

// Puts the bytes of a whole file, a little at a time.
bool hash_put_file(Hasher *hasher, const char *path, Error *err);

#endif
