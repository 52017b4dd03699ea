// A file of examples as tokens, made once and then mapped, so that data larger than memory streams
// from disk. Not what the tokens come from (data_source.h), nor where the file lies (dataset.h).
//
// Format, in the machine's byte order: TokenHeader; `words` u32, an even number (for each example
// its tokens, then its marks, padded with 0 to whole words); `examples` Example.
#ifndef STRATA_TRAIN_TOKEN_FILE_H
#define STRATA_TRAIN_TOKEN_FILE_H

#include "base/error.h"
#include "base/hash.h"
#include "train/example.h"

#include <stddef.h>
#include <stdio.h>

typedef struct {
    char magic[8];
    Hash key;           // of all that the contents follow from
    uint64_t words;     // u32 of tokens and marks
    uint64_t examples;  // in the table
    uint64_t truncated; // records cut at the context
    uint64_t dropped;   // records left out because nothing supervised was left
    uint64_t longest;   // rows of the longest example + 1
    Hash checksum;      // of everything else: words, examples, this header with 0 here
} TokenHeader;

_Static_assert(sizeof(TokenHeader) == 80, "no holes");

// Writes a stream that belongs to the caller. A failed write shows in token_writer_end.
typedef struct {
    FILE *out;
    FILE *table; // the examples, until the end; a file without a name
    Hasher hasher;
    TokenHeader header;
    bool failed;
} TokenWriter;

bool token_writer_begin(TokenWriter *writer, FILE *out, const Hash *key, Error *err);
// Appends an example; sets first and unused. ids and marks: (length).
void token_writer_put(TokenWriter *writer, Example example, const uint32_t *ids,
                      const uint8_t *marks);
// Completes the file (path: for messages), or, with ok false, only frees. false: not written.
bool token_writer_end(TokenWriter *writer, bool ok, const char *path, Error *err);

// The file mapped. Pointers are into the mapping.
typedef struct {
    const TokenHeader *header;
    const uint32_t *words;
    const Example *examples;
    void *map;
    size_t size;
} TokenFile;

// Checks every byte of the file of this descriptor, which stays the caller's, and maps it. false:
// it has another key or is not whole.
bool token_file_map(TokenFile *file, int descriptor, const Hash *key);
void token_file_unmap(TokenFile *file);

// The folder for files without a name: $TMPDIR or /tmp. NULL and a message on failure.
FILE *temporary_file(Error *err);

#endif
