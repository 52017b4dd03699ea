// The prompt of a chat, a sequel of Alpaca prompts. A round is what the user says and what the
// assistant answers:
//
//   SYSTEM \n\n### Instruction:\n USER \n\n### Response: ASSISTANT EOS
//
// SYSTEM and the blank line stand in the first round only; where there is no system message,
// SYSTEM is Alpaca's sentence, so that a chat of one round is an Alpaca record.
#ifndef STRATA_TEXT_CHAT_H
#define STRATA_TEXT_CHAT_H

#include <stdbool.h>

// The prompt of a round, up to and with "### Response:", as malloc'ed text. system may be NULL or
// empty; it counts in the first round. NULL: out of memory.
char *chat_prompt(const char *system, const char *user, bool first);

#endif
