// Sums of a profile's commands by what they have in common: see summary.h.
#include "profile/summary.h"
#include "base/hash.h"
#include "base/statistics.h"
#include "profile/fields.h"
#include "profile/write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const SUMMARY_NAMES[] = {"kernel", "block", "phase", "shape", "pipeline"};
const char *const LIMIT_NAMES[] = {"-", "memory", "cache", "compute", "launch", "latency"};

Ceilings summary_ceilings(const Peak *peak)
{
    return (Ceilings){
        .bytes_per_second = fmax(peak->copy_bytes_per_second, peak->read_bytes_per_second),
        .cache_bytes_per_second =
            fmax(peak->cache_copy_bytes_per_second, peak->cache_read_bytes_per_second),
        .operations_per_second = peak->f32_operations_per_second,
        .launch_seconds = fmax(peak->barrier_seconds, peak->launch_seconds)};
}

// ---- what a command is called ------------------------------------------------------------------

static void name_shape(char out[SUMMARY_NAME], const ProfileEvent *event)
{
    const Command *command = event->command;
    char shape[80];
    command_shape(shape, command, event->rows);
    if (command->kind != COMMAND_DISPATCH)
        snprintf(shape, sizeof shape, "%u x %u", command->dispatch.tensors[0].rows,
                 command->dispatch.tensors[0].cols);
    snprintf(out, SUMMARY_NAME, "%s%s%s", command_name(command), *shape ? " " : "", shape);
}

static void name_pipeline(char out[SUMMARY_NAME], const Command *command)
{
    char constants[GPU_CONSTANTS * 11] = "";
    if (command->kind == COMMAND_DISPATCH) constants_text(constants, command->dispatch.constants);
    snprintf(out, SUMMARY_NAME, "%s%s%s", command_name(command), *constants ? " " : "", constants);
}

static void name_event(char out[SUMMARY_NAME], const ProfileEvent *event, SummaryKind kind)
{
    if (kind == SUMMARY_KERNELS)
        snprintf(out, SUMMARY_NAME, "%s", command_name(event->command));
    else if (kind == SUMMARY_BLOCKS)
        profile_place(out, event->command->tape);
    else if (kind == SUMMARY_PHASES)
        profile_phase(out, event);
    else if (kind == SUMMARY_PIPELINES)
        name_pipeline(out, event->command);
    else
        name_shape(out, event);
}

// ---- finding the row of a command --------------------------------------------------------------

// All that the name of a command's row depends on; a million commands have few of these.
typedef struct {
    const Command *command;
    const char *phase; // of the phases alone
    uint64_t rows;     // of the shapes alone
} Key;

typedef struct {
    Key key;
    size_t row; // 1 more than its index; 0: the slot is free
} Slot;

typedef struct {
    SummaryKind kind;
    SummaryTable *table;
    size_t room;   // rows
    Slot *keys;    // (key_room) by hash, a power of two; half of it stays free
    size_t *names; // (name_room) the same of rows' names: 1 more than an index, or 0
    size_t key_room, name_room, key_count;
} Grouping;

static size_t hash_name(const char *name)
{
    return (size_t)XXH64(name, strlen(name), 0);
}

static Slot *find_key(Slot *slots, size_t room, const Key *key)
{
    size_t i = (size_t)XXH64(key, sizeof *key, 0) & (room - 1);
    while (slots[i].row && memcmp(&slots[i].key, key, sizeof *key)) i = (i + 1) & (room - 1);
    return &slots[i];
}

static bool grow_keys(Grouping *g)
{
    if (2 * g->key_count < g->key_room) return true;
    size_t room = g->key_room ? 2 * g->key_room : 1024;
    Slot *slots = calloc(room, sizeof *slots);
    if (!slots) return false;
    for (size_t i = 0; i < g->key_room; i++)
        if (g->keys[i].row) *find_key(slots, room, &g->keys[i].key) = g->keys[i];
    free(g->keys);
    g->keys = slots;
    g->key_room = room;
    return true;
}

static size_t *find_name(const Grouping *g, const char *name)
{
    size_t i = hash_name(name) & (g->name_room - 1);
    while (g->names[i] && strcmp(g->table->rows[g->names[i] - 1].name, name) != 0)
        i = (i + 1) & (g->name_room - 1);
    return &g->names[i];
}

static bool grow_names(Grouping *g)
{
    if (2 * g->table->count < g->name_room) return true;
    size_t room = g->name_room ? 2 * g->name_room : 256;
    size_t *names = calloc(room, sizeof *names);
    if (!names) return false;
    free(g->names);
    g->names = names;
    g->name_room = room;
    for (size_t i = 0; i < g->table->count; i++) *find_name(g, g->table->rows[i].name) = i + 1;
    return true;
}

static bool grow_rows(Grouping *g)
{
    if (g->table->count < g->room) return true;
    size_t room = g->room ? 2 * g->room : 64;
    SummaryRow *rows = realloc(g->table->rows, room * sizeof *rows);
    if (!rows) return false;
    g->table->rows = rows;
    g->room = room;
    return true;
}

// The row of that name, made where there is none: 1 more than its index; 0: out of memory.
static size_t row_named(Grouping *g, const char *name, const ProfileEvent *event)
{
    if (!grow_names(g) || !grow_rows(g)) return 0;
    size_t *place = find_name(g, name);
    if (*place) return *place;
    const Dispatch *dispatch = &event->command->dispatch;
    bool kernel = g->kind != SUMMARY_BLOCKS && g->kind != SUMMARY_PHASES &&
                  event->command->kind == COMMAND_DISPATCH;
    SummaryRow *row = &g->table->rows[g->table->count++];
    *row = (SummaryRow){.kernel = kernel ? (int)dispatch->kernel : -1};
    if (kernel && g->kind == SUMMARY_PIPELINES)
        memcpy(row->constants, dispatch->constants, sizeof row->constants);
    snprintf(row->name, sizeof row->name, "%s", name);
    return *place = g->table->count;
}

static size_t row_of(Grouping *g, const ProfileEvent *event)
{
    char name[SUMMARY_NAME];
    Key key = {event->command, g->kind == SUMMARY_PHASES ? event->phase : NULL,
               g->kind == SUMMARY_SHAPES ? event->rows : 0};
    if (!grow_keys(g)) return 0;
    Slot *slot = find_key(g->keys, g->key_room, &key);
    if (slot->row) return slot->row;
    name_event(name, event, g->kind);
    size_t row = row_named(g, name, event);
    if (row) {
        *slot = (Slot){key, row};
        g->key_count++;
    }
    return row;
}

// ---- figures of a row --------------------------------------------------------------------------

static Limit find_limit(const SummaryRow *row, const Ceilings *c)
{
    static const double near = .25;
    if (!(c->bytes_per_second > 0) || !(c->operations_per_second > 0)) return LIMIT_UNKNOWN;
    Limit limit = LIMIT_UNKNOWN;
    double best = 0;
    bool cached = row->byte_share > 1 && c->cache_bytes_per_second > c->bytes_per_second;
    const struct {
        double share;
        Limit limit;
    } ways[] = {{cached ? row->byte_rate / c->cache_bytes_per_second : row->byte_share,
                 cached ? LIMIT_CACHE : LIMIT_MEMORY},
                {row->operation_share, LIMIT_COMPUTE},
                {row->launch_share >= .5 ? row->launch_share : 0, LIMIT_LAUNCH}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (ways[i].share > best) {
            best = ways[i].share;
            limit = ways[i].limit;
        }
    return best > 0 && best < near ? LIMIT_LATENCY : limit;
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static void finish_row(SummaryRow *row, const ProfileSummary *s)
{
    const Ceilings *c = &s->ceilings;
    row->share = ratio(row->total, s->accounts.whole.busy);
    row->byte_rate = ratio(row->bytes, row->total);
    row->operation_rate = ratio(row->operations, row->total);
    row->byte_share = ratio(row->byte_rate, c->bytes_per_second);
    row->operation_share = ratio(row->operation_rate, c->operations_per_second);
    row->launch_share = fmin(ratio((double)row->calls * c->launch_seconds, row->total), 1);
    row->limit = find_limit(row, c);
}

SummaryRow summary_sum(const ProfileSummary *summary, const SummaryRow *rows, size_t count,
                       const char *name)
{
    SummaryRow sum = {.kernel = -1};
    snprintf(sum.name, sizeof sum.name, "%s", name);
    for (size_t i = 0; i < count; i++) {
        sum.calls += rows[i].calls;
        sum.total += rows[i].total;
        sum.bytes += rows[i].bytes;
        sum.operations += rows[i].operations;
    }
    finish_row(&sum, summary);
    return sum;
}

// ---- tables ------------------------------------------------------------------------------------

static double event_seconds(const ProfileEvent *event)
{
    return fmax(event->end - event->begin, 0);
}

// Sums up all commands; row_of_event[i] is the index of the row of command i.
static bool group(Grouping *g, const Profile *p, size_t *row_of_event)
{
    for (size_t i = 0; i < p->event_count; i++) {
        size_t row = row_of(g, &p->events[i]);
        if (!row) return false;
        SummaryRow *sum = &g->table->rows[row - 1];
        row_of_event[i] = row - 1;
        sum->calls++;
        sum->total += event_seconds(&p->events[i]);
        sum->bytes += p->events[i].cost.bytes;
        sum->operations += p->events[i].cost.operations;
    }
    return true;
}

static bool find_medians(SummaryTable *table, const Profile *p, const size_t *row_of_event)
{
    double *seconds = malloc((p->event_count + 1) * sizeof *seconds);
    size_t *ends = malloc((table->count + 1) * sizeof *ends), first = 0;
    bool ok = seconds && ends;
    if (ok) {
        for (size_t i = 0; i < table->count; i++) {
            ends[i] = first;
            first += table->rows[i].calls;
        }
        for (size_t i = 0; i < p->event_count; i++)
            seconds[ends[row_of_event[i]]++] = event_seconds(&p->events[i]);
        for (size_t i = 0; i < table->count; i++) {
            SummaryRow *row = &table->rows[i];
            row->median = statistics_median(seconds + ends[i] - row->calls, row->calls);
        }
    }
    free(seconds);
    free(ends);
    return ok;
}

static bool take_samples(SummaryTable *table, const ProfileSummary *s, const size_t *row_of_event)
{
    table->samples = calloc(table->count * s->sample_count + 1, sizeof *table->samples);
    if (!table->samples) return false;
    for (size_t i = 0; i < table->count; i++)
        table->rows[i].samples = table->samples + i * s->sample_count;
    for (size_t i = 0; i < s->record->data.event_count; i++) {
        uint32_t step = s->accounts.event_steps[i];
        if (step != ACCOUNT_NO_STEP && step % s->sample_every == 0)
            table->rows[row_of_event[i]].samples[step / s->sample_every] +=
                event_seconds(&s->record->data.events[i]);
    }
    return true;
}

static int longest_first(const void *a, const void *b)
{
    const SummaryRow *x = a, *y = b;
    if (x->total != y->total) return x->total < y->total ? 1 : -1;
    return strcmp(x->name, y->name);
}

static bool make_table(ProfileSummary *s, SummaryKind kind, size_t *row_of_event)
{
    SummaryTable *table = &s->tables[kind];
    Grouping g = {.kind = kind, .table = table};
    bool ok = group(&g, &s->record->data, row_of_event) &&
              find_medians(table, &s->record->data, row_of_event) &&
              take_samples(table, s, row_of_event);
    free(g.keys);
    free(g.names);
    if (!ok || !table->count) return ok;
    for (size_t i = 0; i < table->count; i++) finish_row(&table->rows[i], s);
    qsort(table->rows, table->count, sizeof *table->rows, longest_first);
    return true;
}

bool summary_make(ProfileSummary *out, const ProfileRecord *record, const Ceilings *ceilings,
                  Error *err)
{
    size_t every = (record->step_count + SUMMARY_SAMPLES - 1) / SUMMARY_SAMPLES;
    *out = (ProfileSummary){.record = record, .ceilings = *ceilings, .sample_every = every};
    if (every) out->sample_count = (record->step_count + every - 1) / every;
    if (!accounts_make(&out->accounts, record, err)) return false;
    size_t *row_of_event = malloc((record->data.event_count + 1) * sizeof *row_of_event);
    bool ok = row_of_event != NULL;
    for (int kind = 0; ok && kind < SUMMARY_TABLES; kind++)
        ok = make_table(out, (SummaryKind)kind, row_of_event);
    free(row_of_event);
    return ok ||
           error_set(err, "out of memory for the sums of %zu commands", record->data.event_count);
}

void summary_free(ProfileSummary *summary)
{
    accounts_free(&summary->accounts);
    for (int kind = 0; kind < SUMMARY_TABLES; kind++) {
        free(summary->tables[kind].rows);
        free(summary->tables[kind].samples);
    }
    *summary = (ProfileSummary){0};
}
