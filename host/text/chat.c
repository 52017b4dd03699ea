// The prompt of a chat: see chat.h.
#include "text/chat.h"
#include "text/alpaca.h"

#include <stdio.h>
#include <stdlib.h>

static int print(char *out, size_t size, const char *system, const char *user)
{
    return snprintf(out, size, "%s%s### Instruction:\n%s\n\n### Response:", system ? system : "",
                    system ? "\n\n" : "", user);
}

char *chat_prompt(const char *system, const char *user, bool first)
{
    if (first && !(system && *system)) return alpaca_prompt(user, NULL);
    if (!first) system = NULL;
    int length = print(NULL, 0, system, user);
    char *prompt = length < 0 ? NULL : malloc((size_t)length + 1);
    if (prompt) print(prompt, (size_t)length + 1, system, user);
    return prompt;
}
