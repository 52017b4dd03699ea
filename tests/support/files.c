// Files for tests: see files.h.
#define _POSIX_C_SOURCE 200809L
#include "support/files.h"
#include "base/file.h"

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
#include <unistd.h>

TestPath own_folder;

int own_folder_make(void **state)
{
    (void)state;
    own_folder = test_folder_make();
    return 0;
}

int own_folder_remove(void **state)
{
    (void)state;
    test_folder_remove(&own_folder);
    return 0;
}

TestPath test_path(const char *folder, const char *name)
{
    TestPath path;
    Error err;
    if (!path_join(path.text, sizeof path.text, folder, name, &err)) fail_msg("%s", err.text);
    return path;
}

TestPath test_option(const char *option, const TestPath *folder, const char *name)
{
    TestPath text;
    int length = snprintf(text.text, sizeof text.text, "%s=%s/%s", option, folder->text, name);
    assert_true(length > 0 && length < TEST_PATH_SIZE);
    return text;
}

void test_check_absent(const char *path)
{
    FILE *file = fopen(path, "r");
    if (file) fail_msg("%s is there", path);
}

TestPath test_folder_make(void)
{
    const char *parent = getenv("TMPDIR");
    TestPath folder = test_path(parent && *parent ? parent : "/tmp", "strata-test-XXXXXX");
    if (!mkdtemp(folder.text)) fail_msg("%s: cannot make a folder", folder.text);
    return folder;
}

static bool is_dots(const char *name)
{
    return !strcmp(name, ".") || !strcmp(name, "..");
}

static void remove_tree(const char *path)
{
    struct stat info;
    DIR *dir = lstat(path, &info) == 0 && S_ISDIR(info.st_mode) ? opendir(path) : NULL;
    for (const struct dirent *item; dir && (item = readdir(dir));)
        if (!is_dots(item->d_name)) remove_tree(test_path(path, item->d_name).text);
    if (dir) closedir(dir);
    remove(path);
}

void test_folder_remove(const TestPath *folder)
{
    assert_non_null(strstr(folder->text, "strata-test-")); // never somebody else's folder
    remove_tree(folder->text);
}

size_t test_folder_count(const char *folder)
{
    size_t count = 0;
    DIR *dir = opendir(folder);
    if (!dir) fail_msg("%s: cannot read the folder", folder);
    for (const struct dirent *item; (item = readdir(dir));) count += !is_dots(item->d_name);
    closedir(dir);
    return count;
}

TestPath test_write(const TestPath *folder, const char *name, const void *bytes, size_t size)
{
    // Plain stdio: a FileWriter's fsync would dominate tests that write thousands of files.
    TestPath path = test_path(folder->text, name);
    FILE *out = fopen(path.text, "wb");
    if (!out) fail_msg("%s: cannot write", path.text);
    bool ok = fwrite(bytes, 1, size, out) == size;
    if (fclose(out) || !ok) fail_msg("%s: cannot write", path.text);
    return path;
}

TestPath test_write_text(const TestPath *folder, const char *name, const char *text)
{
    return test_write(folder, name, text, strlen(text));
}

char *test_read(const char *path, size_t *size)
{
    char *bytes;
    Error err;
    if (!file_read(&bytes, size, path, SIZE_MAX / 2, &err)) fail_msg("%s", err.text);
    return bytes;
}

TestPath test_data(const char *name)
{
    const char *root = getenv("STRATA_TEST_DATA");
    TestPath path = test_path(root && *root ? root : TEST_ROOT "/../shared/data", name);
    if (!file_exists(path.text)) {
        print_message("skipped: no test data at %s\n", path.text);
        skip();
    }
    return path;
}

void test_check_error(const Error *err, const char *part, const char *file, int line)
{
    bool ok = strstr(err->text, part) && !strchr(err->text, '\n');
    if (ok) return;
    print_error("error '%s'\nlacks '%s'\n", err->text, part);
    _fail(file, line);
}
