// The cache of tokens: what is found again, what is made anew, what is left behind, and what
// happens where it cannot be written.
#define _POSIX_C_SOURCE 200809L
#include "base/file.h"
#include "support/files.h"
#include "support/models.h"
#include "train/dataset.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

// own holds tokenizer.json, the data, cache (XDG_CACHE_HOME) and tmp (TMPDIR).
static TestPath own, cache, tmp;
static Tokenizer *words;

static const char TEXT[] = "the request\n<|endoftext|>\nWrite a response\n<|endoftext|>\na task\n";

static int prepare(void **state)
{
    (void)state;
    Error err;
    unsetenv("TMPDIR");
    own = test_folder_make();
    cache = test_path(own.text, "cache");
    tmp = test_path(own.text, "tmp");
    words = words_tokenizer();
    assert_true(folder_make(tmp.text, &err));
    assert_true(tokenizer_save(words, test_path(own.text, "tokenizer.json").text, &err));
    test_write_text(&own, "data.txt", TEXT);
    unsetenv("STRATA_CACHE_TOKENS");
    setenv("XDG_CACHE_HOME", cache.text, 1);
    setenv("TMPDIR", tmp.text, 1);
    return 0;
}

static int clean_up(void **state)
{
    (void)state;
    tokenizer_free(words);
    test_folder_remove(&own);
    unsetenv("TMPDIR");
    return 0;
}

static bool open_data(Dataset *set, const char *name, uint32_t context, const char *separator,
                      Error *err)
{
    const TestPath tokenizer = test_path(own.text, "tokenizer.json");
    const DatasetOptions options = {.tokenizer = words,
                                    .tokenizer_path = tokenizer.text,
                                    .context = context,
                                    .separator = separator};
    *err = (Error){""};
    return dataset_open(set, test_path(own.text, name).text, &options, err);
}

// The same as without a cache.
static void check_contents(const Dataset *set, const char *name, uint32_t context)
{
    Dataset plain;
    Error err;
    if (!dataset_load(&plain, test_path(own.text, name).text, words, context, &err))
        fail_msg("%s", err.text);
    assert_int_equal(plain.place, DATASET_TEMPORARY);
    assert_int_equal(set->count, plain.count);
    assert_int_equal(set->truncated, plain.truncated);
    assert_int_equal(set->dropped, plain.dropped);
    assert_int_equal(set->longest, plain.longest);
    assert_memory_equal(set->examples, plain.examples, plain.count * sizeof *plain.examples);
    assert_memory_equal(set->tokens, plain.tokens, 4 * plain.file.header->words);
    dataset_free(&plain);
}

// Opens data.txt, which must come from there and hold what it should.
static void check_place(uint32_t context, DatasetPlace place)
{
    Dataset set;
    Error err;
    if (!open_data(&set, "data.txt", context, NULL, &err)) fail_msg("%s", err.text);
    assert_int_equal(set.place, place);
    assert_string_equal(set.cache_error.text, "");
    check_contents(&set, "data.txt", context);
    dataset_free(&set);
    assert_int_equal(test_folder_count(tmp.text), 0);
}

static TestPath cache_folder_path(void)
{
    return test_path(cache.text, "strata");
}

// The one file in the cache.
static TestPath cached_file(void)
{
    TestPath found = {""};
    const TestPath place = cache_folder_path();
    DIR *dir = opendir(place.text);
    assert_non_null(dir);
    for (const struct dirent *item; (item = readdir(dir));) {
        if (item->d_name[0] == '.') continue;
        assert_string_equal(found.text, "");
        found = test_path(place.text, item->d_name);
    }
    closedir(dir);
    return found;
}

static void finds_what_it_made(void **state)
{
    (void)state;
    check_place(20, DATASET_CACHED);
    const TestPath path = cached_file();
    struct stat before, after;
    assert_int_equal(stat(path.text, &before), 0);
    check_place(20, DATASET_FOUND);
    check_place(20, DATASET_FOUND);
    assert_int_equal(stat(path.text, &after), 0);
    assert_true(before.st_ino == after.st_ino && before.st_mtime == after.st_mtime);
    // It is the contents that count, not the name or the time.
    test_write_text(&own, "data.txt", TEXT);
    check_place(20, DATASET_FOUND);
    test_write_text(&own, "other.txt", TEXT);
    Dataset set;
    Error err;
    assert_true(open_data(&set, "other.txt", 20, NULL, &err));
    assert_int_equal(set.place, DATASET_FOUND);
    dataset_free(&set);
}

static void changes_are_seen(void **state)
{
    (void)state;
    check_place(20, DATASET_CACHED);
    check_place(21, DATASET_CACHED); // context
    char changed[sizeof TEXT];
    memcpy(changed, TEXT, sizeof TEXT);
    changed[5] = 'R'; // data, of the same length
    test_write_text(&own, "data.txt", changed);
    check_place(20, DATASET_CACHED);
    test_write_text(&own, "data.txt", TEXT);
    check_place(20, DATASET_FOUND);
    size_t size; // tokenizer
    char *json = test_read(test_path(own.text, "tokenizer.json").text, &size);
    json[size] = '\n';
    test_write(&own, "tokenizer.json", json, size + 1);
    check_place(20, DATASET_CACHED);
    test_write(&own, "tokenizer.json", json, size);
    check_place(20, DATASET_FOUND);
    free(json);
    Dataset set; // separator
    Error err;
    assert_true(open_data(&set, "data.txt", 20, "a task", &err));
    assert_int_equal(set.place, DATASET_CACHED);
    dataset_free(&set);
}

// The same bytes mean something else under another name; a folder is what its files are.
static void formats_and_folders(void **state)
{
    (void)state;
    static const char line[] = "{\"text\":\"the request\"}";
    static const char *const names[] = {"same.txt", "same.jsonl"};
    Dataset set;
    Error err;
    for (int i = 0; i < 2; i++) {
        test_write_text(&own, names[i], line);
        assert_true(open_data(&set, names[i], 200, NULL, &err));
        assert_int_equal(set.place, DATASET_CACHED);
        check_contents(&set, names[i], 200);
        dataset_free(&set);
    }
    const TestPath texts = test_path(own.text, "texts");
    assert_true(folder_make(texts.text, &err));
    static const struct {
        const char *name, *text;
        DatasetPlace place;
    } files[] = {{"a.txt", "the", DATASET_CACHED},    {"b.txt", "request", DATASET_CACHED},
                 {"b.txt", "request", DATASET_FOUND}, {"a.txt", "there", DATASET_CACHED},
                 {"a.txt", "the", DATASET_FOUND},     {"b.md", "no", DATASET_FOUND}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        test_write_text(&texts, files[i].name, files[i].text);
        assert_true(open_data(&set, "texts", 200, NULL, &err));
        assert_int_equal(set.place, files[i].place);
        check_contents(&set, "texts", 200);
        dataset_free(&set);
    }
}

// Every byte of the header, many behind it, every length: it is made anew, and whole.
static void damage_is_seen(void **state)
{
    (void)state;
    check_place(20, DATASET_CACHED);
    const TestPath path = cached_file();
    size_t size, again;
    char *whole = test_read(path.text, &size), *name = strrchr(path.text, '/') + 1;
    const TestPath place = cache_folder_path();
    for (size_t i = 0; i < size; i += i < sizeof(TokenHeader) ? 1 : 5) {
        whole[i] ^= 1 << i % 8;
        test_write(&place, name, whole, size);
        whole[i] ^= 1 << i % 8;
        check_place(20, DATASET_CACHED);
        char *made = test_read(path.text, &again);
        assert_int_equal(again, size);
        assert_memory_equal(made, whole, size);
        free(made);
    }
    for (size_t length = 0; length < size; length += 7) {
        test_write(&place, name, whole, length);
        check_place(20, DATASET_CACHED);
    }
    whole[size] = 0;
    test_write(&place, name, whole, size + 1);
    check_place(20, DATASET_CACHED);
    check_place(20, DATASET_FOUND);
    assert_int_equal(test_folder_count(place.text), 1);
    free(whole);
}

static void does_without(void **state)
{
    (void)state;
    setenv("STRATA_CACHE_TOKENS", "0", 1);
    check_place(20, DATASET_TEMPORARY);
    assert_false(file_exists(cache.text));
    setenv("STRATA_CACHE_TOKENS", "1", 1);
    check_place(20, DATASET_CACHED);
}

// A file stands where the folder should be.
static void folder_cannot_be_written(void **state)
{
    (void)state;
    test_write_text(&own, "cache", "in the way");
    Dataset set;
    Error err;
    if (!open_data(&set, "data.txt", 20, NULL, &err)) fail_msg("%s", err.text);
    assert_int_equal(set.place, DATASET_TEMPORARY);
    assert_error(set.cache_error, "cache");
    check_contents(&set, "data.txt", 20);
    dataset_free(&set);
    assert_int_equal(test_folder_count(tmp.text), 0);
    setenv("TMPDIR", test_path(own.text, "none").text, 1); // nor can anything else
    assert_false(open_data(&set, "data.txt", 20, NULL, &err));
    assert_error(err, "none: cannot make a temporary file");
}

// Neither half a file in the cache nor a temporary one.
static void bad_data_leaves_nothing(void **state)
{
    (void)state;
    test_write_text(&own, "bad.jsonl", "{\"text\":\"the\"}\n{}\n");
    Dataset set;
    Error err;
    assert_false(open_data(&set, "bad.jsonl", 20, NULL, &err));
    assert_error(err, "bad.jsonl:2: key 'instruction' is missing");
    assert_int_equal(test_folder_count(cache_folder_path().text), 0);
    assert_int_equal(test_folder_count(tmp.text), 0);
    assert_false(open_data(&set, "none.jsonl", 20, NULL, &err));
    assert_error(err, "none.jsonl: cannot open");
    remove(test_path(own.text, "tokenizer.json").text);
    assert_false(open_data(&set, "data.txt", 20, NULL, &err));
    assert_error(err, "tokenizer.json: cannot open");
}

// A pipe is read once, so it is not looked up.
static void pipes_are_read_once(void **state)
{
    (void)state;
    const TestPath path = test_path(own.text, "pipe.txt");
    assert_int_equal(mkfifo(path.text, 0600), 0);
    pid_t writer = fork();
    if (!writer) {
        FILE *out = fopen(path.text, "wb");
        _exit(!out || fputs(TEXT, out) < 0 || fclose(out));
    }
    Dataset set;
    Error err;
    int status;
    if (!open_data(&set, "pipe.txt", 20, NULL, &err)) fail_msg("%s", err.text);
    assert_int_equal(waitpid(writer, &status, 0), writer);
    assert_int_equal(status, 0);
    assert_int_equal(set.place, DATASET_TEMPORARY);
    check_contents(&set, "data.txt", 20);
    dataset_free(&set);
    assert_false(file_exists(cache.text));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, prepare, clean_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(finds_what_it_made),      CASE(changes_are_seen),    CASE(formats_and_folders),
        CASE(damage_is_seen),          CASE(does_without),        CASE(folder_cannot_be_written),
        CASE(bad_data_leaves_nothing), CASE(pipes_are_read_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
