// Data files as examples, and the cache of their tokens: see dataset.h.
#define _POSIX_C_SOURCE 200809L
#include "train/dataset.h"
#include "base/file.h"
#include "train/data_source.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Of how records become examples. Another number makes what older programs cached invisible.
enum { VERSION = 1 };

// What a making needs.
typedef struct {
    const char *path;
    SourceFormat format;
    DatasetOptions options;
    Hash key;
} Source;

const uint8_t *dataset_marks(const Dataset *set, const Example *example)
{
    return (const uint8_t *)(set->tokens + example->first + example->length);
}

// ---- making ------------------------------------------------------------------------------------

static bool check_made(const Source *source, const ExampleBuilder *builder, Error *err)
{
    if (builder->out->header.examples) return true;
    if (!builder->records) return error_set(err, "%s: holds no records", source->path);
    return error_set(err, "%s: no record has an output within the context of %" PRIu32 " tokens",
                     source->path, source->options.context);
}

// Writes the tokens to `out`, whose name is for messages. *bad_data: it is the data that is wrong.
static bool make(const Source *source, FILE *out, const char *name, bool *bad_data, Error *err)
{
    TokenWriter writer;
    ExampleBuilder builder;
    const DatasetOptions *o = &source->options;
    *bad_data = false;
    if (!token_writer_begin(&writer, out, &source->key, err)) return false;
    example_builder_begin(&builder, &writer, o->tokenizer, o->context);
    bool ok = data_source_read(source->path, source->format, o->separator, &builder, err) &&
              check_made(source, &builder, err);
    *bad_data = !ok;
    example_builder_free(&builder);
    return token_writer_end(&writer, ok, name, err);
}

static bool make_temporary(Dataset *set, const Source *source, Error *err)
{
    bool bad_data;
    FILE *out = temporary_file(err);
    if (!out) return false;
    bool ok = make(source, out, "temporary file of tokens", &bad_data, err);
    if (ok && !token_file_map(&set->file, fileno(out), &source->key))
        ok = error_set(err, "%s: cannot map the temporary file of its tokens", source->path);
    set->place = DATASET_TEMPORARY;
    fclose(out);
    return ok;
}

// ---- the cache ---------------------------------------------------------------------------------

static bool find_key(Source *source, Error *err)
{
    const DatasetOptions *o = &source->options;
    const uint32_t numbers[] = {VERSION, o->context, tokenizer_bos(o->tokenizer),
                                tokenizer_eos(o->tokenizer), tokenizer_adds_bos(o->tokenizer)};
    Hasher hasher = {0};
    hash_put(&hasher, numbers, sizeof numbers);
    hash_put(&hasher, o->separator, strlen(o->separator) + 1);
    Hasher words = {0};
    if (!hash_put_file(&words, o->tokenizer_path, err)) return false;
    Hash tokenizer = hash_end(&words);
    hash_put(&hasher, &tokenizer, sizeof tokenizer);
    if (!data_source_hash(&hasher, source->path, source->format, err)) return false;
    source->key = hash_end(&hasher);
    return true;
}

static bool cache_path(char *out, size_t size, const Hash *key, Error *err)
{
    char folder[900], name[64];
    snprintf(name, sizeof name, "tokens-%016" PRIx64 "%016" PRIx64 ".bin", key->words[0],
             key->words[1]);
    return cache_folder(folder, sizeof folder, err) && path_join(out, size, folder, name, err);
}

static bool find(Dataset *set, const Source *source, const char *path)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return false;
    bool ok = token_file_map(&set->file, descriptor, &source->key);
    close(descriptor);
    return ok;
}

// Tokens of other bytes than those that were hashed must not be found under them.
static bool check_unchanged(const Source *source, Error *err)
{
    Source again = *source;
    return find_key(&again, err) &&
           (!memcmp(&again.key, &source->key, sizeof again.key) ||
            error_set(err, "%s: was changed while it was read", source->path));
}

static bool make_cached(Dataset *set, const Source *source, const char *path, bool *bad_data,
                        Error *err)
{
    FileWriter writer;
    *bad_data = false;
    if (!file_writer_open(&writer, path, err)) return false;
    bool ok = make(source, writer.stream, path, bad_data, err);
    if (ok && !check_unchanged(source, err)) ok = !(*bad_data = true);
    if (!ok) {
        file_writer_abort(&writer);
        return false;
    }
    set->place = DATASET_CACHED;
    return file_writer_commit(&writer, err) &&
           (find(set, source, path) || error_set(err, "%s: is not what was written", path));
}

// Through the cache; where that cannot be written, without it.
static bool open_cached(Dataset *set, Source *source, Error *err)
{
    char path[1024];
    bool bad_data = false;
    if (!find_key(source, err)) return false;
    if (cache_path(path, sizeof path, &source->key, &set->cache_error)) {
        set->place = DATASET_FOUND;
        if (find(set, source, path)) return true;
        if (make_cached(set, source, path, &bad_data, &set->cache_error)) return true;
        if (bad_data) return error_set(err, "%s", set->cache_error.text);
    }
    return make_temporary(set, source, err);
}

// What comes through a pipe can be read only once, so it cannot be hashed first.
static bool wants_cache(const char *path, const DatasetOptions *options)
{
    struct stat info;
    const char *choice = getenv("STRATA_CACHE_TOKENS");
    return options->tokenizer_path && !(choice && !strcmp(choice, "0")) && stat(path, &info) == 0 &&
           (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode));
}

static void look_into(Dataset *set)
{
    const TokenHeader *header = set->file.header;
    set->tokens = set->file.words;
    set->examples = set->file.examples;
    set->count = (size_t)header->examples;
    set->truncated = (size_t)header->truncated;
    set->dropped = (size_t)header->dropped;
    set->longest = (uint32_t)header->longest;
}

bool dataset_open(Dataset *set, const char *path, const DatasetOptions *options, Error *err)
{
    *set = (Dataset){0};
    Source source = {.path = path, .options = *options};
    if (!source.options.separator) source.options.separator = DATA_SEPARATOR;
    if (!data_source_format(&source.format, path, err)) return false;
    bool ok = wants_cache(path, options) ? open_cached(set, &source, err)
                                         : make_temporary(set, &source, err);
    if (ok) look_into(set);
    return ok;
}

bool dataset_load(Dataset *set, const char *path, const Tokenizer *tokenizer, uint32_t context,
                  Error *err)
{
    const DatasetOptions options = {.tokenizer = tokenizer, .context = context};
    return dataset_open(set, path, &options, err);
}

void dataset_free(Dataset *set)
{
    token_file_unmap(&set->file);
    *set = (Dataset){0};
}
