// Collecting what a profiled device did: see profile.h, and profile_internal.h for who tells it.
#include "base/clock.h"
#include "gpu/internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    PART_COMMANDS = 256,             // of a part at most
    PLAIN_QUERY = PART_COMMANDS + 1, // the first one of the buffer that has only two
};

// A list that grows.
typedef struct {
    void *items;
    size_t count, room;
} List;

struct Profiler {
    ProfileOptions options;
    bool timestamps;
    DeviceClock clock;
    List commands;         // of Command *
    List events;           // of ProfileEvent
    List submissions;      // of ProfileSubmission
    List runs;             // of ProfileRun
    List transfers;        // of ProfileTransfer
    size_t shared;         // events that have a share of their part's time
    uint32_t parts;        // that were recorded
    double began, running; // running: when the run at hand began
    bool incomplete;       // memory ran out
};

// Room for one item more at the end; NULL where memory runs out.
static void *list_add(List *list, size_t size)
{
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 64;
        void *items = realloc(list->items, room * size);
        if (!items) return NULL;
        list->items = items;
        list->room = room;
    }
    return (uint8_t *)list->items + size * list->count++;
}

#define ADD(profiler, list, type, ...)                                                             \
    do {                                                                                           \
        type *added = list_add(&(profiler)->list, sizeof(type));                                   \
        if (added)                                                                                 \
            *added = (type){__VA_ARGS__};                                                          \
        else                                                                                       \
            (profiler)->incomplete = true;                                                         \
    } while (0)

// ---- life time ---------------------------------------------------------------------------------

bool gpu_profile(Gpu *gpu, const ProfileOptions *options, Error *err)
{
    Profiler *p = calloc(1, sizeof *p);
    if (!p) return error_set(err, "out of memory");
    profile_close(gpu);
    p->options = *options;
    p->timestamps = device_clock_open(&p->clock, gpu);
    VkResult result = p->timestamps ? device_clock_align(&p->clock, gpu) : VK_SUCCESS;
    p->began = clock_seconds();
    gpu->profiler = p;
    names_on(gpu);
    return result == VK_SUCCESS || gpu_fail(gpu, result, "timestamps", err);
}

void profile_close(Gpu *gpu)
{
    Profiler *p = gpu->profiler;
    if (!p) return;
    Command **commands = p->commands.items;
    for (size_t i = 0; i < p->commands.count; i++) free(commands[i]);
    List *const lists[] = {&p->commands, &p->events, &p->submissions, &p->runs, &p->transfers};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) free(lists[i]->items);
    free(p);
    gpu->profiler = NULL;
}

static bool serializes(const Profiler *p)
{
    return p->options.serialize || !p->timestamps;
}

void gpu_profile_clear(Gpu *gpu)
{
    Profiler *p = gpu->profiler;
    if (!p) return;
    p->shared = 0;
    p->events.count = p->submissions.count = p->runs.count = p->transfers.count = 0;
    p->incomplete = false;
    // A clock that fails here fails in the next run, too.
    if (p->timestamps && !gpu->lost) device_clock_align(&p->clock, gpu);
    p->began = clock_seconds();
}

Profile gpu_profile_view(const Gpu *gpu)
{
    const Profiler *p = gpu->profiler;
    if (!p) return (Profile){0};
    return (Profile){
        .events = p->events.items,
        .submissions = p->submissions.items,
        .runs = p->runs.items,
        .transfers = p->transfers.items,
        .event_count = p->events.count,
        .submission_count = p->submissions.count,
        .run_count = p->runs.count,
        .transfer_count = p->transfers.count,
        .shared_count = p->shared,
        .began = p->began,
        .serialized = serializes(p),
        .timestamps = p->timestamps,
        .calibrated = p->clock.calibrated,
        .clock_error = p->clock.error,
    };
}

bool gpu_profile_whole(const Gpu *gpu)
{
    return !gpu->profiler || !gpu->profiler->incomplete;
}

// ---- recording ---------------------------------------------------------------------------------

// A command buffer's own queries, from `first` on, and the one at its beginning.
static void begin_queries(VkCommandBuffer buffer, VkQueryPool queries, uint32_t first,
                          uint32_t count)
{
    vkCmdResetQueryPool(buffer, queries, first, count);
    vkCmdWriteTimestamp(buffer, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, queries, first);
}

static VkResult make_queries(Gpu *gpu, Probe *probe)
{
    const VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                        .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                        .queryCount = PLAIN_QUERY + 2};
    VkResult result = vkCreateQueryPool(gpu->device, &info, NULL, &probe->queries);
    if (result != VK_SUCCESS) return result;
    begin_queries(probe->timed, probe->queries, 0, PLAIN_QUERY);
    if (probe->plain) begin_queries(probe->plain, probe->queries, PLAIN_QUERY, 2);
    return VK_SUCCESS;
}

uint32_t profile_buffers(const Gpu *gpu)
{
    const Profiler *p = gpu->profiler;
    return p && p->options.every > 1 && !serializes(p) ? 2 : 1;
}

// Tapes take their turns: `number` is the part's.
static Probe *make_probe(const Profiler *p, const VkCommandBuffer *buffers, bool both,
                         uint32_t number)
{
    Probe *probe = calloc(1, sizeof *probe);
    if (!probe) return NULL;
    *probe = (Probe){.timed = buffers[0],
                     .plain = both ? buffers[1] : VK_NULL_HANDLE,
                     .commands = calloc(PART_COMMANDS, sizeof(Command *)),
                     .seconds = calloc(PART_COMMANDS, sizeof(double)),
                     .every = both ? p->options.every : 1};
    probe->runs = number % probe->every;
    return probe;
}

VkResult profile_begin_part(Gpu *gpu, Part *part, const VkCommandBuffer *buffers)
{
    Profiler *p = gpu->profiler;
    if (!p) return VK_SUCCESS;
    part->probe = make_probe(p, buffers, profile_buffers(gpu) > 1, p->parts++);
    if (!part->probe || !part->probe->commands || !part->probe->seconds)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    return p->timestamps ? make_queries(gpu, part->probe) : VK_SUCCESS;
}

bool profile_part_full(const Gpu *gpu, const Part *part)
{
    if (!part->probe) return false;
    uint32_t most = serializes(gpu->profiler) ? 1 : PART_COMMANDS;
    return part->probe->count >= most;
}

static Command *make_command(CommandKind kind, const char *label, const Dispatch *dispatch)
{
    Command *command = calloc(1, sizeof *command);
    if (!command) return NULL;
    command->kind = kind;
    strncpy(command->tape, label, sizeof command->tape - 1);
    command->dispatch = *dispatch;
    if (dispatch->args_bytes) memcpy(command->args, dispatch->args, dispatch->args_bytes);
    command->dispatch.args = command->args;
    return command;
}

VkResult profile_command(Gpu *gpu, Part *part, CommandKind kind, const char *label,
                         const Dispatch *dispatch)
{
    Probe *probe = part->probe;
    if (!probe) return VK_SUCCESS;
    Command *command = make_command(kind, label, dispatch);
    Command **kept = command ? list_add(&gpu->profiler->commands, sizeof(Command *)) : NULL;
    if (!kept) {
        free(command);
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    }
    *kept = probe->commands[probe->count++] = command;
    if (probe->queries)
        vkCmdWriteTimestamp(probe->timed, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, probe->queries,
                            probe->count);
    return VK_SUCCESS;
}

void profile_end_part(Part *part)
{
    const Probe *probe = part->probe;
    if (probe && probe->plain)
        vkCmdWriteTimestamp(probe->plain, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, probe->queries,
                            PLAIN_QUERY + 1);
}

void profile_free_part(Gpu *gpu, Part *part)
{
    if (!part->probe) return;
    vkDestroyQueryPool(gpu->device, part->probe->queries, NULL);
    free(part->probe->commands);
    free(part->probe->seconds);
    free(part->probe);
}

// ---- running -----------------------------------------------------------------------------------

VkCommandBuffer profile_buffer(Part *part)
{
    Probe *probe = part->probe;
    if (!probe) return part->buffer;
    bool known = false; // how its commands share a time
    for (uint32_t i = 0; i < probe->count && !known; i++) known = probe->seconds[i] > 0;
    probe->split = probe->plain && known && ++probe->runs % probe->every != 0;
    return probe->split ? probe->plain : probe->timed;
}

size_t profile_group(const Gpu *gpu, Part *const *parts, size_t count)
{
    if (!gpu->profiler || !count) return count;
    if (serializes(gpu->profiler)) return 1;
    for (size_t n = 1; n < count; n++)
        for (size_t i = 0; i < n; i++)
            if (parts[i] == parts[n]) return n;
    return count;
}

bool profile_must_wait(const Gpu *gpu, Part *const *parts, size_t count)
{
    if (!gpu->profiler) return false;
    if (serializes(gpu->profiler)) return true;
    for (size_t i = 0; i < count; i++)
        if (parts[i]->probe && parts[i]->probe->flying) return true;
    return false;
}

static void set_flying(Part *const *parts, size_t count, bool flying)
{
    for (size_t i = 0; i < count; i++)
        if (parts[i]->probe) parts[i]->probe->flying = flying;
}

void profile_sent(Gpu *gpu, const Submission *submission)
{
    if (gpu->profiler) set_flying(submission->parts, submission->count, true);
}

void profile_abandoned(Gpu *gpu, Part *const *parts, size_t count)
{
    if (gpu->profiler) set_flying(parts, count, false);
}

static uint32_t grid_rows(const Grid *grid)
{
    if (!grid->rows.counts) return 0;
    uint32_t all = counts_get(grid->rows.counts, grid->rows.slot);
    uint32_t rows = all > grid->rows.first ? all - grid->rows.first : 0;
    return rows < grid->rows.max ? rows : grid->rows.max;
}

static Cost command_cost(const Profiler *p, const Command *command, uint32_t rows)
{
    const Tensor *tensors = command->dispatch.tensors;
    double bytes = command->kind == COMMAND_DISPATCH ? 0 : (double)tensor_bytes(tensors[0]);
    if (command->kind == COMMAND_FILL) return (Cost){bytes, 0};
    if (command->kind == COMMAND_COPY) return (Cost){2 * bytes, 0};
    return p->options.cost ? p->options.cost(&command->dispatch, rows) : (Cost){0};
}

static void add_event(Gpu *gpu, const Command *command, double begin, double end)
{
    Profiler *p = gpu->profiler;
    bool counted = command->kind == COMMAND_DISPATCH;
    uint32_t rows = counted ? grid_rows(&command->dispatch.grid) : 0;
    ADD(p, events, ProfileEvent, .command = command, .phase = gpu->phase, .rows = rows,
        .submission = (uint32_t)p->submissions.count, .begin = begin, .end = end,
        .cost = command_cost(p, command, rows));
}

// The times of a part's commands, `shift` seconds later than the device's clock has them.
static void add_timed(Gpu *gpu, Probe *probe, const uint64_t *ticks, double shift)
{
    const DeviceClock *clock = &gpu->profiler->clock;
    double begin = device_clock_seconds(clock, ticks[0]) + shift;
    for (uint32_t i = 0; i < probe->count; i++) {
        double end = device_clock_seconds(clock, ticks[i + 1]) + shift;
        if (end < begin) end = begin;
        add_event(gpu, probe->commands[i], begin, end);
        probe->seconds[i] = end - begin;
        begin = end;
    }
}

// The same where only the whole part's time is known.
static void add_split(Gpu *gpu, const Probe *probe, const uint64_t *ticks, double shift)
{
    const DeviceClock *clock = &gpu->profiler->clock;
    double begin = device_clock_seconds(clock, ticks[0]) + shift, at = begin;
    double whole = device_clock_seconds(clock, ticks[1]) + shift - begin, sum = 0, done = 0;
    for (uint32_t i = 0; i < probe->count; i++) sum += probe->seconds[i];
    for (uint32_t i = 0; i < probe->count; i++) {
        done += probe->seconds[i];
        double end = begin + (whole > 0 ? whole * done / sum : 0);
        add_event(gpu, probe->commands[i], at, end);
        at = end;
    }
    gpu->profiler->shared += probe->count;
}

// Of the run at hand: a tick at the beginning and one behind each command, or behind the last.
static uint32_t tick_count(const Probe *probe)
{
    return probe->split ? 2 : probe->count + 1;
}

static bool read_ticks(Gpu *gpu, const Probe *probe, uint64_t *ticks)
{
    uint32_t count = tick_count(probe);
    return vkGetQueryPoolResults(gpu->device, probe->queries, probe->split ? PLAIN_QUERY : 0, count,
                                 count * sizeof *ticks, ticks, sizeof *ticks,
                                 VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT) == VK_SUCCESS;
}

// How far a part's times must move to lie between `sent` and `done`, as they must: clocks drift.
static double shift_into(const DeviceClock *clock, const uint64_t *ticks, uint32_t count,
                         double sent, double done)
{
    double begin = device_clock_seconds(clock, ticks[0]);
    double end = device_clock_seconds(clock, ticks[count]);
    if (begin < sent) return sent - begin;
    return end > done ? done - end : 0;
}

static void add_part(Gpu *gpu, Probe *probe, const uint64_t *ticks, double sent, double done)
{
    double shift = shift_into(&gpu->profiler->clock, ticks, tick_count(probe) - 1, sent, done);
    if (probe->split)
        add_split(gpu, probe, ticks, shift);
    else
        add_timed(gpu, probe, ticks, shift);
}

static void collect(Gpu *gpu, const Submission *submission, double done)
{
    Profiler *p = gpu->profiler;
    uint64_t ticks[PART_COMMANDS + 1];
    for (size_t i = 0; i < submission->count; i++) {
        Probe *probe = submission->parts[i]->probe;
        if (!probe || !probe->count) continue;
        if (!probe->queries)
            add_event(gpu, probe->commands[0], submission->began, done);
        else if (read_ticks(gpu, probe, ticks))
            add_part(gpu, probe, ticks, submission->began, done);
        else
            p->incomplete = true;
    }
}

void profile_received(Gpu *gpu, const Submission *submission, double done)
{
    Profiler *p = gpu->profiler;
    if (!p) return;
    set_flying(submission->parts, submission->count, false);
    size_t first = p->events.count;
    collect(gpu, submission, done);
    if (p->events.count == first) return; // a transfer, or recorded before profiling began
    ADD(p, submissions, ProfileSubmission, .sent = submission->began, .done = done,
        .run = (uint32_t)p->runs.count, .first = first, .count = p->events.count - first);
}

void profile_run_began(Gpu *gpu)
{
    if (gpu->profiler) gpu->profiler->running = clock_seconds();
}

void profile_run_ended(Gpu *gpu)
{
    Profiler *p = gpu->profiler;
    if (!p) return;
    ADD(p, runs, ProfileRun, .begin = p->running, .end = clock_seconds(),
        .memory = gpu->memory_used);
}

void profile_transfer(Gpu *gpu, bool upload, uint64_t bytes, double began)
{
    Profiler *p = gpu->profiler;
    if (!p) return;
    ADD(p, transfers, ProfileTransfer, .upload = upload, .begin = began, .end = clock_seconds(),
        .bytes = bytes);
}
