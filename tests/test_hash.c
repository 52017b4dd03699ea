// Hashes of contents: published values, and that the pieces in which they come do not matter.
#include "base/hash.h"
#include "support/files.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static Hash hash_of(const char *text)
{
    Hasher hasher = {0};
    hash_put(&hasher, text, strlen(text));
    return hash_end(&hasher);
}

// The first word is XXH64 of seed 0, as xxhsum -H1 prints it; the second has another seed.
static void known_values(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t word;
    } known[] = {
        {"", 0xEF46DB3751D8E999u},
        {"hello", 0x26C7827D889F6DA3u},
        {"The quick brown fox jumps over the lazy dog", 0x0B242D361FDA71BCu},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        Hash hash = hash_of(known[i].text);
        assert_true(hash.words[0] == known[i].word && hash.words[1] != known[i].word);
    }
}

static void pieces_do_not_matter(void **state)
{
    (void)state;
    char text[101];
    for (int i = 0; i < 100; i++) text[i] = (char)(33 + 7 * i % 90);
    text[100] = 0;
    Hash whole = hash_of(text);
    for (size_t a = 0; a <= 100; a++)
        for (size_t b = a; b <= 100; b++) {
            Hasher hasher = {0};
            hash_put(&hasher, text, a);
            hash_put(&hasher, text + a, b - a);
            hash_put(&hasher, text + b, 100 - b);
            Hash hash = hash_end(&hasher);
            assert_memory_equal(&hash, &whole, sizeof hash);
        }
}

static void files(void **state)
{
    (void)state;
    TestPath folder = test_folder_make();
    TestPath path = test_write_text(&folder, "a", "hello");
    Hasher hasher = {0};
    Error err;
    assert_true(hash_put_file(&hasher, path.text, &err));
    Hash hash = hash_end(&hasher), same = hash_of("hello");
    assert_memory_equal(&hash, &same, sizeof hash);
    assert_false(hash_put_file(&hasher, test_path(folder.text, "none").text, &err));
    assert_error(err, "none: cannot open");
    assert_false(hash_put_file(&hasher, folder.text, &err)); // a folder has no bytes
    assert_error(err, "cannot read");
    test_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values),
        cmocka_unit_test(pieces_do_not_matter),
        cmocka_unit_test(files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
