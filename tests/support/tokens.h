// What tests of tokenizers share: a vocabulary small enough to follow by hand, and checks of ids
// and text. Fails the running cmocka test itself.
#ifndef STRATA_TESTS_SUPPORT_TOKENS_H
#define STRATA_TESTS_SUPPORT_TOKENS_H

#include "base/error.h"
#include "text/tokenizer.h"

#include <stddef.h>
#include <stdint.h>

#define MARK "\xE2\x96\x81" // U+2581
// The elements of an array of ids and their number, as two arguments.
#define IDS(...) (const uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}) / 4

// The small vocabulary: control tokens, bytes, then these: U+2581, "a", "b", "ab", U+2581 "a".
// Merges: "a b", then U+2581 "a". <s> is looked for in raw text, </s> in normalized text.
enum { SPACE = 259, A, B, AB, SPACE_A, SMALL_SIZE };

// Stretches of its tokenizer.json, for changes.
#define REPLACE_STEP                                                                               \
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" MARK "\"}"
#define NORMALIZER                                                                                 \
    "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"" MARK            \
    "\"}," REPLACE_STEP "]}"
#define STRIP ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}"
#define ADDED(id, text, normalized)                                                                \
    "{\"id\":" #id ",\"content\":\"" text "\",\"single_word\":false,\"lstrip\":false,"             \
    "\"rstrip\":false,\"normalized\":" normalized ",\"special\":true}"

// Its tokenizer.json, malloc'ed.
char *small_json(void);
// The text with the one occurrence of `from` replaced, malloc'ed.
char *replaced(const char *text, const char *from, const char *to);
// The small tokenizer with one change to its file (from may be NULL); NULL and a message.
Tokenizer *load_changed(const char *from, const char *to, Error *err);
// The same, where it must load.
Tokenizer *load_small(const char *from, const char *to);
// With a Metaspace pre-tokenizer of this prepend_scheme in place of the normalizer.
Tokenizer *load_metaspace(const char *scheme);
// Saves the tokenizer and loads what was written.
Tokenizer *save_and_load(const Tokenizer *t);

static inline uint32_t byte_id(unsigned byte)
{
    return 3 + byte;
}

TokenList encode(const Tokenizer *t, const char *text);
void check_ids(const Tokenizer *t, const char *text, const uint32_t *ids, size_t count);
// b gives text the ids that a gives it.
void check_same(const Tokenizer *a, const Tokenizer *b, const char *text);
// The text of ids as a stream gives it, malloc'ed.
char *stream_text(const Tokenizer *t, const uint32_t *ids, size_t count);
// ids are expected as text, whole and streamed.
void check_text(const Tokenizer *t, const uint32_t *ids, size_t count, const char *expected);
void check_round_trip(const Tokenizer *t, const char *text);

#endif
