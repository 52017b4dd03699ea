// Tokens that are written out in a text, such as "</s>": finding the leftmost, longest one. The
// sorted list serves as the trie. Not merging, and not the tokens of the vocabulary at large.
#include "text/tokenizer_internal.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <unictype.h>
#include <unistr.h>

static int compare_added(const void *a, const void *b)
{
    const AddedToken *x = a, *y = b;
    if (x->normalized != y->normalized) return x->normalized ? 1 : -1;
    int order = memcmp(x->text, y->text, x->size < y->size ? x->size : y->size);
    if (order) return order;
    if (x->size != y->size) return x->size < y->size ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

void added_seal(Tokenizer *t)
{
    if (t->added_count) qsort(t->added, t->added_count, sizeof *t->added, compare_added);
    t->added_raw = 0;
    while (t->added_raw < t->added_count && !t->added[t->added_raw].normalized) t->added_raw++;
}

// The first of tokens[low..high), all alike before byte k and longer than k, whose byte k is at
// least `byte` (which may be 256).
static size_t lower_bound(const AddedToken *tokens, size_t low, size_t high, size_t k,
                          unsigned byte)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((unsigned char)tokens[middle].text[k] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// The longest token that text[size] begins with, or NULL.
static const AddedToken *longest(const AddedToken *tokens, size_t count, const char *text,
                                 size_t size)
{
    const AddedToken *best = NULL;
    size_t low = 0, high = count;
    for (size_t k = 0; k < size && low < high; k++) {
        unsigned byte = (unsigned char)text[k];
        low = lower_bound(tokens, low, high, k, byte);
        high = lower_bound(tokens, low, high, k, byte + 1);
        if (low < high && tokens[low].size == k + 1) best = &tokens[low];
        while (low < high && tokens[low].size == k + 1) low++;
    }
    return best;
}

// Bytes of the white-space character (Unicode White_Space) at text[0], 0 where there is none.
static size_t white_space(const char *text, size_t size)
{
    static const char *const WIDE[] = {
        "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81",
        "\xE2\x80\x82", "\xE2\x80\x83", "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86",
        "\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A", "\xE2\x80\xA8",
        "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"};
    if (size && (*text == ' ' || (*text >= '\t' && *text <= '\r'))) return 1;
    for (size_t i = 0; i < sizeof WIDE / sizeof *WIDE; i++) {
        size_t length = strlen(WIDE[i]);
        if (length <= size && !memcmp(text, WIDE[i], length)) return length;
    }
    return 0;
}

// `begin` moved left over white space, not past `from`.
static size_t skip_left(const char *text, size_t begin, size_t from)
{
    while (begin > from) {
        size_t at = begin - 1;
        while (at > from && ((unsigned char)text[at] & 0xC0) == 0x80) at--;
        if (white_space(text + at, begin - at) != begin - at) break;
        begin = at;
    }
    return begin;
}

static size_t skip_right(const char *text, size_t size, size_t end)
{
    size_t length;
    while ((length = white_space(text + end, size - end)) > 0) end += length;
    return end;
}

// A letter, mark, digit or connector, as \w of Rust's regular expressions.
static bool is_word_character(ucs4_t c)
{
    return uc_is_property_alphabetic(c) || uc_is_property_join_control(c) ||
           uc_is_general_category_withtable(c, UC_CATEGORY_MASK_M | UC_CATEGORY_MASK_Nd |
                                                   UC_CATEGORY_MASK_Pc);
}

static bool stands_alone(const char *text, size_t size, size_t begin, size_t end)
{
    ucs4_t c;
    size_t at = begin;
    if (begin) {
        do at--;
        while (at && ((unsigned char)text[at] & 0xC0) == 0x80);
        u8_mbtouc(&c, (const uint8_t *)text + at, begin - at);
        if (is_word_character(c)) return false;
    }
    if (end == size) return true;
    u8_mbtouc(&c, (const uint8_t *)text + end, size - end);
    return !is_word_character(c);
}

AddedMatch added_next(const AddedToken *tokens, size_t count, const char *text, size_t size,
                      size_t from)
{
    AddedMatch match = {0};
    for (size_t at = from; count && at < size; at++) {
        const AddedToken *token = longest(tokens, count, text + at, size - at);
        if (!token) continue;
        size_t end = at + token->size;
        if (token->single_word && !stands_alone(text, size, at, end)) {
            at = end - 1;
            continue;
        }
        match.token = token;
        match.begin = token->lstrip ? skip_left(text, at, from) : at;
        match.end = token->rstrip ? skip_right(text, size, end) : end;
        break;
    }
    return match;
}
