// What is decided when a device is opened: which one, the pipeline cache, kernels from a folder,
// and what is said where there is no driver.
#define _POSIX_C_SOURCE 200809L
#include "base/file.h"
#include "gpu/gpu.h"
#include "ops/ops.h"
#include "support/files.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const char *program; // this one
static TestPath folder;     // a cache folder of our own
static Error err;

static int make_folder(void **state)
{
    (void)state;
    folder = test_folder_make();
    setenv("XDG_CACHE_HOME", folder.text, 1);
    unsetenv("STRATA_SHADER_DIR");
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    test_folder_remove(&folder);
    return 0;
}

static Gpu *open_device(const char *device)
{
    Gpu *gpu = gpu_open(device, &err);
    if (!gpu) fail_msg("%s", err.text);
    return gpu;
}

// ---- which device ------------------------------------------------------------------------------

enum { MAX_INFOS = 32 };

static size_t list(GpuInfo *infos, const char *device)
{
    size_t count;
    if (!gpu_list(infos, MAX_INFOS, &count, device, &err)) fail_msg("%s", err.text);
    return count;
}

static size_t chosen(const GpuInfo *infos, size_t count)
{
    size_t found = MAX_INFOS;
    for (size_t i = 0; i < count; i++) {
        if (!infos[i].chosen) continue;
        assert_int_equal(found, MAX_INFOS); // one alone
        found = i;
    }
    assert_true(found < count);
    return found;
}

static void lists_the_devices(void **state)
{
    (void)state;
    static GpuInfo infos[MAX_INFOS];
    size_t count = list(infos, NULL), best = chosen(infos, count);
    assert_string_equal(infos[best].problem, "");
    for (size_t i = 0; i < count; i++) {
        assert_true(infos[i].name[0] && infos[i].kind[0] && infos[i].vulkan[0]);
        assert_true(infos[i].local_bytes > 0 && infos[i].binding_bytes >= 1u << 27);
    }
    size_t one;
    assert_true(gpu_list(infos, 0, &one, NULL, &err));
    assert_int_equal(one, 0);
    Gpu *gpu = open_device(NULL);
    assert_string_equal(gpu_info(gpu)->name, infos[best].name);
    gpu_close(gpu);
}

static void chooses_by_number_and_by_name(void **state)
{
    (void)state;
    static GpuInfo infos[MAX_INFOS];
    size_t count = list(infos, NULL);
    for (size_t i = 0; i < count; i++) {
        if (infos[i].problem[0]) continue;
        char text[24];
        static GpuInfo again[MAX_INFOS];
        snprintf(text, sizeof text, "%zu", i);
        assert_int_equal(chosen(again, list(again, text)), i);
        char part[5]; // of the name, in the other case
        snprintf(part, sizeof part, "%.4s", infos[i].name);
        for (char *c = part; *c; c++)
            *c = (char)(islower((unsigned char)*c) ? toupper(*c) : tolower(*c));
        Gpu *gpu = open_device(part);
        assert_non_null(strstr(gpu_info(gpu)->name, (char[]){infos[i].name[0], 0}));
        gpu_close(gpu);
        setenv("STRATA_DEVICE", text, 1);
        assert_int_equal(chosen(again, list(again, NULL)), i);
        setenv("STRATA_DEVICE", "no such", 1);
        assert_int_equal(chosen(again, list(again, text)), i); // the argument comes first
        unsetenv("STRATA_DEVICE");
    }
}

static void refuse_device(const char *device)
{
    static GpuInfo infos[MAX_INFOS];
    size_t count = 7;
    char want[64];
    snprintf(want, sizeof want, "device '%s': no such device", device);
    assert_null(gpu_open(device, &err));
    assert_error(err, want);
    assert_false(gpu_list(infos, MAX_INFOS, &count, device, &err));
    assert_error(err, want);
    assert_int_equal(count, 0);
}

static void unknown_devices_are_refused(void **state)
{
    (void)state;
    refuse_device("no such");
    refuse_device("31");
    refuse_device("99999999999999999999");
    refuse_device("-1");
    setenv("STRATA_DEVICE", "elsewhere", 1);
    assert_null(gpu_open(NULL, &err));
    assert_error(err, "device 'elsewhere': no such device");
    unsetenv("STRATA_DEVICE");
}

static void two_devices_at_once(void **state)
{
    (void)state;
    Gpu *a = open_device(NULL), *b = open_device(NULL);
    Tensor x = tensor_make(a, MEMORY_DEVICE, 3, 3, &err),
           y = tensor_make(b, MEMORY_DEVICE, 3, 3, &err);
    float values[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, back[9];
    assert_true(tensor_upload(a, x, values, &err));
    gpu_close(b);
    assert_non_null(y.span); // went with its device
    assert_true(tensor_download(a, x, back, &err));
    assert_memory_equal(values, back, sizeof back);
    gpu_close(a);
    gpu_close(NULL);
}

// ---- a little work -----------------------------------------------------------------------------

enum { ROWS = 7, COLS = 20, OTHERS = 9 };

// y = x w^T of fixed values on a device that is opened for it; the pipelines it needs are made.
static void work(float *y)
{
    float x[ROWS * COLS], w[OTHERS * COLS];
    for (int i = 0; i < ROWS * COLS; i++) x[i] = (float)(i * 37 % 101) / 50 - 1;
    for (int i = 0; i < OTHERS * COLS; i++) w[i] = (float)(i * 29 % 103) / 50 - 1;
    Gpu *gpu = open_device(NULL);
    Counts *counts = counts_open(gpu, &err);
    Tensor tx = tensor_make(gpu, MEMORY_DEVICE, ROWS, COLS, &err);
    Tensor tw = tensor_make(gpu, MEMORY_DEVICE, OTHERS, COLS, &err);
    Tensor ty = tensor_make(gpu, MEMORY_DEVICE, ROWS, OTHERS, &err);
    assert_true(counts && tx.span && tw.span && ty.span);
    assert_true(tensor_upload(gpu, tx, x, &err) && tensor_upload(gpu, tw, w, &err));
    Tape *tape = tape_begin(gpu, "work", &err);
    assert_non_null(tape);
    op_matmul(tape, ty, tx, tw, (Rows){counts, 0, 0, ROWS});
    if (!tape_end(tape, &err)) fail_msg("%s", err.text);
    counts_set(counts, 0, ROWS);
    if (!gpu_run(gpu, &tape, 1, &err)) fail_msg("%s", err.text);
    assert_true(tensor_download(gpu, ty, y, &err));
    counts_close(counts);
    gpu_close(gpu);
}

static void check_work(const float *want)
{
    float y[ROWS * OTHERS];
    work(y);
    assert_memory_equal(y, want, sizeof y);
}

// ---- the pipeline cache ------------------------------------------------------------------------

static TestPath cache_file(const char *parent)
{
    TestPath path = test_path(parent, "strata");
    assert_int_equal(test_folder_count(path.text), 1);
    DIR *dir = opendir(path.text);
    assert_non_null(dir);
    const struct dirent *item;
    while ((item = readdir(dir)) && item->d_name[0] == '.') continue;
    assert_non_null(item);
    assert_non_null(strstr(item->d_name, "pipelines-"));
    path = test_path(path.text, item->d_name);
    closedir(dir);
    return path;
}

// A header of 24 bytes (magic, size, checksum) before the driver's data.
static void check_cache(const TestPath *path)
{
    size_t size;
    char *bytes = test_read(path->text, &size);
    uint64_t stated;
    assert_true(size > 24);
    assert_memory_equal(bytes, "strataP1", 8);
    memcpy(&stated, bytes + 8, sizeof stated);
    assert_int_equal(stated, size - 24);
    free(bytes);
}

static void put_file(const TestPath *path, const char *bytes, size_t size)
{
    FILE *out = fopen(path->text, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, size, out), size);
    assert_int_equal(fclose(out), 0);
}

static void caches_pipelines(void **state)
{
    (void)state;
    float want[ROWS * OTHERS];
    struct stat first, second;
    work(want);
    TestPath path = cache_file(folder.text);
    check_cache(&path);
    check_work(want); // the first use of the cache may still add to it
    assert_int_equal(stat(path.text, &first), 0);
    check_work(want);
    assert_int_equal(stat(path.text, &second), 0);
    check_cache(&path);
    if (first.st_size == second.st_size && first.st_ino != second.st_ino)
        print_message("note: the driver writes another cache of the same size each time\n");
}

static void damaged_caches_are_replaced(void **state)
{
    (void)state;
    float want[ROWS * OTHERS];
    work(want);
    TestPath path = cache_file(folder.text);
    size_t size;
    char *good = test_read(path.text, &size);
    for (int damage = 0; damage < 7; damage++) {
        char *bytes = malloc(size);
        assert_non_null(bytes);
        memcpy(bytes, good, size);
        size_t length = size;
        if (damage == 0) length = 0;
        if (damage == 1) length = 10;
        if (damage == 2) length = size - 1;
        if (damage == 3) bytes[24 + (size - 24) / 2] ^= 4;
        if (damage == 4) memcpy(bytes, "GIF89a..", 8);
        if (damage == 5) memset(bytes + 8, 0xff, 8); // its size
        if (damage == 6) memset(bytes, 0, size);
        put_file(&path, bytes, length);
        check_work(want);
        check_cache(&path);
        size_t now_size;
        char *now = test_read(path.text, &now_size);
        assert_false(now_size == length && memcmp(now, bytes, length) == 0);
        free(now);
        free(bytes);
    }
    free(good);
}

static void unwritable_cache_folders_are_no_error(void **state)
{
    (void)state;
    float want[ROWS * OTHERS];
    work(want);
    TestPath other = test_path(folder.text, "blocked");
    setenv("XDG_CACHE_HOME", "/dev/null", 1);
    check_work(want);
    assert_true(folder_make(other.text, &err));
    test_write_text(&other, "strata", "a file where the folder would be");
    setenv("XDG_CACHE_HOME", other.text, 1);
    check_work(want);
    size_t size;
    char *text = test_read(test_path(other.text, "strata").text, &size);
    assert_string_equal(text, "a file where the folder would be");
    free(text);
    setenv("XDG_CACHE_HOME", folder.text, 1);
}

// A relative XDG_CACHE_HOME does not count, so says its specification; then it is HOME's .cache.
static void falls_back_to_home(void **state)
{
    (void)state;
    float want[ROWS * OTHERS];
    TestPath home = test_path(folder.text, "home");
    const char *old = getenv("HOME");
    char *kept = old ? strdup(old) : NULL;
    setenv("XDG_CACHE_HOME", "relative", 1);
    setenv("HOME", home.text, 1);
    work(want);
    TestPath path = cache_file(test_path(home.text, ".cache").text);
    check_cache(&path);
    if (kept)
        setenv("HOME", kept, 1);
    else
        unsetenv("HOME");
    free(kept);
    setenv("XDG_CACHE_HOME", folder.text, 1);
}

// ---- kernels from a folder ---------------------------------------------------------------------

static void kernels_from_a_folder_give_the_same(void **state)
{
    (void)state;
    float want[ROWS * OTHERS];
    work(want);
    setenv("STRATA_SHADER_DIR", TEST_ROOT "/shaders", 1);
    check_work(want);
    TestPath empty = test_path(folder.text, "empty");
    assert_true(folder_make(empty.text, &err));
    setenv("STRATA_SHADER_DIR", empty.text, 1); // what is not there is taken from the program
    check_work(want);
    unsetenv("STRATA_SHADER_DIR");
}

static void refuse_shader(const char *name, const char *source, const char *part)
{
    TestPath shaders = test_path(folder.text, "shaders");
    assert_true(folder_make(shaders.text, &err));
    TestPath path = test_write_text(&shaders, name, source);
    setenv("STRATA_SHADER_DIR", shaders.text, 1);
    assert_null(gpu_open(NULL, &err));
    assert_error(err, part);
    assert_error(err, shaders.text);
    unsetenv("STRATA_SHADER_DIR");
    remove(path.text);
}

static void wrong_shaders_are_named_with_their_line(void **state)
{
    (void)state;
    refuse_shader("add.comp", "#version 450\nvoid main()\n{\n    float x = y;\n}\n",
                  "add.comp:4: error: ");
    refuse_shader("add.comp",
                  "#version 450\n#extension GL_GOOGLE_include_directive : require\n"
                  "#include \"missing.glsl\"\nvoid main() {}\n",
                  "missing.glsl");
    refuse_shader("matmul.comp", "", "matmul.comp");
    refuse_shader("add.comp",
                  "#version 450\n#extension GL_GOOGLE_include_directive : require\n"
                  "#include \"add.comp\"\nvoid main() {}\n",
                  "add.comp");
}

static void a_missing_shader_folder_is_refused(void **state)
{
    (void)state;
    TestPath missing = test_path(folder.text, "missing");
    setenv("STRATA_SHADER_DIR", missing.text, 1);
    assert_null(gpu_open(NULL, &err));
    assert_error(err, "STRATA_SHADER_DIR");
    assert_error(err, "missing: no such folder");
    TestPath file = test_write_text(&folder, "file", "not a folder");
    setenv("STRATA_SHADER_DIR", file.text, 1);
    assert_null(gpu_open(NULL, &err));
    assert_error(err, "file: no such folder");
    unsetenv("STRATA_SHADER_DIR");
}

// ---- no driver ---------------------------------------------------------------------------------

// The loader keeps what it found for the life of a process, so another one looks: this program with
// one argument prints the message.
static void says_that_there_is_no_driver(void **state)
{
    (void)state;
    char command[2048], line[600] = "";
    snprintf(command, sizeof command,
             "VK_DRIVER_FILES=/nonexistent VK_ICD_FILENAMES=/nonexistent '%s' open 2>/dev/null",
             program);
    FILE *out = popen(command, "r");
    assert_non_null(out);
    if (!fgets(line, sizeof line, out)) line[0] = 0;
    assert_null(fgets(line + strlen(line), 2, out)); // one line
    assert_int_equal(WEXITSTATUS(pclose(out)), 3);
    if (!strstr(line, "no Vulkan driver")) fail_msg("'%s'", line);
}

static int open_and_report(void)
{
    GpuInfo info;
    size_t count;
    Gpu *gpu = gpu_open(NULL, &err);
    if (!gpu) printf("%s\n", err.text);
    gpu_close(gpu);
    return !gpu && !gpu_list(&info, 1, &count, NULL, &err) ? 3 : 0;
}

static void no_validation_messages(void **state)
{
    (void)state;
    assert_int_equal(gpu_validation_messages(), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "open")) return open_and_report();
    program = argv[0];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_the_devices),
        cmocka_unit_test(chooses_by_number_and_by_name),
        cmocka_unit_test(unknown_devices_are_refused),
        cmocka_unit_test(two_devices_at_once),
        cmocka_unit_test(caches_pipelines),
        cmocka_unit_test(damaged_caches_are_replaced),
        cmocka_unit_test(unwritable_cache_folders_are_no_error),
        cmocka_unit_test(falls_back_to_home),
        cmocka_unit_test(kernels_from_a_folder_give_the_same),
        cmocka_unit_test(wrong_shaders_are_named_with_their_line),
        cmocka_unit_test(a_missing_shader_folder_is_refused),
        cmocka_unit_test(says_that_there_is_no_driver),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests_name("gpu devices", tests, make_folder, remove_folder);
}
