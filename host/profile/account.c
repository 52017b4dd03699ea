// Where the time went: see account.h.
#include "profile/account.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double account_sum(const Account *a)
{
    return a->busy + a->gaps + a->host + a->transfers;
}

double account_deviation(const Account *a)
{
    return a->wall > 0 ? account_sum(a) / a->wall - 1 : 0;
}

// ---- sets of moments ---------------------------------------------------------------------------

typedef struct {
    double begin, end;
} Interval;

// Intervals in order, none touching another, and what lies before each.
typedef struct {
    Interval *list; // (count)
    double *before; // (count) seconds in those before
    size_t count;
} Cover;

static void cover_free(Cover *cover)
{
    free(cover->list);
    free(cover->before);
    *cover = (Cover){0};
}

static bool cover_room(Cover *cover, size_t room)
{
    *cover = (Cover){.list = malloc((room + 1) * sizeof *cover->list),
                     .before = malloc((room + 1) * sizeof *cover->before)};
    return cover->list && cover->before;
}

static void cover_put(Cover *cover, double begin, double end)
{
    if (end > begin) cover->list[cover->count++] = (Interval){begin, end};
}

static int earlier(const void *a, const void *b)
{
    double x = ((const Interval *)a)->begin, y = ((const Interval *)b)->begin;
    return (x > y) - (x < y);
}

// Sorts what was put, and joins what touches.
static void cover_close(Cover *cover)
{
    size_t count = 0;
    double length = 0;
    qsort(cover->list, cover->count, sizeof *cover->list, earlier);
    for (size_t i = 0; i < cover->count; i++) {
        Interval next = cover->list[i];
        if (count && next.begin <= cover->list[count - 1].end)
            cover->list[count - 1].end = fmax(cover->list[count - 1].end, next.end);
        else
            cover->list[count++] = next;
    }
    cover->count = count;
    for (size_t i = 0; i < count; i++) {
        cover->before[i] = length;
        length += cover->list[i].end - cover->list[i].begin;
    }
}

// Seconds of the cover before a moment.
static double cover_until(const Cover *cover, double time)
{
    size_t low = 0, high = cover->count; // the first that begins at or behind `time`
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cover->list[middle].begin < time)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low) return 0;
    const Interval *last = &cover->list[low - 1];
    return cover->before[low - 1] + fmin(time, last->end) - last->begin;
}

static double cover_within(const Cover *cover, double begin, double end)
{
    return end > begin ? cover_until(cover, end) - cover_until(cover, begin) : 0;
}

// The moments that are in both, into out, which has room for both together.
static void cover_both(Cover *out, const Cover *a, const Cover *b)
{
    for (size_t i = 0, j = 0; i < a->count && j < b->count;) {
        Interval x = a->list[i], y = b->list[j];
        cover_put(out, fmax(x.begin, y.begin), fmin(x.end, y.end));
        if (x.end < y.end)
            i++;
        else
            j++;
    }
    cover_close(out);
}

typedef struct {
    Cover runs, transfers, host_calls; // host_calls: either of both
    Cover events, busy;                // busy: events within runs
} Covers;

static void covers_free(Covers *c)
{
    cover_free(&c->runs);
    cover_free(&c->transfers);
    cover_free(&c->host_calls);
    cover_free(&c->events);
    cover_free(&c->busy);
}

static bool covers_make(Covers *c, const Profile *p)
{
    *c = (Covers){0};
    if (!cover_room(&c->runs, p->run_count) || !cover_room(&c->transfers, p->transfer_count) ||
        !cover_room(&c->host_calls, p->run_count + p->transfer_count) ||
        !cover_room(&c->events, p->event_count) ||
        !cover_room(&c->busy, p->event_count + p->run_count))
        return false;
    for (size_t i = 0; i < p->run_count; i++) {
        cover_put(&c->runs, p->runs[i].begin, p->runs[i].end);
        cover_put(&c->host_calls, p->runs[i].begin, p->runs[i].end);
    }
    for (size_t i = 0; i < p->transfer_count; i++) {
        cover_put(&c->transfers, p->transfers[i].begin, p->transfers[i].end);
        cover_put(&c->host_calls, p->transfers[i].begin, p->transfers[i].end);
    }
    for (size_t i = 0; i < p->event_count; i++)
        cover_put(&c->events, p->events[i].begin, p->events[i].end);
    cover_close(&c->runs);
    cover_close(&c->transfers);
    cover_close(&c->host_calls);
    cover_close(&c->events);
    cover_both(&c->busy, &c->events, &c->runs);
    return true;
}

// All but busy, which is counted command by command.
static void account_span(Account *account, const Covers *c, double begin, double end)
{
    account->wall = fmax(end - begin, 0);
    account->gaps = cover_within(&c->runs, begin, end) - cover_within(&c->busy, begin, end);
    account->transfers = cover_within(&c->transfers, begin, end);
    account->host = account->wall - cover_within(&c->host_calls, begin, end);
}

static void account_add(Account *sum, const Account *a)
{
    sum->wall += a->wall;
    sum->busy += a->busy;
    sum->gaps += a->gaps;
    sum->host += a->host;
    sum->transfers += a->transfers;
}

// ---- commands ----------------------------------------------------------------------------------

static uint32_t find_step(const ProfileRecord *record, double time)
{
    size_t low = 0, high = record->step_count; // the first that begins behind `time`
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (record->steps[middle].begin <= time)
            low = middle + 1;
        else
            high = middle;
    }
    return low && time < record->steps[low - 1].end ? (uint32_t)low - 1 : ACCOUNT_NO_STEP;
}

// The call of gpu_run that a command belongs to, or NULL.
static const ProfileRun *run_of(const Profile *p, const ProfileEvent *event)
{
    if (event->submission >= p->submission_count) return NULL;
    uint32_t run = p->submissions[event->submission].run;
    return run < p->run_count ? &p->runs[run] : NULL;
}

static void note_clipping(Accounts *out, const ProfileEvent *event, const ProfileRun *run)
{
    double early = fmax(run->begin - event->begin, 0), late = fmax(event->end - run->end, 0);
    if (early <= 0 && late <= 0) return;
    out->clipped++;
    out->furthest = fmax(out->furthest, fmax(early, late));
    // What lies outside altogether sticks out by its own length.
    out->clipped_seconds += fmin(early + late, fmax(event->end - event->begin, 0));
}

static void count_events(Accounts *out, const ProfileRecord *record)
{
    const Profile *p = &record->data;
    const ProfileRun *last = NULL;
    uint32_t step = ACCOUNT_NO_STEP;
    for (size_t i = 0; i < p->event_count; i++) {
        const ProfileEvent *event = &p->events[i];
        const ProfileRun *run = run_of(p, event);
        if (!run || run != last) step = find_step(record, run ? run->begin : event->begin);
        last = run;
        if (run) note_clipping(out, event, run);
        double seconds = fmax(event->end - event->begin, 0);
        out->event_steps[i] = step;
        out->whole.busy += seconds;
        if (step != ACCOUNT_NO_STEP) out->step[step].busy += seconds;
    }
}

static void count_transfers(Accounts *out, const Profile *p)
{
    for (size_t i = 0; i < p->transfer_count; i++) {
        const ProfileTransfer *t = &p->transfers[i];
        TransferSum *sum = t->upload ? &out->uploads : &out->downloads;
        sum->count++;
        sum->bytes += t->bytes;
        sum->seconds += fmax(t->end - t->begin, 0);
    }
}

bool accounts_make(Accounts *out, const ProfileRecord *record, Error *err)
{
    Covers covers;
    *out = (Accounts){.step = calloc(record->step_count + 1, sizeof *out->step),
                      .event_steps =
                          malloc((record->data.event_count + 1) * sizeof(*out->event_steps))};
    bool ok = covers_make(&covers, &record->data) && out->step && out->event_steps;
    if (ok) {
        count_events(out, record);
        count_transfers(out, &record->data);
        account_span(&out->whole, &covers, record->begin, record->end);
        for (size_t i = 0; i < record->step_count; i++) {
            account_span(&out->step[i], &covers, record->steps[i].begin, record->steps[i].end);
            account_add(&out->steps, &out->step[i]);
        }
    }
    covers_free(&covers);
    return ok || error_set(err, "out of memory for the accounts of %zu commands",
                           record->data.event_count);
}

void accounts_free(Accounts *accounts)
{
    free(accounts->step);
    free(accounts->event_steps);
    *accounts = (Accounts){0};
}
