// What tests need around files: a folder of their own, bytes in it, the real test data, and checks
// of error messages. Fails or skips the running cmocka test itself.
#ifndef STRATA_TESTS_SUPPORT_FILES_H
#define STRATA_TESTS_SUPPORT_FILES_H

#include "base/error.h"

#include <stddef.h>

enum { TEST_PATH_SIZE = 1024 };

// A path; by value, so that calls nest: safetensors_open(&file, test_path(dir, "x").text, &err).
typedef struct {
    char text[TEST_PATH_SIZE];
} TestPath;

// A new empty folder under $TMPDIR or /tmp; test_folder_remove removes it with all that is in it.
TestPath test_folder_make(void);
void test_folder_remove(const TestPath *folder);
// The folder of the running test, where it is a TEST: a cmocka test with a new folder of its own.
extern TestPath own_folder;
int own_folder_make(void **state);
int own_folder_remove(void **state);
#define TEST(f) cmocka_unit_test_setup_teardown(f, own_folder_make, own_folder_remove)

// Names in a folder, hidden ones too, without "." and "..".
size_t test_folder_count(const char *folder);

TestPath test_path(const char *folder, const char *name);
// "OPTION=FOLDER/name", as one argument of a program.
TestPath test_option(const char *option, const TestPath *folder, const char *name);
// Nothing is at that path.
void test_check_absent(const char *path);

// Writes bytes (size), or a text, to FOLDER/name and gives that path.
TestPath test_write(const TestPath *folder, const char *name, const void *bytes, size_t size);
TestPath test_write_text(const TestPath *folder, const char *name, const char *text);
// The whole file, malloc'ed, with one NUL byte behind it.
char *test_read(const char *path, size_t *size);

// NAME in the test data: $STRATA_TEST_DATA, or shared/data beside the checkout. Where it is absent,
// says so and skips the running test.
TestPath test_data(const char *name);

// The message must hold `part` and be one line.
#define assert_error(err, part) test_check_error(&(err), part, __FILE__, __LINE__)
void test_check_error(const Error *err, const char *part, const char *file, int line);

#endif
