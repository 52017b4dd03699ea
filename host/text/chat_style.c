// Which chat template a model has: by name, by what its Jinja text contains, and where that text
// stands in a model's folder.
#include "base/file.h"
#include "base/json.h"
#include "text/chat_template.h"

#include <stdlib.h>
#include <string.h>

static const char *const NAMES[CHAT_KINDS] = {"llama2", "llama3", "chatml", "mistral", "alpaca"};

enum { JINJA_LIMIT = 1 << 20 }; // bytes; real ones have a few thousand

const char *chat_kind_name(ChatKind kind)
{
    return NAMES[kind];
}

bool chat_style_named(ChatStyle *out, const char *name, Error *err)
{
    *out = (ChatStyle){0};
    for (int i = 0; i < CHAT_KINDS; i++) {
        out->kind = (ChatKind)i;
        if (!strcmp(name, NAMES[i])) return true;
    }
    return error_set(err,
                     "chat template '%.40s' is not known, expected llama2, llama3, chatml, mistral "
                     "or alpaca",
                     name);
}

// What the template says where no system message is given: the literal between the head of a system
// message and its end. Where the message is put together there, a quote ends the literal first.
static void find_system(ChatStyle *style, const char *jinja)
{
    static const char HEAD[] = "<|im_start|>system", END[] = "<|im_end|>";
    for (const char *at = jinja; (at = strstr(at, HEAD)) != NULL;) {
        at += strlen(HEAD);
        if (*at == '\n')
            at++;
        else if (!strncmp(at, "\\n", 2))
            at += 2;
        else
            continue;
        size_t size = strcspn(at, "'\"{}<");
        if (!size || strncmp(at + size, END, strlen(END)) != 0 || size >= CHAT_SYSTEM) continue;
        memcpy(style->system, at, size);
        style->system[size] = 0;
        return;
    }
}

// Whether the last branch of what asks for an answer says that nothing is thought first.
static bool has_no_thought(const char *jinja)
{
    const char *tail = NULL;
    for (const char *at = jinja; (at = strstr(at, "add_generation_prompt")) != NULL; at++)
        tail = at;
    tail = tail ? strstr(tail, "else") : NULL;
    return tail &&
           (strstr(tail, "<think>\\n\\n</think>\\n\\n") || strstr(tail, "<think>\n\n</think>\n\n"));
}

bool chat_style_detect(ChatStyle *out, const char *jinja, const char *source, Error *err)
{
    *out = (ChatStyle){0};
    if (strstr(jinja, "<|start_header_id|>")) {
        out->kind = CHAT_LLAMA3;
    } else if (strstr(jinja, "<|im_start|>")) {
        out->kind = CHAT_CHATML;
        out->no_thought = has_no_thought(jinja);
        find_system(out, jinja);
    } else if (strstr(jinja, "[INST]")) {
        out->kind = strstr(jinja, "<<SYS>>") ? CHAT_LLAMA2 : CHAT_MISTRAL;
        out->tight = out->kind == CHAT_MISTRAL && !strstr(jinja, " [/INST]");
    } else if (strstr(jinja, "### Instruction:")) {
        out->kind = CHAT_ALPACA;
    } else {
        return error_set(err,
                         "%s: the chat template is not one of the known ones: it has none of "
                         "<|start_header_id|>, <|im_start|>, [INST] and ### Instruction:",
                         source);
    }
    return true;
}

// "chat_template": text, or [{"name": NAME, "template": text}].
static const char *choose(const cJSON *item)
{
    const cJSON *entry, *chosen = NULL;
    if (cJSON_IsString(item)) return item->valuestring;
    cJSON_ArrayForEach(entry, item)
    {
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(entry, "name");
        bool is_default = cJSON_IsString(name) && !strcmp(name->valuestring, "default");
        if (!chosen || is_default) chosen = entry;
        if (is_default) break;
    }
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(chosen, "template");
    return cJSON_IsString(text) ? text->valuestring : NULL;
}

static bool detect_in_config(ChatStyle *out, const char *path, const char *folder, Error *err)
{
    cJSON *config = file_exists(path) ? json_read(path, err) : NULL;
    if (file_exists(path) && !config) return false;
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(config, "chat_template");
    const char *jinja = choose(item);
    bool ok;
    if (jinja)
        ok = chat_style_detect(out, jinja, path, err);
    else if (item && !cJSON_IsNull(item))
        ok = error_set(err, "%s: key 'chat_template' must be text or a list of named texts", path);
    else
        ok = error_set(err, "%s: the model has no chat template", folder);
    cJSON_Delete(config);
    return ok;
}

bool chat_style_of_folder(ChatStyle *out, const char *folder, Error *err)
{
    char path[1024], *jinja;
    size_t size;
    if (!path_join(path, sizeof path, folder, "chat_template.jinja", err)) return false;
    if (file_exists(path)) {
        if (!file_read(&jinja, &size, path, JINJA_LIMIT, err)) return false;
        bool ok = chat_style_detect(out, jinja, path, err);
        free(jinja);
        return ok;
    }
    return path_join(path, sizeof path, folder, "tokenizer_config.json", err) &&
           detect_in_config(out, path, folder, err);
}
