// The Alpaca prompt: see alpaca.h.
#include "text/alpaca.h"

#include <stdio.h>
#include <stdlib.h>

// The wording is Stanford Alpaca's to the letter: models were trained on exactly this.
static const char WITH_INPUT[] =
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n%s\n\n### Input:\n%s\n\n### Response:";
static const char WITHOUT_INPUT[] = "Below is an instruction that describes a task. "
                                    "Write a response that appropriately completes the request.\n\n"
                                    "### Instruction:\n%s\n\n### Response:";

static int print(char *out, size_t size, const char *instruction, const char *input)
{
    if (input && *input) return snprintf(out, size, WITH_INPUT, instruction, input);
    return snprintf(out, size, WITHOUT_INPUT, instruction);
}

char *alpaca_prompt(const char *instruction, const char *input)
{
    int length = print(NULL, 0, instruction, input);
    char *prompt = length < 0 ? NULL : malloc((size_t)length + 1);
    if (prompt) print(prompt, (size_t)length + 1, instruction, input);
    return prompt;
}
