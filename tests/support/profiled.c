// Ops that run once under the profiler: see profiled.h.
#include "support/profiled.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

static Counts *counts;

int profiled_open(void **state)
{
    const ProfileOptions options = {0};
    Error err;
    if (device_open(state)) return -1;
    counts = counts_open(device, &err);
    if (counts && gpu_profile(device, &options, &err)) return 0;
    print_error("%s\n", err.text);
    return -1;
}

int profiled_close(void **state)
{
    counts_close(counts);
    return device_close(state);
}

Tensor tensor_of(Dtype dtype, uint32_t rows, uint32_t cols)
{
    Error err;
    Tensor tensor = tensor_make_as(device, MEMORY_DEVICE, dtype, rows, cols, &err);
    if (!tensor.span) fail_msg("%s", err.text);
    return tensor;
}

Tensor f32_of(uint32_t rows, uint32_t cols)
{
    return tensor_of(DTYPE_F32, rows, cols);
}

Tensor table_of(uint32_t rows, uint32_t cols, const uint32_t *words)
{
    Error err;
    Tensor tensor = tensor_make(device, MEMORY_HOST, rows, cols, &err);
    if (!tensor.span) fail_msg("%s", err.text);
    memcpy(tensor_host(tensor), words, tensor_bytes(tensor));
    return tensor;
}

Rows five_rows(uint32_t first)
{
    return (Rows){counts, 0, first, 5};
}

void set_rows(uint32_t rows)
{
    counts_set(counts, 0, rows);
}

Tape *run_begin(uint32_t rows)
{
    Error err;
    set_rows(rows);
    gpu_profile_clear(device);
    Tape *tape = tape_begin(device, "profiled", &err);
    if (!tape) fail_msg("%s", err.text);
    return tape;
}

void run_end(Tape *tape)
{
    Error err;
    if (!tape_end(tape, &err) || !gpu_run(device, &tape, 1, &err)) fail_msg("%s", err.text);
    tape_free(tape);
    assert_true(gpu_profile_whole(device));
}

size_t run_count(void)
{
    return gpu_profile_view(device).event_count;
}

Dispatch run_dispatch(uint32_t which)
{
    Profile profile = gpu_profile_view(device);
    assert_true(which < profile.event_count);
    return profile.events[which].command->dispatch;
}
