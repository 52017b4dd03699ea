// The page of a profile: see page.h. Its data are one JSON object:
//   "report"    what the caller gave
//   "timeline"  times are whole nanoseconds from the beginning:
//     "length"       of all
//     "commands"     [name, tape, place, phase, rows, shape, groups, tensors, bytes, operations],
//     each once "events"       {"command": which of these, "gap": behind the one before,
//     "duration"}: columns "omitted"      commands that ran behind those "submissions"  [sent,
//     done, run, first event, events] "runs"         [begin, end, bytes that tensors held]
//     "transfers"    [1 for an upload, begin, end, bytes] "steps"        [begin, end, loss or null,
//     tokens]
#include "profile/page.h"
#include "profile/write.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const unsigned char TEMPLATE[] = {
#include "profile_page.inc"
};
static const char MARK[] = "@PROFILE@"; // where the data go

typedef struct {
    FileWriter file;
    const ProfileRecord *record;
    double base;     // seconds: 0 of the page
    size_t count;    // of events that are shown
    uint32_t *kinds; // (count) which of the different commands each is
    size_t *firsts;  // (kind_count) the first event of each
    size_t kind_count;
} Page;

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t ns(const Page *p, double time)
{
    return later(0, write_ns(time, p->base));
}

static const char *comma(size_t i)
{
    return i ? "," : "";
}

// ---- commands that differ ----------------------------------------------------------------------

static bool is_same(const ProfileEvent *a, const ProfileEvent *b)
{
    return a->command == b->command && a->rows == b->rows && !strcmp(a->phase, b->phase) &&
           a->cost.bytes == b->cost.bytes && a->cost.operations == b->cost.operations;
}

static size_t hash(const ProfileEvent *event)
{
    uint64_t bits = (uint64_t)(uintptr_t)event->command ^ (uint64_t)event->rows << 40;
    bits *= 0x9E3779B97F4A7C15u; // 2^64 over the golden ratio
    return (size_t)(bits >> 20);
}

// Numbers the events by what they ran; `places` (mask + 1, a power of two above count) are free.
static void number(Page *p, size_t *places, size_t mask)
{
    const ProfileEvent *events = p->record->data.events;
    for (size_t i = 0; i < p->count; i++) {
        size_t at = hash(&events[i]) & mask;
        while (places[at] && !is_same(&events[p->firsts[places[at] - 1]], &events[i]))
            at = (at + 1) & mask;
        if (!places[at]) {
            p->firsts[p->kind_count++] = i;
            places[at] = p->kind_count;
        }
        p->kinds[i] = (uint32_t)places[at] - 1;
    }
}

static bool number_commands(Page *p, const char *path, Error *err)
{
    size_t size = 2;
    while (size < 2 * p->count) size *= 2;
    size_t *places = calloc(size, sizeof *places);
    p->kinds = malloc((p->count + 1) * sizeof *p->kinds);
    p->firsts = malloc((p->count + 1) * sizeof *p->firsts);
    bool ok = places && p->kinds && p->firsts;
    if (ok)
        number(p, places, size - 1);
    else
        error_set(err, "%s: out of memory for %zu commands", path, p->count);
    free(places);
    return ok;
}

// ---- the data ----------------------------------------------------------------------------------

static void put_command(Page *p, const ProfileEvent *event)
{
    char place[64], phase[64], shape[80], groups[64], tensors[256];
    const Command *command = event->command;
    profile_place(place, command->tape);
    profile_phase(phase, event);
    command_shape(shape, command, event->rows);
    command_groups(groups, command, event->rows);
    command_tensors(tensors, command);
    const char *texts[] = {command_name(command), command->tape, place, phase};
    write_format(&p->file, "[");
    for (int i = 0; i < 4; i++) {
        write_text(&p->file, texts[i]);
        write_format(&p->file, ",");
    }
    write_format(&p->file, "%u,\"%s\",\"%s\",\"%s\",%.0f,%.0f]", event->rows, shape, groups,
                 tensors, event->cost.bytes, event->cost.operations);
}

// A column of numbers: gaps or durations.
static int64_t put_times(Page *p, const char *name, bool gaps)
{
    const ProfileEvent *events = p->record->data.events;
    int64_t cursor = 0;
    write_format(&p->file, ",\"%s\":[", name);
    for (size_t i = 0; i < p->count; i++) {
        int64_t begin = later(ns(p, events[i].begin), cursor),
                end = later(ns(p, events[i].end), begin);
        write_format(&p->file, "%s%lld", comma(i),
                     (long long)(gaps ? begin - cursor : end - begin));
        cursor = end;
    }
    write_format(&p->file, "]");
    return cursor;
}

// Gives when the last command ended.
static int64_t put_events(Page *p)
{
    const ProfileEvent *events = p->record->data.events;
    write_format(&p->file, "\"commands\":[");
    for (size_t i = 0; i < p->kind_count; i++) {
        write_format(&p->file, "%s\n", comma(i));
        put_command(p, &events[p->firsts[i]]);
    }
    write_format(&p->file, "],\n\"events\":{\"command\":[");
    for (size_t i = 0; i < p->count; i++) write_format(&p->file, "%s%u", comma(i), p->kinds[i]);
    write_format(&p->file, "]");
    put_times(p, "gap", true);
    int64_t end = put_times(p, "duration", false);
    write_format(&p->file, "},\n\"omitted\":%zu", p->record->data.event_count - p->count);
    return end;
}

static void put_submissions(Page *p)
{
    const Profile *data = &p->record->data;
    write_format(&p->file, ",\n\"submissions\":[");
    for (size_t i = 0; i < data->submission_count; i++) {
        const ProfileSubmission *own = &data->submissions[i];
        size_t left = own->first < p->count ? p->count - own->first : 0;
        if (own->count && !left) break;
        write_format(&p->file, "%s[%lld,%lld,%u,%zu,%zu]", comma(i), (long long)ns(p, own->sent),
                     (long long)ns(p, own->done), own->run, own->first,
                     own->count < left ? own->count : left);
    }
    write_format(&p->file, "]");
}

static void put_host(Page *p)
{
    const Profile *data = &p->record->data;
    write_format(&p->file, ",\n\"runs\":[");
    for (size_t i = 0; i < data->run_count; i++)
        write_format(&p->file, "%s[%lld,%lld,%llu]", comma(i),
                     (long long)ns(p, data->runs[i].begin), (long long)ns(p, data->runs[i].end),
                     (unsigned long long)data->runs[i].memory);
    write_format(&p->file, "],\n\"transfers\":[");
    for (size_t i = 0; i < data->transfer_count; i++) {
        const ProfileTransfer *own = &data->transfers[i];
        write_format(&p->file, "%s[%d,%lld,%lld,%llu]", comma(i), own->upload,
                     (long long)ns(p, own->begin), (long long)ns(p, own->end),
                     (unsigned long long)own->bytes);
    }
    write_format(&p->file, "]");
}

static void put_steps(Page *p)
{
    write_format(&p->file, ",\n\"steps\":[");
    for (size_t i = 0; i < p->record->step_count; i++) {
        const ProfileStep *step = &p->record->steps[i];
        write_format(&p->file, "%s[%lld,%lld,", comma(i), (long long)ns(p, step->begin),
                     (long long)ns(p, step->end));
        if (isfinite(step->loss))
            write_format(&p->file, "%.9g,%u]", step->loss, step->tokens);
        else
            write_format(&p->file, "null,%u]", step->tokens);
    }
    write_format(&p->file, "]");
}

static void put_data(Page *p, const char *report)
{
    write_format(&p->file, "{\"report\":");
    write_json(&p->file, report);
    write_format(&p->file, ",\n\"timeline\":{");
    int64_t end = later(put_events(p), ns(p, p->record->end));
    put_submissions(p);
    put_host(p);
    put_steps(p);
    write_format(&p->file, ",\n\"length\":%lld}}", (long long)end);
}

// ---- the file ----------------------------------------------------------------------------------

static size_t mark(void)
{
    size_t at = 0, length = strlen(MARK);
    while (memcmp(TEMPLATE + at, MARK, length)) at++; // a test opens the page: it is there
    return at;
}

bool page_write(const char *path, const ProfileRecord *record, const cJSON *report, Error *err)
{
    size_t count = record->data.event_count, before = mark(), behind = before + strlen(MARK);
    Page p = {.record = record,
              .base = write_base(record),
              .count = count < PAGE_COMMANDS ? count : PAGE_COMMANDS};
    char *text = cJSON_PrintUnformatted(report);
    bool ok = text || error_set(err, "%s: out of memory for the report", path);
    ok = ok && number_commands(&p, path, err) && file_writer_open(&p.file, path, err);
    if (ok) {
        file_writer_put(&p.file, TEMPLATE, before);
        put_data(&p, text);
        file_writer_put(&p.file, TEMPLATE + behind, sizeof TEMPLATE - behind);
        ok = file_writer_commit(&p.file, err);
    }
    free(text);
    free(p.kinds);
    free(p.firsts);
    return ok;
}
