// The prompts of a conversation in the form that a chat model was trained on: LLaMA 2, LLaMA 3,
// ChatML, Mistral and Alpaca. A model's own template, a Jinja program, is not run but recognised by
// what only such a template contains. Turn by turn, so that what a session already holds stays.
//
// A round is: chat_user_turn, what the model answers up to a stop token, chat_close_turn. Sources:
// the templates of the models' tokenizer_config.json; chat.h for Alpaca.
#ifndef STRATA_TEXT_CHAT_TEMPLATE_H
#define STRATA_TEXT_CHAT_TEMPLATE_H

#include "text/tokenizer.h"

typedef enum { CHAT_LLAMA2, CHAT_LLAMA3, CHAT_CHATML, CHAT_MISTRAL, CHAT_ALPACA } ChatKind;

enum { CHAT_KINDS = 5, CHAT_STOPS = 4, CHAT_SYSTEM = 1024 };

typedef struct {
    ChatKind kind;
    bool tight;               // MISTRAL: no space in front of [/INST], as from version 3 on
    bool no_thought;          // CHATML: an answer begins behind an empty <think></think>
    char system[CHAT_SYSTEM]; // CHATML: what the template says where there is no system message
} ChatStyle;

// "llama2", "llama3", "chatml", "mistral", "alpaca".
const char *chat_kind_name(ChatKind kind);
// The style of that name; an unknown one is refused, and the known ones are listed.
bool chat_style_named(ChatStyle *out, const char *name, Error *err);
// The style of a Jinja template; `source` (a file) begins the message. One that is not known is
// refused, and what was looked for is listed.
bool chat_style_detect(ChatStyle *out, const char *jinja, const char *source, Error *err);
// The style of the model in a folder: of its chat_template.jinja, else of chat_template in its
// tokenizer_config.json (text, or a list of named ones: "default", else the first). A folder that
// has neither is refused.
bool chat_style_of_folder(ChatStyle *out, const char *folder, Error *err);

typedef struct {
    ChatStyle style;
    const Tokenizer *tokenizer;
    uint32_t stops[CHAT_STOPS]; // (stop_count): any of them ends an answer
    size_t stop_count;
} ChatTemplate;

// A style applied with the tokenizer, which must outlive it. A tokenizer without the tokens that
// the style is made of is refused by the token's name.
bool chat_template_open(ChatTemplate *out, const ChatStyle *style, const Tokenizer *tokenizer,
                        Error *err);

// The text of the user's turn, up to where the assistant begins, with special tokens written out,
// as malloc'ed text. `first`: the conversation begins, with `system` (NULL or empty: none; it
// counts in the first turn only). NULL: out of memory.
char *chat_user_text(const ChatTemplate *chat, const char *system, const char *user, bool first);
// Appends the ids of that text. The first turn begins with BOS where the style or the tokenizer
// wants it, once. On failure out is as it was.
bool chat_user_turn(const ChatTemplate *chat, TokenList *out, const char *system, const char *user,
                    bool first, Error *err);
// Appends the ids that end the assistant's turn, to be put behind the answer's last text token: the
// stop token, whether or not the model produced it, and what stands between two turns.
bool chat_close_turn(const ChatTemplate *chat, TokenList *out, Error *err);
bool chat_is_stop(const ChatTemplate *chat, uint32_t id);

#endif
