// What the two readers of tokenizer.json share. Not an interface of this folder.
#ifndef STRATA_TEXT_TOKENIZER_JSON_H
#define STRATA_TEXT_TOKENIZER_JSON_H

#include "base/json.h"
#include "text/tokenizer_internal.h"

// object[key], or NULL where it is absent or null.
const cJSON *json_find(const cJSON *object, const char *key);
bool json_is_text(const cJSON *item, const char *text);
// The "type" of a part of the file, for messages.
const char *json_type(const cJSON *part);

// normalizer, pre_tokenizer and decoder into the steps of t, which has none.
bool tokenizer_read_steps(Tokenizer *t, const cJSON *root, const char *file, Error *err);
// What post_processor puts around a text: sets adds_bos and adds_eos, and bos and eos where it adds
// such. All pieces are there by now.
bool tokenizer_read_template(Tokenizer *t, const cJSON *root, const char *file, Error *err);

#endif
