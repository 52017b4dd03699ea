// The small files of a model folder out of a GGUF file: see gguf_convert.h. The weights go the way
// of export.c.
#include "base/json.h"
#include "base/utf8.h"
#include "model/export.h"
#include "model/gguf_convert.h"
#include "model/gguf_model.h"
#include "model/gguf_tokenizer.h"

#include <stdlib.h>
#include <string.h>

static const char RELEASE[] = "4.31.0"; // of Transformers, whose keys these are

static bool write_json(cJSON *object, bool filled, const char *folder, const char *name, Error *err)
{
    char path[1280];
    bool ok = path_join(path, sizeof path, folder, name, err) &&
              ((object && filled) || error_set(err, "%s: out of memory", path)) &&
              json_write(path, object, err);
    cJSON_Delete(object);
    return ok;
}

static bool write_config(const char *to, const Gguf *file, const char *torch_dtype, Error *err)
{
    cJSON *json = gguf_config_json(file, err);
    bool filled = json && cJSON_AddStringToObject(json, "torch_dtype", torch_dtype) &&
                  cJSON_AddStringToObject(json, "transformers_version", RELEASE);
    return json && write_json(json, filled, to, "config.json", err);
}

static bool write_generation_config(const char *to, const Gguf *file, Error *err)
{
    cJSON *config = gguf_config_json(file, err), *json = cJSON_CreateObject();
    if (!config) {
        cJSON_Delete(json);
        return false;
    }
    bool filled = cJSON_AddStringToObject(json, "transformers_version", RELEASE);
    static const char *const keys[] = {"bos_token_id", "eos_token_id"};
    for (int i = 0; i < 2; i++) {
        cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(config, keys[i]);
        if (item) cJSON_AddItemToObject(json, keys[i], item);
    }
    cJSON_Delete(config);
    return write_json(json, filled, to, "generation_config.json", err);
}

// A text of the file as a field, where there is one and it is text.
static bool add_text(cJSON *object, const char *key, GgufText text)
{
    if (!text.text || utf8_check(text.text, text.size) < text.size ||
        memchr(text.text, 0, text.size))
        return true;
    char *copy = malloc(text.size + 1);
    if (!copy) return false;
    memcpy(copy, text.text, text.size);
    copy[text.size] = 0;
    bool ok = cJSON_AddStringToObject(object, key, copy) != NULL;
    free(copy);
    return ok;
}

static bool add_token(cJSON *object, const char *key, const Gguf *file, uint32_t id, Error *err)
{
    GgufText text = {0};
    if (id != TOKEN_NONE && !gguf_token_text(&text, file, id, err)) return false;
    return add_text(object, key, text) || error_set(err, "%s: out of memory", file->path);
}

static bool write_tokenizer_config(const char *to, const Gguf *file, const Tokenizer *tokenizer,
                                   Error *err)
{
    GgufText model, template;
    LlamaConfig config;
    uint64_t unknown;
    if (!gguf_config_read(&config, file, err) ||
        !gguf_text_or(&model, file, "tokenizer.ggml.model", err) ||
        !gguf_chat_template(&template, file, err) ||
        !gguf_int_or(&unknown, file, "tokenizer.ggml.unknown_token_id", TOKEN_NONE, 0, TOKEN_NONE,
                     err))
        return false;
    bool llama = gguf_text_is(model, "llama");
    cJSON *json = cJSON_CreateObject();
    bool ok = add_token(json, "bos_token", file, tokenizer_bos(tokenizer), err) &&
              add_token(json, "eos_token", file, tokenizer_eos(tokenizer), err) &&
              add_token(json, "unk_token", file, (uint32_t)unknown, err);
    if (!ok) {
        cJSON_Delete(json);
        return false;
    }
    bool filled = cJSON_AddBoolToObject(json, "add_bos_token", tokenizer_adds_bos(tokenizer)) &&
                  cJSON_AddBoolToObject(json, "add_eos_token", tokenizer_adds_eos(tokenizer)) &&
                  cJSON_AddFalseToObject(json, "clean_up_tokenization_spaces") &&
                  cJSON_AddNumberToObject(json, "model_max_length", config.context) &&
                  (!llama || cJSON_AddFalseToObject(json, "legacy")) &&
                  cJSON_AddStringToObject(json, "tokenizer_class",
                                          llama ? "LlamaTokenizer" : "PreTrainedTokenizerFast") &&
                  add_text(json, "chat_template", template);
    return write_json(json, filled, to, "tokenizer_config.json", err);
}

// The very tokenizer.json where the file carries it, else one that encodes the same.
static bool write_tokenizer(const char *to, const Gguf *file, Error *err)
{
    char path[1280];
    GgufText whole;
    Tokenizer *tokenizer = gguf_tokenizer_read(file, err);
    bool ok = tokenizer && path_join(path, sizeof path, to, "tokenizer.json", err) &&
              gguf_tokenizer_json(&whole, file, err);
    if (ok)
        ok = whole.text ? file_write(path, whole.text, whole.size, err)
                        : tokenizer_save(tokenizer, path, err);
    ok = ok && write_tokenizer_config(to, file, tokenizer, err);
    tokenizer_free(tokenizer);
    if (!ok || !whole.text) return ok;
    tokenizer = tokenizer_load(path, err); // the text came from a stranger
    tokenizer_free(tokenizer);
    return tokenizer != NULL;
}

bool gguf_write_small_files(const char *to, const char *path, const char *torch_dtype, Error *err)
{
    Gguf file;
    if (!gguf_open(&file, path, err)) return false;
    bool ok = write_config(to, &file, torch_dtype, err) &&
              write_generation_config(to, &file, err) && write_tokenizer(to, &file, err);
    gguf_close(&file);
    return ok;
}

bool gguf_to_folder(const char *out, const char *file, Dtype dtype, uint64_t shard_size, Error *err)
{
    const ExportOptions options = {EXPORT_WHOLE, dtype, shard_size};
    return model_export(out, file, &options, err);
}
