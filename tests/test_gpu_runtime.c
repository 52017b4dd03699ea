// The runtime under the ops: memory, tapes and their barriers, counts, limits. Choosing a device,
// the pipeline cache and shader folders are in test_gpu_devices.c.
#include "gpu/internal.h"
#include "ops/ops.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static Gpu *gpu;
static Error err;

static int open_gpu(void **state)
{
    (void)state;
    gpu = gpu_open(NULL, &err);
    if (!gpu) print_error("%s\n", err.text);
    return gpu ? 0 : -1;
}

static int close_gpu(void **state)
{
    (void)state;
    gpu_close(gpu);
    return 0;
}

static void must(bool ok)
{
    if (!ok) fail_msg("%s", err.text);
}

static Tensor make(Memory memory, uint32_t rows, uint32_t cols)
{
    Tensor tensor = tensor_make(gpu, memory, rows, cols, &err);
    must(tensor.span != NULL);
    return tensor;
}

static Tensor make_floats(uint32_t rows, uint32_t cols, float value)
{
    Tensor tensor = make(MEMORY_DEVICE, rows, cols);
    float *values = malloc(tensor_bytes(tensor));
    assert_non_null(values);
    for (uint64_t i = 0; i < (uint64_t)rows * cols; i++) values[i] = value;
    must(tensor_upload(gpu, tensor, values, &err));
    free(values);
    return tensor;
}

static uint32_t *fetch(Tensor tensor)
{
    uint32_t *words = malloc(tensor_bytes(tensor));
    assert_non_null(words);
    must(tensor_download(gpu, tensor, words, &err));
    return words;
}

static void check_words(Tensor tensor, uint32_t word)
{
    uint32_t *words = fetch(tensor);
    for (uint64_t i = 0; i < (uint64_t)tensor.rows * tensor.cols; i++)
        if (words[i] != word)
            fail_msg("word %llu is %08x, expected %08x", (unsigned long long)i, words[i], word);
    free(words);
}

static void check_floats(Tensor tensor, float value)
{
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    check_words(tensor, word);
}

static Tape *begin(const char *label)
{
    Tape *tape = tape_begin(gpu, label, &err);
    must(tape != NULL);
    return tape;
}

static Tape *end(Tape *tape)
{
    must(tape_end(tape, &err));
    return tape;
}

static void run_once(Tape *tape)
{
    must(gpu_run(gpu, &tape, 1, &err));
}

// ---- memory ------------------------------------------------------------------------------------

static void tensors_start_at_zero(void **state)
{
    (void)state;
    for (int memory = MEMORY_DEVICE; memory <= MEMORY_HOST; memory++) {
        Tensor tensor = make((Memory)memory, 37, 11);
        Tape *tape = begin("fill");
        tape_fill(tape, tensor, 0xabcdef01);
        run_once(end(tape));
        tape_free(tape);
        check_words(tensor, 0xabcdef01);
        tensor_free(gpu, &tensor);
        assert_null(tensor.span);
        tensor = make((Memory)memory, 37, 11); // where the old one was
        check_words(tensor, 0);
        tensor_free(gpu, &tensor);
    }
}

static void copies_are_exact(void **state)
{
    (void)state;
    const uint32_t rows = 1009, cols = 2111; // 8.5 MB: several staging buffers and a rest
    for (int memory = MEMORY_DEVICE; memory <= MEMORY_HOST; memory++) {
        Tensor tensor = make((Memory)memory, rows, cols);
        uint32_t *words = malloc(tensor_bytes(tensor));
        assert_non_null(words);
        for (uint32_t i = 0; i < rows * cols; i++) words[i] = i * 2654435761u;
        must(tensor_upload(gpu, tensor, words, &err));
        uint32_t *back = fetch(tensor);
        assert_memory_equal(back, words, tensor_bytes(tensor));
        if (memory == MEMORY_HOST)
            assert_memory_equal(tensor_host(tensor), words, tensor_bytes(tensor));
        else if (tensor_host(tensor))
            fail_msg("the host sees a MEMORY_DEVICE tensor");
        Tensor part = tensor_rows(tensor, 64, 3);
        free(back);
        back = fetch(part);
        assert_memory_equal(back, words + 64 * cols, 3 * 4 * cols);
        free(back);
        free(words);
        tensor_free(gpu, &tensor);
    }
}

enum { LIVE = 40, TURNS = 400 };

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

// Random lifetimes, every tensor full of its own number: none may write over another.
static void spans_never_overlap(void **state)
{
    (void)state;
    Tensor live[LIVE] = {0};
    uint32_t number[LIVE] = {0}, seed = 7;
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        uint32_t i = next_random(&seed) % LIVE;
        if (live[i].span) {
            check_words(live[i], number[i]);
            tensor_free(gpu, &live[i]);
            continue;
        }
        uint32_t rows = 1 + next_random(&seed) % 90, cols = 1 + next_random(&seed) % 300;
        live[i] = make(turn % 3 ? MEMORY_DEVICE : MEMORY_HOST, rows, cols);
        number[i] = turn + 1;
        Tape *tape = begin("fill");
        tape_fill(tape, live[i], number[i]);
        run_once(end(tape));
        tape_free(tape);
    }
    for (uint32_t i = 0; i < LIVE; i++) {
        if (live[i].span) check_words(live[i], number[i]);
        tensor_free(gpu, &live[i]);
    }
}

static void memory_is_used_again(void **state)
{
    (void)state;
    const uint64_t before = gpu_memory_used(gpu), allocated = gpu_memory_allocated(gpu);
    for (int turn = 0; turn < 3; turn++) {
        Tensor a = make(MEMORY_DEVICE, 5000, 1000), b = make(MEMORY_DEVICE, 5000, 1000);
        assert_int_equal(gpu_memory_used(gpu) - before, 2 * 5000 * 1000 * 4);
        assert_true(gpu_memory_peak(gpu) >= gpu_memory_used(gpu));
        tensor_free(gpu, &a);
        tensor_free(gpu, &b);
        assert_int_equal(gpu_memory_used(gpu), before);
    }
    assert_true(gpu_memory_allocated(gpu) - allocated <= 64u << 20); // one block
    tensor_free(gpu, &(Tensor){0});
}

// ---- limits ------------------------------------------------------------------------------------

static void refuse_tensor(uint32_t rows, uint32_t cols)
{
    uint64_t used = gpu_memory_used(gpu);
    strcpy(err.text, "");
    Tensor tensor = tensor_make(gpu, MEMORY_DEVICE, rows, cols, &err);
    assert_null(tensor.span);
    assert_non_null(strstr(err.text, "cannot allocate"));
    assert_non_null(strstr(err.text, gpu_info(gpu)->name));
    assert_null(strchr(err.text, '\n'));
    assert_int_equal(gpu_memory_used(gpu), used);
    Tensor small = make_floats(3, 3, 1.5f); // the device goes on
    check_floats(small, 1.5f);
    tensor_free(gpu, &small);
}

static void too_large_tensors_are_refused(void **state)
{
    (void)state;
    refuse_tensor(1u << 21, 1u << 21);
    refuse_tensor(1u << 31, 1u << 31); // its bytes do not fit into 64 bits
    refuse_tensor(UINT32_MAX, UINT32_MAX);
}

static void refuse_tape(Tape *tape, const char *part)
{
    strcpy(err.text, "");
    assert_false(tape_end(tape, &err));
    if (!strstr(err.text, part)) fail_msg("'%s' lacks '%s'", err.text, part);
    assert_null(strchr(err.text, '\n'));
    tape_free(tape);
}

static void too_many_rows_are_refused(void **state)
{
    (void)state;
    Tensor x = make(MEMORY_DEVICE, 4, 4);
    Counts *counts = counts_open(gpu, &err);
    must(counts != NULL);
    Tape *tape = begin("large");
    Tensor lie = x; // only the grid matters: it never runs
    tape_dispatch(tape, &(Dispatch){.kernel = K_add,
                                    .tensors = {counts_tensor(counts), lie, lie, lie},
                                    .grid = {.x = 1, .y = UINT32_MAX},
                                    .constants = {64, 1}});
    op_add(tape, x, x, x, (Rows){counts, 0, 0, 4}); // what follows a failure is passed over
    refuse_tape(tape, "workgroups, at most");
    counts_close(counts);
    tensor_free(gpu, &x);
}

static void too_large_bindings_are_refused(void **state)
{
    (void)state;
    uint64_t most = gpu_info(gpu)->binding_bytes;
    if (most > 256u << 20) {
        print_message("skipped: a binding of this device sees %llu bytes\n",
                      (unsigned long long)most);
        skip();
    }
    Tensor x = make(MEMORY_DEVICE, (uint32_t)(most / 4096) + 1, 1024);
    Tensor y = make(MEMORY_DEVICE, 1, 1024);
    Counts *counts = counts_open(gpu, &err);
    must(counts != NULL);
    Tape *tape = begin("whole");
    op_add(tape, y, x, y, (Rows){counts, 0, 0, 1});
    refuse_tape(tape, "a binding sees at most");
    tape = begin("slice");
    op_add(tape, y, tensor_rows(x, x.rows - 1, 1), y, (Rows){counts, 0, 0, 1});
    tape_free(end(tape));
    counts_close(counts);
    tensor_free(gpu, &x);
    tensor_free(gpu, &y);
}

// ---- tapes -------------------------------------------------------------------------------------

// Each step reads what the one before wrote; the first operand is written again at the end.
static void dependent_steps_come_in_order(void **state)
{
    (void)state;
    enum { STEPS = 20, WIDTH = 3000 };
    Counts *counts = counts_open(gpu, &err);
    must(counts != NULL);
    const Rows rows = {counts, 0, 0, 2};
    counts_set(counts, 0, 2);
    Tensor x = make(MEMORY_DEVICE, 2, WIDTH), sums[STEPS];
    for (int i = 0; i < STEPS; i++) sums[i] = make(MEMORY_DEVICE, 2, WIDTH);
    Tape *tape = begin("chain");
    tape_fill(tape, x, 0x3f800000); // 1
    op_add(tape, sums[0], x, x, rows);
    for (int i = 1; i < STEPS; i++) op_add(tape, sums[i], sums[i - 1], sums[i - 1], rows);
    tape_fill(tape, x, 0x40a00000); // 5
    assert_int_equal(tape_dispatches(tape), STEPS);
    run_once(end(tape));
    for (int i = 0; i < STEPS; i++) check_floats(sums[i], (float)(2u << i));
    check_floats(x, 5);
    tape_free(tape);
    for (int i = 0; i < STEPS; i++) tensor_free(gpu, &sums[i]);
    tensor_free(gpu, &x);
    counts_close(counts);
}

// Barriers that recording `steps` dispatches x[i] + y[i] -> z[i] takes.
static uint64_t barriers(Tensor *z, Tensor *x, Tensor *y, int steps, Rows rows)
{
    Tape *tape = begin("barriers");
    uint64_t before = gpu->epoch;
    for (int i = 0; i < steps; i++) op_add(tape, z[i], x[i], y[i], rows);
    uint64_t count = gpu->epoch - before;
    tape_free(end(tape));
    return count;
}

static void barriers_only_where_needed(void **state)
{
    (void)state;
    Counts *counts = counts_open(gpu, &err);
    must(counts != NULL);
    const Rows rows = {counts, 0, 0, 64};
    Tensor t[6];
    for (int i = 0; i < 6; i++) t[i] = make(MEMORY_DEVICE, 64, 64);
    // Three outputs of the same inputs: none. One that reads the three: one for all.
    assert_int_equal(barriers((Tensor[]){t[2], t[3], t[4]}, (Tensor[]){t[0], t[0], t[1]},
                              (Tensor[]){t[1], t[1], t[1]}, 3, rows),
                     0);
    assert_int_equal(barriers((Tensor[]){t[2], t[3], t[4], t[5]},
                              (Tensor[]){t[0], t[0], t[1], t[2]},
                              (Tensor[]){t[1], t[1], t[1], t[3]}, 4, rows),
                     1);
    // Write after read, write after write.
    assert_int_equal(
        barriers((Tensor[]){t[2], t[0]}, (Tensor[]){t[0], t[3]}, (Tensor[]){t[1], t[3]}, 2, rows),
        1);
    assert_int_equal(
        barriers((Tensor[]){t[2], t[2]}, (Tensor[]){t[0], t[1]}, (Tensor[]){t[0], t[1]}, 2, rows),
        1);
    // Hazards belong to spans: halves of one tensor count as the same.
    assert_int_equal(barriers((Tensor[]){tensor_rows(t[2], 0, 32), tensor_rows(t[2], 32, 32)},
                              (Tensor[]){t[0], t[1]}, (Tensor[]){t[0], t[1]}, 2, rows),
                     1);
    for (int i = 0; i < 6; i++) tensor_free(gpu, &t[i]);
    counts_close(counts);
}

// Two tapes that do not commute, in lists longer than one submit takes.
static void tapes_run_in_the_order_of_the_list(void **state)
{
    (void)state;
    enum { LENGTH = 50 };
    Counts *counts = counts_open(gpu, &err);
    must(counts != NULL);
    counts_set(counts, 3, 1);
    Tensor x = make_floats(1, 1000, 1), z = make_floats(1, 1000, 0);
    Tape *more = begin("z += 1"), *list[LENGTH];
    op_add(more, z, z, x, (Rows){counts, 3, 0, 1});
    end(more);
    Tape *twice = begin("z += z");
    op_add(twice, z, z, z, (Rows){counts, 3, 0, 1});
    end(twice);
    float want = 0;
    for (int i = 0; i < LENGTH; i++) {
        list[i] = i % 5 == 4 ? twice : i % 7 == 6 ? NULL : more;
        if (list[i]) want = list[i] == twice ? want + want : want + 1;
    }
    must(gpu_run(gpu, list, LENGTH, &err));
    check_floats(z, want);
    must(gpu_run(gpu, list, 0, &err));
    must(gpu_run(gpu, (Tape *[]){NULL}, 1, &err));
    check_floats(z, want);
    tape_free(more);
    tape_free(twice);
    tensor_free(gpu, &x);
    tensor_free(gpu, &z);
    counts_close(counts);
}

// More dispatches than one descriptor pool holds sets for.
static void long_tapes(void **state)
{
    (void)state;
    Counts *counts = counts_open(gpu, &err);
    must(counts != NULL);
    counts_set(counts, 0, 1);
    Tensor x = make_floats(1, 10, 1), z = make_floats(1, 10, 0);
    Tape *tape = begin("long");
    for (int i = 0; i < 1000; i++) op_add(tape, z, z, x, (Rows){counts, 0, 0, 1});
    run_once(end(tape));
    check_floats(z, 1000);
    assert_int_equal(tape_dispatches(tape), 1000);
    tape_free(tape);
    tensor_free(gpu, &x);
    tensor_free(gpu, &z);
    counts_close(counts);
}

// ---- counts ------------------------------------------------------------------------------------

static void counts_bound_the_rows(void **state)
{
    (void)state;
    enum { MAX = 40, COLS = 64 };
    Counts *counts = counts_open(gpu, &err);
    must(counts != NULL);
    Tensor x = make_floats(MAX, COLS, 1), z = make_floats(MAX, COLS, 0);
    const Rows rows = {counts, 5, 4, 10}; // rows 4 .. 13 of a list, here 0 .. 9
    Tape *tape = begin("counts");
    op_add(tape, z, x, x, rows);
    end(tape);
    static const uint32_t values[] = {0, 3, 4, 5, 9, 14, 15, 4000000000u};
    static const uint32_t expected[] = {0, 0, 0, 1, 5, 10, 10, 10};
    for (int i = 0; i < 8; i++) {
        Tape *clear = begin("clear");
        tape_fill(clear, z, 0);
        end(clear);
        counts_set(counts, 5, values[i]);
        counts_set(counts, 4, 1000); // another slot is another matter
        assert_int_equal(counts_get(counts, 5), values[i]);
        must(gpu_run(gpu, (Tape *[]){clear, tape}, 2, &err));
        for (uint32_t r = 0; r < MAX; r++)
            check_floats(tensor_rows(z, r, 1), r < expected[i] ? 2 : 0);
        tape_free(clear);
    }
    assert_int_equal(counts_get(counts, 0), 0);
    tape_free(tape);
    tensor_free(gpu, &x);
    tensor_free(gpu, &z);
    counts_close(counts);
}

// ---- what kernels read and write ---------------------------------------------------------------

static void check_access(Kernel kernel, uint32_t reads, uint32_t writes, uint32_t texels)
{
    const KernelAccess *access = &gpu->access[kernel];
    if (access->reads != reads || access->writes != writes || access->texels != texels)
        fail_msg("%s: reads %#x, writes %#x, texels %#x, expected %#x, %#x and %#x",
                 kernel_sources[kernel].name, access->reads, access->writes, access->texels, reads,
                 writes, texels);
}

static void access_follows_the_shaders(void **state)
{
    (void)state;
    check_access(K_add, 0x7, 0x8, 0);
    check_access(K_rmsnorm, 0x7, 0x8, 0);
    check_access(K_rmsnorm_back, 0x1f, 0x30, 0);
    check_access(K_matmul, 0xf, 0x8, 0);
    check_access(K_matmul_texel, 0xf, 0x8, 0x6);
    check_access(K_rope, 0xf, 0x8, 0);
    check_access(K_attention, 0x1f, 0x60, 0);
    check_access(K_cross_entropy, 0xf, 0x18, 0);
    check_access(K_adamw, 0x3f, 0x38, 0);
    check_access(K_clip, 0x3, 0x4, 0);
}

// Damaged words must not crash the scan; what it says of them does not matter.
static void damaged_spirv_is_survived(void **state)
{
    (void)state;
    const KernelSource *source = &kernel_sources[K_add];
    KernelAccess access;
    uint32_t *words = malloc(source->count * 4), seed = 3;
    assert_non_null(words);
    assert_false(spirv_access(&access, source->words, 4));
    for (size_t count = 5; count < source->count; count++) {
        memcpy(words, source->words, count * 4); // exactly `count` words: a sanitizer sees one more
        uint32_t *cut = malloc(count * 4);
        assert_non_null(cut);
        memcpy(cut, words, count * 4);
        spirv_access(&access, cut, count);
        free(cut);
    }
    for (int turn = 0; turn < 2000; turn++) {
        memcpy(words, source->words, source->count * 4);
        for (int i = 0; i < 3; i++)
            words[1 + next_random(&seed) % (source->count - 1)] ^= 1u << next_random(&seed) % 32;
        spirv_access(&access, words, source->count);
    }
    words[0] ^= 1;
    assert_false(spirv_access(&access, words, source->count));
    free(words);
}

static void no_validation_messages(void **state)
{
    (void)state;
    assert_int_equal(gpu_validation_messages(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_start_at_zero),
        cmocka_unit_test(copies_are_exact),
        cmocka_unit_test(spans_never_overlap),
        cmocka_unit_test(memory_is_used_again),
        cmocka_unit_test(too_large_tensors_are_refused),
        cmocka_unit_test(too_many_rows_are_refused),
        cmocka_unit_test(too_large_bindings_are_refused),
        cmocka_unit_test(dependent_steps_come_in_order),
        cmocka_unit_test(barriers_only_where_needed),
        cmocka_unit_test(tapes_run_in_the_order_of_the_list),
        cmocka_unit_test(long_tapes),
        cmocka_unit_test(counts_bound_the_rows),
        cmocka_unit_test(access_follows_the_shaders),
        cmocka_unit_test(damaged_spirv_is_survived),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests_name("gpu runtime", tests, open_gpu, close_gpu);
}
