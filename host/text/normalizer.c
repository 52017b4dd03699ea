// Normalizing a stretch of text, step by step, before it is cut into words. Unicode's forms come
// from libunistring, which sorts long runs of combining marks in n log n.
#include "text/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>
#include <uninorm.h>

enum { RESULT_LIMIT = INT32_MAX }; // bytes; positions are 32-bit

static char *copy(const char *text)
{
    size_t size = strlen(text) + 1;
    char *made = malloc(size);
    return made ? memcpy(made, text, size) : NULL;
}

bool normalizer_add(Tokenizer *t, NormalKind kind, const char *from, const char *to)
{
    NormalStep step = {kind, from ? copy(from) : NULL, to ? copy(to) : NULL};
    if (t->normal_count < STEP_LIMIT && (!from || step.from) && (!to || step.to)) {
        t->normal[t->normal_count++] = step;
        return true;
    }
    free(step.from);
    free(step.to);
    return false;
}

void normalizer_clear(Tokenizer *t)
{
    for (size_t i = 0; i < t->normal_count; i++) {
        free(t->normal[i].from);
        free(t->normal[i].to);
    }
    t->normal_count = 0;
}

// Appends text with each `from` replaced. `from` is short, so trying it at each of its first bytes
// is linear.
static bool put_replaced(Buffer *out, const NormalStep *step, const char *text, size_t size)
{
    size_t from_size = strlen(step->from), to_size = strlen(step->to), at = 0, kept = 0;
    while (size - at >= from_size) {
        const char *found = memchr(text + at, *step->from, size - at - from_size + 1);
        if (!found) break;
        at = (size_t)(found - text);
        if (memcmp(found, step->from, from_size) != 0) {
            at++;
            continue;
        }
        if (!buffer_put(out, text + kept, at - kept) || !buffer_put(out, step->to, to_size))
            return false;
        kept = at += from_size;
    }
    return out->size <= RESULT_LIMIT && buffer_put(out, text + kept, size - kept);
}

static bool is_ascii(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] >= 0x80) return false;
    return true;
}

static bool put_form(Buffer *out, NormalKind kind, const char *text, size_t size)
{
    if (is_ascii(text, size)) return buffer_put(out, text, size);
    uninorm_t form = kind == NORMAL_NFC    ? UNINORM_NFC
                     : kind == NORMAL_NFD  ? UNINORM_NFD
                     : kind == NORMAL_NFKC ? UNINORM_NFKC
                                           : UNINORM_NFKD;
    size_t made_size = 0;
    uint8_t *made = u8_normalize(form, (const uint8_t *)text, size, NULL, &made_size);
    bool ok = made && buffer_put(out, (const char *)made, made_size);
    free(made);
    return ok;
}

static bool put_step(Buffer *out, const NormalStep *step, const char *text, size_t size)
{
    switch (step->kind) {
    case NORMAL_PREPEND:
        if (!size) return true;
        return buffer_put(out, step->to, strlen(step->to)) && buffer_put(out, text, size);
    case NORMAL_REPLACE:
        return put_replaced(out, step, text, size);
    default:
        return put_form(out, step->kind, text, size);
    }
}

bool normalizer_run(const Tokenizer *t, Buffer *out, Buffer *spare, const char *text, size_t size)
{
    out->size = 0;
    if (!buffer_put(out, text, t->normal_count ? 0 : size)) return false;
    for (size_t i = 0; i < t->normal_count; i++) {
        Buffer done = *out;
        *out = *spare;
        *spare = done;
        out->size = 0;
        const char *from = i ? spare->bytes : text;
        if (!put_step(out, &t->normal[i], from, i ? spare->size : size)) return false;
        if (out->size > RESULT_LIMIT) return false;
    }
    return true;
}
