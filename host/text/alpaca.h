// The Alpaca prompt: a one-sentence preamble, then blocks headed ### Instruction:, ### Input: (left
// out where input is empty) and ### Response:. Source: Stanford Alpaca's prompt templates.
#ifndef STRATA_TEXT_ALPACA_H
#define STRATA_TEXT_ALPACA_H

// The prompt up to and with "### Response:", as malloc'ed text. input may be NULL or empty.
// NULL: out of memory.
char *alpaca_prompt(const char *instruction, const char *input);

#endif
