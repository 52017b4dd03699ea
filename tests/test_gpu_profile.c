// Profiling on a device: that every command that ran is there once, in order and with times that
// fit the host's clock, in every mode; and that without it nothing is recorded otherwise.
#define _POSIX_C_SOURCE 200809L
#include "base/clock.h"
#include "gpu/internal.h"
#include "ops/ops.h"
#include "support/device.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 512, ROWS = 64, ADDS = 300, COMMANDS = ADDS + 2 };

static Gpu *gpu;
static Error err;

static void must(bool ok)
{
    if (!ok) fail_msg("%s", err.text);
}

// x is filled, added to y so many times, and copied.
typedef struct {
    Counts *counts;
    Tensor x, y, copy;
    Tape *tape;
} Work;

static Tensor make(void)
{
    Tensor tensor = tensor_make(gpu, MEMORY_DEVICE, ROWS, WIDTH, &err);
    must(tensor.span != NULL);
    return tensor;
}

static Work work_make(const char *label)
{
    Work work = {.counts = counts_open(gpu, &err)};
    must(work.counts != NULL);
    work.x = make();
    work.y = make();
    work.copy = make();
    const Rows rows = {work.counts, 0, 0, ROWS};
    work.tape = tape_begin(gpu, label, &err);
    must(work.tape != NULL);
    tape_fill(work.tape, work.x, 0x3f800000); // 1
    for (int i = 0; i < ADDS; i++) op_add(work.tape, work.y, work.y, work.x, rows);
    tape_copy(work.tape, work.copy, work.y);
    must(tape_end(work.tape, &err));
    counts_set(work.counts, 0, ROWS);
    return work;
}

static void work_free(Work *work)
{
    tape_free(work->tape);
    tensor_free(gpu, &work->x);
    tensor_free(gpu, &work->y);
    tensor_free(gpu, &work->copy);
    counts_close(work->counts);
}

static Cost rows_as_bytes(const Dispatch *dispatch, uint32_t rows)
{
    assert_int_equal(dispatch->tensors[1].cols, WIDTH);
    return (Cost){rows, 2.0 * rows};
}

static void open_profiled(bool serialize)
{
    gpu = gpu_open(NULL, &err);
    must(gpu != NULL);
    must(gpu_profile(gpu, &(ProfileOptions){serialize, rows_as_bytes, 0}, &err));
}

static void check_event(const ProfileEvent *event, uint32_t at, uint32_t rows)
{
    const Command *command = event->command;
    assert_string_equal(command->tape, "forward 3");
    if (at == 0) {
        assert_int_equal(command->kind, COMMAND_FILL);
        assert_true(event->cost.bytes == 4.0 * ROWS * WIDTH);
    } else if (at == COMMANDS - 1) {
        assert_int_equal(command->kind, COMMAND_COPY);
        assert_true(event->cost.bytes == 8.0 * ROWS * WIDTH);
    } else {
        assert_int_equal(command->kind, COMMAND_DISPATCH);
        assert_string_equal(kernel_sources[command->dispatch.kernel].file, "add");
        assert_int_equal(event->rows, rows);
        assert_true(event->cost.bytes == rows && event->cost.operations == 2.0 * rows);
    }
}

// Times rise, lie within their submission, and that within its run.
static void check_times(const Profile *p)
{
    double at = 0;
    for (size_t i = 0; i < p->event_count; i++) {
        const ProfileEvent *event = &p->events[i];
        const ProfileSubmission *submission = &p->submissions[event->submission];
        assert_true(event->begin <= event->end);
        assert_true(i >= submission->first && i - submission->first < submission->count);
        assert_true(event->begin >= submission->sent - 1e-9);
        assert_true(event->end <= submission->done + p->clock_error + 1e-9);
        assert_true(event->begin >= at - p->clock_error - 1e-9);
        at = event->end;
    }
    for (size_t i = 0; i < p->submission_count; i++) {
        const ProfileSubmission *s = &p->submissions[i];
        assert_true(s->run < p->run_count);
        assert_true(s->sent >= p->runs[s->run].begin && s->done <= p->runs[s->run].end);
    }
}

// Twice in one run and once more, with fewer rows: three times every command.
static void everything_that_ran(bool serialize)
{
    open_profiled(serialize);
    Work work = work_make("forward 3");
    gpu_profile_clear(gpu);
    gpu_set_phase(gpu, "first");
    double before = clock_seconds();
    must(gpu_run(gpu, (Tape *[]){work.tape, work.tape}, 2, &err));
    gpu_set_phase(gpu, "second");
    counts_set(work.counts, 0, 5);
    must(gpu_run(gpu, &work.tape, 1, &err));
    double after = clock_seconds();
    Profile p = gpu_profile_view(gpu);
    assert_true(gpu_profile_whole(gpu));
    assert_int_equal(p.event_count, 3 * COMMANDS);
    assert_int_equal(p.run_count, 2);
    assert_int_equal(p.serialized, serialize);
    for (uint32_t i = 0; i < p.event_count; i++) {
        check_event(&p.events[i], i % COMMANDS, i < 2 * COMMANDS ? ROWS : 5);
        assert_string_equal(p.events[i].phase, i < 2 * COMMANDS ? "first" : "second");
    }
    check_times(&p);
    assert_true(p.runs[0].begin >= before && p.runs[1].end <= after);
    assert_true(p.events[0].begin >= before && p.events[p.event_count - 1].end <= after + 1e-9);
    if (serialize) assert_int_equal(p.submission_count, p.event_count);
    float values[ROWS * WIDTH]; // profiling changes no result: 2 * ADDS for the first rows, ...
    must(tensor_download(gpu, work.y, values, &err));
    assert_true(values[0] == 3.0f * ADDS && values[6 * WIDTH] == 2.0f * ADDS);
    work_free(&work);
    gpu_close(gpu);
}

static void everything_that_ran_is_there_once(void **state)
{
    (void)state;
    everything_that_ran(false);
}

static void and_so_it_is_where_each_command_is_waited_for(void **state)
{
    (void)state;
    everything_that_ran(true);
}

// The time of what was not timed is shared out as it was when it was: all that ran is there, in
// order, and one run of four has times of its own.
static void some_runs_are_timed_for_all(void **state)
{
    (void)state;
    gpu = gpu_open(NULL, &err);
    must(gpu != NULL);
    must(gpu_profile(gpu, &(ProfileOptions){.cost = rows_as_bytes, .every = 4}, &err));
    Work work = work_make("forward 3");
    must(gpu_run(gpu, &work.tape, 1, &err));
    gpu_profile_clear(gpu);
    for (int i = 0; i < 8; i++) must(gpu_run(gpu, &work.tape, 1, &err));
    Profile p = gpu_profile_view(gpu);
    assert_int_equal(p.event_count, 8 * COMMANDS);
    for (uint32_t i = 0; i < p.event_count; i++) check_event(&p.events[i], i % COMMANDS, ROWS);
    check_times(&p);
    assert_int_equal(p.shared_count, 6 * COMMANDS);
    float values[ROWS * WIDTH];
    must(tensor_download(gpu, work.y, values, &err));
    assert_true(values[0] == 9.0f * ADDS);
    work_free(&work);
    gpu_close(gpu);
}

// A device without timestamps is made of one that has them.
static void without_timestamps_times_are_the_hosts(void **state)
{
    (void)state;
    gpu = gpu_open(NULL, &err);
    must(gpu != NULL);
    gpu->no_timestamps = true;
    must(gpu_profile(gpu, &(ProfileOptions){.every = 4}, &err));
    Work work = work_make("forward 3");
    gpu_profile_clear(gpu);
    must(gpu_run(gpu, &work.tape, 1, &err));
    Profile p = gpu_profile_view(gpu);
    assert_false(p.timestamps);
    assert_true(p.serialized);
    assert_int_equal(p.event_count, COMMANDS);
    assert_int_equal(p.submission_count, COMMANDS);
    check_times(&p);
    for (size_t i = 0; i < p.event_count; i++) assert_true(p.events[i].end > p.events[i].begin);
    work_free(&work);
    gpu_close(gpu);
}

// The time of a kernel that does the same work 8 times over the time of one that does it once.
static void a_known_ratio_is_measured(void **state)
{
    (void)state;
    gpu = gpu_open(NULL, &err);
    must(gpu != NULL);
    must(gpu_profile(gpu, &(ProfileOptions){0}, &err));
    Counts *counts = counts_open(gpu, &err);
    Tensor big[2], small[2];
    const Rows rows = {counts, 0, 0, 4096};
    counts_set(counts, 0, 4096);
    for (int i = 0; i < 2; i++) {
        big[i] = tensor_make(gpu, MEMORY_DEVICE, 4096, 8 * 256, &err);
        small[i] = tensor_make(gpu, MEMORY_DEVICE, 4096, 256, &err);
        must(big[i].span && small[i].span);
    }
    Tape *tape = tape_begin(gpu, "ratio", &err);
    must(tape != NULL);
    for (int i = 0; i < 60; i++) {
        op_add(tape, big[i % 2], big[!(i % 2)], big[!(i % 2)], rows);
        op_add(tape, small[i % 2], small[!(i % 2)], small[!(i % 2)], rows);
    }
    must(tape_end(tape, &err));
    gpu_profile_clear(gpu);
    for (int i = 0; i < 3; i++) must(gpu_run(gpu, &tape, 1, &err));
    Profile p = gpu_profile_view(gpu);
    double sums[2] = {0, 0}; // each event beside its neighbour, so that noise meets both
    for (size_t i = 0; i < p.event_count; i++) sums[i % 2] += p.events[i].end - p.events[i].begin;
    print_message("8 times the work took %.2f times as long\n", sums[0] / sums[1]);
    assert_true(sums[0] > 3 * sums[1] && sums[0] < 24 * sums[1]);
    tape_free(tape);
    for (int i = 0; i < 2; i++) {
        tensor_free(gpu, &big[i]);
        tensor_free(gpu, &small[i]);
    }
    counts_close(counts);
    gpu_close(gpu);
}

static void transfers_are_there(void **state)
{
    (void)state;
    open_profiled(false);
    Tensor tensor = make();
    static float values[ROWS * WIDTH];
    gpu_profile_clear(gpu);
    must(tensor_upload(gpu, tensor, values, &err));
    must(tensor_download(gpu, tensor, values, &err));
    Profile p = gpu_profile_view(gpu);
    assert_int_equal(p.transfer_count, 2);
    assert_int_equal(p.run_count, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(p.transfers[i].upload, !i);
        assert_int_equal(p.transfers[i].bytes, sizeof values);
        assert_true(p.transfers[i].end > p.transfers[i].begin);
    }
    tensor_free(gpu, &tensor);
    gpu_close(gpu);
}

static void without_it_nothing_is_kept(void **state)
{
    (void)state;
    gpu = gpu_open(NULL, &err);
    must(gpu != NULL);
    Work work = work_make("forward 3");
    must(gpu_run(gpu, &work.tape, 1, &err));
    Profile p = gpu_profile_view(gpu);
    assert_int_equal(p.event_count + p.run_count + p.submission_count, 0);
    assert_null(gpu->profiler);
    work_free(&work);
    gpu_close(gpu);
}

// ---- what is recorded --------------------------------------------------------------------------

// Every command that is recorded, in words, by functions in the place of Vulkan's.
static char recorded[1 << 18];
static size_t recorded_bytes;

static void heard(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void heard(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int bytes =
        vsnprintf(recorded + recorded_bytes, sizeof recorded - recorded_bytes, format, args);
    va_end(args);
    recorded_bytes += (size_t)bytes;
    assert_true(recorded_bytes < sizeof recorded);
}

static struct {
    PFN_vkCmdDispatchIndirect indirect;
    PFN_vkCmdFillBuffer fill;
    PFN_vkCmdCopyBuffer copy;
    PFN_vkCmdPipelineBarrier barrier;
    PFN_vkCmdBindPipeline bind;
    PFN_vkCmdPushConstants push;
    PFN_vkCmdWriteTimestamp timestamp;
    PFN_vkCmdResetQueryPool reset;
    PFN_vkCmdBeginDebugUtilsLabelEXT label;
    PFN_vkCmdEndDebugUtilsLabelEXT label_end;
} real;

static VKAPI_ATTR void VKAPI_CALL hear_indirect(VkCommandBuffer b, VkBuffer x, VkDeviceSize at)
{
    heard("dispatch %llu\n", (unsigned long long)at);
    real.indirect(b, x, at);
}

static VKAPI_ATTR void VKAPI_CALL hear_fill(VkCommandBuffer b, VkBuffer x, VkDeviceSize at,
                                            VkDeviceSize bytes, uint32_t word)
{
    heard("fill %llu %u\n", (unsigned long long)bytes, word);
    real.fill(b, x, at, bytes, word);
}

static VKAPI_ATTR void VKAPI_CALL hear_copy(VkCommandBuffer b, VkBuffer from, VkBuffer to,
                                            uint32_t count, const VkBufferCopy *regions)
{
    heard("copy %llu\n", (unsigned long long)regions->size);
    real.copy(b, from, to, count, regions);
}

static VKAPI_ATTR void VKAPI_CALL hear_barrier(VkCommandBuffer b, VkPipelineStageFlags from,
                                               VkPipelineStageFlags to, VkDependencyFlags flags,
                                               uint32_t n, const VkMemoryBarrier *barriers,
                                               uint32_t bn, const VkBufferMemoryBarrier *bb,
                                               uint32_t in, const VkImageMemoryBarrier *ib)
{
    heard("barrier %x %x\n", from, to);
    real.barrier(b, from, to, flags, n, barriers, bn, bb, in, ib);
}

static VKAPI_ATTR void VKAPI_CALL hear_bind(VkCommandBuffer b, VkPipelineBindPoint point,
                                            VkPipeline pipeline)
{
    heard("bind\n");
    real.bind(b, point, pipeline);
}

static VKAPI_ATTR void VKAPI_CALL hear_push(VkCommandBuffer b, VkPipelineLayout layout,
                                            VkShaderStageFlags stages, uint32_t at, uint32_t bytes,
                                            const void *values)
{
    heard("push %u\n", bytes);
    real.push(b, layout, stages, at, bytes, values);
}

static VKAPI_ATTR void VKAPI_CALL hear_timestamp(VkCommandBuffer b, VkPipelineStageFlagBits stage,
                                                 VkQueryPool pool, uint32_t query)
{
    heard("profile timestamp\n");
    real.timestamp(b, stage, pool, query);
}

static VKAPI_ATTR void VKAPI_CALL hear_reset(VkCommandBuffer b, VkQueryPool pool, uint32_t first,
                                             uint32_t count)
{
    heard("profile reset\n");
    real.reset(b, pool, first, count);
}

static bool labels_race; // in the validation layer: they are heard, but do not reach it

static VKAPI_ATTR void VKAPI_CALL hear_label(VkCommandBuffer b, const VkDebugUtilsLabelEXT *label)
{
    heard("profile label %s\n", label->pLabelName);
    if (!labels_race) real.label(b, label);
}

static VKAPI_ATTR void VKAPI_CALL hear_label_end(VkCommandBuffer b)
{
    heard("profile label end\n");
    if (!labels_race) real.label_end(b);
}

// Puts ours in the place of the loaded functions; they are loaded anew by the next gpu_open.
#define HEAR(member, function, ours) real.member = function, function = ours
static void listen(void)
{
    HEAR(indirect, vkCmdDispatchIndirect, hear_indirect);
    HEAR(fill, vkCmdFillBuffer, hear_fill);
    HEAR(copy, vkCmdCopyBuffer, hear_copy);
    HEAR(barrier, vkCmdPipelineBarrier, hear_barrier);
    HEAR(bind, vkCmdBindPipeline, hear_bind);
    HEAR(push, vkCmdPushConstants, hear_push);
    HEAR(timestamp, vkCmdWriteTimestamp, hear_timestamp);
    HEAR(reset, vkCmdResetQueryPool, hear_reset);
    if (vkCmdBeginDebugUtilsLabelEXT) HEAR(label, vkCmdBeginDebugUtilsLabelEXT, hear_label);
    if (vkCmdEndDebugUtilsLabelEXT) HEAR(label_end, vkCmdEndDebugUtilsLabelEXT, hear_label_end);
}

// What a tape of few commands is recorded as, malloc'ed.
static char *record(bool profiled)
{
    gpu = gpu_open(NULL, &err);
    must(gpu != NULL);
    if (profiled) must(gpu_profile(gpu, &(ProfileOptions){0}, &err));
    labels_race = profiled && gpu->names && !gpu->labels;
    gpu->labels = profiled && gpu->names; // debug builds validate, and label for it
    listen();
    Counts *counts = counts_open(gpu, &err);
    Tensor x = make(), y = make();
    const Rows rows = {counts, 0, 0, ROWS};
    recorded_bytes = 0;
    Tape *tape = tape_begin(gpu, "forward 3", &err);
    must(tape != NULL);
    tape_fill(tape, x, 0);
    for (int i = 0; i < 3; i++) op_add(tape, y, y, x, rows);
    tape_copy(tape, x, y);
    must(tape_end(tape, &err));
    char *text = strdup(recorded);
    tape_free(tape);
    tensor_free(gpu, &x);
    tensor_free(gpu, &y);
    counts_close(counts);
    gpu_close(gpu);
    return text;
}

// text without the lines that begin with "profile".
static void drop_profile(char *text)
{
    char *to = text;
    for (char *line = text; *line;) {
        size_t bytes = strcspn(line, "\n") + 1;
        if (strncmp(line, "profile", 7) != 0) {
            memmove(to, line, bytes);
            to += bytes;
        }
        line += bytes;
    }
    *to = 0;
}

static size_t count_lines(const char *text, const char *line)
{
    size_t count = 0;
    for (; (text = strstr(text, line)); text++) count++;
    return count;
}

static void without_it_the_commands_are_those_alone(void **state)
{
    (void)state;
    char *plain = record(false), *profiled = record(true);
    assert_null(strstr(plain, "profile"));
    assert_int_equal(count_lines(plain, "dispatch"), 3);
    assert_int_equal(count_lines(profiled, "profile timestamp"), 6); // 5 commands
    assert_int_equal(count_lines(profiled, "profile reset"), 1);
    if (real.label) {
        assert_int_equal(count_lines(profiled, "profile label forward 3 / add_vec4\n"), 3);
        assert_int_equal(count_lines(profiled, "profile label forward 3 / fill\n"), 1);
        assert_int_equal(count_lines(profiled, "profile label forward 3 / copy\n"), 1);
        assert_int_equal(count_lines(profiled, "profile label end\n"), 5);
    }
    drop_profile(profiled);
    assert_string_equal(plain, profiled);
    free(plain);
    free(profiled);
}

// Commands have labels wherever objects have names, but for layers that would race.
static void labels_are_kept_from_old_layers(void **state)
{
    (void)state;
    gpu = gpu_open(NULL, &err);
    must(gpu != NULL);
    must(gpu_profile(gpu, &(ProfileOptions){0}, &err));
    bool old = instance_validation_version() < VK_MAKE_API_VERSION(0, 1, 3, 242);
    assert_int_equal(gpu->names, vkSetDebugUtilsObjectNameEXT != NULL);
    assert_int_equal(gpu->labels, gpu->names && !(gpu->messenger && old));
    gpu_close(gpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_that_ran_is_there_once),
        cmocka_unit_test(and_so_it_is_where_each_command_is_waited_for),
        cmocka_unit_test(some_runs_are_timed_for_all),
        cmocka_unit_test(without_timestamps_times_are_the_hosts),
        cmocka_unit_test(a_known_ratio_is_measured),
        cmocka_unit_test(transfers_are_there),
        cmocka_unit_test(without_it_nothing_is_kept),
        cmocka_unit_test(without_it_the_commands_are_those_alone),
        cmocka_unit_test(labels_are_kept_from_old_layers),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
