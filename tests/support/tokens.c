// Checks of tokenizers: see tokens.h.
#include "support/tokens.h"
#include "support/files.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const SMALL[] = {MARK, "a", "b", "ab", MARK "a"};

char *small_json(void)
{
    size_t room = 16384, used = 0;
    char *text = malloc(room);
    used += (size_t)snprintf(
        text + used, room - used,
        "{\"added_tokens\":[" ADDED(0, "<unk>", "false") "," ADDED(1, "<s>", "false") "," ADDED(
            2, "</s>",
            "true") "],\"normalizer\":" NORMALIZER ",\"pre_tokenizer\":null,"
                    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\","
                    "\"pattern\":"
                    "{\"String\":\"" MARK "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},"
                    "{\"type\":\"Fuse\"}" STRIP "]},\"model\":{\"type\":\"BPE\",\"dropout\":null,"
                    "\"unk_token\":\"<unk>\",\"fuse_unk\":true,\"byte_fallback\":true,"
                    "\"vocab\":{\"<unk>\":0,\"<s>\":1,\"</s>\":2");
    for (int i = 0; i < 256; i++)
        used += (size_t)snprintf(text + used, room - used, ",\"<0x%02X>\":%d", i, i + 3);
    for (int i = 0; i < 5; i++)
        used += (size_t)snprintf(text + used, room - used, ",\"%s\":%d", SMALL[i], SPACE + i);
    snprintf(text + used, room - used, "},\"merges\":[\"a b\",[\"" MARK "\",\"a\"]]}}");
    return text;
}

char *replaced(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    if (!at || strstr(at + 1, from)) fail_msg("'%s' must stand once in the small tokenizer", from);
    char *out = malloc(strlen(text) + strlen(to) + 1);
    sprintf(out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

Tokenizer *load_changed(const char *from, const char *to, Error *err)
{
    TestPath folder = test_folder_make();
    char *text = small_json();
    char *changed = from ? replaced(text, from, to) : NULL;
    TestPath path = test_write_text(&folder, "tokenizer.json", changed ? changed : text);
    Tokenizer *t = tokenizer_load(path.text, err);
    free(text);
    free(changed);
    test_folder_remove(&folder);
    return t;
}

Tokenizer *load_small(const char *from, const char *to)
{
    Error err = {0};
    Tokenizer *t = load_changed(from, to, &err);
    if (!t) fail_msg("%s", err.text);
    return t;
}

Tokenizer *load_metaspace(const char *scheme)
{
    char part[256];
    TestPath folder = test_folder_make();
    Error err = {0};
    snprintf(part, sizeof part,
             "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"" MARK
             "\",\"prepend_scheme\":\"%s\",\"split\":false}",
             scheme);
    char *text = small_json(), *bare = replaced(text, NORMALIZER, "null");
    char *whole = replaced(bare, "\"pre_tokenizer\":null", part);
    Tokenizer *t = tokenizer_load(test_write_text(&folder, "t.json", whole).text, &err);
    if (!t) fail_msg("%s", err.text);
    free(text);
    free(bare);
    free(whole);
    test_folder_remove(&folder);
    return t;
}

Tokenizer *save_and_load(const Tokenizer *t)
{
    TestPath folder = test_folder_make(), path = test_path(folder.text, "tokenizer.json");
    Error err;
    if (!tokenizer_save(t, path.text, &err)) fail_msg("%s", err.text);
    Tokenizer *again = tokenizer_load(path.text, &err);
    if (!again) fail_msg("%s", err.text);
    test_folder_remove(&folder);
    return again;
}

TokenList encode(const Tokenizer *t, const char *text)
{
    TokenList list = {0};
    Error err;
    if (!tokenizer_encode(t, text, strlen(text), &list, &err)) fail_msg("%s", err.text);
    return list;
}

void check_ids(const Tokenizer *t, const char *text, const uint32_t *ids, size_t count)
{
    TokenList list = encode(t, text);
    if (list.count != count) fail_msg("'%s': %zu ids, expected %zu", text, list.count, count);
    for (size_t i = 0; i < count; i++)
        if (list.ids[i] != ids[i])
            fail_msg("'%s': id %zu is %u, expected %u", text, i, list.ids[i], ids[i]);
    token_list_free(&list);
}

void check_same(const Tokenizer *a, const Tokenizer *b, const char *text)
{
    TokenList list = encode(a, text);
    check_ids(b, text, list.ids, list.count);
    token_list_free(&list);
}

char *stream_text(const Tokenizer *t, const uint32_t *ids, size_t count)
{
    TokenStream stream;
    char *text = calloc(1, 1024 * (count + 1));
    size_t used = 0;
    token_stream_begin(&stream, t);
    for (size_t i = 0; i < count; i++) {
        const char *part = token_stream_push(&stream, ids[i]);
        used += (size_t)sprintf(text + used, "%s", part);
    }
    sprintf(text + used, "%s", token_stream_end(&stream));
    return text;
}

void check_text(const Tokenizer *t, const uint32_t *ids, size_t count, const char *expected)
{
    char *whole = tokenizer_decode(t, ids, count), *streamed = stream_text(t, ids, count);
    assert_string_equal(whole, expected);
    assert_string_equal(streamed, expected);
    free(whole);
    free(streamed);
}

void check_round_trip(const Tokenizer *t, const char *text)
{
    TokenList list = encode(t, text);
    check_text(t, list.ids, list.count, text);
    token_list_free(&list);
}
