// The trace of a profile, held to the rules of its format: what each kind of event must have,
// slices that nest, arrows that begin and end at slices, names of any bytes. Whether a program that
// shows traces takes it is test_profile_page's matter.
#include "base/json.h"
#include "profile/trace.h"
#include "support/files.h"
#include "support/made_profile.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 8, DEEPEST = 4 };

// What has been seen of a thread's slices.
typedef struct {
    double begins, ends[DEEPEST]; // us, as readers add them, of the slices that are open
    const char *open[DEEPEST];    // their categories
    int depth;
} Thread;

typedef struct {
    Thread threads[THREADS];
    size_t steps, runs, transfers, submissions, phases, places, kernels;
    size_t losses, memories, sent, arrived, named;
    int64_t busy; // ns of kernels
} Seen;

static const char *text(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    assert_true(cJSON_IsString(item));
    return item->valuestring;
}

static double number(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

static int64_t ns(const cJSON *object, const char *key)
{
    double value = number(object, key);
    assert_true(value >= 0 && isfinite(value));
    return llround(value * 1000);
}

static const cJSON *args(const cJSON *event)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(event, "args");
    assert_true(cJSON_IsObject(item));
    return item;
}

// ---- the rules ---------------------------------------------------------------------------------

static void count_slice(Seen *seen, const char *category, const char *parent)
{
    static const struct {
        const char *category, *parent;
        size_t offset;
    } kinds[] = {
        {"step", "", offsetof(Seen, steps)},
        {"run", "step", offsetof(Seen, runs)},
        {"transfer", "step", offsetof(Seen, transfers)},
        {"submission", "", offsetof(Seen, submissions)},
        {"phase", "", offsetof(Seen, phases)},
        {"place", "phase", offsetof(Seen, places)},
        {"kernel", "place", offsetof(Seen, kernels)},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].category, category)) continue;
        assert_string_equal(parent, kinds[i].parent);
        ++*(size_t *)(void *)((char *)seen + kinds[i].offset);
        return;
    }
    fail_msg("unknown category %s", category);
}

static void check_slice(Seen *seen, Thread *thread, const cJSON *event)
{
    double begin = number(event, "ts"), end = begin + number(event, "dur");
    const char *category = text(event, "cat");
    assert_true(begin >= thread->begins);
    thread->begins = begin;
    while (thread->depth && thread->ends[thread->depth - 1] <= begin) thread->depth--;
    assert_true(!thread->depth || end <= thread->ends[thread->depth - 1]);
    count_slice(seen, category, thread->depth ? thread->open[thread->depth - 1] : "");
    if (!strcmp(category, "kernel")) seen->busy += ns(event, "dur");
    args(event);
    assert_true(thread->depth < DEEPEST);
    thread->ends[thread->depth] = end;
    thread->open[thread->depth++] = category;
}

static void check_counter(Seen *seen, const cJSON *event)
{
    const cJSON *series = args(event)->child;
    assert_true(cJSON_IsNumber(series) && isfinite(series->valuedouble) && !series->next);
    if (!strcmp(text(event, "name"), "loss"))
        seen->losses++;
    else if (!strcmp(text(event, "name"), "memory"))
        seen->memories++;
    else
        fail_msg("unknown counter %s", text(event, "name"));
}

static void check_event(Seen *seen, const cJSON *event)
{
    const char *kind = text(event, "ph");
    double tid = number(event, "tid");
    assert_true(number(event, "pid") == 1 && tid >= 1 && tid < THREADS && strlen(kind) == 1);
    text(event, "name");
    ns(event, "ts");
    switch (*kind) {
    case 'X':
        check_slice(seen, &seen->threads[(int)tid], event);
        break;
    case 'C':
        check_counter(seen, event);
        break;
    case 'M':
        args(event);
        seen->named += !strcmp(text(event, "name"), "thread_name");
        break;
    case 's':
        seen->sent++;
        break;
    case 'f':
        assert_string_equal(text(event, "bp"), "e");
        seen->arrived++;
        break;
    default:
        fail_msg("unknown kind of event %s", kind);
    }
}

static const cJSON *events_of(const cJSON *trace)
{
    const cJSON *events = cJSON_GetObjectItemCaseSensitive(trace, "traceEvents");
    assert_true(cJSON_IsArray(events));
    return events;
}

static Seen check_rules(const cJSON *trace)
{
    Seen seen = {0};
    const cJSON *event;
    assert_string_equal(text(trace, "displayTimeUnit"), "ms");
    cJSON_ArrayForEach(event, events_of(trace)) check_event(&seen, event);
    return seen;
}

// The slice on the event's thread that begins when it happens, the innermost; NULL: none.
static const cJSON *slice_at(const cJSON *trace, const cJSON *own)
{
    const cJSON *event, *found = NULL;
    cJSON_ArrayForEach(event, events_of(trace))
    {
        if (!strcmp(text(event, "ph"), "X") && number(event, "tid") == number(own, "tid") &&
            ns(event, "ts") == ns(own, "ts"))
            found = event;
    }
    return found;
}

// Every arrow leads forward from a submission to a command.
static size_t check_arrows(const cJSON *trace)
{
    const cJSON *end, *begin;
    size_t found = 0;
    cJSON_ArrayForEach(end, events_of(trace))
    {
        if (strcmp(text(end, "ph"), "f")) continue;
        assert_string_equal(text(slice_at(trace, end), "cat"), "kernel");
        cJSON_ArrayForEach(begin, events_of(trace))
        {
            if (strcmp(text(begin, "ph"), "s") || number(begin, "id") != number(end, "id"))
                continue;
            assert_true(ns(begin, "ts") <= ns(end, "ts"));
            assert_string_equal(text(slice_at(trace, begin), "cat"), "submission");
            found++;
        }
    }
    return found;
}

// ---- tests -------------------------------------------------------------------------------------

static const MadeOptions PLAIN = {
    .steps = 4, .blocks = 3, .title = "train x.json", .device = "made up", .driver = "none 1"};

static cJSON *write_and_read(const ProfileRecord *record)
{
    Error err = {0};
    TestPath path = test_path(own_folder.text, "trace.json");
    if (!trace_write(path.text, record, &err)) fail_msg("%s", err.text);
    size_t size;
    char *bytes = test_read(path.text, &size);
    cJSON *trace = cJSON_ParseWithLength(bytes, size);
    assert_non_null(trace);
    free(bytes);
    return trace;
}

static void check_counts(const Seen *seen, const MadeProfile *made)
{
    const Profile *data = &made->record.data;
    assert_int_equal(seen->kernels, data->event_count);
    assert_int_equal(seen->submissions, data->submission_count);
    assert_int_equal(seen->runs, data->run_count);
    assert_int_equal(seen->memories, data->run_count);
    assert_int_equal(seen->transfers, data->transfer_count);
    assert_int_equal(seen->steps, made->record.step_count);
    assert_int_equal(seen->losses, made->record.step_count - 1); // one is no number
    assert_int_equal(seen->named, 4);                            // two lanes of submissions
}

static void slices_nest_and_none_is_lost(void **state)
{
    (void)state;
    MadeProfile *made = made_profile(&PLAIN);
    cJSON *trace = write_and_read(&made->record);
    Seen seen = check_rules(trace);
    check_counts(&seen, made);
    // forward, exit 3, backward; optimizer in a run of its own. Embedding is a phase, too.
    assert_int_equal(seen.phases, 4 * (4 + 1));
    // Block 2 is at the end of forward and at the beginning of backward: two places, not one.
    assert_int_equal(seen.places, 4 * (1 + 3 + 1 + 3 + 1));
    assert_int_equal(seen.sent, made->record.data.submission_count);
    assert_int_equal(seen.arrived, seen.sent);
    assert_int_equal(check_arrows(trace), seen.sent);
    double busy = 0;
    for (size_t i = 0; i < made->record.data.event_count; i++)
        busy += made->events[i].end - made->events[i].begin;
    assert_true(fabs(1e-9 * (double)seen.busy - busy) <= 8e-9 * (double)seen.kernels);
    cJSON_Delete(trace);
    made_profile_free(made);
}

static void clocks_that_disagree_still_nest(void **state)
{
    (void)state;
    MadeOptions options = PLAIN;
    options.disorder = true;
    MadeProfile *made = made_profile(&options);
    cJSON *trace = write_and_read(&made->record);
    Seen seen = check_rules(trace);
    check_counts(&seen, made);
    // Of 12 submissions every third began before it was sent, by the clocks.
    assert_int_equal(seen.sent, 8);
    assert_int_equal(seen.arrived, 8);
    assert_int_equal(check_arrows(trace), 8);
    cJSON_Delete(trace);
    made_profile_free(made);
}

static const cJSON *find(const cJSON *trace, const char *category, const char *name)
{
    const cJSON *event;
    cJSON_ArrayForEach(event, events_of(trace))
    {
        const cJSON *own = cJSON_GetObjectItemCaseSensitive(event, "cat");
        if (own && !strcmp(own->valuestring, category) && !strcmp(text(event, "name"), name))
            return event;
    }
    fail_msg("no %s is called %s", category, name);
    return NULL;
}

static void args_say_what_a_command_was(void **state)
{
    (void)state;
    MadeProfile *made = made_profile(&PLAIN);
    cJSON *trace = write_and_read(&made->record);
    const cJSON *event = find(trace, "kernel", "matmul"), *figures = args(event);
    double bytes = 4.0 * (2 * 256 * 288 + 288 * 288), operations = 2.0 * 256 * 288 * 288;
    double seconds = 1e-6 * number(event, "dur");
    assert_string_equal(text(figures, "tape"), "forward 0");
    assert_string_equal(text(figures, "shape"), "256 x 288 x 288");
    assert_string_equal(text(figures, "groups"), "72 x 8"); // of 256 rows, 32 in a group
    assert_string_equal(text(figures, "tensors"), "256x288 F32, 288x288 F32, 256x288 F32");
    assert_true(number(figures, "rows") == 256 && number(figures, "bytes") == bytes);
    assert_true(number(figures, "operations") == operations);
    assert_true(fabs(number(figures, "GB/s") / (1e-9 * bytes / seconds) - 1) < 1e-3);
    assert_true(fabs(number(figures, "GFLOP/s") / (1e-9 * operations / seconds) - 1) < 1e-3);
    const cJSON *other = cJSON_GetObjectItemCaseSensitive(trace, "otherData");
    assert_string_equal(text(other, "device"), "made up");
    assert_string_equal(text(other, "clock"), "estimated");
    assert_true(number(other, "clock_error_us") == 2);
    assert_true(number(args(find(trace, "step", "step 1")), "loss") == 4);
    assert_null(cJSON_GetObjectItem(args(find(trace, "step", "step 2")), "loss"));
    cJSON_Delete(trace);
    made_profile_free(made);
}

static void names_may_be_anything(void **state)
{
    (void)state;
    MadeOptions options = PLAIN;
    options.title = "a \"b\" \\ \x01\n\x1f </script> \xE2\x86\x92";
    options.device = "\xFF\xC3 caf\xC3\xA9 \xC0\x80";
    options.extra = "\t\"}],\xE2\x86"; // a label that was cut within a character
    MadeProfile *made = made_profile(&options);
    cJSON *trace = write_and_read(&made->record);
    Seen seen = check_rules(trace);
    check_counts(&seen, made);
    const cJSON *other = cJSON_GetObjectItemCaseSensitive(trace, "otherData");
    assert_string_equal(text(other, "title"), options.title);
    assert_string_equal(text(other, "device"),
                        "\xEF\xBF\xBD\xEF\xBF\xBD caf\xC3\xA9 \xEF\xBF\xBD\xEF\xBF\xBD");
    find(trace, "place", "\t\"}],\xEF\xBF\xBD\xEF\xBF\xBD");
    assert_string_equal(text(args(find(trace, "kernel", "fill")), "tensors"), "256x288 F32");
    cJSON_Delete(trace);
    made_profile_free(made);
}

static void nothing_is_a_trace_as_well(void **state)
{
    (void)state;
    MadeOptions options = PLAIN;
    options.steps = 0;
    MadeProfile *made = made_profile(&options);
    cJSON *trace = write_and_read(&made->record);
    Seen seen = check_rules(trace);
    assert_int_equal(seen.kernels + seen.steps + seen.submissions + seen.losses, 0);
    cJSON_Delete(trace);
    made_profile_free(made);
}

static void what_cannot_be_written_is_said(void **state)
{
    (void)state;
    MadeProfile *made = made_profile(&PLAIN);
    TestPath path = test_path(own_folder.text, "nowhere/trace.json");
    Error err;
    assert_false(trace_write(path.text, &made->record, &err));
    assert_error(err, "nowhere/trace.json: cannot write");
    made_profile_free(made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(slices_nest_and_none_is_lost), TEST(clocks_that_disagree_still_nest),
        TEST(args_say_what_a_command_was),  TEST(names_may_be_anything),
        TEST(nothing_is_a_trace_as_well),   TEST(what_cannot_be_written_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
