// The tokenizer of a model's folder, in whichever form it is there.
#include "base/file.h"
#include "text/tokenizer.h"

#include <string.h>

static const char JSON[] = "tokenizer.json", SENTENCEPIECE[] = "tokenizer.model";

// A folder with neither is one that lacks tokenizer.json.
bool tokenizer_find_file(char *path, size_t size, const char *folder, Error *err)
{
    if (!path_join(path, size, folder, JSON, err)) return false;
    if (file_exists(path)) return true;
    if (!path_join(path, size, folder, SENTENCEPIECE, err)) return false;
    return file_exists(path) || path_join(path, size, folder, JSON, err);
}

Tokenizer *tokenizer_load_folder(const char *folder, Error *err)
{
    char path[1024];
    if (!tokenizer_find_file(path, sizeof path, folder, err)) return NULL;
    const char *name = strrchr(path, '/') + 1;
    return strcmp(name, SENTENCEPIECE) ? tokenizer_load(path, err)
                                       : tokenizer_load_sentencepiece(path, err);
}
