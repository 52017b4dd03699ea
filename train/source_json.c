// Records in JSON, a list of them or one a line: see data_source.h.
#define _POSIX_C_SOURCE 200809L
#include "base/json.h"
#include "text/alpaca.h"
#include "text/chat.h"
#include "train/alpaca_file.h"
#include "train/source_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL_SIZE = 1100 };

// ---- one record; label is "FILE:LINE" or "FILE: record N" --------------------------------------

// A prompt that was made for it (NULL: no memory) and its answer.
static bool add_round(ExampleBuilder *b, char *prompt, const char *answer, const char *label,
                      Error *err)
{
    Error inner = {"out of memory"};
    bool ok = prompt && example_builder_round(b, prompt, answer, &inner);
    free(prompt);
    return ok || error_set(err, "%s: %.300s", label, inner.text);
}

static bool read_alpaca(ExampleBuilder *b, const cJSON *item, const char *label, Error *err)
{
    const char *instruction, *input, *output;
    return alpaca_fields(&instruction, &input, &output, item, label, err) &&
           example_builder_record(b, err) &&
           add_round(b, alpaca_prompt(instruction, input), output, label, err) &&
           example_builder_record_end(b, err);
}

typedef struct {
    const char *system, *user; // of the round at hand; NULL: not there
    uint32_t rounds;
} Chat;

// One message; label names it.
static bool add_message(ExampleBuilder *b, Chat *chat, const cJSON *message, const char *label,
                        bool first, Error *err)
{
    const char *role, *content;
    if (!cJSON_IsObject(message)) return error_set(err, "%s: is not an object", label);
    if (!json_string(&role, message, "role", label, err) ||
        !json_string(&content, message, "content", label, err))
        return false;
    if (!strcmp(role, "system")) {
        chat->system = content;
        return first || error_set(err, "%s: role 'system' stands behind other messages", label);
    }
    if (!strcmp(role, "user")) {
        bool waiting = chat->user != NULL;
        chat->user = content;
        return !waiting || error_set(err, "%s: role 'user' stands behind another 'user'", label);
    }
    if (strcmp(role, "assistant"))
        return error_set(err, "%s: role '%.40s', expected 'system', 'user' or 'assistant'", label,
                         role);
    if (!chat->user) return error_set(err, "%s: role 'assistant' stands behind no 'user'", label);
    char *prompt = chat_prompt(chat->system, chat->user, !chat->rounds++);
    chat->user = NULL;
    return add_round(b, prompt, content, label, err);
}

// A user's message at the end, without an answer, is left out.
static bool read_chat(ExampleBuilder *b, const cJSON *item, const char *label, Error *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(item, "messages");
    if (!cJSON_IsArray(list) || !list->child)
        return error_set(err, "%s: key 'messages' must be a list of messages", label);
    Chat chat = {0};
    uint32_t number = 0;
    bool ok = example_builder_record(b, err);
    for (const cJSON *message = list->child; ok && message; message = message->next) {
        char place[LABEL_SIZE + 40];
        snprintf(place, sizeof place, "%s: message %" PRIu32, label, ++number);
        ok = add_message(b, &chat, message, place, number == 1, err);
    }
    if (ok && !chat.rounds) ok = error_set(err, "%s: 'messages' hold no 'assistant'", label);
    return ok && example_builder_record_end(b, err);
}

static bool is_blank(const char *text)
{
    return !text[strspn(text, " \t\r\n")];
}

static bool read_document(ExampleBuilder *b, const cJSON *item, const char *label, Error *err)
{
    const char *text;
    Error inner;
    if (!json_string(&text, item, "text", label, err)) return false;
    if (is_blank(text)) return true;
    if (example_builder_text(b, text, strlen(text), &inner) && example_builder_text_end(b, &inner))
        return true;
    return error_set(err, "%s: %.300s", label, inner.text);
}

static bool has(const cJSON *item, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(item, key);
    return value && !cJSON_IsNull(value);
}

static bool read_record(ExampleBuilder *b, const cJSON *item, const char *label, Error *err)
{
    if (!cJSON_IsObject(item)) return error_set(err, "%s: is not an object", label);
    if (has(item, "messages")) return read_chat(b, item, label, err);
    if (has(item, "instruction")) return read_alpaca(b, item, label, err);
    if (has(item, "text")) return read_document(b, item, label, err);
    return error_set(err, "%s: key 'instruction' is missing, and so are 'messages' and 'text'",
                     label);
}

// ---- many --------------------------------------------------------------------------------------

// cJSON's lists are linked: one walk, no indexing.
bool source_read_list(const char *path, ExampleBuilder *b, Error *err)
{
    cJSON *list = json_read(path, err);
    if (!list) return false;
    bool ok = cJSON_IsArray(list) || error_set(err, "%s: is not a JSON list of records", path);
    uint64_t number = 0;
    for (const cJSON *item = ok ? list->child : NULL; ok && item; item = item->next) {
        char label[LABEL_SIZE];
        snprintf(label, sizeof label, "%.1000s: record %" PRIu64, path, ++number);
        ok = read_record(b, item, label, err);
    }
    cJSON_Delete(list);
    return ok;
}

static bool read_line(ExampleBuilder *b, const char *line, size_t size, const char *label,
                      Error *err)
{
    if (size == strlen(line) && is_blank(line)) return true;
    cJSON *item = json_parse(line, size, label, err);
    bool ok = item && read_record(b, item, label, err);
    cJSON_Delete(item);
    return ok;
}

bool source_read_lines(const char *path, ExampleBuilder *b, Error *err)
{
    FILE *in = fopen(path, "rb");
    if (!in) return error_set(err, "%s: cannot open: %s", path, strerror(errno));
    char *line = NULL;
    size_t capacity = 0;
    uint64_t number = 0;
    bool ok = true;
    errno = 0;
    for (ssize_t size; ok && (size = getline(&line, &capacity, in)) >= 0;) {
        char label[LABEL_SIZE];
        snprintf(label, sizeof label, "%.1000s:%" PRIu64, path, ++number);
        ok = read_line(b, line, (size_t)size, label, err);
    }
    if (ok && !feof(in)) ok = error_set(err, "%s: cannot read: %s", path, strerror(errno));
    free(line);
    fclose(in);
    return ok;
}
