// That memory does not grow with the data: files of 200 MB take no more than files of 20 MB did, to
// tokenize and to open. What is drawn of them is mapped, and the system may drop it again.
#define _POSIX_C_SOURCE 200809L
#include "support/files.h"
#include "support/models.h"
#include "train/data_order.h"
#include "train/dataset.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static TestPath own;

static int prepare(void **state)
{
    (void)state;
    own = test_folder_make();
    unsetenv("STRATA_CACHE_TOKENS");
    setenv("XDG_CACHE_HOME", own.text, 1);
    return 0;
}

static int clean_up(void **state)
{
    (void)state;
    test_folder_remove(&own);
    return 0;
}

// The most memory that was ever held, in MiB.
static double most_memory(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return (double)usage.ru_maxrss / 1024;
}

static const char SENTENCE[] = "Below is an instruction that describes a task. Write a response "
                               "that appropriately completes the request.";

// Megabytes of text, or of lines of JSON.
static TestPath write_data(bool json, int megabytes)
{
    TestPath path = test_path(own.text, json ? "data.jsonl" : "data.txt");
    FILE *out = fopen(path.text, "wb");
    assert_non_null(out);
    for (long i = 0; ftell(out) < megabytes * 1000000L; i++) {
        if (json)
            fprintf(out, "{\"text\":\"%s %ld\"}\n", SENTENCE, i);
        else
            fprintf(out, "%s %ld\n%s", SENTENCE, i, i % 9 ? "" : "<|endoftext|>\n");
    }
    assert_int_equal(fclose(out), 0);
    return path;
}

// Opens, draws a little, and returns the most memory before that.
static double open_data(const Tokenizer *words, bool json, int megabytes, DatasetPlace place)
{
    Dataset set;
    Error err;
    const TestPath tokenizer = test_path(own.text, "tokenizer.json");
    const TestPath path = test_path(own.text, json ? "data.jsonl" : "data.txt");
    const DatasetOptions options = {
        .tokenizer = words, .tokenizer_path = tokenizer.text, .context = 256};
    if (!dataset_open(&set, path.text, &options, &err)) fail_msg("%s", err.text);
    double most = most_memory();
    assert_int_equal(set.place, place);
    const uint64_t count = set.count;
    assert_true(count > (uint64_t)megabytes * 500);
    DataOrder *order = data_order_open(&count, (const double[]){1}, 1, 1, &err);
    for (int i = 0; i < 50; i++) {
        const Example *example = &set.examples[data_order_next(order).example];
        assert_true(example_rows(example) <= 255);
        assert_int_equal(dataset_marks(&set, example)[0], MARK_BEGIN);
    }
    data_order_close(order);
    dataset_free(&set);
    return most;
}

static void does_not_grow(bool json)
{
#ifdef __SANITIZE_ADDRESS__
    (void)json;
    (void)open_data;
    (void)write_data;
    (void)most_memory;
    skip(); // it keeps what was freed
#else
    Error err;
    Tokenizer *words = words_tokenizer();
    assert_true(tokenizer_save(words, test_path(own.text, "tokenizer.json").text, &err));
    write_data(json, 20);
    double small = open_data(words, json, 20, DATASET_CACHED);
    write_data(json, 200);
    double made = open_data(words, json, 200, DATASET_CACHED);
    double found = open_data(words, json, 200, DATASET_FOUND);
    tokenizer_free(words);
    print_message("20 MB: %.1f MiB; 200 MB: made %.1f, found %.1f MiB\n", small, made, found);
    assert_true(found < small + 16); // what was drawn, the order
#endif
}

static void text(void **state)
{
    (void)state;
    does_not_grow(false);
}

static void lines(void **state)
{
    (void)state;
    does_not_grow(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(text, prepare, clean_up),
        cmocka_unit_test_setup_teardown(lines, prepare, clean_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
