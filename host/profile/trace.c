// The trace of a profile, thread by thread: see trace.h.
// Format: "Trace Event Format" (Duffy, Sinclair),
// https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
#include "profile/trace.h"
#include "profile/write.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HOST = 1, SUBMISSIONS = 2, LANES = 4, GPU = SUBMISSIONS + LANES };

// Nanoseconds. Readers add beginning and duration as doubles, or cut both to whole nanoseconds:
// what meets in the record would overlap by a rounding, and slices that overlap are torn apart or
// dropped. So each level of nesting ends a margin earlier than the one around it, and no slice has
// less room than the margins of all levels.
enum { MARGIN = 2, ROOM = 8 };

typedef struct {
    FileWriter file;
    const ProfileRecord *record;
    double base;    // seconds: 0 of the trace
    int64_t cursor; // ns: nothing more of this thread begins earlier
    int64_t *began; // (submission_count) ns: when its first command began; -1: it has none
} Trace;

// Nanoseconds.
typedef struct {
    int64_t begin, end;
} Slice;

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

// ---- events ------------------------------------------------------------------------------------

static void put_time(Trace *t, const char *key, int64_t ns)
{
    write_format(&t->file, ",\"%s\":%lld.%03d", key, (long long)(ns / 1000), (int)(ns % 1000));
}

// Opens an event of a kind ("ph"). The caller closes its object.
static void begin_event(Trace *t, const char *kind, int thread, int64_t ns)
{
    write_format(&t->file, ",\n{\"ph\":\"%s\",\"pid\":1,\"tid\":%d", kind, thread);
    put_time(t, "ts", ns);
}

static void begin_slice(Trace *t, int thread, int level, Slice slice, const char *category,
                        const char *name)
{
    int64_t end = slice.end - MARGIN * (level + 1);
    begin_event(t, "X", thread, slice.begin);
    put_time(t, "dur", later(end - slice.begin, 0));
    write_format(&t->file, ",\"cat\":\"%s\",\"name\":", category);
    write_text(&t->file, name);
}

// An arrow's start ("s") or its end ("f", at the slice that begins there).
static void put_arrow(Trace *t, const char *kind, int thread, int64_t ns, size_t submission)
{
    begin_event(t, kind, thread, ns);
    write_format(&t->file, ",\"cat\":\"submission\",\"name\":\"sent\",\"id\":%zu%s}", submission,
                 *kind == 'f' ? ",\"bp\":\"e\"" : "");
}

static void put_counter(Trace *t, const char *name, int64_t ns, const char *series, double value)
{
    begin_event(t, "C", HOST, ns);
    write_format(&t->file, ",\"name\":\"%s\",\"args\":{\"%s\":%.9g}}", name, series, value);
}

// The slice of begin .. end (seconds) on a thread whose cursor stands at t->cursor, in a parent
// that ends at `limit`.
static Slice fit(const Trace *t, double begin, double end, int64_t limit)
{
    Slice slice = {write_ns(begin, t->base), write_ns(end, t->base)};
    slice.begin = earlier(later(slice.begin, t->cursor), limit);
    slice.end = earlier(later(slice.end, slice.begin + ROOM), limit);
    return slice;
}

// ---- the host ----------------------------------------------------------------------------------

static void put_run(Trace *t, const ProfileRun *run, size_t number, int64_t limit)
{
    Slice slice = fit(t, run->begin, run->end, limit);
    begin_slice(t, HOST, 1, slice, "run", "run");
    write_format(&t->file, ",\"args\":{\"number\":%zu}}", number);
    put_counter(t, "memory", slice.begin, "bytes", (double)run->memory);
    t->cursor = slice.end;
}

static void put_transfer(Trace *t, const ProfileTransfer *transfer, int64_t limit)
{
    Slice slice = fit(t, transfer->begin, transfer->end, limit);
    double seconds = transfer->end - transfer->begin;
    begin_slice(t, HOST, 1, slice, "transfer", transfer->upload ? "upload" : "download");
    write_format(&t->file, ",\"args\":{\"bytes\":%llu", (unsigned long long)transfer->bytes);
    if (seconds > 0)
        write_format(&t->file, ",\"GB/s\":%.4g", 1e-9 * (double)transfer->bytes / seconds);
    write_format(&t->file, "}}");
    t->cursor = slice.end;
}

// What of the runs and transfers is still to come.
typedef struct {
    size_t run, transfer;
} Rest;

// Runs and transfers that begin before `until` (seconds), in a parent that ends at `limit`.
static void put_calls(Trace *t, Rest *rest, double until, int64_t limit)
{
    const Profile *data = &t->record->data;
    for (;;) {
        double run = rest->run < data->run_count ? data->runs[rest->run].begin : INFINITY;
        double transfer = rest->transfer < data->transfer_count
                              ? data->transfers[rest->transfer].begin
                              : INFINITY;
        if (fmin(run, transfer) >= until) return;
        if (run <= transfer) {
            put_run(t, &data->runs[rest->run], rest->run + 1, limit);
            rest->run++;
        } else {
            put_transfer(t, &data->transfers[rest->transfer++], limit);
        }
    }
}

static void put_step(Trace *t, const ProfileStep *step, size_t number, Rest *rest)
{
    char name[32];
    Slice slice = fit(t, step->begin, step->end, INT64_MAX);
    snprintf(name, sizeof name, "step %zu", number);
    begin_slice(t, HOST, 0, slice, "step", name);
    write_format(&t->file, ",\"args\":{\"tokens\":%u", step->tokens);
    if (isfinite(step->loss)) write_format(&t->file, ",\"loss\":%.9g", step->loss);
    write_format(&t->file, "}}");
    if (isfinite(step->loss)) put_counter(t, "loss", slice.begin, "loss", step->loss);
    t->cursor = slice.begin;
    put_calls(t, rest, step->end, slice.end);
    t->cursor = slice.end;
}

static void put_host(Trace *t)
{
    Rest rest = {0};
    t->cursor = 0;
    for (size_t i = 0; i < t->record->step_count; i++) {
        put_calls(t, &rest, t->record->steps[i].begin, INT64_MAX);
        put_step(t, &t->record->steps[i], i + 1, &rest);
    }
    put_calls(t, &rest, INFINITY, INT64_MAX);
}

// ---- the GPU -----------------------------------------------------------------------------------

static const char *place_of(char out[64], const ProfileEvent *event)
{
    profile_place(out, event->command->tape);
    return out;
}

static const char *phase_of(char out[64], const ProfileEvent *event)
{
    profile_phase(out, event);
    return out;
}

static uint32_t run_of(const Trace *t, const ProfileEvent *event)
{
    const Profile *data = &t->record->data;
    return event->submission < data->submission_count ? data->submissions[event->submission].run
                                                      : UINT32_MAX;
}

// How many of the events first .. last - 1 belong to what the first one does: a phase of one call
// of gpu_run, or a place.
static size_t stretch(const Trace *t, size_t first, size_t last,
                      const char *(*name)(char out[64], const ProfileEvent *event))
{
    const ProfileEvent *events = t->record->data.events;
    char own[64], other[64];
    size_t i = first + 1;
    name(own, &events[first]);
    while (i < last && run_of(t, &events[i]) == run_of(t, &events[first]) &&
           !strcmp(own, name(other, &events[i])))
        i++;
    return i - first;
}

// From where the first of these events begins to where the last ends, as put_command will have it.
static Slice around(const Trace *t, size_t first, size_t count)
{
    const ProfileEvent *events = t->record->data.events + first;
    Slice slice = fit(t, events[0].begin, events[0].end, INT64_MAX);
    for (size_t i = 1; i < count; i++) {
        int64_t begin = later(slice.end, write_ns(events[i].begin, t->base));
        slice.end = later(begin + ROOM, write_ns(events[i].end, t->base));
    }
    return slice;
}

static void put_costs(Trace *t, const ProfileEvent *event)
{
    double seconds = event->end - event->begin;
    write_format(&t->file, ",\"bytes\":%.0f,\"operations\":%.0f", event->cost.bytes,
                 event->cost.operations);
    if (seconds > 0)
        write_format(&t->file, ",\"GB/s\":%.4g,\"GFLOP/s\":%.4g",
                     1e-9 * event->cost.bytes / seconds, 1e-9 * event->cost.operations / seconds);
}

static void put_arrow_end(Trace *t, const ProfileEvent *event, int64_t ns)
{
    const Profile *data = &t->record->data;
    if (event->submission >= data->submission_count || t->began[event->submission] >= 0) return;
    t->began[event->submission] = ns;
    if (ns >= write_ns(data->submissions[event->submission].sent, t->base))
        put_arrow(t, "f", GPU, ns, event->submission);
}

static void put_command(Trace *t, const ProfileEvent *event)
{
    char shape[80], groups[64], tensors[256];
    Slice slice = fit(t, event->begin, event->end, INT64_MAX);
    begin_slice(t, GPU, 2, slice, "kernel", command_name(event->command));
    write_format(&t->file, ",\"args\":{\"tape\":");
    write_text(&t->file, event->command->tape);
    command_shape(shape, event->command, event->rows);
    command_groups(groups, event->command, event->rows);
    command_tensors(tensors, event->command);
    if (event->rows) write_format(&t->file, ",\"rows\":%u", event->rows);
    if (shape[0]) write_format(&t->file, ",\"shape\":\"%s\"", shape);
    if (groups[0]) write_format(&t->file, ",\"groups\":\"%s\"", groups);
    write_format(&t->file, ",\"tensors\":\"%s\"", tensors);
    put_costs(t, event);
    write_format(&t->file, "}}");
    put_arrow_end(t, event, slice.begin);
    t->cursor = slice.end;
}

static void put_places(Trace *t, size_t first, size_t last)
{
    const ProfileEvent *events = t->record->data.events;
    char name[64];
    for (size_t i = first; i < last;) {
        size_t count = stretch(t, i, last, place_of);
        begin_slice(t, GPU, 1, around(t, i, count), "place", place_of(name, &events[i]));
        write_format(&t->file, ",\"args\":{\"commands\":%zu}}", count);
        for (size_t end = i + count; i < end; i++) put_command(t, &events[i]);
    }
}

static void put_gpu(Trace *t)
{
    const Profile *data = &t->record->data;
    char name[64];
    t->cursor = 0;
    for (size_t i = 0; i < data->event_count;) {
        size_t count = stretch(t, i, data->event_count, phase_of);
        begin_slice(t, GPU, 0, around(t, i, count), "phase", phase_of(name, &data->events[i]));
        write_format(&t->file, ",\"args\":{\"commands\":%zu}}", count);
        put_places(t, i, i + count);
        i += count;
    }
}

// ---- submissions -------------------------------------------------------------------------------

static void put_submission(Trace *t, int lane, Slice slice, size_t number)
{
    const ProfileSubmission *own = &t->record->data.submissions[number];
    char name[48];
    snprintf(name, sizeof name, "submission %zu", number + 1);
    begin_slice(t, SUBMISSIONS + lane, 0, slice, "submission", name);
    write_format(&t->file, ",\"args\":{\"run\":%u,\"commands\":%zu}}", own->run + 1, own->count);
    if (t->began[number] >= write_ns(own->sent, t->base))
        put_arrow(t, "s", SUBMISSIONS + lane, slice.begin, number);
}

// Each on the first lane that is free when it was sent; where none is, on the one that will be
// first. Returns how many lanes that took.
static int put_submissions(Trace *t)
{
    const Profile *data = &t->record->data;
    int64_t free_at[LANES] = {0};
    int lanes = 0;
    for (size_t i = 0; i < data->submission_count; i++) {
        int lane = 0;
        for (int other = 1; other < LANES; other++)
            if (free_at[lane] > write_ns(data->submissions[i].sent, t->base) &&
                free_at[other] < free_at[lane])
                lane = other;
        t->cursor = free_at[lane];
        Slice slice = fit(t, data->submissions[i].sent, data->submissions[i].done, INT64_MAX);
        put_submission(t, lane, slice, i);
        free_at[lane] = slice.end;
        lanes = lane + 1 > lanes ? lane + 1 : lanes;
    }
    return lanes;
}

// ---- the file ----------------------------------------------------------------------------------

static void put_thread(Trace *t, int thread, const char *name)
{
    write_format(&t->file,
                 ",\n{\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"ts\":0,\"name\":\"thread_name\","
                 "\"args\":{\"name\":\"%s\"}}"
                 ",\n{\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"ts\":0,\"name\":\"thread_sort_index\","
                 "\"args\":{\"sort_index\":%d}}",
                 thread, name, thread, thread);
}

static void put_threads(Trace *t, int lanes)
{
    put_thread(t, HOST, "host");
    for (int i = 0; i < lanes; i++) {
        char name[32] = "submissions";
        if (i) snprintf(name, sizeof name, "submissions %d", i + 1);
        put_thread(t, SUBMISSIONS + i, name);
    }
    put_thread(t, GPU, "GPU");
}

static void put_head(Trace *t)
{
    const ProfileRecord *record = t->record;
    const Profile *data = &record->data;
    const char *clock = !data->timestamps ? "host" : data->calibrated ? "calibrated" : "estimated";
    write_format(&t->file, "{\"displayTimeUnit\":\"ms\",\n\"otherData\":{\"program\":\"strata\","
                           "\"title\":");
    write_text(&t->file, record->title);
    write_format(&t->file, ",\"device\":");
    write_text(&t->file, record->device->name);
    write_format(&t->file, ",\"driver\":");
    write_text(&t->file, record->device->driver);
    write_format(&t->file, ",\"clock\":\"%s\",\"clock_error_us\":%.3f,\"serialized\":%s},\n", clock,
                 1e6 * data->clock_error, data->serialized ? "true" : "false");
    write_format(&t->file,
                 "\"traceEvents\":[\n{\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"ts\":0,"
                 "\"name\":\"process_name\",\"args\":{\"name\":",
                 HOST);
    write_text(&t->file, record->title);
    write_format(&t->file, "}}");
}

bool trace_write(const char *path, const ProfileRecord *record, Error *err)
{
    size_t count = record->data.submission_count;
    Trace t = {.record = record, .base = write_base(record)};
    t.began = malloc((count ? count : 1) * sizeof *t.began);
    if (!t.began) return error_set(err, "%s: out of memory for %zu submissions", path, count);
    for (size_t i = 0; i < count; i++) t.began[i] = -1;
    bool ok = file_writer_open(&t.file, path, err);
    if (ok) {
        put_head(&t);
        put_host(&t);
        put_gpu(&t);
        put_threads(&t, put_submissions(&t));
        write_format(&t.file, "\n]}\n");
        ok = file_writer_commit(&t.file, err);
    }
    free(t.began);
    return ok;
}
