// Writes the tokenizer_config.json that goes with a saved tokenizer.json: what begins and ends a
// text. Not a chat template.
#include "base/json.h"
#include "text/tokenizer_internal.h"

#include <string.h>

static bool is_piece(const Tokenizer *t, uint32_t id, const char *text)
{
    size_t size = strlen(text);
    return id != TOKEN_NONE && t->pieces[id].size == size &&
           !memcmp(tokenizer_piece(t, id), text, size);
}

bool tokenizer_is_llama(const Tokenizer *t)
{
    return is_piece(t, t->bos, "<s>") && is_piece(t, t->eos, "</s>") && t->adds_bos &&
           !t->adds_eos && t->decode == DECODE_MARKS;
}

static bool set_name(cJSON *object, const char *key, const Tokenizer *t, uint32_t id)
{
    char text[PIECE_LIMIT + 1];
    if (id == TOKEN_NONE) return cJSON_AddNullToObject(object, key) != NULL;
    memcpy(text, tokenizer_piece(t, id), t->pieces[id].size);
    text[t->pieces[id].size] = 0;
    return cJSON_AddStringToObject(object, key, text) != NULL;
}

bool tokenizer_save_config(const Tokenizer *t, const char *path, uint32_t context, Error *err)
{
    cJSON *object = cJSON_CreateObject();
    // The generic class takes tokenizer.json as it stands.
    bool ok = object && cJSON_AddBoolToObject(object, "add_bos_token", t->adds_bos) &&
              cJSON_AddBoolToObject(object, "add_eos_token", t->adds_eos) &&
              set_name(object, "bos_token", t, t->bos) &&
              set_name(object, "eos_token", t, t->eos) &&
              set_name(object, "unk_token", t, t->unk) &&
              cJSON_AddNumberToObject(object, "model_max_length", context) &&
              cJSON_AddStringToObject(object, "tokenizer_class", "PreTrainedTokenizerFast") &&
              cJSON_AddBoolToObject(object, "clean_up_tokenization_spaces", false);
    ok = ok ? json_write(path, object, err)
            : error_set(err, "%s: out of memory while writing", path);
    cJSON_Delete(object);
    return ok;
}
