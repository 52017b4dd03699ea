// Stop strings in text that comes in pieces: what is shown in all is the text before the stop
// string that is complete first, however the text is cut; nothing of a stop string is ever shown
// early, and nothing is held back longer than needed. Against a plain search through the text byte
// by byte.
#include "base/random.h"
#include "text/stop.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT = 64 };

// ---- the plain way -----------------------------------------------------------------------------

// Whether `text` (size) ends with `part`.
static bool ends_with(const char *text, size_t size, const char *part)
{
    size_t length = strlen(part);
    return length <= size && !memcmp(text + size - length, part, length);
}

// The longest of the stop strings with which the first `size` bytes end; 0: none.
static size_t stop_at(const char *text, size_t size, const char *const *stops, size_t count)
{
    size_t longest = 0;
    for (size_t i = 0; i < count; i++)
        if (ends_with(text, size, stops[i]) && strlen(stops[i]) > longest)
            longest = strlen(stops[i]);
    return longest;
}

// Bytes at the end of text (size) that may yet become a stop string.
static size_t undecided(const char *text, size_t size, const char *const *stops, size_t count)
{
    size_t longest = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t length = 1; length < strlen(stops[i]) && length <= size; length++)
            if (length > longest && !memcmp(text + size - length, stops[i], length))
                longest = length;
    return longest;
}

// What may be shown once `size` bytes of the text are known; *stopped where it has ended.
static size_t may_show(const char *text, size_t size, const char *const *stops, size_t count,
                       bool *stopped)
{
    for (size_t at = 1; at <= size; at++) {
        size_t length = stop_at(text, at, stops, count);
        *stopped = length > 0;
        if (length) return at - length;
    }
    *stopped = false;
    return size - undecided(text, size, stops, count);
}

// ---- comparison --------------------------------------------------------------------------------

typedef struct {
    StopFilter filter;
    char seen[2 * TEXT];
    size_t size;
} Watch;

static void show(Watch *w, const char *more)
{
    assert_non_null(more);
    assert_true(w->size + strlen(more) < sizeof w->seen);
    memcpy(w->seen + w->size, more, strlen(more));
    w->size += strlen(more);
}

static void check(const Watch *w, const char *text, size_t known, size_t shown, bool stopped,
                  const char *const *stops, size_t count)
{
    if (w->size == shown && !memcmp(w->seen, text, shown) && w->filter.stopped == stopped) return;
    for (size_t i = 0; i < count; i++) print_error("stop '%s'\n", stops[i]);
    fail_msg("of '%.*s': shown '%.*s' (stopped: %d), expected '%.*s' (%d)", (int)known, text,
             (int)w->size, w->seen, w->filter.stopped, (int)shown, text, stopped);
}

// Pushes the text in pieces of 0 to `most` bytes and compares after each; true: a stop string came.
static bool run(const char *text, const char *const *stops, size_t count, size_t most, Random *r)
{
    Watch w = {.size = 0};
    size_t at = 0, size = strlen(text);
    bool stopped = false;
    stop_begin(&w.filter, stops, count);
    while (at < size) {
        char piece[TEXT + 1];
        size_t length = random_below(r, most + 1);
        if (length > size - at) length = size - at;
        memcpy(piece, text + at, length);
        piece[length] = 0;
        at += length;
        show(&w, stop_push(&w.filter, piece));
        size_t shown = may_show(text, at, stops, count, &stopped);
        check(&w, text, at, shown, stopped, stops, count);
    }
    show(&w, stop_end(&w.filter));
    size_t shown = may_show(text, size, stops, count, &stopped);
    check(&w, text, size, stopped ? shown : size, stopped, stops, count);
    stop_free(&w.filter);
    return stopped;
}

// ---- random texts ------------------------------------------------------------------------------

static void random_text(Random *r, char *out, size_t size, const char *letters)
{
    for (size_t i = 0; i < size; i++) out[i] = letters[random_below(r, strlen(letters))];
    out[size] = 0;
}

static void random_texts(void **state)
{
    (void)state;
    enum { ROUNDS = 100000, STOPS = 4 };
    Random r = random_seed(5);
    uint32_t stopped = 0;
    for (int round = 0; round < ROUNDS; round++) {
        const char *letters = round % 2 ? "ab" : "abc";
        char text[TEXT + 1], strings[STOPS][8];
        const char *stops[STOPS];
        size_t count = random_below(&r, STOPS + 1);
        random_text(&r, text, random_below(&r, TEXT / 2), letters);
        for (size_t i = 0; i < count; i++) {
            random_text(&r, strings[i], 1 + random_below(&r, 7), letters);
            stops[i] = strings[i];
        }
        stopped += run(text, stops, count, 1 + random_below(&r, 6), &r);
    }
    assert_true(stopped > ROUNDS / 4 && stopped < ROUNDS * 3 / 4);
}

static void as_many_as_there_may_be(void **state)
{
    (void)state;
    Random r = random_seed(6);
    for (int round = 0; round < 2000; round++) {
        char text[TEXT + 1], strings[STOP_MOST][16];
        const char *stops[STOP_MOST];
        random_text(&r, text, TEXT, "ab");
        for (size_t i = 0; i < STOP_MOST; i++) {
            random_text(&r, strings[i], 6 + random_below(&r, 9), "ab");
            stops[i] = strings[i];
        }
        run(text, stops, STOP_MOST, 9, &r);
    }
}

// ---- by hand -----------------------------------------------------------------------------------

static void by_hand(void **state)
{
    (void)state;
    static const char *const newline[] = {"\n\n"}, *const nested[] = {"abc", "b"};
    static const char *const again[] = {"aab"}, *const both[] = {"cd", "abcd"};
    StopFilter f;
    stop_begin(&f, newline, 1);
    assert_string_equal(stop_push(&f, "one\n"), "one");
    assert_string_equal(stop_push(&f, "two\n"), "\ntwo");
    assert_string_equal(stop_push(&f, ""), "");
    assert_string_equal(stop_push(&f, "\nthree"), "");
    assert_true(f.stopped);
    assert_string_equal(stop_push(&f, "four"), "");
    assert_string_equal(stop_end(&f), "");
    stop_free(&f);
    // What comes first ends the text, be it within what another one would become: no waiting.
    stop_begin(&f, nested, 2);
    assert_string_equal(stop_push(&f, "xabc"), "xa");
    assert_true(f.stopped);
    stop_free(&f);
    // Of two that end together the longer one.
    stop_begin(&f, both, 2);
    assert_string_equal(stop_push(&f, "xab"), "x");
    assert_string_equal(stop_push(&f, "cd"), "");
    assert_true(f.stopped);
    stop_free(&f);
    // The beginning within a beginning.
    stop_begin(&f, again, 1);
    assert_string_equal(stop_push(&f, "aa"), "");
    assert_string_equal(stop_push(&f, "a"), "a");
    assert_string_equal(stop_push(&f, "b"), "");
    assert_true(f.stopped);
    stop_free(&f);
}

static void what_is_held_back_comes_at_the_end(void **state)
{
    (void)state;
    static const char *const stops[] = {"### End"};
    StopFilter f;
    stop_begin(&f, stops, 1);
    assert_string_equal(stop_push(&f, "text ##"), "text ");
    assert_string_equal(stop_push(&f, "# En"), "");
    assert_string_equal(stop_end(&f), "### En");
    assert_false(f.stopped);
    stop_free(&f);
    stop_begin(&f, stops, 1);
    assert_string_equal(stop_end(&f), "");
    stop_free(&f);
    stop_begin(&f, NULL, 0); // without any, all is shown at once
    assert_string_equal(stop_push(&f, "###"), "###");
    assert_string_equal(stop_end(&f), "");
    stop_free(&f);
    stop_free(&f); // of nothing
}

// Letters of several bytes, also cut in the middle; two that begin with the same bytes.
static void letters_of_several_bytes(void **state)
{
    (void)state;
    static const char *const stops[] = {"\xC3\xA9\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    Random r = random_seed(7);
    StopFilter f;
    stop_begin(&f, stops, 2);
    assert_string_equal(stop_push(&f, "caf\xC3\xA9"), "caf");
    assert_string_equal(stop_push(&f, "\xC3\xA8\xF0\x9F\x98\x81"),
                        "\xC3\xA9\xC3\xA8\xF0\x9F\x98\x81");
    assert_string_equal(stop_push(&f, "!\xF0\x9F\x98\x80"), "!");
    assert_true(f.stopped);
    stop_free(&f);
    for (int round = 0; round < 5000; round++) {
        static const char *const letters[] = {
            "\xC3\xA9", "\xC3\xA8", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xF0\x9F\x98\x81", "a"};
        char text[TEXT + 1] = "";
        for (int i = 0; i < 12; i++) strcat(text, letters[random_below(&r, 6)]);
        run(text, stops, 2, 5, &r);
    }
}

// A long text in one piece and in thousands.
static void long_texts(void **state)
{
    (void)state;
    enum { LONG = 200000 };
    static const char *const stops[] = {"abab!"};
    char *text = malloc(LONG + 6);
    assert_non_null(text);
    for (size_t i = 0; i < LONG; i++) text[i] = "ab"[i % 2];
    strcpy(text + LONG, "!more");
    for (int way = 0; way < 2; way++) {
        StopFilter f;
        size_t shown = 0, step = way ? 7 : LONG + 6;
        stop_begin(&f, stops, 1);
        for (size_t at = 0; at < LONG + 5; at += step) {
            char piece[8];
            snprintf(piece, sizeof piece, "%.7s", text + at);
            shown += strlen(stop_push(&f, way ? piece : text));
        }
        assert_true(f.stopped);
        assert_int_equal(shown, LONG - 4);
        stop_free(&f);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_texts),
        cmocka_unit_test(as_many_as_there_may_be),
        cmocka_unit_test(by_hand),
        cmocka_unit_test(what_is_held_back_comes_at_the_end),
        cmocka_unit_test(letters_of_several_bytes),
        cmocka_unit_test(long_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
