// Tensors under guard: see guards.h.
#include "support/guards.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

enum { FRONT = 192, BACK = 256, CANARY = 0x7fc0dead }; // FRONT: a multiple of 64 words

static void must(bool ok, const Error *err)
{
    if (!ok) fail_msg("%s", err->text);
}

Guard *guards_add(Guards *guards, uint32_t rows, uint32_t cols)
{
    assert_true(guards->count < GUARDS_MAX);
    Guard *guard = &guards->guards[guards->count++];
    Error err;
    *guard = (Guard){.words = (uint64_t)rows * cols + FRONT + BACK, .first = FRONT};
    guard->whole = tensor_make(guards->gpu, MEMORY_DEVICE, 1, (uint32_t)guard->words, &err);
    must(guard->whole.span != NULL, &err);
    guard->view = (Tensor){guard->whole.span, 4 * FRONT, rows, cols};
    guard->image = malloc(guard->words * 4);
    guard->now = malloc(guard->words * 4);
    assert_true(guard->image && guard->now);
    for (uint64_t i = 0; i < guard->words; i++) guard->image[i] = CANARY;
    return guard;
}

static uint64_t word_of(const Guard *guard, uint32_t row)
{
    return guard->first + (uint64_t)row * guard->view.cols;
}

void guard_put(Guard *guard, uint32_t first, uint32_t rows, const void *values)
{
    assert_true(first + rows <= guard->view.rows);
    memcpy(guard->image + word_of(guard, first), values, 4 * (size_t)rows * guard->view.cols);
}

void guard_put_doubles(Guard *guard, uint32_t first, uint32_t rows, const double *values)
{
    assert_true(first + rows <= guard->view.rows);
    for (uint64_t i = 0; i < (uint64_t)rows * guard->view.cols; i++) {
        float value = (float)values[i];
        memcpy(guard->image + word_of(guard, first) + i, &value, sizeof value);
    }
}

void guard_open(Guard *guard, uint32_t first, uint32_t rows)
{
    guard->open = word_of(guard, first);
    guard->closed = word_of(guard, first + rows);
}

const float *guard_row(const Guard *guard, uint32_t row)
{
    return (const float *)(const void *)(guard->now + word_of(guard, row));
}

void guards_run(Guards *guards, Tape *tape)
{
    Error err;
    for (uint32_t i = 0; i < guards->count; i++)
        must(tensor_upload(guards->gpu, guards->guards[i].whole, guards->guards[i].image, &err),
             &err);
    must(gpu_run(guards->gpu, &tape, 1, &err), &err);
    for (uint32_t i = 0; i < guards->count; i++)
        must(tensor_download(guards->gpu, guards->guards[i].whole, guards->guards[i].now, &err),
             &err);
}

void guards_check(const Guards *guards, const char *what)
{
    for (uint32_t i = 0; i < guards->count; i++) {
        const Guard *g = &guards->guards[i];
        for (uint64_t w = 0; w < g->words; w++) {
            if ((w >= g->open && w < g->closed) || g->image[w] == g->now[w]) continue;
            fail_msg("%s: tensor %u (%u, %u): word %lld must not change: %08x, was %08x", what, i,
                     g->view.rows, g->view.cols, (long long)w - (long long)g->first, g->now[w],
                     g->image[w]);
        }
    }
}

void guards_repeat(Guards *guards, Tape *tape, const char *what)
{
    uint32_t *before[GUARDS_MAX];
    for (uint32_t i = 0; i < guards->count; i++) {
        before[i] = guards->guards[i].now;
        guards->guards[i].now = malloc(guards->guards[i].words * 4);
        assert_non_null(guards->guards[i].now);
    }
    guards_run(guards, tape);
    for (uint32_t i = 0; i < guards->count; i++) {
        const Guard *g = &guards->guards[i];
        if (memcmp(before[i], g->now, g->words * 4))
            fail_msg("%s: tensor %u: two runs differ", what, i);
        free(before[i]);
    }
}

void guards_free(Guards *guards)
{
    for (uint32_t i = 0; i < guards->count; i++) {
        tensor_free(guards->gpu, &guards->guards[i].whole);
        free(guards->guards[i].image);
        free(guards->guards[i].now);
    }
    guards->count = 0;
}
