// Phases and places in the model: see record.h.
#include "profile/record.h"

#include <stdio.h>
#include <string.h>

// How many bytes of the label are words, without the space before its number.
static int words(const char *label)
{
    size_t length = strlen(label), end = length;
    while (end && label[end - 1] >= '0' && label[end - 1] <= '9') end--;
    if (end == length || !end || label[end - 1] != ' ') return (int)length;
    return (int)end - 1;
}

void profile_place(char out[64], const char *label)
{
    static const char *const blocks[] = {"forward", "backward", "block", "skip"};
    int length = words(label);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (label[length] && (size_t)length == strlen(blocks[i]) &&
            !strncmp(label, blocks[i], (size_t)length)) {
            snprintf(out, 64, "block%s", label + length);
            return;
        }
    snprintf(out, 64, "%s", label);
}

void profile_phase(char out[64], const ProfileEvent *event)
{
    const char *label = event->command->tape;
    if (event->phase[0])
        snprintf(out, 64, "%s", event->phase);
    else if (!strncmp(label, "exit ", 5))
        snprintf(out, 64, "%s", label);
    else
        snprintf(out, 64, "%.*s", words(label), label);
}
