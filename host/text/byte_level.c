// GPT-2's alphabet, in which byte-level BPE spells bytes as visible characters: those that are
// printable in Latin-1 stand for themselves, the other 68 for U+0100 and on. Source: GPT-2's
// bytes_to_unicode.
#include "text/tokenizer_internal.h"

static bool is_plain(unsigned character)
{
    return (character >= 0x21 && character <= 0x7E) || (character >= 0xA1 && character <= 0xAC) ||
           (character >= 0xAE && character <= 0xFF);
}

// The bytes that are not plain: 0x00 to 0x20, 0x7F to 0xA0, 0xAD.
unsigned byte_level_character(uint8_t byte)
{
    if (is_plain(byte)) return byte;
    if (byte <= 0x20) return 0x100u + byte;
    return byte == 0xAD ? 0x143u : 0x121u + byte - 0x7Fu;
}

int byte_level_byte(unsigned character)
{
    if (character < 0x100) return is_plain(character) ? (int)character : -1;
    if (character <= 0x120) return (int)(character - 0x100);
    if (character < 0x143) return (int)(character - 0x121 + 0x7F);
    return character == 0x143 ? 0xAD : -1;
}

bool byte_level_put(Buffer *out, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned c = byte_level_character((uint8_t)bytes[i]);
        char pair[2] = {(char)(0xC0 | c >> 6), (char)(0x80 | (c & 0x3F))};
        char one = (char)c;
        if (!(c < 0x80 ? buffer_put(out, &one, 1) : buffer_put(out, pair, 2))) return false;
    }
    return true;
}
