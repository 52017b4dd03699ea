// Conversations as chat models read them: see chat_template.h. Which template a model has is
// chat_style.c's.
#include "text/chat_template.h"
#include "text/chat.h"
#include "text/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

// What the styles are made of; TOKENS end with NULL.
static const struct {
    const char *needs[3]; // tokens without which there is no such style
    const char *stops[4]; // tokens that end an answer, beside EOS, where the vocabulary has them
    const char *close;    // ends the assistant's turn; NULL: EOS does
    bool trims;           // white space around a message is dropped
} STYLES[CHAT_KINDS] = {
    [CHAT_LLAMA2] = {.trims = true},
    [CHAT_LLAMA3] = {{"<|start_header_id|>", "<|end_header_id|>", NULL},
                     {"<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", NULL},
                     "<|eot_id|>",
                     true},
    [CHAT_CHATML] = {{"<|im_start|>", NULL},
                     {"<|im_end|>", "<|endoftext|>", NULL},
                     "<|im_end|>\n",
                     false},
    [CHAT_MISTRAL] = {.trims = false},
    [CHAT_ALPACA] = {.trims = false},
};

static void add_stop(ChatTemplate *chat, uint32_t id)
{
    if (id == TOKEN_NONE || chat_is_stop(chat, id)) return;
    if (chat->stop_count < CHAT_STOPS) chat->stops[chat->stop_count++] = id;
}

static uint32_t find(const Tokenizer *t, const char *text)
{
    return tokenizer_find(t, text, strlen(text));
}

bool chat_template_open(ChatTemplate *out, const ChatStyle *style, const Tokenizer *tokenizer,
                        Error *err)
{
    *out = (ChatTemplate){.style = *style, .tokenizer = tokenizer};
    const char *name = chat_kind_name(style->kind);
    const char *const *needs = STYLES[style->kind].needs, *const *stops = STYLES[style->kind].stops;
    for (; *needs; needs++)
        if (find(tokenizer, *needs) == NO_PIECE)
            return error_set(err, "chat template %s: the tokenizer has no token '%s'", name,
                             *needs);
    for (; *stops; stops++) add_stop(out, find(tokenizer, *stops));
    if (!STYLES[style->kind].close && tokenizer_eos(tokenizer) == TOKEN_NONE)
        return error_set(err, "chat template %s: the tokenizer has no token that ends a text",
                         name);
    add_stop(out, tokenizer_eos(tokenizer));
    return true;
}

bool chat_is_stop(const ChatTemplate *chat, uint32_t id)
{
    for (size_t i = 0; i < chat->stop_count; i++)
        if (chat->stops[i] == id) return true;
    return false;
}

// ---- text --------------------------------------------------------------------------------------

// Collects text; after a failure to allocate nothing more.
typedef struct {
    Buffer buffer;
    bool trims;      // white space around a message is dropped
    bool keeps_lead; // but not in front of it
    bool failed;
} Writer;

static void put_bytes(Writer *w, const char *text, size_t size)
{
    w->failed = w->failed || !buffer_put(&w->buffer, text, size);
}

static void put(Writer *w, const char *text)
{
    put_bytes(w, text, strlen(text));
}

static void put_message(Writer *w, const char *text)
{
    static const char SPACE[] = " \t\r\n\v\f";
    size_t lead = w->trims && !w->keeps_lead ? strspn(text, SPACE) : 0;
    text += lead;
    size_t size = strlen(text);
    if (w->trims) {
        while (size && strchr(SPACE, text[size - 1])) size--;
    }
    put_bytes(w, text, size);
}

// Puts the token itself, written out.
static void put_token(Writer *w, const Tokenizer *t, uint32_t id)
{
    if (id != TOKEN_NONE) put_bytes(w, tokenizer_piece(t, id), t->pieces[id].size);
}

static void put_llama2(Writer *w, const char *system, const char *user)
{
    put(w, "[INST] ");
    if (system) {
        put(w, "<<SYS>>\n");
        put_bytes(w, system, strlen(system)); // the template trims system and user as one text
        put(w, "\n<</SYS>>\n\n");
        w->keeps_lead = true;
    }
    put_message(w, user);
    put(w, " [/INST]");
}

static void put_mistral(Writer *w, const char *system, const char *user, bool tight)
{
    put(w, "[INST] ");
    if (system) {
        put_message(w, system);
        put(w, "\n\n");
    }
    put_message(w, user);
    put(w, tight ? "[/INST]" : " [/INST]");
}

static void put_llama3(Writer *w, const char *role, const char *text)
{
    put(w, "<|start_header_id|>");
    put(w, role);
    put(w, "<|end_header_id|>\n\n");
    if (!text) return;
    put_message(w, text);
    put(w, "<|eot_id|>");
}

static void put_chatml(Writer *w, const char *role, const char *text)
{
    put(w, "<|im_start|>");
    put(w, role);
    put(w, "\n");
    if (!text) return;
    put_message(w, text);
    put(w, "<|im_end|>\n");
}

static void put_alpaca(Writer *w, const char *system, const char *user, bool first)
{
    char *prompt = chat_prompt(system, user, first);
    if (prompt) put(w, prompt);
    w->failed = w->failed || !prompt;
    free(prompt);
}

static void put_turn(Writer *w, const ChatStyle *style, const char *system, const char *user,
                     bool first)
{
    void (*const message)(Writer *, const char *, const char *) =
        style->kind == CHAT_LLAMA3 ? put_llama3 : put_chatml;
    switch (style->kind) {
    case CHAT_LLAMA2:
        put_llama2(w, system, user);
        break;
    case CHAT_MISTRAL:
        put_mistral(w, system, user, style->tight);
        break;
    case CHAT_ALPACA:
        put_alpaca(w, system, user, first);
        break;
    case CHAT_LLAMA3:
    case CHAT_CHATML:
        if (system) message(w, "system", system);
        message(w, "user", user);
        message(w, "assistant", NULL);
        if (style->no_thought) put(w, "<think>\n\n</think>\n\n");
        break;
    }
}

// LLaMA 2 has BOS in front of each round; ChatML only where the tokenizer puts it in front of any
// text.
static bool begins_with_bos(const ChatTemplate *chat, bool first)
{
    ChatKind kind = chat->style.kind;
    if (tokenizer_bos(chat->tokenizer) == TOKEN_NONE) return false;
    if (kind == CHAT_LLAMA2) return true;
    return first &&
           (kind == CHAT_LLAMA3 || kind == CHAT_MISTRAL || tokenizer_adds_bos(chat->tokenizer));
}

// The turn without BOS.
static bool write_turn(Writer *w, const ChatTemplate *chat, const char *system, const char *user,
                       bool first)
{
    if (!first || (system && !*system)) system = NULL;
    if (first && !system && *chat->style.system) system = chat->style.system;
    w->trims = STYLES[chat->style.kind].trims;
    put_turn(w, &chat->style, system, user, first);
    put_bytes(w, "", 1);
    return !w->failed;
}

char *chat_user_text(const ChatTemplate *chat, const char *system, const char *user, bool first)
{
    Writer w = {0};
    if (begins_with_bos(chat, first))
        put_token(&w, chat->tokenizer, tokenizer_bos(chat->tokenizer));
    if (write_turn(&w, chat, system, user, first)) return w.buffer.bytes;
    free(w.buffer.bytes);
    return NULL;
}

// ---- tokens ------------------------------------------------------------------------------------

// Appends the ids of text as they are behind the token `before`: some tokenizers begin a text
// otherwise than what follows a special token. That token itself is appended too where `keeps`.
static bool encode_behind(const Tokenizer *t, TokenList *out, uint32_t before, bool keeps,
                          const char *text, Error *err)
{
    Writer w = {0};
    size_t from = out->count;
    put_token(&w, t, before);
    put(&w, text);
    if (w.failed) {
        free(w.buffer.bytes);
        return error_set(err, "out of memory for the conversation");
    }
    bool ok = tokenizer_encode(t, w.buffer.bytes, w.buffer.size, out, err);
    free(w.buffer.bytes);
    if (!ok) return false;
    if (out->count > from && out->ids[from] == before) {
        if (keeps) return true;
        memmove(out->ids + from, out->ids + from + 1, (--out->count - from) * sizeof *out->ids);
        return true;
    }
    out->count = from; // it is not recognised in text
    if (keeps && !token_list_push(out, before))
        return error_set(err, "out of memory for the conversation");
    return tokenizer_encode(t, text, strlen(text), out, err);
}

static bool encode_turn(const ChatTemplate *chat, TokenList *out, const char *text, bool first,
                        Error *err)
{
    const Tokenizer *t = chat->tokenizer;
    if (begins_with_bos(chat, first))
        return encode_behind(t, out, tokenizer_bos(t), true, text, err);
    if (!first && chat->style.kind == CHAT_MISTRAL)
        return encode_behind(t, out, tokenizer_eos(t), false, text, err);
    return tokenizer_encode(t, text, strlen(text), out, err);
}

bool chat_user_turn(const ChatTemplate *chat, TokenList *out, const char *system, const char *user,
                    bool first, Error *err)
{
    Writer w = {0};
    size_t from = out->count;
    bool ok = write_turn(&w, chat, system, user, first)
                  ? encode_turn(chat, out, w.buffer.bytes, first, err)
                  : error_set(err, "out of memory for the conversation");
    free(w.buffer.bytes);
    if (!ok) out->count = from;
    return ok;
}

bool chat_close_turn(const ChatTemplate *chat, TokenList *out, Error *err)
{
    const char *close = STYLES[chat->style.kind].close;
    if (close) return tokenizer_encode(chat->tokenizer, close, strlen(close), out, err);
    return token_list_push(out, tokenizer_eos(chat->tokenizer)) ||
           error_set(err, "out of memory for the conversation");
}
