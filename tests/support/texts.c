// Texts for tokenizers: see texts.h.
#include "support/texts.h"
#include "base/random.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>

// Code points, and the room that a JSON escape of each takes.
typedef struct {
    uint32_t points[600]; // (count)
    size_t count;
    Random random;
} Text;

static uint64_t draw(Text *t, uint64_t bound)
{
    return random_below(&t->random, bound);
}

static void put(Text *t, uint32_t point)
{
    if (t->count < sizeof t->points / sizeof *t->points) t->points[t->count++] = point;
}

// Adds a UTF-8 literal.
static void put_text(Text *t, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    while (*at) {
        int more = *at < 0x80 ? 0 : *at < 0xE0 ? 1 : *at < 0xF0 ? 2 : 3;
        uint32_t point = more ? *at & (0x3Fu >> more) : *at;
        for (at++; more; more--, at++) point = point << 6 | (*at & 0x3Fu);
        put(t, point);
    }
}

#define PICK(t, list) (list)[draw(t, sizeof(list) / sizeof *(list))]

typedef struct {
    uint32_t low, high;
} Range;

static uint32_t in_range(Text *t, Range range)
{
    return range.low + (uint32_t)draw(t, range.high - range.low + 1);
}

static void anything(Text *t)
{
    static const Range PLANES[] = {
        {0, 0xFFFF}, {0, 0x7FF}, {0x10000, 0x1FFFF}, {0x20000, 0x2FFFF}, {0x30000, 0x10FFFF}};
    uint32_t point = in_range(t, PICK(t, PLANES));
    put(t, point >= 0xD800 && point < 0xE000 ? 'x' : point);
}

static void letters(Text *t)
{
    static const Range BLOCKS[] = {
        {0x20, 0x7E},       {0xA0, 0x24F},     {0x370, 0x3FF},   {0x400, 0x52F},
        {0x590, 0x5FF},     {0x600, 0x6FF},    {0x900, 0x97F},   {0xE00, 0xE7F},
        {0x1780, 0x17FF},   {0x1E00, 0x1FFF},  {0x2000, 0x206F}, {0x2070, 0x218F},
        {0x2190, 0x27BF},   {0x3040, 0x30FF},  {0x4E00, 0x9FFF}, {0xAC00, 0xD7A3},
        {0xE000, 0xF8FF},   {0xF900, 0xFAFF},  {0xFE00, 0xFFFD}, {0x1D400, 0x1D7FF},
        {0x1F300, 0x1F6FF}, {0x1F900, 0x1F9FF}};
    Range block = PICK(t, BLOCKS);
    for (size_t i = draw(t, 6) + 1; i; i--) put(t, in_range(t, block));
    if (draw(t, 3) == 0) put(t, ' ');
}

static void languages(Text *t)
{
    static const char *const SAMPLES[] = {
        "The old clock struck 12; nobody's listening, they've gone.",
        "Grüße aus Köln, wo es heute 7,5 Grad kälter ist als üblich!",
        "L'été dernier, j'ai mangé des œufs à la coque près du château.",
        "El niño pequeño corrió mañana y noche; ¿adónde iría?",
        "Сегодня утром мы пили чай и читали письма.",
        "Σήμερα ο καιρός είναι καλός· πάμε βόλτα;",
        "היום בבוקר שתינו תה וקראנו מכתבים.",
        "شربنا الشاي هذا الصباح وقرأنا ٣ رسائل.",
        "आज सुबह हमने चाय पी और चिट्ठियाँ पढ़ीं।",
        "เช้านี้เราดื่มชาและอ่านจดหมาย",
        "今天早上我们喝了茶，读了三封信。",
        "今朝はお茶を飲んで、手紙を3通読みました。カタカナも。",
        "오늘 아침에 우리는 차를 마시고 편지를 읽었다.",
        "Hôm nay chúng tôi uống trà và đọc thư ở Việt Nam.",
        "Bu sabah çay içtik, İzmir'den gelen ılık mektupları okuduk.",
        "ዛሬ ጠዋት ሻይ ጠጣን።",
        "ព្រឹកនេះយើងផឹកតែ",
        "Þetta er stutt saga um köttinn hans Ævars."};
    put_text(t, PICK(t, SAMPLES));
    if (draw(t, 2)) put(t, draw(t, 2) ? ' ' : '\n');
    if (draw(t, 4) == 0 && t->count) t->count -= draw(t, t->count);
}

static void emoji(Text *t)
{
    static const char *const SAMPLES[] = {"👩‍👩‍👧‍👦",
                                          "👍🏽",
                                          "🏳️‍🌈",
                                          "🇩🇪🇯🇵",
                                          "❤️",
                                          "✈︎",
                                          "1️⃣",
                                          "👨🏿‍🚀",
                                          "😀",
                                          "🫠",
                                          "🧑‍🤝‍🧑",
                                          "🦙",
                                          "☺",
                                          "‍",
                                          "️",
                                          "🏽",
                                          " ",
                                          "ok"};
    put_text(t, PICK(t, SAMPLES));
}

// Marks in every order, Hangul by its letters, and characters that normalizing changes.
static void marks(Text *t)
{
    static const Range MARKS[] = {
        {0x300, 0x36F},   {0x591, 0x5BD},   {0x64B, 0x65F},   {0x93C, 0x94D},   {0xE38, 0xE4B},
        {0x1100, 0x1112}, {0x1161, 0x1175}, {0x11A8, 0x11C2}, {0x20D0, 0x20F0}, {0x1D165, 0x1D172}};
    static const uint32_t BASES[] = {'a',    'e',    'o',    'u',    0xE4,  0x1EA5, 0x212B,  0x2126,
                                     0xFB01, 0xFB1D, 0xAC00, 0x915,  0x958, 0xF900, 0x2F800, ' ',
                                     0x1F71, 0x0344, 0x387,  0x1E9B, 0x37E, 0x2ADC};
    put(t, PICK(t, BASES));
    for (size_t i = draw(t, 5); i; i--) put(t, in_range(t, PICK(t, MARKS)));
}

static void spaces(Text *t)
{
    static const uint32_t SPACES[] = {' ',    ' ',    ' ',    '\t',   '\n',   '\r',   '\v',
                                      '\f',   0x85,   0xA0,   0x1680, 0x180E, 0x2000, 0x2003,
                                      0x200B, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF};
    static const char *const WORDS[] = {"a", "word", "1", "...", "\xE2\x96\x81", "é", "\r\n", "_"};
    uint32_t space = PICK(t, SPACES);
    for (size_t i = draw(t, 8); i; i--) put(t, draw(t, 4) ? space : PICK(t, SPACES));
    if (draw(t, 2)) put_text(t, PICK(t, WORDS));
}

static void controls(Text *t)
{
    static const Range CONTROLS[] = {{0, 0x1F},        {0x7F, 0x9F},       {0x200B, 0x200F},
                                     {0x202A, 0x202E}, {0x2060, 0x206F},   {0xFDD0, 0xFDEF},
                                     {0xFFF0, 0xFFFF}, {0xE0000, 0xE007F}, {0x10FFF0, 0x10FFFF}};
    put(t, in_range(t, PICK(t, CONTROLS)));
    if (draw(t, 2)) put(t, 'a' + (uint32_t)draw(t, 26));
}

static void specials(Text *t)
{
    static const char *const SAMPLES[] = {"<s>",
                                          "</s>",
                                          "<unk>",
                                          "<pad>",
                                          "<|endoftext|>",
                                          "<|im_start|>",
                                          "<|im_end|>",
                                          "<|begin_of_text|>",
                                          "<|end_of_text|>",
                                          "<|eot_id|>",
                                          "<|start_header_id|>",
                                          "<|endof",
                                          "text|>",
                                          "<think>",
                                          "</think>",
                                          "<tool_call>",
                                          "[INST]",
                                          "[/INST]",
                                          "<<SYS>>",
                                          "<0x41>",
                                          "<0xE2>",
                                          "<|buffer1|>",
                                          "<s",
                                          "/s>",
                                          "\xE2\x96\x81",
                                          "\xE2\x96\x81<s>",
                                          " ",
                                          "  ",
                                          "\n",
                                          "\t\t",
                                          "            ",
                                          "word",
                                          "<",
                                          ">",
                                          "|",
                                          "é",
                                          "Ġ",
                                          "ĠĠ",
                                          "Ċ"};
    put_text(t, PICK(t, SAMPLES));
}

static void surrogates(Text *t)
{
    put(t, draw(t, 3) ? 0xD800 + (uint32_t)draw(t, 0x800) : 'a' + (uint32_t)draw(t, 26));
    if (draw(t, 5) == 0) emoji(t);
}

static void runs(Text *t)
{
    static const char *const UNITS[] = {" ",  "a",    "\n", "ab", "0",  "12", "-",
                                        "=",  "é",    "日", "👍",  "\t", " a", "a ",
                                        "!?", "\r\n", "̈",   "ſ",  "'s", "ha", "_ "};
    const char *unit = PICK(t, UNITS);
    for (size_t i = draw(t, 200) + 1; i; i--) put_text(t, unit);
}

static void words(Text *t)
{
    static const char *const WORDS[] = {"Hello",
                                        "world",
                                        "I'm",
                                        "you'LL",
                                        "we'Ve",
                                        "it'ſ",
                                        "don't",
                                        "'re",
                                        "'D",
                                        "3.14159",
                                        "1000000",
                                        "x=y+1;",
                                        "def f(x):",
                                        "    return",
                                        "{}",
                                        "//",
                                        "http://a.b/c?d=e&f",
                                        "CamelCase",
                                        "snake_case",
                                        "UPPER",
                                        "!!!",
                                        "...",
                                        "(a)",
                                        "\"q\"",
                                        "\\n",
                                        "a-b",
                                        "e.g.",
                                        "№5",
                                        "½",
                                        "²",
                                        "Ⅷ",
                                        "٣٤",
                                        "१२३",
                                        "x̄",
                                        "\n\n",
                                        "\r\n",
                                        "\t",
                                        "#1",
                                        "$9.99",
                                        "100%",
                                        "@you",
                                        "C++",
                                        "naïve",
                                        "café",
                                        "İ",
                                        "ß"};
    put_text(t, PICK(t, WORDS));
    if (draw(t, 5)) put(t, ' ');
}

static size_t write_line(char *line, const Text *t)
{
    size_t used = 0;
    line[used++] = '"';
    for (size_t i = 0; i < t->count; i++) {
        uint32_t c = t->points[i];
        assert(used + 14 < TEXT_LINE);
        if (c >= 0x10000) {
            unsigned high = 0xD800 + ((c - 0x10000) >> 10), low = 0xDC00 + (c & 0x3FF);
            used += (size_t)sprintf(line + used, "\\u%04x\\u%04x", high, low);
        } else if (c < 0x20 || c > 0x7E || c == '"' || c == '\\') {
            used += (size_t)sprintf(line + used, "\\u%04x", (unsigned)c);
        } else {
            line[used++] = (char)c;
        }
    }
    line[used++] = '"';
    line[used] = 0;
    return used;
}

size_t test_text_line(char *line, size_t index)
{
    static void (*const KINDS[])(Text *) = {anything, letters,  languages,  emoji, marks, spaces,
                                            controls, specials, surrogates, runs,  words};
    enum { KIND_COUNT = sizeof KINDS / sizeof *KINDS };
    Text text = {.random = random_seed(index + 20230918)};
    size_t kind = index % (KIND_COUNT + 1);
    for (size_t parts = draw(&text, kind == 9 ? 3 : 16) + 1; parts; parts--)
        kind < KIND_COUNT ? KINDS[kind](&text) : PICK(&text, KINDS)(&text);
    return write_line(line, &text);
}
